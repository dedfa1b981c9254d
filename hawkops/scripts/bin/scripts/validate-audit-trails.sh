#!/bin/sh
# Verifies the change history and the database's refusal to alter it.
exec sh "$(dirname "$0")/../../probes/installation.sh" audit-trails "$@"
