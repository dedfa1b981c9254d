#!/bin/sh
# Looks for memory that grows with every inference.
exec sh "$(dirname "$0")/../../probes/run.sh" memory-leaks "$@"
