"""Sweepers of stored telemetry. Each calls one service; running twice or late does no harm."""

from celery import shared_task

from monitoring.domain.tiers import BY_WIDTH
from monitoring.jobs import HEALTH_RUN
from monitoring.services import alerts, health, logs, patterns, pruning, rollups
from monitoring.services import telemetry as services


@shared_task(name="monitoring.digests_prune", soft_time_limit=50, time_limit=60)
def digests_prune() -> None:
    """Forget old payload digests, devices, streams, folded series, notes, log lines and counts of patterns."""
    pruning.each(
        services.digests_prune,
        services.folded_prune,
        services.device_hours_prune,
        services.panel_prune,
        services.slots_prune,
        services.streams_prune,
        services.notes_prune,
        services.totals_prune,
        logs.lines_prune,
        patterns.counts_prune,
    )


@shared_task(name="monitoring.series_prune", soft_time_limit=50, time_limit=60)
def series_prune() -> None:
    """Forget series of which nothing is stored any more."""
    pruning.each(services.series_prune)


@shared_task(name="monitoring.rollups_move_up", soft_time_limit=50, time_limit=60)
def rollups_move_up(width: int) -> None:
    """Let the tiers up to this width take over what the finer one gained."""
    rollups.rollups_move_up(widest=BY_WIDTH[width])


@shared_task(name="monitoring.panel_merge", soft_time_limit=50, time_limit=60)
def panel_merge() -> None:
    """Merge what the door wrote about the panel's devices, and add up the devices of hours that are over."""
    services.panel_merge()
    services.device_hours_sum()


@shared_task(name="monitoring.partitions_keep", soft_time_limit=100, time_limit=110)
def partitions_keep() -> None:
    """Make the partitions that will be needed and drop those past their time."""
    rollups.partitions_keep()


@shared_task(name="monitoring.alerts_evaluate", soft_time_limit=25, time_limit=30)
def alerts_evaluate() -> None:
    """Look at every criterion that alerts, in every environment."""
    alerts.alerts_evaluate()


@shared_task(name="monitoring.alerts_prune")
def alerts_prune() -> None:
    """Forget episodes that ended long ago."""
    alerts.alerts_prune()


@shared_task(name="monitoring.health_due")
def health_due() -> None:
    """Send each check that is due to the workers of health checks, where one that hangs delays nobody."""
    for check, environment in health.due():
        HEALTH_RUN.enqueue(key=check.key, environment=environment)


@shared_task(name="monitoring.health_run", soft_time_limit=90, time_limit=100)
def health_run(key: str, environment: str, at_once: bool = False) -> None:
    """Run one health check."""
    health.health_run(key=key, environment=environment, at_once=at_once)


@shared_task(name="monitoring.health_prune")
def health_prune() -> None:
    """Drop old results of health checks."""
    health.health_prune()


@shared_task(name="monitoring.patterns_scan", soft_time_limit=25, time_limit=30)
def patterns_scan() -> None:
    """Read on in every log and count what matches."""
    patterns.patterns_scan()
