#!/bin/sh
# Releases the app bundle on --track, the track's other releases untouched.
exec sh "$(dirname "$0")/../../probes/run.sh" play-deploy "$@"
