#!/bin/sh
# Prints prefill tokens per second on the GPU; 0 and exit 77 without one, software GPUs included.
exec sh "$(dirname "$0")/../../probes/run.sh" gpu "$@"
