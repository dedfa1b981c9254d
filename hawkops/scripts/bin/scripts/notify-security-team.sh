#!/bin/sh
# Tells the security team through every channel that is set.
exec sh "$(dirname "$0")/../../probes/installation.sh" notify-security "$@"
