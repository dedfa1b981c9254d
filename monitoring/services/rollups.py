"""Rollups move up: each tier takes over the finer rows once, whoever runs this, and however it is killed."""

import logging
import math
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db import OperationalError, connection, transaction

from hawkops.core import clock
from monitoring.domain.copying import COLUMNS, GATE, RollupRow, binary, binary_with_ids
from monitoring.domain.merging import Flaws, StoredRow, merged
from monitoring.domain.sketch import Sketch
from monitoring.domain.tiers import HOUR, TIERS, Tier
from monitoring.models import RolledUp
from monitoring.services import pruning

log = logging.getLogger(__name__)

# Of one transaction: merging this much in Python takes about a second.
ROWS_AT_ONCE = 10_000
BYTES_AT_ONCE = 4_000_000
BUDGET_SECONDS = 20.0
# A roller idles in its transaction while it merges. Only another roller waits for what it holds then, and a partition
# that is to be dropped, for two seconds at most.
MERGE_SECONDS = 20
SETTLE_SECONDS = 8.0
SETTLE_LOOK_SECONDS = 0.01
FLAWS_NAMED = 20
# A worker that is away for a night finds its partitions made; later rows stand beside them until it is back.
AHEAD = timedelta(hours=12)
AHEAD_LEAST = 2
# of rows that stand beside: as many as go into their partition while writers can wait for it
MOVED_MOST = 100_000
# Attaching a partition reads the rows beside, however many they are; not to wait for it would leave them the only place.
KEEP_SECONDS = 30
NEVER_ROLLED = 2**62
_FRESH = """
SELECT id, series_id, bucket, count, total, squares, low, high, buckets, waiting FROM (
    SELECT *, sum(octet_length(buckets)) OVER (ORDER BY id) - octet_length(buckets) AS before, count(*) OVER () AS waiting
      FROM (
        SELECT id, series_id, extract(epoch FROM bucket_at)::bigint AS bucket, count, total, squares, low, high, buckets
          FROM monitoring_rolluppartial WHERE width_seconds = %s AND id > %s AND id <= %s ORDER BY id LIMIT %s
      ) AS next
) AS weighed WHERE before < %s ORDER BY id
"""
_STANDING = """
SELECT id, series_id, extract(epoch FROM bucket_at)::bigint, count, total, squares, low, high, buckets
  FROM monitoring_rolluppartial
 WHERE width_seconds = %s AND series_id = ANY(%s)
   AND bucket_at = ANY(SELECT to_timestamp(unnest(%s::bigint[])))
"""
_GONE = "DELETE FROM monitoring_rolluppartial WHERE width_seconds = %s AND id = ANY(%s)"
_COPY = f"COPY monitoring_rolluppartial ({COLUMNS}) FROM STDIN (FORMAT BINARY)"
_COPY_WITH_IDS = f"COPY monitoring_rolluppartial (id, {COLUMNS}) FROM STDIN (FORMAT BINARY)"
_MAKE = "SELECT monitoring_partition_make(%s, %s, %s, %s)"
_DROP = "SELECT monitoring_partition_drop(%s, %s, %s, %s, %s, %s)"
_PARTS = """
SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
 WHERE i.inhparent = %s::regclass AND c.relname ~ '_[0-9]+$'
"""
_OTHERS_DROP = """
WITH next AS MATERIALIZED (
    SELECT ctid AS place, id, bucket_at FROM {other} WHERE id > %(after)s AND id <= %(rolled)s ORDER BY id LIMIT %(most)s
), gone AS (
    DELETE FROM {other} WHERE ctid = ANY(ARRAY(SELECT place FROM next WHERE bucket_at < %(limit)s))
)
SELECT count(*), coalesce(max(id), 0) FROM next
"""
_LAST_ID = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM monitoring_rollup_id_seq"
# Rows of our own transaction, if this runs inside one, are seen by it anyway.
_UNDER_WAY = f"""
SELECT virtualtransaction FROM pg_locks
 WHERE locktype = 'advisory' AND classid = {GATE >> 32} AND objid = {GATE & 0xFFFFFFFF} AND objsubid = 1
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()
"""  # noqa: S608 - constants only

# series, start of the bucket in seconds since 1970
Place = tuple[int, int]


def rollups_move_up(*, widest: Tier = HOUR, budget_seconds: float = BUDGET_SECONDS) -> int:
    """Let the tiers up to `widest` take over what the finer one gained; return how many rows were read.

    A row that many processes wrote in pieces becomes one on the way. What the budget leaves over waits for the next run.
    """
    stop_at = time.monotonic() + budget_seconds
    read = 0
    for narrow, wide in pairwise(TIERS):
        if wide.width > widest.width:
            break
        more = True
        while more and time.monotonic() < stop_at:
            try:
                many, more = _take_over(narrow, wide)
            except OperationalError as error:  # too slow, or cut off: the wider tiers go on with what they have
                log.warning("rollups.not_moved: %d s to %d s: %s", narrow.width, wide.width, error)
                connection.close_if_unusable_or_obsolete()
                break
            read += many
    return read


