"""Stored rollups, read from one tier and whatever it has not taken over yet: each observation once, in one statement."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from django.db import connection

from monitoring.domain.grid import Rows
from monitoring.domain.sketch import Sketch
from monitoring.domain.tiers import FINEST, TEN_MINUTES, TIERS, Tier, finer, tier_for, tier_of_span
from monitoring.models import RolledUp

QUICK_TRIES = 3
_TABLE = "monitoring_rolluppartial"
_ROWS = f"""
SELECT series_id, bucket_at, count, total, squares, low, high, buckets
  FROM {_TABLE} WHERE width_seconds = {{width}} AND series_id = ANY(%(series)s)
   AND bucket_at >= %(since)s AND bucket_at < %(until)s{{fresh}}
"""  # noqa: S608 - constants only
# all rows of a series in two values, as `grid.FACTS` reads them: a row each would cost more to take over than to read
_PACKED = """
SELECT series_id, 0::bigint AS rolled_id, string_agg(
         int8send(extract(epoch FROM bucket_at)::bigint) || int8send(count) || float8send(total) || float8send(squares)
         || float8send(low) || float8send(high) || int4send(octet_length(buckets)), ''::bytea),
       string_agg(buckets, ''::bytea)
  FROM ({rows}) AS rows GROUP BY series_id
UNION ALL SELECT -width_seconds, rolled_id, NULL, NULL FROM monitoring_rolledup
"""
# no row can make it fail: what can't be true is cut to what can still be added up
_SUMS = """
SELECT series_id, 0::bigint AS rolled_id, least(sum(count), 4611686018427387904)::bigint,
       sum(greatest(-1e60, least(total, 1e60))), sum(greatest(-1e60, least(squares, 1e60))), min(low), max(high)
  FROM ({rows}) AS rows GROUP BY series_id
UNION ALL SELECT -width_seconds, rolled_id, 0, 0, 0, 0, 0 FROM monitoring_rolledup
"""
_MOMENTS = """
SELECT DISTINCT 0::bigint AS series_id, 0::bigint AS rolled_id, bucket_at FROM ({rows}) AS rows
UNION ALL SELECT -width_seconds, rolled_id, NULL FROM monitoring_rolledup
"""
_MARK_NOW = "coalesce((SELECT rolled_id FROM monitoring_rolledup WHERE width_seconds = {}), 0)"
_NEWEST = f"""
SELECT wanted.id, newest.bucket_at FROM unnest(%s::bigint[]) AS wanted(id), LATERAL (
    SELECT bucket_at FROM {_TABLE} WHERE width_seconds = %s AND series_id = wanted.id ORDER BY bucket_at DESC LIMIT 1
) AS newest
"""  # noqa: S608 - constants only


@dataclass(frozen=True)
class Span:
    """What is read: some series, from `since` up to, not including, `until`, from one tier."""

    series: Sequence[int]
    since: datetime
    until: datetime
    tier: Tier


def steps_of(series: Collection[int], *, since: datetime, until: datetime, step: timedelta, now: datetime) -> Span:
    """Return what to read for a chart with steps of that width."""
    return Span(sorted(series), since, until, tier_for(step=step, since=since, now=now))


def window_of(series: Collection[int], *, since: datetime, until: datetime, now: datetime) -> Span:
    """Return what to read for one number over a window: to a fifteenth of the window or better."""
    tier = tier_of_span(until - since, since=since, now=now)
    floor = datetime.fromtimestamp(int(since.timestamp()) // tier.width * tier.width, tz=UTC)
    return Span(sorted(series), floor, until, tier)


def rows(span: Span) -> dict[int, Rows]:
    """Return the stored rows of each series with data."""
    return {row[0]: Rows.packed(row[2], row[3]) for row in _read(span, _PACKED)}


def sums(span: Span) -> dict[int, Sketch]:
    """Return all rows of each series with data added up, without buckets."""
    return {row[0]: Sketch(*row[2:]) for row in _read(span, _SUMS)}


def moments(span: Span) -> list[datetime]:
    """Return where each bucket with data begins, of all series together, in no order and to no width: finer rows too."""
    return [row[2] for row in _read(span, _MOMENTS)]


def newest(series: Iterable[int]) -> dict[int, datetime]:
    """Return when the newest bucket of each series began: to ten seconds, to ten minutes where it is hours old."""
    wanted = set(series)
    found: dict[int, datetime] = {}
    for tier in (FINEST, TEN_MINUTES, TIERS[-1]):
        left = sorted(wanted - found.keys())
        if left:
            with connection.cursor() as cursor:
                cursor.execute(_NEWEST, [left, tier.width])
                found.update(dict(cursor.fetchall()))
    return found


def _read(span: Span, query: str) -> list[Any]:
    """Read, and again when a rollup moved rows between learning its marks and reading by them.

    Who is overtaken every time looks the marks up in the same statement: slower to plan, and right at once.
    """
    if not span.series:
        return []
    marks = dict(RolledUp.objects.values_list("width_seconds", "rolled_id"))
    for _ in range(QUICK_TRIES):
        found = _execute(query.format(rows=_union(span, marks)), span)
        seen = {-row[0]: row[1] for row in found if row[0] < 0}
        if seen == marks:
            break
        marks = seen
    else:
        found = _execute(query.format(rows=_union(span, None)), span)
    return [row for row in found if row[0] >= 0]


def _union(span: Span, marks: dict[int, int] | None) -> str:
    parts = [_ROWS.format(width=span.tier.width, fresh="")]
    above = span.tier
    for tier in finer(span.tier):
        # numbers, not parameters: the planner then knows how few rows are beyond the mark
        mark = _MARK_NOW.format(above.width) if marks is None else int(marks.get(above.width, 0))
        parts.append(_ROWS.format(width=tier.width, fresh=f" AND id > {mark}"))
        above = tier
    return " UNION ALL ".join(parts)


def _execute(statement: str, span: Span) -> list[Any]:
    connection.ensure_connection()
    # psycopg's own cursor: rows arrive in binary form, so that buckets need no decoding
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(
            statement.encode(),
            {"series": list(span.series), "since": span.since, "until": span.until},
            binary=True,
        )
        return cursor.fetchall()
