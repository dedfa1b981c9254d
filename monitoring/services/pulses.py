"""Writing down that a part of HawkOps lives."""

import socket
import time
from datetime import datetime, timedelta

from django.db import connection

from hawkops.core import clock
from monitoring.models import Pulse

HOST = socket.gethostname()[:80]
KEEP = timedelta(days=1)


def database_skew() -> tuple[datetime, float]:
    """Return the database's clock, and this process's less it; half of the way there and back is taken off."""
    began = time.monotonic()
    before = clock.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        theirs: datetime = cursor.fetchone()[0]
    there_and_back = time.monotonic() - began
    return theirs, (before - theirs).total_seconds() + there_and_back / 2


def pulse_note(part: str, *, silent_seconds: float | None, lag_seconds: float | None = None) -> None:
    """Write down how long ago a part of this process last did its work; None where it never did."""
    now, skew = database_skew()
    at = None if silent_seconds is None else now - timedelta(seconds=silent_seconds)
    Pulse.objects.update_or_create(
        part=part, host=HOST, defaults={"at": at, "seen_at": now, "lag_seconds": lag_seconds, "skew_seconds": skew}
    )
    Pulse.objects.filter(part=part, seen_at__lt=now - KEEP).delete()
