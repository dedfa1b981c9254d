#!/bin/sh
# Verifies the signature of the model that this environment runs.
exec sh "$(dirname "$0")/../../probes/run.sh" model-integrity "$@"
