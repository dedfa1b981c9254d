#!/bin/sh
# Judges what users say and do: --metrics=satisfaction,engagement.
exec sh "$(dirname "$0")/../../probes/installation.sh" user-experience "$@"
