"""Writes on stored telemetry besides the door's: what is too old goes."""

from datetime import datetime, timedelta

from hawkops.core import clock
from monitoring.models import CumulativeStream, DeviceHour, DeviceNote, LogLine, PanelHour, PatternSample, PayloadDigest

KEEP_DIGESTS = timedelta(hours=1)
KEEP_DEVICE_HOURS = timedelta(days=8)
# A cumulative stream silent for longer counts as new; its first point is then only a base line.
KEEP_STREAMS = timedelta(hours=48)
KEEP_PANEL = timedelta(days=8)
KEEP_NOTES = timedelta(days=8)


def digests_prune(*, now: datetime | None = None) -> int:
    """Forget payloads older than an hour: nobody sends them again."""
    return PayloadDigest.objects.filter(seen_at__lt=(now or clock.now()) - KEEP_DIGESTS).delete()[0]


def device_hours_prune(*, now: datetime | None = None) -> int:
    """Drop which devices reported more than eight days ago."""
    return DeviceHour.objects.filter(hour_at__lt=(now or clock.now()) - KEEP_DEVICE_HOURS).delete()[0]


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
    tables = (DeviceHour, PanelHour, DeviceNote, LogLine, PatternSample)
    return sum(
        table._default_manager.filter(environment=environment, device_id=device_id).delete()[0] for table in tables
    )
