"""Reading what a lockdown led to: its incident, its runs, and whether the security team was really told."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.scripts.checks.notifying import Told
from hawkops.scripts.models import Run
from incidents.domain.contacts import ContactRole, href
from incidents.domain.message import Action
from incidents.domain.news import LOCKDOWN_THREAD
from incidents.domain.retrying import State
from incidents.domain.routing import Topic
from incidents.models import Channel, Delivery, Incident, IncidentCause
from incidents.selectors.notifications import reading
from incidents.selectors.oncall import contact_of
from rollout.selectors import lockdown as lockdowns
from rollout.selectors.lockdown import Lockdown

# as the runbook writes them, in its order
SCRIPTS: dict[str, dict[str, str]] = {
    "scripts/collect-security-evidence.sh": {"incident-id": "{incident}"},
    "scripts/notify-security-team.sh": {"severity": "{severity}", "type": "litert_incident"},
}
TITLES = {
    "scripts/collect-security-evidence.sh": "Evidence collected",
    "scripts/notify-security-team.sh": "Security team told",
}
# news of an older lockdown tells nobody of today's
NEWS_FOR = timedelta(days=1)


@dataclass(frozen=True)
class Step:
    """A script that a lockdown asks for; `run` is what it ran as, None before it was asked."""

    script: str
    title: str
    run: Run | None


@dataclass(frozen=True)
class Response:
    """A lockdown with what it led to by itself."""

    lockdown: Lockdown
    incident: Incident | None
    steps: tuple[Step, ...]
    told: tuple[Told, ...]


def response(found: Lockdown) -> Response:
    """Return what a lockdown led to so far. A handful of queries."""
    cause = (
        IncidentCause.objects.select_related("incident")
        .filter(incident__environment=found.environment, subject=found.subject)
        .order_by("pk")
        .first()
    )
    ran = runs_of(found)
    steps = tuple(Step(script, TITLES[script], ran.get(script)) for script in SCRIPTS)
    return Response(found, cause.incident if cause else None, steps, tuple(_told(found)))


def responses_of(incident: Incident) -> list[Response]:
    """Return the lockdowns that an incident is about, the newest first, with what they led to."""
    subjects = incident.causes.filter(subject__startswith="lockdown:").values_list("subject", flat=True)
    found = (lockdowns.lockdown(int(subject.partition(":")[2])) for subject in subjects)
    return sorted((response(one) for one in found if one), key=lambda one: -one.lockdown.pk)


def runs_of(found: Lockdown) -> dict[str, Run]:
    """Return the runs that a lockdown asked for, by their script. One query."""
    rows = Run.objects.filter(environment=found.environment, script__in=SCRIPTS, subject__lockdown=found.pk)
    return {run.script: run for run in rows}


# ---- was the security team told? ----


def security_told(environment: str) -> list[Told]:
    """Return how the news of the newest lockdown of the last day fared at the security team's channels.

    Without an environment those of every one. Empty where no channel takes it.
    """
    found = [lockdowns.newest(one) for one in ([environment] if environment else [one.value for one in Environment])]
    recent = [one for one in found if one is not None and clock.now() - one.at < NEWS_FOR]
    return [told for one in recent for told in _told(one)]


def security_addresses() -> list[str]:
    """Return the security team's e-mail addresses of the contact table. One query."""
    contact = contact_of(ContactRole.SECURITY.value)
    ways = contact.ways if contact is not None else []
    return [way for way in ways if href(way).startswith("mailto:")]


def _told(found: Lockdown) -> Iterable[Told]:
    """Give each channel that the security route names, with its receipt."""
    contact = contact_of(ContactRole.SECURITY.value)
    theirs = {None, contact.person_id if contact else None}
    rows = Delivery.objects.filter(
        channel__environment=found.environment,
        topic=Topic.SECURITY.value,
        entry=found.entry,
        thread=f"hawkops:{found.environment}:{LOCKDOWN_THREAD}",
        action=Action.TRIGGER.value,
    )
    seen = False
    for row in rows.select_related("channel").prefetch_related("receipts").order_by("pk"):
        # what somebody else reads for himself tells the team nothing
        if row.channel.person_id in theirs:
            seen = True
            yield _receipt(row)
    if seen or found.entry is None or reading().seq >= found.entry:
        return
    waiting = Channel.objects.filter(
        environment=found.environment, archived_at=None, paused=False, topics__contains=[Topic.SECURITY.value]
    )
    for channel in waiting.order_by("pk"):
        if channel.person_id in theirs:
            yield Told(_name(channel), None, "the news is about to be sent")


def _name(channel: Channel) -> str:
    return f"{channel.get_kind_display()}: {channel.name}"


def _receipt(row: Delivery) -> Told:
    last = max(row.receipts.all(), key=lambda one: one.number, default=None)
    answered = f"answered {last.status}" if last is not None and last.status else "took it"
    if row.state == State.SENT:
        spent = row.delay.total_seconds() if row.delay is not None else 0.0
        return Told(_name(row.channel), True, f"{answered} after {spent:.1f} s", row.pk)
    why = " ".join(str(part) for part in (last.status, last.answer) if part)[:120] if last is not None else ""
    if row.state == State.PENDING:
        tried = f"tried {row.attempts} times" if row.attempts else "not tried yet"
        return Told(_name(row.channel), None, f"{tried}: {why}" if why else tried, row.pk)
    return Told(_name(row.channel), False, f"{row.state}: {why}" if why else row.state, row.pk)
