#!/bin/sh
# Judges performance, by --threshold-file when one is named.
exec sh "$(dirname "$0")/../../probes/installation.sh" validate-performance "$@"
