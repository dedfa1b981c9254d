#!/bin/sh
# Checks the manifest and asks every part of monitoring whether it lives.
exec sh "$(dirname "$0")/../../probes/installation.sh" monitoring-stack "$@"
