"""The runbook's escalation matrix as data, when each of its steps is due, and what ends or resumes it. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from incidents.domain.calendar import Calendar
from incidents.domain.news import alerts_thread, hushed
from monitoring.domain.alerting import State as AlertState
from monitoring.domain.criteria import SECONDS, Severity, written

SPAN = re.compile(r"([0-9]{1,7})\s*(s|m|h|d)")
SPAN_MOST = timedelta(days=14)
STEPS_MOST, ROUNDS_MOST = 10, 10
SAYS_MOST = 200
# so long after it was due a step must have been accepted by somebody's channel
GRACE = timedelta(minutes=2)
# the worst first
GRAVITY = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)


class Unfit(ValueError):
    """A policy can't be used as it is; the message says why."""


class Target(StrEnum):
    """Whom a step tells."""

    ON_CALL = "on_call"
    TEAM_LEAD = "team_lead"
    ENGINEERING_MANAGER = "engineering_manager"
    SECURITY = "security"
    DEVOPS = "devops"
    TEAM = "team"

    @property
    def label(self) -> str:
        """How people call it."""
        return _LABELS[self]


_LABELS = {
    Target.ON_CALL: "on-call engineer",
    Target.TEAM_LEAD: "team lead",
    Target.ENGINEERING_MANAGER: "engineering manager",
    Target.SECURITY: "security team",
    Target.DEVOPS: "DevOps team",
    Target.TEAM: "the team's channels",
}


def span_of(text: str) -> timedelta:
    """Read a span: `0`, `15m`, `4h`. Raises Unfit."""
    if text.strip() == "0":
        return timedelta()
    found = SPAN.fullmatch(text.strip())
    span = timedelta(seconds=int(found[1]) * SECONDS[found[2]]) if found else None
    if span is None or span > SPAN_MOST:
        raise Unfit(f"{text[:20]!r} is no time; write 0, 15m, 4h or 1d, up to 14d.")
    return span


def span_words(span: timedelta) -> str:
    """Write a span as it is read."""
    return written(span) if span else "0"


@dataclass(frozen=True)
class Step:
    """So long after the beginning, while nobody has it, somebody is told. `business` waits for business hours."""

    after: timedelta
    target: Target
    says: str = ""
    business: bool = False

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "after": span_words(self.after),
            "target": self.target.value,
            "says": self.says,
            "business": self.business,
        }


@dataclass(frozen=True)
class Policy:
    """The steps of one severity.

    After the last step it begins again, `rounds` times in all, each `rest` after the step before. An acknowledgement
    counts for `acknowledged_for`; None is until the end.
    """

    steps: tuple[Step, ...]
    acknowledged_for: timedelta | None = None
    rounds: int = 1
    rest: timedelta = timedelta()

    def __post_init__(self) -> None:
        if not 1 <= len(self.steps) <= STEPS_MOST:
            raise Unfit(f"A policy has 1 to {STEPS_MOST} steps.")
        if any(later.after < earlier.after for earlier, later in zip(self.steps, self.steps[1:], strict=False)):
            raise Unfit("Steps stand in the order of their times.")
        if not 1 <= self.rounds <= ROUNDS_MOST:
            raise Unfit(f"It is gone through 1 to {ROUNDS_MOST} times.")
        if self.rounds > 1 and self.rest < timedelta(minutes=1):
            raise Unfit("Between two rounds there is at least a minute.")
        if self.acknowledged_for is not None and self.acknowledged_for < timedelta(minutes=1):
            raise Unfit("An acknowledgement counts for at least a minute.")
        if any(len(step.says) > SAYS_MOST for step in self.steps):
            raise Unfit(f"What a step says has at most {SAYS_MOST} characters.")

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "steps": [step.document() for step in self.steps],
            "acknowledged_for": span_words(self.acknowledged_for) if self.acknowledged_for else None,
            "rounds": self.rounds,
            "rest": span_words(self.rest),
        }


