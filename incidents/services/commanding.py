"""Proposing a commander of each critical incident by itself: whoever is on call, told by their own channels."""

import logging

from django.conf import settings
from django.db import DatabaseError

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.errors import HawkOpsError
from hawkops.core.live import announce
from hawkops.history.actors import Actor, person_reference
from hawkops.history.services import change
from incidents.domain.incidents import RoleName
from incidents.domain.message import Action, Link, Message
from incidents.domain.routing import Topic
from incidents.models import Incident
from incidents.selectors.oncall import on_call_now, own_channels
from incidents.selectors.receipts import PROPOSED
from incidents.services.incidents import locked, told
from incidents.services.outbox import delivery_of
from monitoring.domain.criteria import Severity

log = logging.getLogger(__name__)
RULE = Actor.rule("incidents")


def commanders_propose() -> int:
    """Propose who is on call wherever nobody commands and nobody was proposed; return how many were."""
    rows = Incident.objects.filter(resolved_at=None, severity=Severity.CRITICAL.value, proposed_at=None)
    found = 0
    for row in rows.exclude(roles__role=RoleName.COMMANDER.value).order_by("pk"):
        person = on_call_now(row.environment).person
        if person is None:
            continue
        try:
            found += _propose(row, person)
        except (HawkOpsError, DatabaseError):  # the others are proposed all the same
            log.exception("incidents.commander_not_proposed", extra={"incident": row.pk})
    return found


def _propose(row: Incident, person: User) -> bool:
    with change(actor=RULE, environment=row.environment) as this:
        found = locked(row.environment, row.pk)
        if found.proposed_at is not None or not found.is_open:
            return False
        found.proposed, found.proposed_at = person, clock.now()
        found.save(update_fields=["proposed", "proposed_at"])
        message = _message(found, person)
        for channel in own_channels(found.environment, person):
            delivery_of(channel, message, topic=Topic.INCIDENTS.value).save()
        told(this, found, PROPOSED, after={"person": person_reference(person), "role": RoleName.COMMANDER.value})
        announce("notifications", found.environment)
    return True


def _message(found: Incident, person: User) -> Message:
    base = f"{settings.CONSOLE_URL}/{found.environment}"
    return Message(
        title=f"{person.get_username()} is proposed as commander of incident {found.pk}: {found.title}"[:200],
        severity=Severity(found.severity),
        environment=found.environment,
        action=Action.TELL,
        thread=f"hawkops:{found.environment}:{found.subject}",
        verb=PROPOSED,
        at=clock.now(),
        sentences=("Nobody commands it yet, and you are on call.",),
        links=(Link("Incident", f"{base}/incidents/{found.pk}"), Link("Emergency", f"{base}/emergency")),
        simulated=found.simulated,
    )
