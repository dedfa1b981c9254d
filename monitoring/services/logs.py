"""Writes on log lines besides the door's: what is too old, or too much, goes."""

import time
from datetime import datetime, timedelta

from django.db import connection, transaction

from hawkops.core import clock
from hawkops.core.environments import Environment
from monitoring.models import LogLine
from monitoring.services import pruning

KEEP_LINES = timedelta(days=14)
LINES_MOST = 1_000_000
# Counting off the newest million takes longer than other statements may when their pages are not in memory.
SURPLUS_SECONDS = 20
_SURPLUS = "SELECT id FROM monitoring_logline WHERE environment = %s ORDER BY id DESC OFFSET %s LIMIT 1"


def lines_prune(*, now: datetime | None = None, most: int = LINES_MOST) -> int:
    """Drop lines past their retention and, of an environment with more than `most`, the oldest ones.

    All of them, unless the budget ends before; then the next run goes on.
    """
    until = time.monotonic() + pruning.BUDGET_SECONDS
    gone = pruning.rows_drop(LogLine, "received_at", (now or clock.now()) - KEEP_LINES, until=until)
    for environment in Environment:
        surplus = _surplus(environment.value, most)
        if surplus is not None:
            gone += pruning.rows_drop(LogLine, "id", surplus + 1, environment=environment.value, until=until)
    return gone


def _surplus(environment: str, most: int) -> int | None:
    """Return the newest line that is too many; None when there is none."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{SURPLUS_SECONDS}s'")
        cursor.execute(_SURPLUS, [environment, most])
        found = cursor.fetchone()
    return int(found[0]) if found else None
