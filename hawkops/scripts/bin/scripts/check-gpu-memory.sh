#!/bin/sh
# Says how much GPU memory is in use.
exec sh "$(dirname "$0")/../../probes/run.sh" gpu-memory "$@"
