#!/bin/sh
# Prints prefill tokens per second on the NPU; fails below 5836.
exec sh "$(dirname "$0")/../../probes/run.sh" npu "$@"
