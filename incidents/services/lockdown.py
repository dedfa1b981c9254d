"""What a lockdown leads to beside its incident: evidence is collected and the security team is told, each asked for once.

It is derived from rows, not from an event: whoever dies in between, the next look goes on from there. Nothing of it is part
of the press.
"""

import logging
from datetime import timedelta

from django.db import transaction

from hawkops.core import clock
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from hawkops.scripts.services import run_request
from incidents.models import IncidentCause
from incidents.selectors.security import SCRIPTS, runs_of
from rollout.selectors.lockdown import Lockdown, lockdowns_since

log = logging.getLogger(__name__)
RULE = Actor.rule("lockdown")
# one that nobody could respond to for so long is past
KEPT = timedelta(days=7)


def lockdowns_respond() -> int:
    """Ask for the runs that lockdowns still lack, in their order; return how many were asked for.

    A run that is refused is logged and asked for again at the next look; the others are asked all the same.
    """
    asked = 0
    for found in lockdowns_since(clock.now() - KEPT):
        for script in SCRIPTS:
            try:
                asked += _ask(found, script)
            except HawkOpsError as error:
                log.error("lockdown.run_refused", extra={"script": script, "why": error.message})
    return asked


def _ask(found: Lockdown, script: str) -> bool:
    """Ask for one run, unless it was asked for or the incident is not open yet; two who look at once ask once."""
    if script in runs_of(found):
        return False
    with transaction.atomic():
        cause = (
            IncidentCause.objects.select_for_update(no_key=True)
            .filter(incident__environment=found.environment, subject=found.subject)
            .order_by("pk")
            .first()
        )
        if cause is None or script in runs_of(found):
            return False
        given = {"incident": str(cause.incident_id), "severity": found.severity}
        run_request(
            environment=found.environment,
            name=script,
            arguments={name: value.format(**given) for name, value in SCRIPTS[script].items()},
            subject={"lockdown": found.pk},
            actor=RULE,
            cause=found.entry,
        )
    return True
