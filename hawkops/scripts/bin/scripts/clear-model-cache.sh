#!/bin/sh
# Moves what LiteRT cached into quarantine; needs --force.
exec sh "$(dirname "$0")/../../probes/run.sh" clear-cache "$@"
