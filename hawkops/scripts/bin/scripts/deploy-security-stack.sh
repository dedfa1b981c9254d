#!/bin/sh
# Makes keys, signs the model, tightens rights; writes down what was applied.
exec sh "$(dirname "$0")/../../probes/installation.sh" security-stack "$@"
