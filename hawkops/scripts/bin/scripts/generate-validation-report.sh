#!/bin/sh
# Writes every line of the validation as one page: --output=FILE.html.
exec sh "$(dirname "$0")/../../probes/installation.sh" validation-report "$@"
