"""Sweepers of stored telemetry. Each calls one service; running twice or late does no harm."""

from celery import shared_task

from monitoring.services import alerts
from monitoring.services import telemetry as services


@shared_task(name="monitoring.digests_prune")
def digests_prune() -> None:
    """Forget old payload digests, and which devices reported long ago."""
    services.digests_prune()
    services.device_hours_prune()


@shared_task(name="monitoring.rollups_compact", soft_time_limit=50, time_limit=60)
def rollups_compact() -> None:
    """Make old rows wider and drop what is past its retention."""
    services.rollups_compact()
    services.rollups_prune()


@shared_task(name="monitoring.alerts_evaluate", soft_time_limit=25, time_limit=30)
def alerts_evaluate() -> None:
    """Look at every criterion that alerts, in every environment."""
    alerts.alerts_evaluate()


@shared_task(name="monitoring.alerts_prune")
def alerts_prune() -> None:
    """Forget episodes that ended long ago."""
    alerts.alerts_prune()
