#!/bin/sh
# Judges users' numbers, looking back for --duration.
exec sh "$(dirname "$0")/../../probes/installation.sh" validate-users "$@"
