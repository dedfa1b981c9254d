#!/bin/sh
# Collects, hashes and signs the evidence of --incident-id.
exec sh "$(dirname "$0")/../../probes/installation.sh" security-evidence "$@"
