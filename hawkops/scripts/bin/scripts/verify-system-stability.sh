#!/bin/sh
# Judges every device's telemetry since the last change, for --duration at most.
exec sh "$(dirname "$0")/../../probes/installation.sh" system-stability "$@"
