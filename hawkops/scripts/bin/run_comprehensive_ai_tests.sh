#!/bin/sh
# All AI workflows, error handling and graceful degradation, each provoked for real.
exec sh "$(dirname "$0")/../probes/run.sh" comprehensive-ai "$@"
