"""Writes on channels and on the table of what is told where. Secrets are sealed, and never shown again."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from django.conf import settings

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.core.live import announce
from hawkops.core.sealing import seal
from hawkops.history.actors import Actor, person_reference
from hawkops.history.services import change
from incidents.domain import signing
from incidents.domain.message import Action, Link, Message
from incidents.domain.retrying import MOVES, State
from incidents.domain.routing import DEFAULT, Topic
from incidents.domain.routing import Route as Row
from incidents.models import Channel, Delivery, Route
from incidents.models.notifications import Kind
from incidents.notify.registry import WAYS
from incidents.services.outbox import delivery_of
from monitoring.domain.criteria import Severity

NAME_MOST = 80
CHANNELS_MOST = 100
ROUTES_MOST = 100


@dataclass(frozen=True)
class Rules:
    """What a channel takes."""

    topics: Sequence[str]
    severities: Sequence[str]

    def checked(self) -> "Rules":
        """Return them in their order, each once. Raises InvalidInput."""
        if strange := {*self.topics} - {*Topic}:
            raise InvalidInput(f"There is no topic {min(strange)!r}; use {', '.join(Topic)}.")
        if strange := {*self.severities} - {*Severity}:
            raise InvalidInput(f"There is no severity {min(strange)!r}; use {', '.join(Severity)}.")
        if not self.topics or not self.severities:
            raise InvalidInput("Choose at least one topic and one severity, or nothing ever comes.")
        return Rules([one for one in Topic if one in self.topics], [one for one in Severity if one in self.severities])


def channel_create(
    *,
    environment: str,
    name: str,
    kind: str,
    address: str,
    rules: Rules,
    actor: Actor,
    person: Any = None,
    signing_secret: str = "",
    reason: str = "",
    request_id: str = "",
) -> tuple[Channel, str]:
    """Make a channel. Returns it with the signing secret, where one was made: it is shown this once.

    `person` makes it somebody's own: it then counts for nobody else. Raises InvalidInput, Conflict.
    """
    if kind not in WAYS:
        raise InvalidInput(f"There is no kind {kind!r}; use {', '.join(WAYS)}.")
    name, found, rules = _name(name), WAYS[kind].check(address), rules.checked()
    secret, made = _signing(kind, signing_secret)
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id) as this:
        open_ = Channel.objects.filter(environment=environment, archived_at=None)
        if open_.count() >= CHANNELS_MOST:
            raise InvalidInput(f"An environment has at most {CHANNELS_MOST} channels; archive one first.")
        if open_.filter(name=name).exists():
            raise Conflict(f"There is a channel {name!r} in {environment} already.")
        channel = Channel.objects.create(
            environment=environment,
            name=name,
            kind=kind,
            person=person,
            address=seal(found.address),
            hint=found.hint,
            signing_secret=seal(secret),
            topics=list(rules.topics),
            severities=list(rules.severities),
            changed_at=clock.now(),
        )
        this.record("channel.created", subject=f"channel:{channel.pk}", after=state(channel))
        announce("notifications", environment)
    return channel, made


def _name(text: str) -> str:
    name = " ".join(text.replace("\x00", "").split())
    if not 0 < len(name) <= NAME_MOST:
        raise InvalidInput(f"A channel has a name of 1 to {NAME_MOST} characters: #deployments, say.")
    return name


def _signing(kind: str, given: str) -> tuple[str, str]:
    """Return the signing secret, and the same once more where it was made here and must be shown."""
    given = given.strip()
    if kind == Kind.WEBHOOK:
        if given:
            try:
                signing.key_of(given)
            except ValueError as error:
                raise InvalidInput(f"The signing secret does not fit: {error}.") from error
            return given, ""
        made = signing.secret_of(os.urandom(32))
        return made, made
    return (given, "") if kind == Kind.PAGERDUTY else ("", "")


def state(channel: Channel) -> dict[str, Any]:
    """Return a channel as the history keeps it: without its secrets, and of somebody's own without what names them."""
    own = channel.person is not None
    return {
        "name": channel.kept_as,
        "kind": channel.kind,
        "address": "their own" if own else channel.hint,
        "signed": bool(channel.signing_secret),
        "of": person_reference(channel.person) if channel.person else "the team",
        "topics": list(channel.topics),
        "severities": list(channel.severities),
        "paused": channel.paused,
    }


