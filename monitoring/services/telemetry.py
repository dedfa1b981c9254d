"""Writes on stored telemetry besides the door's: what is too old goes."""

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.db import IntegrityError, connection, transaction
from django.db.models import F, Model

from hawkops.core import clock
from hawkops.core.environments import Environment
from monitoring.domain import panel
from monitoring.domain.affected import SLOT
from monitoring.domain.patterns import Source
from monitoring.models import (
    CumulativeStream,
    DeviceHour,
    DeviceHourCount,
    DeviceNote,
    DoorTotal,
    FoldedSeries,
    LogCursor,
    LogLine,
    PanelHour,
    PanelReport,
    PanelSlot,
    PatternSample,
    PayloadDigest,
)
from monitoring.selectors import devices
from monitoring.services import pruning

log = logging.getLogger(__name__)

KEEP_DIGESTS = timedelta(hours=1)
KEEP_DEVICE_HOURS = timedelta(days=8)
# naming nobody, for as long as a replay looks back
KEEP_DEVICE_COUNTS = timedelta(days=40)
HOUR = timedelta(hours=1)
# A group that began before the hour turned is committed, or given up, long before.
HOUR_SETTLES = timedelta(minutes=2)
# A cumulative stream silent for longer counts as new; its first point is then only a base line.
KEEP_STREAMS = timedelta(hours=48)
PANEL_PAYLOADS = 4_000
PANEL_SECONDS = 10.0
# where each part of a row stands in what waits
_AT = {name: f"o ->> {place}" for place, name in enumerate(panel.Row._fields)}
# what can't be true is cut to what can still be added up, so that no report stops the others
_TOTAL = f"greatest(0, least(({_AT['total']})::float8, 1e60))"
_PANEL_MERGE = f"""
WITH gone AS (
    DELETE FROM monitoring_panelreport WHERE id IN (
        SELECT id FROM monitoring_panelreport ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
    ) RETURNING *
), merged AS (
    INSERT INTO monitoring_panelhour AS p (environment, device_id, hour_at, metric, backend_actual, variant, outcome,
                                           device_class, simulated, count, total, low, high)
    SELECT environment, device_id, to_timestamp(({_AT["hours"]})::bigint * 3600), {_AT["metric"]}, {_AT["backend"]},
           {_AT["variant"]}, {_AT["outcome"]},
           max(device_class), bool_or(simulated), least(sum(({_AT["observations"]})::numeric), 2::numeric ^ 62)::bigint,
           sum(greatest(-1e60, least(({_AT["total"]})::float8, 1e60))), min(({_AT["low"]})::float8),
           max(({_AT["high"]})::float8)
      FROM gone, json_array_elements(observed::json) AS o
     GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT (environment, device_id, hour_at, metric, backend_actual, variant, outcome) DO UPDATE SET
      count = least(p.count::numeric + excluded.count, 2::numeric ^ 62)::bigint,
      total = greatest(-1e60, least(p.total, 1e60)) + excluded.total,
      low = least(p.low, excluded.low), high = greatest(p.high, excluded.high)
), slots AS (
    INSERT INTO monitoring_panelslot AS s (environment, slot_at, device_id, simulated, inferences, failed, crashes)
    SELECT environment, %s, device_id, bool_or(simulated),
           coalesce(sum({_TOTAL}) FILTER (WHERE {_AT["metric"]} = 'litert.inferences'), 0),
           coalesce(sum({_TOTAL}) FILTER (
             WHERE {_AT["metric"]} = 'litert.inferences' AND {_AT["outcome"]} NOT IN ('', 'ok')
                OR {_AT["metric"]} = 'litert.parity.checks' AND {_AT["outcome"]} = 'mismatch'), 0),
           coalesce(sum({_TOTAL}) FILTER (WHERE {_AT["metric"]} = 'app.crashes'), 0)
      FROM gone, json_array_elements(observed::json) AS o
     -- what a device kept back for hours says nothing of now
     WHERE ({_AT["hours"]})::bigint >= %s
     GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (environment, slot_at, device_id) DO UPDATE SET
      inferences = s.inferences + excluded.inferences, failed = s.failed + excluded.failed,
      crashes = s.crashes + excluded.crashes
)
SELECT count(*) FROM gone
"""  # noqa: S608 - constants only
KEEP_FOLDED = timedelta(days=1)
KEEP_PANEL = timedelta(days=8)
KEEP_SLOTS = timedelta(hours=1)
KEEP_NOTES = timedelta(days=8)
KEEP_TOTALS = timedelta(hours=48)
# A series may wait so long for its first row.
SERIES_NEW = timedelta(days=2)
SERIES_AT_ONCE = 200
SERIES_SECONDS = 10.0
# in no order, so that a budget that ends too soon leaves over others each time
_SERIES_OLD = "SELECT id FROM monitoring_series WHERE made_at < %s ORDER BY random()"
# Looked up series by series (that is what OFFSET 0 is for): joined, each batch would read all rows of all tiers. Who is
# writing a row of one holds it, and it is skipped.
_SERIES_DROP = """
DELETE FROM monitoring_series WHERE id IN (
    SELECT id FROM monitoring_series AS s
     WHERE id = ANY(%s) AND NOT EXISTS (SELECT FROM monitoring_rolluppartial WHERE series_id = s.id OFFSET 0)
       FOR UPDATE SKIP LOCKED
)
"""
# Reports that wait to be merged have no index, and a device may have sent any number of lines.
ERASE_SECONDS = 60
# Hour by hour, so that the index by environment, hour and device finds it in however large a fleet.
_DEVICE_HOURS_ERASE = """
DELETE FROM monitoring_devicehour
 WHERE environment = %(environment)s AND device_id = %(device_id)s AND hour_at = ANY(ARRAY(
    WITH RECURSIVE hours AS (
        SELECT min(hour_at) AS hour_at FROM monitoring_devicehour WHERE environment = %(environment)s
        UNION ALL
        SELECT (SELECT min(hour_at) FROM monitoring_devicehour
                 WHERE environment = %(environment)s AND hour_at > hours.hour_at)
          FROM hours WHERE hours.hour_at IS NOT NULL
    )
    SELECT hour_at FROM hours WHERE hour_at IS NOT NULL
 ))
"""


