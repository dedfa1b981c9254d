"""Periodic work of incidents. Each calls one service; running twice or late does no harm."""

from celery import shared_task

from incidents.services import (
    auditing,
    dispatching,
    escalations,
    following,
    kill_clock,
    oncall,
    recovery,
    remedies,
    sending,
)

# beside the console's own courier this finds little; alone it must not hold up the other sweepers
SECONDS = 5.0


@shared_task(name="incidents.notifications_due", soft_time_limit=100, time_limit=110, ignore_result=True)
def notifications_due() -> None:
    """Read on in the history, and send what is due."""
    dispatching.dispatch_all()
    sending.send_due(seconds=SECONDS)


@shared_task(name="incidents.notifications_prune", ignore_result=True)
def notifications_prune() -> None:
    """Forget old deliveries and events."""
    sending.deliveries_prune()


@shared_task(name="incidents.escalations_due", soft_time_limit=60, time_limit=70, ignore_result=True)
def escalations_due() -> None:
    """Begin what the history says began, and tell the steps that are due."""
    escalations.escalate()


@shared_task(name="incidents.escalations_audit", soft_time_limit=60, time_limit=70, ignore_result=True)
def escalations_audit() -> None:
    """Prove that each due step was told, and mark what is late."""
    auditing.audit()


@shared_task(name="incidents.page_checks_due", ignore_result=True)
def page_checks_due() -> None:
    """Send the daily page that is none."""
    escalations.checks_due()


@shared_task(name="incidents.on_call_gaps", ignore_result=True)
def on_call_gaps() -> None:
    """Warn of times that nobody covers."""
    oncall.gaps_note()


@shared_task(name="incidents.incidents_due", soft_time_limit=100, time_limit=110, ignore_result=True)
def incidents_due() -> None:
    """Read on in the history: open, join and end incidents, and count who obeys a kill, by its clock too."""
    following.incidents_follow()
    kill_clock.clocks_follow()


@shared_task(name="incidents.recoveries_due", soft_time_limit=50, time_limit=60, ignore_result=True)
def recoveries_due() -> None:
    """Ask for the checks of rollbacks whose time has come."""
    recovery.recoveries_due()


@shared_task(name="incidents.remedies_due", soft_time_limit=50, time_limit=60, ignore_result=True)
def remedies_due() -> None:
    """Look whether what was pressed against a problem helped."""
    remedies.remedies_due()
