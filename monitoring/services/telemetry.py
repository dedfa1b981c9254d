"""Writes on stored telemetry besides the door's: old rows become wider, what is too old goes."""

import time
from datetime import UTC, datetime, timedelta

from django.db import transaction

from hawkops.core import clock
from monitoring.domain.sketch import Sketch
from monitoring.models import CumulativeStream, DeviceHour, DeviceNote, PayloadDigest, RollupPartial

# width of the rows, width they become, age from which on
TIERS = (
    (10, 60, timedelta(hours=2)),
    (60, 600, timedelta(days=2)),
    (600, 3600, timedelta(days=14)),
)
KEEP_ROLLUPS = timedelta(days=400)
KEEP_DIGESTS = timedelta(hours=1)
KEEP_DEVICE_HOURS = timedelta(days=8)
# A cumulative stream silent for longer counts as new; its first point is then only a base line.
KEEP_STREAMS = timedelta(hours=48)
KEEP_NOTES = timedelta(days=8)
PRUNE_ROWS = 20_000
BUDGET_SECONDS = 20.0


def digests_prune(*, now: datetime | None = None) -> int:
    """Forget payloads older than an hour: nobody sends them again."""
    return PayloadDigest.objects.filter(seen_at__lt=(now or clock.now()) - KEEP_DIGESTS).delete()[0]


def device_hours_prune(*, now: datetime | None = None) -> int:
    """Drop which devices reported more than eight days ago."""
    return DeviceHour.objects.filter(hour_at__lt=(now or clock.now()) - KEEP_DEVICE_HOURS).delete()[0]


def streams_prune(*, now: datetime | None = None) -> int:
    """Forget cumulative streams that ended, and notes of devices long gone."""
    now = now or clock.now()
    gone = CumulativeStream.objects.filter(seen_at__lt=now - KEEP_STREAMS).delete()[0]
    return gone + DeviceNote.objects.filter(received_at__lt=now - KEEP_NOTES).delete()[0]


def rollups_prune(*, now: datetime | None = None) -> int:
    """Drop rows past their retention, a bounded number at a time."""
    old = RollupPartial.objects.filter(
        width_seconds=TIERS[-1][1], bucket_at__lt=(now or clock.now()) - KEEP_ROLLUPS
    ).values_list("pk", flat=True)[:PRUNE_ROWS]
    return RollupPartial.objects.filter(pk__in=list(old)).delete()[0]


def rollups_compact(*, now: datetime | None = None, budget_seconds: float = BUDGET_SECONDS) -> int:
    """Merge old rows into wider ones and return how many rows went; nothing is lost but the resolution in time.

    One short transaction for each new bucket, until the budget is spent; the next run continues. Safe to run twice.
    """
    now = now or clock.now()
    stop_at = time.monotonic() + budget_seconds
    gone = 0
    for width, wider, age in TIERS:
        before = _floor(now - age, wider)
        while time.monotonic() < stop_at:
            oldest = (
                RollupPartial.objects.filter(width_seconds=width, bucket_at__lt=before)
                .order_by("bucket_at")
                .values_list("bucket_at", flat=True)
                .first()
            )
            if oldest is None:
                break
            done = _compact_bucket(_floor(oldest, wider), width, wider)
            if done == 0:
                break  # somebody else is at it
            gone += done
    return gone


def _compact_bucket(start: datetime, width: int, wider: int) -> int:
    with transaction.atomic():
        rows = list(
            RollupPartial.objects.select_for_update(skip_locked=True).filter(
                width_seconds=width, bucket_at__gte=start, bucket_at__lt=start + timedelta(seconds=wider)
            )
        )
        merged: dict[int, Sketch] = {}
        for row in rows:
            sketch = merged.setdefault(row.series_id, Sketch())
            sketch.merge_row(row.count, row.total, row.squares, row.low, row.high, row.buckets)
        RollupPartial.objects.filter(pk__in=[row.pk for row in rows]).delete()
        RollupPartial.objects.bulk_create(
            RollupPartial(
                series_id=series_id,
                bucket_at=start,
                width_seconds=wider,
                count=sketch.count,
                total=sketch.total,
                squares=sketch.squares,
                low=sketch.low,
                high=sketch.high,
                buckets=sketch.buckets_bytes(),
            )
            for series_id, sketch in merged.items()
        )
    return len(rows)


def _floor(moment: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(int(moment.timestamp()) // seconds * seconds, tz=UTC)
