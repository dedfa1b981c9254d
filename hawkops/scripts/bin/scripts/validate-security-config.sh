#!/bin/sh
# Compares the security configuration with what was applied.
exec sh "$(dirname "$0")/../../probes/installation.sh" security-configuration "$@"
