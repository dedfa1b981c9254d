"""Writes on log lines besides the door's: what is too old, or too much, goes."""

from datetime import datetime, timedelta

from hawkops.core import clock
from hawkops.core.environments import Environment
from monitoring.models import LogLine

KEEP_LINES = timedelta(days=14)
LINES_MOST = 1_000_000
PRUNE_ROWS = 20_000


def lines_prune(*, now: datetime | None = None, most: int = LINES_MOST) -> int:
    """Drop lines past their retention and, of an environment with more than `most`, the oldest; some at a time."""
    old = LogLine.objects.filter(received_at__lt=(now or clock.now()) - KEEP_LINES).order_by("received_at")
    gone = _drop([*old.values_list("pk", flat=True)[:PRUNE_ROWS]])
    for environment in Environment:
        newest = LogLine.objects.filter(environment=environment.value).order_by("-id")
        gone += _drop([*newest.values_list("pk", flat=True)[most : most + PRUNE_ROWS]])
    return gone


def _drop(ids: list[int]) -> int:
    return LogLine.objects.filter(pk__in=ids).delete()[0] if ids else 0
