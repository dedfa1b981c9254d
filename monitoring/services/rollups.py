"""Rollups move up: each tier takes over the finer rows once, whoever runs this, and however it is killed."""

import time
from datetime import datetime
from itertools import pairwise
from typing import Any

from django.db import OperationalError, connection, transaction

from hawkops.core import clock
from monitoring.domain.copying import COLUMNS, GATE, RollupRow, binary, binary_with_ids
from monitoring.domain.sketch import Sketch
from monitoring.domain.tiers import HOUR, TIERS, Tier
from monitoring.models import RolledUp

ROWS_AT_ONCE = 20_000
BUDGET_SECONDS = 20.0
AHEAD = 2
NEVER_ROLLED = 2**62
_FRESH = """
SELECT id, series_id, extract(epoch FROM bucket_at)::bigint, count, total, squares, low, high, buckets
  FROM monitoring_rolluppartial WHERE width_seconds = %s AND id > %s AND id <= %s ORDER BY id LIMIT %s
"""
_GONE = "DELETE FROM monitoring_rolluppartial WHERE width_seconds = %s AND id = ANY(%s)"
_COPY = f"COPY monitoring_rolluppartial ({COLUMNS}) FROM STDIN (FORMAT BINARY)"
_COPY_WITH_IDS = f"COPY monitoring_rolluppartial (id, {COLUMNS}) FROM STDIN (FORMAT BINARY)"
_KEEP = "SELECT made, dropped FROM monitoring_partitions_keep(%s, %s, %s, %s, %s, %s)"


def rollups_move_up(*, widest: Tier = HOUR, budget_seconds: float = BUDGET_SECONDS) -> int:
    """Let the tiers up to `widest` take over what the finer one gained; return how many rows were read.

    A row that many processes wrote in pieces becomes one on the way. What the budget leaves over waits for the next run.
    """
    stop_at = time.monotonic() + budget_seconds
    read = 0
    for narrow, wide in pairwise(TIERS):
        if wide.width > widest.width:
            break
        while time.monotonic() < stop_at:
            many = _take_over(narrow, wide)
            read += many
            if many < ROWS_AT_ONCE:
                break
    return read


def _take_over(narrow: Tier, wide: Tier) -> int:
    settled = _settled()
    RolledUp.objects.bulk_create([RolledUp(width_seconds=wide.width, rolled_id=0)], ignore_conflicts=True)
    with transaction.atomic(), connection.cursor() as cursor:
        mark = RolledUp.objects.select_for_update().get(width_seconds=wide.width)
        cursor.execute(f"SELECT pg_advisory_xact_lock_shared({GATE})")
        cursor.execute(_FRESH, [narrow.width, mark.rolled_id, settled, ROWS_AT_ONCE])
        rows = cursor.fetchall()
        if rows:
            pieces: dict[tuple[int, int], list[Any]] = {}
            for row in rows:
                pieces.setdefault((row[1], row[2]), []).append(row)
            _join_pieces(cursor, narrow, pieces)
            wider: dict[tuple[int, int], list[Any]] = {}
            for (series, bucket), found in pieces.items():
                wider.setdefault((series, bucket // wide.width * wide.width), []).extend(found)
            _copy(cursor, _COPY, binary(_merged(place, wide, found) for place, found in wider.items()))
        reached = rows[-1][0] if len(rows) == ROWS_AT_ONCE else settled
        if reached > mark.rolled_id:
            mark.rolled_id = reached
            mark.save(update_fields=["rolled_id"])
    return len(rows)


def _settled() -> int:
    """Return the highest row id up to which every transaction has ended: nobody can still commit one below.

    Writers hold the gate shared from before their first id to their commit; whoever has it alone sees none under way.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({GATE})")
        try:
            cursor.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM monitoring_rollup_id_seq")
            return int(cursor.fetchone()[0])
        finally:
            cursor.execute(f"SELECT pg_advisory_unlock({GATE})")


def _join_pieces(cursor: Any, tier: Tier, pieces: dict[tuple[int, int], list[Any]]) -> None:
    """Put one row in the place of those that hold the same bucket of the same series, under the lowest of their ids."""
    several = {place: found for place, found in pieces.items() if len(found) > 1}
    if not several:
        return
    cursor.execute(_GONE, [tier.width, [row[0] for found in several.values() for row in found]])
    joined = ((min(row[0] for row in found), _merged(place, tier, found)) for place, found in several.items())
    _copy(cursor, _COPY_WITH_IDS, binary_with_ids(joined))


def _merged(place: tuple[int, int], tier: Tier, rows: list[Any]) -> RollupRow:
    series, bucket = place
    if len(rows) == 1:
        _, _, _, count, total, squares, low, high, buckets = rows[0]
        return series, bucket, tier.width, count, total, squares, low, high, bytes(buckets)
    sketch = Sketch()
    for row in rows:
        sketch.merge_row(*row[3:])
    summary = (sketch.count, sketch.total, sketch.squares, sketch.low, sketch.high)
    return series, bucket, tier.width, *summary, sketch.buckets_bytes()


def _copy(cursor: Any, statement: str, data: bytes) -> None:
    with cursor.copy(statement) as copy:
        copy.write(data)


def partitions_keep(*, now: datetime | None = None) -> tuple[int, int]:
    """Make the partitions that will be needed and drop what is past its time; return how many of each.

    A partition with rows that the next tier has not taken over stays. A lock that is busy for 2 s is left to the next run.
    """
    now = now or clock.now()
    marks = dict(RolledUp.objects.values_list("width_seconds", "rolled_id"))
    made = dropped = 0
    for tier, wide in zip(TIERS, (*TIERS[1:], None), strict=True):
        rolled = marks.get(wide.width, 0) if wide else NEVER_ROLLED
        spans = [int(span.total_seconds()) for span in (tier.partition, tier.keep)]
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(_KEEP, [tier.width, *spans, now, AHEAD, rolled])
                made, dropped = (one + more for one, more in zip((made, dropped), cursor.fetchone(), strict=True))
                other = f"monitoring_rollup_{tier.width}_other"
                cursor.execute(
                    f"DELETE FROM {other} WHERE bucket_at < %s AND id <= %s",  # noqa: S608 - a constant
                    [now - tier.keep, rolled],
                )
        except OperationalError:
            continue
    return made, dropped