def policy_of(document: Mapping[str, Any]) -> Policy:
    """Read a document. Raises Unfit."""
    try:
        return Policy(
            tuple(
                Step(span_of(row["after"]), Target(row["target"]), row.get("says", ""), bool(row.get("business")))
                for row in document["steps"]
            ),
            span_of(document["acknowledged_for"]) if document.get("acknowledged_for") else None,
            int(document.get("rounds", 1)),
            span_of(document.get("rest", "0")),
        )
    except (KeyError, TypeError) as error:
        raise Unfit(f"The policy lacks {error}.") from error
    except ValueError as error:
        raise error if isinstance(error, Unfit) else Unfit(str(error)) from error


_MINUTES = timedelta(minutes=1)
DEFAULT: dict[Severity, Policy] = {
    # "15 minutes: on-call engineer → team lead → engineering manager"
    Severity.CRITICAL: Policy(
        (
            Step(0 * _MINUTES, Target.ON_CALL),
            Step(15 * _MINUTES, Target.TEAM_LEAD),
            Step(30 * _MINUTES, Target.ENGINEERING_MANAGER),
        ),
        acknowledged_for=15 * _MINUTES,
        rounds=3,
        rest=15 * _MINUTES,
    ),
    # "1 hour: team notification → investigation within 4 hours"
    Severity.WARNING: Policy(
        (
            Step(60 * _MINUTES, Target.TEAM, "Nobody has it after an hour."),
            Step(240 * _MINUTES, Target.ON_CALL, "The investigation is due: four hours are over."),
        ),
        acknowledged_for=240 * _MINUTES,
    ),
    # "24 hours: log review during business hours"
    Severity.INFO: Policy((Step(1440 * _MINUTES, Target.TEAM, "Review the logs of this.", business=True),)),
}


# ---- when ----


@dataclass(frozen=True)
class Due:
    """One step at its time. `number` counts from 1 through all rounds."""

    number: int
    step: Step
    at: datetime

    def document(self) -> dict[str, Any]:
        """Return it as the history keeps it."""
        return {"number": self.number, "at": self.at.isoformat(), **self.step.document()}


def plan(policy: Policy, *, start: datetime, calendar: Calendar, first: int = 1) -> list[Due]:
    """Return every step of every round with the time it is due, in order. `first` is the number of the first one."""
    found: list[Due] = []
    begins, latest = start, start
    for _ in range(policy.rounds):
        for step in policy.steps:
            at = begins + step.after
            # a step that waits for business hours holds back those behind it
            latest = max(latest, calendar.next_open(at) if step.business else at)
            at = calendar.next_open(latest) if step.business else latest
            latest = at
            found.append(Due(first + len(found), step, at))
        begins = latest + policy.rest
    return found


def resumed(
    left: Iterable[Due], policy: Policy, *, now: datetime, calendar: Calendar, first: int
) -> list[Due]:  # fmt: skip
    """Return when what is left of a plan is due after an acknowledgement ran out: the next at once, the others as far
    apart as they were. With nothing left all of it begins again, from number `first` on.
    """
    waiting = list(left)
    if not waiting:
        return plan(policy, start=now, calendar=calendar, first=first)
    shift = now - waiting[0].at
    found: list[Due] = []
    for one in waiting:
        at = max(one.at + shift, found[-1].at if found else now)
        found.append(Due(one.number, one.step, calendar.next_open(at) if one.step.business else at))
    return found


class Proof(StrEnum):
    """What is known of a step."""

    AHEAD = "ahead"
    # due, and within its grace
    UNDER_WAY = "under way"
    PROVEN = "proven"
    LATE_PROVEN = "proven late"
    LATE = "late"


def proof(due_at: datetime, accepted_at: datetime | None, *, now: datetime) -> Proof:
    """Say whether a step ran: somebody's channel accepted it, within its grace or later, or nobody's did."""
    if accepted_at is not None:
        return Proof.PROVEN if accepted_at <= due_at + GRACE else Proof.LATE_PROVEN
    if now < due_at:
        return Proof.AHEAD
    return Proof.UNDER_WAY if now < due_at + GRACE else Proof.LATE


# ---- states ----


