#!/bin/sh
# Runs a probe with a Python that has LiteRT: HAWKOPS_PYTHON, else python3, else the checkout's own.
root=$(cd "$(dirname "$0")/../../.." && pwd) || exit 1
python=${HAWKOPS_PYTHON:-python3}
has_litert='import importlib.util, sys; sys.exit(importlib.util.find_spec("litert_lm") is None)'
if [ -z "${HAWKOPS_PYTHON:-}" ] && ! "$python" -c "$has_litert" 2>/dev/null && [ -x "$root/.venv/bin/python" ]; then
    python=$root/.venv/bin/python
fi
PYTHONPATH=$root exec "$python" -m hawkops.scripts.probes "$@"
