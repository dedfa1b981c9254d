"""Gaps of the change history, step by step: a silence of the audit log is a reading like any other."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection

from hawkops.history.models import HistoryEntry
from monitoring.domain.windows import Window

_STEPS = f"""
SELECT floor(extract(epoch FROM at - %(since)s) / %(step)s)::int AS step,
       max(extract(epoch FROM at - coalesce(before, %(before)s, at)))::float8, max(at), count(*)
  FROM (SELECT at, lag(at) OVER (ORDER BY seq) AS before FROM {HistoryEntry._meta.db_table}
         WHERE at >= %(since)s AND at <= %(now)s) AS entries
 GROUP BY 1 ORDER BY 1
"""  # noqa: S608 - a table's name


@dataclass(frozen=True)
class HistoryGaps:
    """The longest silence that ended or lasted in each step, in seconds, and on how many entries that rests."""

    longest: list[float | None]
    entries: int
    last_at: datetime | None


def history_gaps(*, window: Window, now: datetime) -> HistoryGaps:
    """Return them for a window, up to `now`; None before the first entry ever and after `now`. Two queries."""
    before = HistoryEntry.objects.filter(at__lt=window.since).order_by("-at").values_list("at", flat=True).first()
    with connection.cursor() as cursor:
        cursor.execute(
            _STEPS,
            {"since": window.since, "step": window.step.total_seconds(), "before": before, "now": now},
        )
        found = {step: (seconds, last, many) for step, seconds, last, many in cursor.fetchall()}
    longest: list[float | None] = []
    last = before
    for step, begin in enumerate(window.starts()):
        ended, newest, _ = found.get(step, (None, None, 0))
        last = newest or last
        if last is None or begin > now:
            longest.append(None)
            continue
        lasting = (min(begin + window.step, now) - last).total_seconds()
        longest.append(max(lasting, ended or 0.0))
    last_at = max((newest.astimezone(UTC) for _, newest, _ in found.values()), default=before)
    return HistoryGaps(longest, sum(many for *_, many in found.values()), last_at)
