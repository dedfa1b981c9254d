#!/bin/sh
# Judges every connection, stored secret and key as it really is.
exec sh "$(dirname "$0")/../../probes/installation.sh" encryption "$@"
