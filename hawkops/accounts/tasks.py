"""Celery tasks of the accounts."""

from celery import shared_task

from hawkops.accounts.services import signing


@shared_task(name="accounts.ended_prune", ignore_result=True)
def ended_prune() -> None:
    """Forget sessions, links, kept answers and wrong tries that are over."""
    signing.ended_prune()