def digests_prune(*, now: datetime | None = None) -> int:
    """Forget payloads older than an hour: nobody sends them again."""
    return pruning.rows_drop(PayloadDigest, "seen_at", (now or clock.now()) - KEEP_DIGESTS)


def folded_prune(*, now: datetime | None = None) -> int:
    """Forget series that were folded and have not come again for a day."""
    return FoldedSeries.objects.filter(seen_at__lt=(now or clock.now()) - KEEP_FOLDED).delete()[0]


def device_hours_prune(*, now: datetime | None = None) -> int:
    """Drop which devices reported more than eight days ago, and how many they were more than forty days ago."""
    now = now or clock.now()
    DeviceHourCount.objects.filter(hour_at__lt=now - KEEP_DEVICE_COUNTS).delete()
    until = time.monotonic() + pruning.BUDGET_SECONDS
    return sum(
        pruning.rows_drop(DeviceHour, "hour_at", now - KEEP_DEVICE_HOURS, environment=environment.value, until=until)
        for environment in Environment
    )


def device_hours_sum(*, now: datetime | None = None, environments: Iterable[str] = tuple(Environment)) -> int:
    """Add up the devices of hours that are over; return how many hours of all environments. Twice does no harm."""
    last = (now or clock.now()).replace(minute=0, second=0, microsecond=0)
    if (now or clock.now()) - last < HOUR_SETTLES:
        last -= HOUR
    summed = 0
    for environment in environments:
        hours = DeviceHour.objects.filter(environment=environment, hour_at__lt=last)
        counted = DeviceHourCount.objects.filter(environment=environment).order_by("-hour_at").first()
        if counted is not None:
            hours = hours.filter(hour_at__gt=counted.hour_at)
        first = hours.order_by("hour_at").values_list("hour_at", flat=True).first()
        while first is not None and first < last:
            found = devices.hour_sums(environment, since=first, until=first + HOUR)
            DeviceHourCount.objects.bulk_create(found, ignore_conflicts=True)
            summed += bool(found)
            first += HOUR
    return summed


def device_hours_recount(environment: str, *, since: datetime) -> int:
    """Add up an environment's hours anew from the one that holds `since` on: a past was written that had been counted."""
    hour = since.replace(minute=0, second=0, microsecond=0)
    DeviceHourCount.objects.filter(environment=environment, hour_at__gte=hour).delete()
    return device_hours_sum(environments=[environment])


