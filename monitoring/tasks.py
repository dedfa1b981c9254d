"""Sweepers of stored telemetry. Each calls one service; running twice or late does no harm."""

from celery import shared_task

from monitoring.services import logs
from monitoring.services import telemetry as services


@shared_task(name="monitoring.digests_prune")
def digests_prune() -> None:
    """Forget old payload digests, devices, streams and log lines."""
    services.digests_prune()
    services.device_hours_prune()
    services.streams_prune()
    logs.lines_prune()


@shared_task(name="monitoring.rollups_compact", soft_time_limit=50, time_limit=60)
def rollups_compact() -> None:
    """Make old rows wider and drop what is past its retention."""
    services.rollups_compact()
    services.rollups_prune()
