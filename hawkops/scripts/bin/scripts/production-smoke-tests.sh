#!/bin/sh
# Asks the console and the gateway what a person and a device would ask.
exec sh "$(dirname "$0")/../../probes/installation.sh" smoke "$@"
