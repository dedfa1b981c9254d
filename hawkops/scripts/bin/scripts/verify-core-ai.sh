#!/bin/sh
# Asks cloud AI and the local model for an answer each.
exec sh "$(dirname "$0")/../../probes/run.sh" core-ai "$@"