def panel_merge() -> int:
    """Move what the door wrote about the panel's devices into one row for each hour and series; return of how many payloads.

    One statement, so that a row is in exactly one of both tables; whoever runs it beside another takes other rows. What
    the budget leaves over waits for the next run.
    """
    until = time.monotonic() + PANEL_SECONDS
    moved, now = 0, int(clock.now().timestamp())
    width = int(SLOT.total_seconds())
    slot = datetime.fromtimestamp(now // width * width, tz=UTC)
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_PANEL_MERGE, [PANEL_PAYLOADS, slot, now // 3_600 - 1])
            many = int(cursor.fetchone()[0])
            moved += many
            if many < PANEL_PAYLOADS or time.monotonic() > until:
                return moved


def panel_prune(*, now: datetime | None = None) -> int:
    """Drop devices' own values of more than eight days ago."""
    return pruning.rows_drop(PanelHour, "hour_at", (now or clock.now()) - KEEP_PANEL)


def slots_prune(*, now: datetime | None = None) -> int:
    """Drop what is too old to say who is affected."""
    return pruning.rows_drop(PanelSlot, "slot_at", (now or clock.now()) - KEEP_SLOTS)


def streams_prune(*, now: datetime | None = None) -> int:
    """Forget cumulative streams that ended."""
    return pruning.rows_drop(CumulativeStream, "seen_at", (now or clock.now()) - KEEP_STREAMS)


def totals_prune(*, now: datetime | None = None) -> int:
    """Forget what the doors took and refused long ago."""
    return pruning.rows_drop(DoorTotal, "hour_at", (now or clock.now()) - KEEP_TOTALS)


def notes_prune(*, now: datetime | None = None) -> int:
    """Forget notes of devices long gone."""
    return pruning.rows_drop(DeviceNote, "received_at", (now or clock.now()) - KEEP_NOTES)


def series_prune(*, now: datetime | None = None) -> int:
    """Forget series of which no tier holds a row any more; return how many. What the budget leaves waits for tomorrow.

    A gateway that still knows the id of one is refused by the foreign key, forgets what it knows and makes it again.
    """
    until = time.monotonic() + SERIES_SECONDS
    dropped = 0
    with connection.cursor() as cursor:
        cursor.execute(_SERIES_OLD, [(now or clock.now()) - SERIES_NEW])
        old = [row[0] for row in cursor.fetchall()]
        for start in range(0, len(old), SERIES_AT_ONCE):
            if time.monotonic() > until:
                break
            try:
                with transaction.atomic():
                    cursor.execute(pruning.BY_INDEX)
                    cursor.execute(_SERIES_DROP, [old[start : start + SERIES_AT_ONCE]])
                    dropped += cursor.rowcount
            except IntegrityError as error:  # a row of one came between looking and deleting
                log.info("series.in_use_again: %s", error)
    return dropped


def device_erase(environment: str, device_id: str) -> int:
    """Delete every row that names a device; return how many.

    What is moved on by others goes before where they move it to: `panel_merge` then finds no report to merge, or has
    merged it where it is found, and a scan that has read the device's lines is sent to read again before it may keep
    samples of them. What the device reports from now on is kept again.
    """
    erased: int = 0
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{ERASE_SECONDS}s'")
        erased += _device_rows(PanelReport, environment, device_id)
        LogCursor.objects.filter(source=Source.DEVICE_LOGS.value, environment=environment).update(
            revision=F("revision") + 1
        )
        erased += _device_rows(LogLine, environment, device_id)
        erased += _device_rows(PatternSample, environment, device_id)
        # these the door writes too, in this order
        cursor.execute(_DEVICE_HOURS_ERASE, {"environment": environment, "device_id": device_id})
        erased += int(cursor.rowcount)
        erased += _device_rows(DeviceNote, environment, device_id)
        erased += _device_rows(PanelHour, environment, device_id)
        erased += _device_rows(PanelSlot, environment, device_id)
        cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
    return erased


def _device_rows(table: type[Model], environment: str, device_id: str) -> int:
    rows: int = table._default_manager.filter(environment=environment, device_id=device_id).delete()[0]
    return rows
