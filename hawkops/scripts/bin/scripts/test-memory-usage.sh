#!/bin/sh
# Prints the peak memory of a LiteRT process in MB (10^6 bytes); fails above 2000.
exec sh "$(dirname "$0")/../../probes/run.sh" memory "$@"
