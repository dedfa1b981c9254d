#!/bin/sh
# Names the GPU and its driver.
exec sh "$(dirname "$0")/../../probes/run.sh" gpu-drivers "$@"
