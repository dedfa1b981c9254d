"""What the door understood of devices, for their authors."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Q, Sum

from hawkops.core import clock
from monitoring.models import DeviceNote, DoorTotal, LogLine, PanelHour, PanelReport

SHOWN_MOST = 50


def device_notes(environment: str, *, wanted: str = "", most: int = SHOWN_MOST) -> list[DeviceNote]:
    """Return the latest notes, newest first."""
    found = DeviceNote.objects.filter(environment=environment)
    if wanted:
        found = found.filter(Q(device_id__icontains=wanted) | Q(device_class__icontains=wanted))
    return list(found.order_by("-received_at")[:most])


@dataclass(frozen=True)
class Total:
    """What the door took, or refused for one reason; an empty reason means taken."""

    signal: str
    reason: str
    payloads: int
    points: int
    payloads_lately: int
    points_lately: int
    hour_at: datetime


def door_totals(environment: str, *, now: datetime | None = None) -> list[Total]:
    """Return what the door took and refused in 48 h, and of it in this hour and the one before; taken first."""
    now = now or clock.now()
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    lately = Q(hour_at__gte=this_hour - timedelta(hours=1))
    rows = (
        DoorTotal.objects.filter(environment=environment, hour_at__gt=this_hour - timedelta(hours=48))
        .values("signal", "reason")
        .annotate(
            all_payloads=Sum("payloads"),
            all_points=Sum("points"),
            late_payloads=Sum("payloads", filter=lately, default=0),
            late_points=Sum("points", filter=lately, default=0),
            last=Max("hour_at"),
        )
    )
    found = [
        Total(
            row["signal"],
            row["reason"],
            row["all_payloads"],
            row["all_points"],
            row["late_payloads"],
            row["late_points"],
            row["last"],
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: (bool(one.reason), -one.points, -one.payloads, one.signal, one.reason))


def device_understood(environment: str, device_id: str) -> list[DeviceNote]:
    """Return what was understood of a device's last payloads, metrics first; empty when nothing was noted."""
    found = DeviceNote.objects.filter(environment=environment, device_id=device_id)
    return sorted(found, key=lambda note: note.signal, reverse=True)


def device_lines(environment: str, device_id: str, *, most: int = 20) -> list[LogLine]:
    """Return a device's newest log lines, newest first."""
    return list(LogLine.objects.filter(environment=environment, device_id=device_id).order_by("-pk")[:most])


def own_observations(device_id: str, metric: str) -> int:
    """Return how many observations of a metric the panel holds of a device, in any environment."""
    return sum(
        table._default_manager.filter(device_id=device_id, metric=metric).aggregate(many=Sum("count", default=0))[
            "many"
        ]
        for table in (PanelReport, PanelHour)
    )
