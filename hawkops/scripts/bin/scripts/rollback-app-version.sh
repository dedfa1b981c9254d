#!/bin/sh
# Halts --track; installed devices keep the build they have.
exec sh "$(dirname "$0")/../../probes/run.sh" play-rollback "$@"
