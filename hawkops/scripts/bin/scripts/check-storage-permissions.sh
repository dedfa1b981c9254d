#!/bin/sh
# Looks at what may be read and written around the model, and at free space.
exec sh "$(dirname "$0")/../../probes/run.sh" storage "$@"
