#!/bin/sh
# Runs a check of this installation: `manage.py probe NAME`, with the Python that HAWKOPS_PYTHON names or the checkout's own.
root=$(cd "$(dirname "$0")/../../.." && pwd) || exit 1
python=${HAWKOPS_PYTHON:-}
if [ -z "$python" ]; then
    python=python3
    [ -x "$root/.venv/bin/python" ] && python=$root/.venv/bin/python
fi
exec "$python" "$root/manage.py" probe "$@"
