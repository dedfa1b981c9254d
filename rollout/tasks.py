"""Periodic work of the rollout."""

from celery import shared_task

from rollout.evidence.refreshing import release_refresh
from rollout.selectors.releases import releases_running
from rollout.services.drills import drills_due
from rollout.services.guardrails import guardrails_due
from rollout.services.phases import phases_due
from rollout.services.proposals import proposals_due
from rollout.services.rollback import app_rollbacks_due
from rollout.services.validation import validations_due


@shared_task(name="rollout.evidence_refresh", ignore_result=True)
def refresh(release_id: int | None = None, at_once: bool = False) -> None:
    """Ask the checks of every running release, or of one."""
    for release in releases_running():
        if release_id in (None, release.pk):
            release_refresh(release=release, at_once=at_once)


@shared_task(name="rollout.plan_due", ignore_result=True)
def plan_due() -> None:
    """Do the steps of plans, the scheduled changes, and the app's rollbacks that are due."""
    phases_due()
    proposals_due()
    app_rollbacks_due()


@shared_task(name="rollout.validations_due", ignore_result=True)
def validation_due() -> None:
    """Count the clocks of validations, and run what concludes a phase."""
    validations_due()


@shared_task(name="rollout.guardrails_due", ignore_result=True)
def guardrails_look() -> None:
    """Look at the guardrails of every phase under way."""
    guardrails_due()


@shared_task(name="rollout.drills_due", soft_time_limit=25, time_limit=30, ignore_result=True)
def drills_look() -> None:
    """Count, restore and press the drills that are due."""
    drills_due()
