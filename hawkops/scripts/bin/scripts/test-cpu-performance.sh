#!/bin/sh
# Prints prefill tokens per second on the CPU; fails below 243.
exec sh "$(dirname "$0")/../../probes/run.sh" cpu "$@"
