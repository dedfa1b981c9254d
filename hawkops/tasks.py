"""Celery tasks of the roof: what needs to see all apps."""

from datetime import datetime, timedelta
from typing import Any

from celery import shared_task

from hawkops.backups.planned import backup_due
from hawkops.core import clock
from monitoring.services.pulses import pulse_note


@shared_task(name="hawkops.backup_due")
def backup_due_task() -> None:
    """Back up when the last backup is a day old."""
    backup_due()


@shared_task(name="hawkops.queue_pulse", bind=True)
def queue_pulse_task(self: Any, queue: str, seconds: float) -> None:
    """Write down that a message of this queue was taken and how long it waited; it expires `seconds` after it was sent."""
    sent = datetime.fromisoformat(self.request.expires) - timedelta(seconds=seconds) if self.request.expires else None
    waited = max(0.0, (clock.now() - sent).total_seconds()) if sent else None
    pulse_note(f"queue {queue}", silent_seconds=0.0, lag_seconds=waited)
