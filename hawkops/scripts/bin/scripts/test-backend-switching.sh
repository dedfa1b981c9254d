#!/bin/sh
# Prints the mean time of a backend switch in ms, to the first token; fails above 500.
exec sh "$(dirname "$0")/../../probes/run.sh" switching "$@"
