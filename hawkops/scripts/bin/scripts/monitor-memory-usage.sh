#!/bin/sh
# Watches the memory of real inferences for --duration.
exec sh "$(dirname "$0")/../../probes/run.sh" watch-memory "$@"
