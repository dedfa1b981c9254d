"""Periodic work of the rollout."""

from celery import shared_task

from rollout.models import Release
from rollout.services.releases import evidence_refresh


@shared_task(name="rollout.evidence_refresh", ignore_result=True)
def refresh() -> None:
    """Run the automatic checks of every running release."""
    for release in Release.objects.select_related("runbook").filter(running=True):
        evidence_refresh(release=release)
