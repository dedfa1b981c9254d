"""Acknowledgements, from a page or from a pager. Whoever keeps what can be acknowledged registers here.

A thread names what is meant: `hawkops:production:alerts:security` are the alerts of that group.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from hawkops.core import clock
from hawkops.core.errors import Conflict, NotFound
from hawkops.core.facts import Fact
from hawkops.history.actors import Actor
from incidents.domain.message import Action
from incidents.domain.pagerduty import Heard
from incidents.models import Channel, Delivery, HeardEvent

KEPT = timedelta(days=7)


@dataclass(frozen=True)
class Standing:
    """One thing that stands under a thread: what it is called, and whether somebody has it already."""

    title: str
    severity: str
    taken_by: str = ""


@dataclass(frozen=True)
class Acknowledger:
    """How what stands under the threads of one prefix is found and taken.

    `standing` counts what keeps a thread from being ended, or from being acknowledged, whichever action is asked about.
    `take` returns how many were taken.
    """

    found: Callable[[str, str], list[Standing]]
    standing: Callable[[str, str, Action], int]
    take: Callable[[str, str, Actor, str, str], int]


@dataclass(frozen=True)
class Acknowledged:
    """Somebody has what stands under a thread: `through` names the page or the pager."""

    environment: str
    thread: str
    actor: Actor
    through: str
    count: int


acknowledged: Fact[[Acknowledged]] = Fact("acknowledged")
_acknowledgers: dict[str, Acknowledger] = {}


def register(prefix: str, acknowledger: Acknowledger) -> None:
    """Say who keeps the threads of a prefix (`alerts`); registering again replaces it."""
    _acknowledgers[prefix] = acknowledger


def acknowledger_of(thread: str) -> Acknowledger | None:
    """Return who keeps a thread; None when nobody does."""
    parts = thread.split(":", 3)
    return _acknowledgers.get(parts[2]) if len(parts) == 4 and parts[0] == "hawkops" else None


def environment_of(thread: str) -> str:
    """Return the environment that a thread names; empty when it names none."""
    parts = thread.split(":", 3)
    return parts[1] if len(parts) == 4 and parts[0] == "hawkops" else ""


def standing(environment: str, thread: str) -> list[Standing]:
    """Return what stands under a thread of an environment. Raises NotFound for a thread that nobody keeps there."""
    keeper = acknowledger_of(thread)
    if keeper is None or environment_of(thread) != environment:
        raise NotFound("There is nothing of that name to acknowledge here.")
    return keeper.found(environment, thread)


def acknowledge(
    *, environment: str, thread: str, actor: Actor, through: str, reason: str = "", request_id: str = ""
) -> int:
    """Take whatever stands under a thread and has nobody yet; return how many that were.

    Raises NotFound for a thread that nobody keeps, Conflict when nothing is left to take.
    """
    keeper = acknowledger_of(thread)
    if keeper is None or environment_of(thread) != environment:
        raise NotFound("There is nothing of that name to acknowledge here.")
    with transaction.atomic():
        count = keeper.take(environment, thread, actor, reason, request_id)
        if count:
            acknowledged.announce(Acknowledged(environment, thread, actor, through, count))
    if not count:
        raise Conflict("Nothing is left to acknowledge: it is over, or somebody has it.")
    return count


def pagerduty_hear(*, channel: Channel, heard: Heard, request_id: str = "") -> int:
    """Take what PagerDuty says was taken there; return how many that were. The same event again does nothing.

    Only what this very channel was told of can be acknowledged through it.
    """
    with transaction.atomic():
        try:
            with transaction.atomic():
                HeardEvent.objects.create(event_id=heard.event_id, at=clock.now())
        except IntegrityError:
            return 0
        if not heard.acknowledges or not _told_to(channel, heard.thread):
            return 0
        actor = Actor(f"pagerduty:{heard.by_id or 'user'}"[:80], heard.by or "PagerDuty")
        try:
            return acknowledge(
                environment=channel.environment,
                thread=heard.thread,
                actor=actor,
                through=channel.name,
                reason="Acknowledged in PagerDuty",
                request_id=request_id,
            )
        except (NotFound, Conflict):
            return 0


def _told_to(channel: Channel, thread: str) -> bool:
    return bool(thread) and Delivery.objects.filter(channel=channel, thread=thread).exists()


def heard_prune(*, now: datetime) -> int:
    """Forget events that are too old to be believed anyway."""
    return HeardEvent.objects.filter(at__lt=now - KEPT).delete()[0]
