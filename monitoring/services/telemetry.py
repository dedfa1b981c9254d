"""Writes on stored telemetry besides the door's: what is too old goes."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import connection

from hawkops.core import clock
from hawkops.core.environments import Environment
from monitoring.models import (
    CumulativeStream,
    DeviceHour,
    DeviceHourCount,
    DeviceNote,
    FoldedSeries,
    LogLine,
    PanelHour,
    PanelReport,
    PatternSample,
    PayloadDigest,
)
from monitoring.selectors import devices

KEEP_DIGESTS = timedelta(hours=1)
KEEP_DEVICE_HOURS = timedelta(days=8)
# naming nobody, for as long as a replay looks back
KEEP_DEVICE_COUNTS = timedelta(days=40)
HOUR = timedelta(hours=1)
# A group that began before the hour turned is committed, or given up, long before.
HOUR_SETTLES = timedelta(minutes=2)
# A cumulative stream silent for longer counts as new; its first point is then only a base line.
KEEP_STREAMS = timedelta(hours=48)
PANEL_ROWS = 50_000
_PANEL_MERGE = """
WITH gone AS (
    DELETE FROM monitoring_panelreport WHERE id IN (
        SELECT id FROM monitoring_panelreport ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
    ) RETURNING *
), merged AS (
    INSERT INTO monitoring_panelhour AS p (environment, device_id, hour_at, metric, backend_actual, variant, outcome,
                                           device_class, simulated, count, total, low, high)
    SELECT environment, device_id, hour_at, metric, backend_actual, variant, outcome,
           max(device_class), bool_or(simulated), sum(count), sum(total), min(low), max(high)
      FROM gone GROUP BY environment, device_id, hour_at, metric, backend_actual, variant, outcome
     ORDER BY environment, device_id, hour_at, metric, backend_actual, variant, outcome
    ON CONFLICT (environment, device_id, hour_at, metric, backend_actual, variant, outcome) DO UPDATE SET
      count = p.count + excluded.count, total = p.total + excluded.total,
      low = least(p.low, excluded.low), high = greatest(p.high, excluded.high)
)
SELECT count(*) FROM gone
"""
KEEP_FOLDED = timedelta(days=1)
KEEP_PANEL = timedelta(days=8)
KEEP_NOTES = timedelta(days=8)


def digests_prune(*, now: datetime | None = None) -> int:
    """Forget payloads older than an hour: nobody sends them again."""
    return PayloadDigest.objects.filter(seen_at__lt=(now or clock.now()) - KEEP_DIGESTS).delete()[0]


def folded_prune(*, now: datetime | None = None) -> int:
    """Forget series that were folded and have not come again for a day."""
    return FoldedSeries.objects.filter(seen_at__lt=(now or clock.now()) - KEEP_FOLDED).delete()[0]


def device_hours_prune(*, now: datetime | None = None) -> int:
    """Drop which devices reported more than eight days ago, and how many they were more than forty days ago."""
    now = now or clock.now()
    DeviceHourCount.objects.filter(hour_at__lt=now - KEEP_DEVICE_COUNTS).delete()
    # named, so that the index finds them
    old = DeviceHour.objects.filter(environment__in=list(Environment), hour_at__lt=now - KEEP_DEVICE_HOURS)
    return old.delete()[0]


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


def panel_merge() -> int:
    """Move what the door wrote about the panel's devices into one row for each hour and series; return how much it was.

    One statement, so that a row is in exactly one of both tables; whoever runs it beside another takes other rows.
    """
    moved = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_PANEL_MERGE, [PANEL_ROWS])
            many = int(cursor.fetchone()[0])
            moved += many
            if many < PANEL_ROWS:
                return moved


def panel_prune(*, now: datetime | None = None) -> int:
    """Drop devices' own values of more than eight days ago."""
    return PanelHour.objects.filter(hour_at__lt=(now or clock.now()) - KEEP_PANEL).delete()[0]


def streams_prune(*, now: datetime | None = None) -> int:
    """Forget cumulative streams that ended, and notes of devices long gone."""
    now = now or clock.now()
    gone = CumulativeStream.objects.filter(seen_at__lt=now - KEEP_STREAMS).delete()[0]
    return gone + DeviceNote.objects.filter(received_at__lt=now - KEEP_NOTES).delete()[0]


def device_erase(environment: str, device_id: str) -> int:
    """Delete every row that names a device; return how many."""
    tables = (DeviceHour, PanelHour, PanelReport, DeviceNote, LogLine, PatternSample)
    return sum(
        table._default_manager.filter(environment=environment, device_id=device_id).delete()[0] for table in tables
    )
