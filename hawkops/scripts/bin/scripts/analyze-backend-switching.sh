#!/bin/sh
# Judges how often backends switch, and lists who does; --last-1h.
exec sh "$(dirname "$0")/../../probes/installation.sh" backend-switching "$@"
