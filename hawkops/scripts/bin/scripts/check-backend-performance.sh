#!/bin/sh
# Judges each backend's telemetry and names the affected one.
exec sh "$(dirname "$0")/../../probes/installation.sh" backend-performance "$@"
