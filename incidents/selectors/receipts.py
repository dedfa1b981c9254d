"""The four things that the runbook wants of a critical incident: paged, PagerDuty, posted, commander, each with receipt."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Q

from hawkops.history.models import HistoryEntry
from incidents.domain.escalation import Target
from incidents.domain.incidents import RoleName
from incidents.domain.message import Action
from incidents.domain.news import incident_thread
from incidents.domain.retrying import State as Sent
from incidents.domain.routing import Topic
from incidents.models import Channel, Delivery, Escalation, Incident, StepDelivery
from incidents.models.notifications import Kind

# a message of what caused it is made moments before the incident itself
BEFORE = timedelta(minutes=5)
PROPOSED = "incident.commander_proposed"


class State(StrEnum):
    """How far one of the four is."""

    DONE = "done"
    WAITING = "on its way"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True)
class Wanted:
    """One of the four. `receipt` is what the other side answered; `todo` what to do where it is missing, `page` where."""

    key: str
    title: str
    state: State
    at: datetime | None = None
    channel: str = ""
    who: str = ""
    receipt: str = ""
    todo: str = ""
    page: str = ""

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        found = {**asdict(self), "state": self.state.value, "at": self.at.isoformat() if self.at else None}
        del found["page"]
        return found


def wanted(found: Incident) -> tuple[Wanted, ...]:
    """Return the four of an incident that is or was critical; none for another. About ten queries."""
    if found.critical_from is None:
        return ()
    return (_paged(found), _pagerduty(found), _posted(found), _commander(found))


def threads(found: Incident) -> list[str]:
    """Return the threads of its messages: its own, and that of what caused it."""
    keys = {incident_thread(found.kind, str(found.pk)), found.subject}
    return [f"hawkops:{found.environment}:{key}" for key in sorted(keys)]


def _deliveries(found: Incident) -> list[Delivery]:
    rows = Delivery.objects.filter(
        thread__in=threads(found), action=Action.TRIGGER.value, happened_at__gte=found.opened_at - BEFORE
    )
    if found.resolved_at is not None:
        rows = rows.filter(happened_at__lte=found.resolved_at)
    return list(rows.select_related("channel").prefetch_related("receipts").order_by("pk"))


def _of(key: str, title: str, rows: Sequence[Delivery], *, who: str = "") -> Wanted:
    """Return what the best of several deliveries came to: the first that arrived, else the newest."""
    sent = [one for one in rows if one.state == Sent.SENT and one.done_at is not None]
    best = min(sent, key=lambda one: one.done_at or one.made_at) if sent else rows[-1]
    receipts = list(best.receipts.all())
    last = receipts[-1] if receipts else None
    answer = " ".join(str(part) for part in (last.status, last.answer) if part)[:120] if last else ""
    if sent:
        state, at, todo = State.DONE, best.done_at, ""
    elif best.state == Sent.PENDING:
        state, at = State.WAITING, last.at if last else best.made_at
        todo = "It is tried again by itself; look at the channel." if best.attempts else ""
    else:
        state, at, todo = State.FAILED, last.at if last else best.made_at, "Look at the channel, and send it again."
    return Wanted(key, title, state, at, best.channel.name, who, answer, todo, "notifications")


def _paged(found: Incident) -> Wanted:
    key, title = "paged", "On-call engineer paged"
    keys = [one.split(":", 2)[2] for one in threads(found)]
    mine = Q(key__in=keys) | Q(covers__contains=[found.subject])
    if found.kind:
        mine |= Q(covers__contains=[found.kind])
    rows = Escalation.objects.filter(mine, environment=found.environment, began_at__gte=found.opened_at - BEFORE)
    steps = [
        step for row in rows.order_by("pk") for step in row.steps.filter(target=Target.ON_CALL.value).order_by("number")
    ]
    if not steps:
        todo = "Nothing escalates it: look at the matrix, and at the courier of the console."
        return Wanted(key, title, State.MISSING, todo=todo, page="escalations")
    pages = (
        StepDelivery.objects.filter(step__in=steps)
        .select_related("delivery__channel")
        .prefetch_related("delivery__receipts")
    )
    told = [one.delivery for one in pages.order_by("pk")]
    ran = next((step for step in steps if step.ran_at is not None), None)
    if told:
        return _of(key, title, told, who=ran.who if ran is not None else "")
    if ran is None:
        step = steps[0]
        if step.state == "stopped":
            return Wanted(
                key, title, State.MISSING, todo="Somebody had it before the page was due.", page="escalations"
            )
        return Wanted(key, title, State.WAITING, step.due_at, todo="The step is due.", page="escalations")
    return Wanted(
        key, title, State.MISSING, ran.ran_at, who=ran.who, receipt=ran.note,
        todo="Nobody has a channel: add one for whoever is on call, and call them.", page="oncall",
    )  # fmt: skip


def _pagerduty(found: Incident) -> Wanted:
    key, title = "pagerduty", "PagerDuty incident opened"
    rows = [one for one in _deliveries(found) if one.channel.kind == Kind.PAGERDUTY]
    if rows:
        return _of(key, title, rows)
    channels = Channel.objects.filter(environment=found.environment, kind=Kind.PAGERDUTY.value, archived_at=None)
    there = channels.order_by("name").values_list("name", flat=True).first()
    todo = f"{there} does not take it: change its topics and severities." if there else "Add a PagerDuty channel."
    return Wanted(key, title, State.MISSING, channel=there or "", todo=todo, page="notifications")


def _posted(found: Incident) -> Wanted:
    name = Topic.INCIDENTS.runbook
    key, title = "posted", f"Posted to {name}"
    rows = [
        one
        for one in _deliveries(found)
        if one.channel.person_id is None and one.channel.kind != Kind.PAGERDUTY and one.topic == Topic.INCIDENTS
    ]
    own = [one for one in rows if one.channel.name == name]
    if own or rows:
        return _of(key, title, own or rows)
    todo = f"Add the channel {name}, or another of the team that takes incidents."
    return Wanted(key, title, State.MISSING, todo=todo, page="notifications")


def _commander(found: Incident) -> Wanted:
    """Return who commands, else who was proposed: with the receipt of what told them, or that the page alone did."""
    key, title = "commander", "Incident commander proposed"
    held = found.roles.filter(role=RoleName.COMMANDER.value).select_related("person").first()
    proposed = found.proposed
    if proposed is not None:
        rows = Delivery.objects.filter(
            thread__in=threads(found), message__verb=PROPOSED, channel__person=proposed
        )  # fmt: skip
        told = list(rows.select_related("channel").prefetch_related("receipts").order_by("pk"))
        who = f"{held.person.get_username()} commands" if held is not None else proposed.get_username()
        if told:
            return _of(key, title, told, who=who)
        return Wanted(
            key, title, State.DONE, found.proposed_at, "this page", who,
            todo="" if held is not None else f"{proposed.get_username()} has no channel of their own: call them.",
            page="oncall",
        )  # fmt: skip
    if held is not None:
        set_ = HistoryEntry.objects.filter(subject=found.subject, verb="incident.role_set")
        entry = next((one for one in set_.order_by("-seq") if _of_commander(one)), None)
        who = f"{held.person.get_username()} commands"
        return Wanted(key, title, State.DONE, entry.at if entry else None, "this page", who)
    todo = "Nobody is on call, so nobody is proposed: fill the rotation, and press I command."
    return Wanted(key, title, State.MISSING, todo=todo, page="oncall")


def _of_commander(entry: HistoryEntry) -> bool:
    state = entry.after if isinstance(entry.after, dict) else {}
    return state.get("role") == RoleName.COMMANDER.value
