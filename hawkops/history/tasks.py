"""Periodic work of the history."""

from celery import shared_task

from hawkops.history import services


@shared_task(name="history.heartbeat", ignore_result=True)
def heartbeat() -> None:
    """Append a heartbeat entry: a gap of over 60 s in the chain means that nothing could be recorded."""
    services.heartbeat_record()


@shared_task(name="history.verify", ignore_result=True)
def verify() -> None:
    """Verify the chain by itself once in a while, and forget old results."""
    services.history_verify(requested_by="schedule")
    services.verifications_prune()


@shared_task(name="history.checkpoint", ignore_result=True)
def checkpoint() -> None:
    """Sign what the chain has become when an hour is over; the witness does so too, without Celery."""
    services.checkpoint_write()
