#!/bin/sh
# Writes every line of the validation as one page, with its JSON beside it: --output=FILE.html, or FILE.json alone.
exec sh "$(dirname "$0")/../../probes/installation.sh" validation-report "$@"
