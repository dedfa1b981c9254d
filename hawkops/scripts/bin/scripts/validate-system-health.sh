#!/bin/sh
# Judges the system's numbers; --comprehensive: health checks, security and alerts too.
exec sh "$(dirname "$0")/../../probes/installation.sh" validate-system "$@"