def channel_change(
    *,
    channel: Channel,
    name: str,
    rules: Rules,
    paused: bool,
    actor: Actor,
    address: str = "",
    signing_secret: str = "",
    reason: str = "",
    request_id: str = "",
) -> bool:
    """Change a channel; False when it is so already. What is left empty of its secrets stays as it was.

    Another address must be tested anew. Raises InvalidInput, Conflict.
    """
    name, rules = _name(name), rules.checked()
    found = WAYS[channel.kind].check(address) if address.strip() else None
    with change(actor=actor, environment=channel.environment, reason=reason, request_id=request_id) as this:
        locked = _open(channel)
        others = Channel.objects.filter(environment=locked.environment, archived_at=None, name=name)
        if others.exclude(pk=locked.pk).exists():
            raise Conflict(f"There is a channel {name!r} in {locked.environment} already.")
        before, now = state(locked), clock.now()
        was = (locked.name, locked.hint)
        locked.name, locked.paused = name, paused
        locked.topics, locked.severities = list(rules.topics), list(rules.severities)
        if found is not None:
            locked.address, locked.hint = seal(found.address), found.hint
            locked.changed_at, locked.verified_at, locked.resting_until = now, None, None
        if signing_secret.strip():
            locked.signing_secret = seal(_signing(locked.kind, signing_secret)[0])
        after = {**state(locked), **({"resigned": True} if signing_secret.strip() else {})}
        if locked.person_id is not None:  # what of theirs changed, and not to what
            kept = zip(("renamed", "readdressed"), was, (locked.name, locked.hint), strict=True)
            after |= {word: True for word, old, new in kept if old != new}
        if before == after:
            return False
        locked.save()
        this.record("channel.changed", subject=f"channel:{locked.pk}", before=before, after=after)
        announce("notifications", locked.environment)
    return True


def _open(channel: Channel) -> Channel:
    locked = Channel.objects.select_for_update(no_key=True).get(pk=channel.pk)
    if locked.archived_at is not None:
        raise Conflict(f"{locked.name} is archived.")
    return locked


def channel_archive(*, channel: Channel, actor: Actor, reason: str = "", request_id: str = "") -> int:
    """Take a channel out of use; what it was not sent yet is given up. Returns how many deliveries that were."""
    with change(actor=actor, environment=channel.environment, reason=reason, request_id=request_id) as this:
        locked = _open(channel)
        now = clock.now()
        locked.archived_at, locked.address, locked.signing_secret = now, "", ""
        locked.save(update_fields=["archived_at", "address", "signing_secret"])
        left = locked.deliveries.filter(state=State.PENDING.value).update(
            state=State.GIVEN_UP.value, done_at=now, lease="", leased_until=None
        )
        this.record("channel.archived", subject=f"channel:{locked.pk}", before=state(locked), after={"given_up": left})
        announce("notifications", locked.environment)
    return left


def channel_test(*, channel: Channel, actor: Actor, request_id: str = "") -> Delivery:
    """Put a test message into the outbox; its receipt shows whether the channel is reached. Raises Conflict."""
    with change(actor=actor, environment=channel.environment, request_id=request_id) as this:
        locked, now = _open(channel), clock.now()
        if locked.paused:
            raise Conflict(f"{locked.name} is paused; go on with it first.")
        if locked.deliveries.filter(action=Action.TEST.value, state=State.PENDING.value).exists():
            raise Conflict(f"A test of {locked.name} is on its way; its receipt stands below.")
        message = Message(
            title=f"Test of {locked.name}",
            severity=Severity.INFO,
            environment=locked.environment,
            action=Action.TEST,
            thread=f"hawkops:{locked.environment}:test:{uuid4().hex}",
            verb="channel.tested",
            at=now,
            sentences=(f"{actor.label} sent this to see that it arrives. Nothing is wrong.",),
            links=(Link("Notifications", f"{settings.CONSOLE_URL}/{locked.environment}/notifications"),),
        )
        delivery = delivery_of(locked, message)
        delivery.save()
        if locked.kind == Kind.PAGERDUTY:  # nobody is to find it open there
            delivery_of(locked, replace(message, action=Action.RESOLVE)).save()
        this.record("channel.tested", subject=f"channel:{locked.pk}", after={"name": locked.kept_as})
        announce("notifications", locked.environment)
    return delivery


