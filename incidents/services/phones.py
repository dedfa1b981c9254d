"""A kill by an enrolled phone whose session has expired: the press, and that its person hears of it."""

import logging

from django.conf import settings
from django.db import DatabaseError

from hawkops.accounts.models import EnrolledPhone
from hawkops.accounts.services.phones import phone_use
from hawkops.core import clock
from hawkops.core.errors import NotAllowed
from hawkops.core.live import announce
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from incidents.domain.message import Action, Link, Message
from incidents.domain.news import KILLED
from incidents.domain.routing import Topic
from incidents.selectors.oncall import own_channels
from incidents.services.outbox import delivery_of
from monitoring.domain.criteria import Severity
from rollout.services import overrides

log = logging.getLogger(__name__)


def phone_kill(*, phone: EnrolledPhone, reason: str, request_id: str = "") -> HistoryEntry | None:
    """Turn LiteRT off and cloud fallback on; None when both already are. Raises NotAllowed.

    The use is an entry of its own, whether or not there was something left to do, and its person is told.
    """
    actor = Actor.phone(phone.user, phone.name)
    with change(actor=actor, environment=phone.environment, reason=reason, request_id=request_id) as this:
        refusal = phone_use(phone=phone)
        if not refusal:
            overrides.kill(environment=phone.environment, actor=actor, reason=reason)
    if refusal:
        raise NotAllowed(refusal)
    entry = next((one for one in this.entries if one.verb == KILLED), None)
    try:
        _tell(phone, actor, killed=entry is not None)
    except DatabaseError:  # it is done, and the history says so
        log.exception("phones.not_told", extra={"phone": phone.pk})
    return entry


def _tell(phone: EnrolledPhone, actor: Actor, *, killed: bool) -> None:
    """Put it into the outbox for its person's own channels. Whoever has none finds it under their name."""
    base = f"{settings.CONSOLE_URL}/{phone.environment}"
    said = "LiteRT is off and cloud fallback is on." if killed else "LiteRT was off already; nothing changed."
    message = Message(
        title=f"Your enrolled phone {phone.name} was used to kill LiteRT in {phone.environment}",
        severity=Severity.WARNING,
        environment=phone.environment,
        action=Action.TELL,
        thread=f"hawkops:{phone.environment}:{phone.subject}",
        verb="phone.used",
        at=clock.now(),
        sentences=(said, "If that was not you, revoke it under your name."),
        links=(Link("Revoke it", f"{settings.CONSOLE_URL}/profile"), Link("Emergency", f"{base}/emergency")),
    )
    with change(actor=actor, environment=phone.environment):
        for channel in own_channels(phone.environment, phone.user):
            delivery_of(channel, message, topic=Topic.INCIDENTS.value).save()
            announce("notifications", phone.environment)
