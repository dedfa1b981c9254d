#!/bin/sh
# Looks at the model's files and verifies their signature.
exec sh "$(dirname "$0")/../../probes/run.sh" check-model "$@"