def _take_over(narrow: Tier, wide: Tier) -> tuple[int, bool]:
    """Take over one batch; return how many rows that were, and whether more wait."""
    settled = _settled()
    if settled is None:
        return 0, False
    RolledUp.objects.bulk_create([RolledUp(width_seconds=wide.width, rolled_id=0)], ignore_conflicts=True)
    with transaction.atomic(), connection.cursor() as cursor:
        mark = RolledUp.objects.select_for_update(skip_locked=True).filter(width_seconds=wide.width).first()
        if mark is None:  # another roller is at this tier
            return 0, False
        cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{MERGE_SECONDS}s'")
        cursor.execute(pruning.BY_INDEX)
        cursor.execute(_FRESH, [narrow.width, mark.rolled_id, settled, ROWS_AT_ONCE, BYTES_AT_ONCE])
        found = cursor.fetchall()
        rows = [StoredRow(*row[:-1]) for row in found]
        more = bool(found) and (found[0][-1] > len(rows) or len(rows) == ROWS_AT_ONCE)
        if rows:
            _move(cursor, narrow, wide, rows)
        reached = rows[-1].key if more else settled
        if reached > mark.rolled_id:
            mark.rolled_id = reached
            mark.save(update_fields=["rolled_id"])
    return len(rows), more


def _settled() -> int | None:
    """Return the highest row id up to which every transaction has ended; None when one does not end in time.

    A mark may pass an id only when nobody can still commit a row at or below it, and this is why nobody can. Whoever
    draws an id holds the gate, shared, from before that until its transaction ends, and a commit is visible before its
    locks are gone. So whoever drew an id up to the last one, read first, has ended already or is seen under way by the
    look that follows; once each of those is gone, all such rows are visible to the next statement or will never be.
    Whoever comes later draws a higher id. Nobody takes the gate alone: a writer never waits for a roller.
    """
    until = time.monotonic() + SETTLE_SECONDS
    with connection.cursor() as cursor:
        cursor.execute(_LAST_ID)
        last = int(cursor.fetchone()[0])
        cursor.execute(_UNDER_WAY)
        under_way = set(cursor.fetchall())
        while under_way:
            if time.monotonic() > until:
                log.warning("rollups.not_settled: a writer has been under way for over %.0f s", SETTLE_SECONDS)
                return None
            time.sleep(SETTLE_LOOK_SECONDS)
            cursor.execute(_UNDER_WAY)
            under_way &= set(cursor.fetchall())
    return last