class State(StrEnum):
    """Where an escalation stands."""

    RUNNING = "running"
    ACKNOWLEDGED = "acknowledged"
    ENDED = "ended"


MOVES = {
    State.RUNNING: (State.ACKNOWLEDGED, State.ENDED),
    State.ACKNOWLEDGED: (State.RUNNING, State.ENDED),
    State.ENDED: (),
}


class StepState(StrEnum):
    """Where a step stands."""

    WAITING = "waiting"
    TOLD = "told"
    # nobody's channel could be found
    UNREACHED = "unreached"
    STOPPED = "stopped"


# ---- from the history ----


class Sign(StrEnum):
    """What an entry of the history means to an escalation."""

    BEGINS = "begins"
    ACKNOWLEDGED = "acknowledged"
    # an acknowledgement ran out
    GOES_ON = "goes on"
    CHANGED = "changed"
    OVER = "over"


# what happens every day to see that a page arrives
CHECK = "page_check"


@dataclass(frozen=True)
class Subject:
    """What is escalated: a group of alerts (`alerts:gpu`), an incident (`incident:5`), the daily check."""

    kind: str
    key: str
    severity: Severity
    title: str
    simulated: bool = False
    # keys of subjects that it takes over
    covers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Signal:
    """A sign about a subject, as one entry gives it."""

    sign: Sign
    subject: Subject
    by: str
    seq: int


_ALERT_SIGNS = {
    "alert.fired": Sign.BEGINS,
    "alert.uncovered": Sign.BEGINS,
    "alert.paged_again": Sign.GOES_ON,
    "alert.acknowledged": Sign.ACKNOWLEDGED,
    "alert.resolved": Sign.OVER,
    "alert.closed": Sign.OVER,
    "alert.explained": Sign.OVER,
    "alert.silenced": Sign.OVER,
}
_INCIDENT_SIGNS = {
    "incident.opened": Sign.BEGINS,
    "incident.reopened": Sign.BEGINS,
    "incident.acknowledged": Sign.ACKNOWLEDGED,
    "incident.severity_changed": Sign.CHANGED,
    "incident.mitigated": Sign.ACKNOWLEDGED,
    "incident.resolved": Sign.OVER,
    "incident.merged": Sign.OVER,
}
BEGINNINGS = ("alert.fired", "alert.uncovered", "alert.paged_again", "incident.opened", f"{CHECK}.started")
VERBS = (*_ALERT_SIGNS, *_INCIDENT_SIGNS, f"{CHECK}.started")


def signal_of(*, seq: int, verb: str, subject: str, after: Any, by: str) -> Signal | None:
    """Return what an entry means to an escalation; None for whatever escalates nothing."""
    state = after if isinstance(after, dict) else {}
    noun = verb.partition(".")[0]
    title = str(state.get("title") or subject)
    severity = severity_of(state.get("severity"))
    if noun == "alert" and (sign := _ALERT_SIGNS.get(verb)):
        if sign in (Sign.BEGINS, Sign.GOES_ON) and (hushed(state) or state.get("state") != AlertState.FIRING):
            return None
        key = alerts_thread(str(state.get("group") or ""))
        return Signal(sign, Subject("alerts", key, severity, title, bool(state.get("simulated"))), by, seq)
    if noun == "incident" and (sign := _INCIDENT_SIGNS.get(verb)):
        kind = str(state.get("kind") or "")
        covers = (kind,) if kind.startswith("alerts:") else ()
        found = Subject("incident", subject, severity, title, bool(state.get("simulated")), covers)
        return Signal(sign, found, by, seq)
    if verb == f"{CHECK}.started":
        return Signal(Sign.BEGINS, Subject(CHECK, CHECK, Severity.INFO, title), by, seq)
    return None


def severity_of(value: Any) -> Severity:
    """Read a severity; what is none is taken for a warning."""
    return Severity(value) if value in set(Severity) else Severity.WARNING


def worse(one: Severity, than: Severity) -> bool:
    """Say whether one severity is graver than another."""
    return GRAVITY.index(one) < GRAVITY.index(than)
