"""What the door understood of devices, for their authors."""

from django.db.models import Q

from monitoring.models import DeviceNote, LogLine

SHOWN_MOST = 50


def device_notes(environment: str, *, wanted: str = "", most: int = SHOWN_MOST) -> list[DeviceNote]:
    """Return the latest notes, newest first."""
    found = DeviceNote.objects.filter(environment=environment)
    if wanted:
        found = found.filter(Q(device_id__icontains=wanted) | Q(device_class__icontains=wanted))
    return list(found.order_by("-received_at")[:most])


def device_understood(environment: str, device_id: str) -> list[DeviceNote]:
    """Return what was understood of a device's last payloads, metrics first; empty when nothing was noted."""
    found = DeviceNote.objects.filter(environment=environment, device_id=device_id)
    return sorted(found, key=lambda note: note.signal, reverse=True)


def device_lines(environment: str, device_id: str, *, most: int = 20) -> list[LogLine]:
    """Return a device's newest log lines, newest first."""
    return list(LogLine.objects.filter(environment=environment, device_id=device_id).order_by("-pk")[:most])