def _move(cursor: Any, narrow: Tier, wide: Tier, rows: list[StoredRow]) -> None:
    """Write what the rows come to into the wider tier, and join the pieces of each bucket in theirs."""
    flaws: Flaws = {}
    joined, pieces = _joined(narrow, rows, flaws)
    wider: dict[Place, list[StoredRow]] = {}
    for row in rows:
        wider.setdefault((row.series_id, row.bucket // wide.width * wide.width), []).append(row)
    # no mark counts the widest tier's ids, so what stands there is replaced instead of getting another piece
    standing = _standing(cursor, wide, wider) if wide is TIERS[-1] else []
    for row in standing:
        wider[row.series_id, row.bucket].append(row)
    summed = []
    for place, found in wider.items():
        sketch, wrong = merged(found)
        flaws |= wrong
        if sketch.count:
            summed.append(_row(place, wide, sketch))
    replaced = [row.key for row in standing if row.key not in flaws]
    if pieces:
        cursor.execute(_GONE, [narrow.width, pieces])
        _copy(cursor, _COPY_WITH_IDS, binary_with_ids(joined))
    if replaced:
        cursor.execute(_GONE, [wide.width, replaced])
    # only now, with nothing left to do but to write: who settles the next tier waits for us
    cursor.execute(f"SELECT pg_advisory_xact_lock_shared({GATE})")
    _copy(cursor, _COPY, binary(summed))
    if flaws:
        _report([row for row in (*rows, *standing) if row.key in flaws], flaws, narrow, wide)


def _joined(tier: Tier, rows: list[StoredRow], flaws: Flaws) -> tuple[list[tuple[int, RollupRow]], list[int]]:
    """Return one row, under the lowest of their ids, for those that hold the same bucket of the same series; and the
    ids of all these. What has a flaw stays as it is."""
    places: dict[Place, list[StoredRow]] = {}
    for row in rows:
        places.setdefault((row.series_id, row.bucket), []).append(row)
    joined, pieces = [], []
    for place, found in places.items():
        if len(found) < 2:
            continue
        sketch, wrong = merged(found)
        flaws |= wrong
        keys = [row.key for row in found if row.key not in wrong]
        if len(keys) > 1:
            joined.append((min(keys), _row(place, tier, sketch)))
            pieces += keys
    return joined, pieces


def _standing(cursor: Any, tier: Tier, places: Iterable[Place]) -> list[StoredRow]:
    """Return what stands in these places. Only who holds the tier's mark writes there, so it can't change meanwhile."""
    wanted = set(places)
    series, buckets = {series for series, _ in wanted}, {bucket for _, bucket in wanted}
    cursor.execute(_STANDING, [tier.width, sorted(series), sorted(buckets)])
    found = (StoredRow(*row) for row in cursor.fetchall())
    return [row for row in found if (row.series_id, row.bucket) in wanted]


def _row(place: Place, tier: Tier, sketch: Sketch) -> RollupRow:
    summary = (sketch.count, sketch.total, sketch.squares, sketch.low, sketch.high)
    return *place, tier.width, *summary, sketch.buckets_bytes()


def _report(rows: list[StoredRow], flaws: Flaws, narrow: Tier, wide: Tier) -> None:
    named = [f"row {row.key} of series {row.series_id} at {row.bucket}: {flaws[row.key]}" for row in rows[:FLAWS_NAMED]]
    log.error(
        "rollups.set_aside: %d rows can't be true. They stay where they are until their time is over and are missing"
        " from what moved from %d s to %d s. Find out who sent them: %s%s",
        len(rows),
        narrow.width,
        wide.width,
        "; ".join(named),
        "; …" if len(rows) > len(named) else "",
    )


def _copy(cursor: Any, statement: str, data: bytes) -> None:
    with cursor.copy(statement) as copy:
        copy.write(data)


def partitions_keep(*, now: datetime | None = None) -> tuple[int, int]:
    """Make the partitions that will be needed and drop what is past its time; return how many of each.

    A partition with rows that the next tier has not taken over stays. What fails is named and left to the next run.
    """
    now = now or clock.now()
    marks = dict(RolledUp.objects.values_list("width_seconds", "rolled_id"))
    made = dropped = 0
    for tier, wide in zip(TIERS, (*TIERS[1:], None), strict=True):
        rolled = marks.get(wide.width, 0) if wide else NEVER_ROLLED
        span, keep = (int(length.total_seconds()) for length in (tier.partition, tier.keep))
        begins = int(now.timestamp()) // span * span
        ahead = max(AHEAD_LEAST, math.ceil(AHEAD / tier.partition))
        # the latest first: nothing is to be moved into it, so it succeeds even when the one under way can't
        for place in range(begins + ahead * span, begins - span, -span):
            made += _kept(tier, place, _MAKE, [tier.width, span, place, MOVED_MOST]) == "made"
        for place in _places(tier):
            if place + span + keep <= now.timestamp():
                dropped += _kept(tier, place, _DROP, [tier.width, span, place, keep, now, rolled]) is True
        _others_drop(tier, limit=now - tier.keep, rolled=rolled)
    return made, dropped


def _kept(tier: Tier, place: int, statement: str, given: list[Any]) -> object:
    """Make or drop one partition in a transaction of its own and return what came of it; None when it failed."""
    part = f"monitoring_rollup_{tier.width}_{place}"
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{KEEP_SECONDS}s'")
            cursor.execute(statement, given)
            came = cursor.fetchone()[0]
    except OperationalError as error:
        log.warning("partitions.not_kept: %s: %s", part, error)
        connection.close_if_unusable_or_obsolete()
        return None
    if came == "crowded":
        log.warning("partitions.crowded: %s is not made; its rows stay beside until their time is over", part)
    return came


def _places(tier: Tier) -> list[int]:
    """Return where the partitions of a tier begin, in seconds since 1970."""
    with connection.cursor() as cursor:
        cursor.execute(_PARTS, [f"monitoring_rollup_{tier.width}"])
        return sorted(int(row[0].rpartition("_")[2]) for row in cursor.fetchall())


def _others_drop(tier: Tier, *, limit: datetime, rolled: int) -> None:
    """Delete what is past its time among the rows that came when there was no partition for them."""
    until = time.monotonic() + pruning.BUDGET_SECONDS
    given: dict[str, Any] = {"limit": limit, "rolled": rolled, "most": pruning.ROWS_AT_ONCE, "after": 0}
    statement = _OTHERS_DROP.format(other=f"monitoring_rollup_{tier.width}_other")
    try:
        many = pruning.ROWS_AT_ONCE
        while many == pruning.ROWS_AT_ONCE and time.monotonic() < until:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(pruning.BY_INDEX)
                cursor.execute(statement, given)
                many, given["after"] = cursor.fetchone()
    except OperationalError as error:
        log.warning("partitions.others_not_dropped: the %d s tier: %s", tier.width, error)
        connection.close_if_unusable_or_obsolete()
