#!/bin/sh
# Looks at everything once; made to be repeated every ten seconds.
exec sh "$(dirname "$0")/../../probes/installation.sh" system-health "$@"