def delivery_retry(*, delivery: Delivery, actor: Actor, request_id: str = "") -> None:
    """Have what was refused or given up tried again, at once. Raises Conflict."""
    with change(actor=actor, environment=delivery.channel.environment, request_id=request_id) as this:
        locked = Delivery.objects.select_for_update(no_key=True).get(pk=delivery.pk)
        if State.PENDING not in MOVES[State(locked.state)]:
            raise Conflict(f"It is {locked.state}; only what was refused or given up can be tried again.")
        if locked.channel.archived_at is not None:
            raise Conflict(f"{locked.channel.name} is archived.")
        before, now = {"state": locked.state}, clock.now()
        # from now on a day counts again
        locked.state, locked.made_at, locked.next_at, locked.done_at = State.PENDING.value, now, now, None
        locked.save(update_fields=["state", "made_at", "next_at", "done_at"])
        this.record(
            "notification.retried",
            subject=f"channel:{locked.channel_id}",
            before=before,
            after={"name": locked.channel.kept_as, "title": locked.title, "state": locked.state},
        )
        announce("notifications", locked.channel.environment)


# ---- what is told where ----


def routes_seed(*, actor: Actor) -> bool:
    """Fill the table with what the runbook wants, where it is empty."""
    if Route.objects.exists():
        return False
    with change(actor=actor, reason="Installation") as this:
        Route.objects.bulk_create([_route(number, row) for number, row in enumerate(DEFAULT, 1)])
        this.record("routes.seeded", subject="routes:notifications", after={"rows": len(DEFAULT)})
    return True


def _route(position: int, row: Row) -> Route:
    return Route(
        position=position,
        verb=row.verb,
        about=row.about,
        of_severity=row.of_severity.value if row.of_severity else "",
        topic=row.topic.value if row.topic else "",
        severity=row.severity.value if row.severity else "",
    )


def routes_save(*, rows: Iterable[Row], actor: Actor, reason: str = "", request_id: str = "") -> bool:
    """Replace the table; False when it is so already. Raises InvalidInput."""
    wanted = list(rows)
    if not 0 < len(wanted) <= ROUTES_MOST:
        raise InvalidInput(f"The table has 1 to {ROUTES_MOST} rows.")
    for row in wanted:
        if not row.verb or len(row.verb) > 60 or len(row.about) > 120 or any(c.isspace() for c in row.verb):
            raise InvalidInput("A row names what happened, as the history does: phase.started, or a pattern: phase.*")
        if set(row.verb + row.about) & set("[]\x00"):
            raise InvalidInput("Use * and ? only.")
    with change(actor=actor, reason=reason, request_id=request_id) as this:
        present = list(Route.objects.select_for_update(no_key=True))
        before = [one.domain() for one in present]
        if before == wanted:
            return False
        Route.objects.all().delete()
        Route.objects.bulk_create([_route(number, row) for number, row in enumerate(wanted, 1)])
        this.record(
            "routes.changed",
            subject="routes:notifications",
            before={"rows": [_said(row) for row in before]},
            after={"rows": [_said(row) for row in wanted]},
        )
    return True


def _said(row: Row) -> str:
    parts = [row.verb, row.about, row.of_severity or "any", row.topic or "nobody", row.severity or "as it is"]
    return " ".join(parts)


def channel_seed(*, actor: Actor) -> Channel | None:
    """Make the channel that SLACK_WEBHOOK names, once; None where none is named, or there was one. Raises InvalidInput."""
    name, environment = Topic.INCIDENTS.runbook, Environment.PRODUCTION.value
    if not settings.SLACK_WEBHOOK or Channel.objects.filter(environment=environment, name=name).exists():
        return None
    made, _ = channel_create(
        environment=environment,
        name=name,
        kind=Kind.SLACK.value,
        address=settings.SLACK_WEBHOOK,
        rules=Rules([Topic.INCIDENTS, Topic.SECURITY], list(Severity)),
        actor=actor,
        reason="SLACK_WEBHOOK",
    )
    return made


def channel_of(environment: str, pk: int) -> Channel:
    """Return a channel in use. Raises NotFound."""
    found = Channel.objects.filter(environment=environment, pk=pk, archived_at=None).first()
    if found is None:
        raise NotFound("There is no such channel here.")
    return found
