#!/bin/sh
# The benchmark: six lines. --environment=production|staging|demo --duration=60m
exec sh "$(dirname "$0")/../probes/run.sh" performance "$@"
