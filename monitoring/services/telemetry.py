"""Writes on stored telemetry besides the door's: what is too old goes."""

from datetime import datetime, timedelta

from django.db import connection

from hawkops.core import clock
from monitoring.models import (
    CumulativeStream,
    DeviceHour,
    DeviceNote,
    DoorTotal,
    LogLine,
    PanelHour,
    PanelReport,
    PatternSample,
    PayloadDigest,
)

KEEP_DIGESTS = timedelta(hours=1)
KEEP_DEVICE_HOURS = timedelta(days=8)
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
KEEP_PANEL = timedelta(days=8)
KEEP_NOTES = timedelta(days=8)
KEEP_TOTALS = timedelta(hours=48)


def digests_prune(*, now: datetime | None = None) -> int:
    """Forget payloads older than an hour: nobody sends them again."""
    return PayloadDigest.objects.filter(seen_at__lt=(now or clock.now()) - KEEP_DIGESTS).delete()[0]


def device_hours_prune(*, now: datetime | None = None) -> int:
    """Drop which devices reported more than eight days ago."""
    return DeviceHour.objects.filter(hour_at__lt=(now or clock.now()) - KEEP_DEVICE_HOURS).delete()[0]


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
    """Forget cumulative streams that ended, notes of devices long gone, and what the door took and refused long ago."""
    now = now or clock.now()
    gone = CumulativeStream.objects.filter(seen_at__lt=now - KEEP_STREAMS).delete()[0]
    gone += DoorTotal.objects.filter(hour_at__lt=now - KEEP_TOTALS).delete()[0]
    return gone + DeviceNote.objects.filter(received_at__lt=now - KEEP_NOTES).delete()[0]


def device_erase(environment: str, device_id: str) -> int:
    """Delete every row that names a device; return how many."""
    tables = (DeviceHour, PanelHour, PanelReport, DeviceNote, LogLine, PatternSample)
    return sum(
        table._default_manager.filter(environment=environment, device_id=device_id).delete()[0] for table in tables
    )
