#!/bin/sh
# Judges whether what alerts on performance watch holds again.
exec sh "$(dirname "$0")/../../probes/installation.sh" performance-recovery "$@"
