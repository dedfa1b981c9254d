"""An incident: its states, the moves between them as one table, and what opens one by itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from incidents.domain.news import LOCKDOWN_THREAD
from monitoring.domain.alerting import Action
from monitoring.domain.criteria import Severity


class State(StrEnum):
    """How far people are."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    REVIEWED = "reviewed"

    @property
    def over(self) -> bool:
        """Whether it is over."""
        return self in (State.RESOLVED, State.REVIEWED)

    @property
    def says(self) -> str:
        """What it means to somebody who looks from outside."""
        return _SAYS[self]


_SAYS = {
    State.OPEN: "We have seen it and are looking for somebody to work on it.",
    State.ACKNOWLEDGED: "Somebody works on it.",
    State.MITIGATED: "Its effects are held back; we make sure that it is over.",
    State.RESOLVED: "It is over.",
    State.REVIEWED: "It is over, and we have looked at how it came about.",
}
OPEN_STATES = tuple(one for one in State if not one.over)


class Move(StrEnum):
    """What is done to an incident."""

    ACKNOWLEDGE = "acknowledge"
    MITIGATE = "mitigate"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    REVIEW = "review"

    @property
    def verb(self) -> str:
        """What the history calls it. One that opens again is an opening: whoever escalates begins anew."""
        return _VERBS[self]


_VERBS = {
    Move.ACKNOWLEDGE: "incident.acknowledged",
    Move.MITIGATE: "incident.mitigated",
    Move.RESOLVE: "incident.resolved",
    Move.REOPEN: "incident.opened",
    Move.REVIEW: "incident.reviewed",
}
# Every move that there is; a pair that is missing is refused.
MOVES: dict[tuple[State, Move], State] = {
    (State.OPEN, Move.ACKNOWLEDGE): State.ACKNOWLEDGED,
    (State.OPEN, Move.MITIGATE): State.MITIGATED,
    (State.OPEN, Move.RESOLVE): State.RESOLVED,
    (State.ACKNOWLEDGED, Move.MITIGATE): State.MITIGATED,
    (State.ACKNOWLEDGED, Move.RESOLVE): State.RESOLVED,
    (State.MITIGATED, Move.RESOLVE): State.RESOLVED,
    (State.MITIGATED, Move.REOPEN): State.OPEN,
    (State.RESOLVED, Move.REOPEN): State.OPEN,
    (State.RESOLVED, Move.REVIEW): State.REVIEWED,
}


def moved(state: State, move: Move) -> State | None:
    """Return the state after a move; None where there is no such move."""
    return MOVES.get((state, move))


def moves_from(state: State) -> tuple[Move, ...]:
    """Return the moves that there are."""
    return tuple(move for (start, move) in MOVES if start is state)


GRAVITY = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)


def graver(one: Severity, other: Severity) -> Severity:
    """Return the worse of two severities."""
    return min(one, other, key=GRAVITY.index)


class RoleName(StrEnum):
    """What somebody does during an incident."""

    COMMANDER = "commander"
    COMMUNICATIONS = "communications"
    SCRIBE = "scribe"


# ---- what opens one by itself ----


class Sign(StrEnum):
    """What an entry of the history says of a cause."""

    BEGAN = "began"
    ENDED = "ended"
    TAKEN = "taken"


@dataclass(frozen=True)
class Cause:
    """Something that opens an incident, joins one or leaves it. What shares a `kind` joins one incident."""

    sign: Sign
    kind: str
    subject: str
    title: str
    severity: Severity
    simulated: bool = False
    # what the runbook wants done about it; empty for nothing
    task: str = ""
    # the kind whose open incident it joins, where none of its own is open
    joins: str = ""


_ALERTS = {
    "alert.fired": Sign.BEGAN,
    "alert.uncovered": Sign.BEGAN,
    "alert.paged_again": Sign.BEGAN,
    "alert.acknowledged": Sign.TAKEN,
    "alert.resolved": Sign.ENDED,
    "alert.closed": Sign.ENDED,
}
_GUARDRAILS = {
    "guardrail.failed": Sign.BEGAN,
    "guardrail.rolled_back": Sign.BEGAN,
    "guardrail.recovered": Sign.ENDED,
}
# under one thread with the news of it, so that a pager keeps one of both
LOCKDOWN = LOCKDOWN_THREAD
SECURITY_ALERTS = "alerts:security"
_LOCKDOWNS = {"lockdown.started": Sign.BEGAN, "lockdown.lifted": Sign.ENDED}
# what a broken security metric asks of people
_TASKS = {
    Action.TELL_SECURITY.value: "Tell the security team",
    Action.INVESTIGATE.value: "Investigate at once",
    Action.SECURITY_REVIEW.value: "Security review",
}
_ROLES = {"guardrail": Severity.CRITICAL, "signal": Severity.WARNING}


def cause_of(verb: str, subject: str, after: Any) -> Cause | None:
    """Return what an entry means to incidents; None for what opens and ends none.

    By the severity matrix critical and warning alerts open one; what something explains or somebody silenced does not.
    """
    state: dict[str, Any] = after if isinstance(after, dict) else {}
    if (sign := _ALERTS.get(verb)) is not None:
        return _alert(sign, subject, state)
    if (sign := _GUARDRAILS.get(verb)) is not None:
        return _guardrail(verb, sign, subject, state)
    if (sign := _LOCKDOWNS.get(verb)) is not None:
        title = f"Security lockdown: {state.get('reason') or 'security incident'}"
        return Cause(sign, LOCKDOWN, subject, title, Severity.CRITICAL, joins=SECURITY_ALERTS)
    return None


def _alert(sign: Sign, subject: str, state: dict[str, Any]) -> Cause | None:
    severity = Severity(state.get("severity") or Severity.WARNING)
    if sign is Sign.BEGAN:
        hushed = bool(state.get("inhibited_by")) or state.get("silence") is not None
        if severity is Severity.INFO or hushed or state.get("state") != "firing":
            return None
    title, kind = str(state.get("title") or subject), f"alerts:{state.get('group') or 'other'}"
    words = _TASKS.get(str(state.get("action") or ""))
    task = f"{words}: {title}" if words else ""
    return Cause(sign, kind, subject, title, severity, simulated=bool(state.get("simulated")), task=task)


def _guardrail(verb: str, sign: Sign, subject: str, state: dict[str, Any]) -> Cause | None:
    parts = subject.split(":")
    if len(parts) != 4:
        return None
    _, release, phase, key = parts
    severity = Severity.CRITICAL if verb == "guardrail.rolled_back" else _ROLES.get(str(state.get("role")))
    if severity is None:
        return None
    name = key.replace("_", " ").replace("-", " ")
    return Cause(sign, f"guardrail:{release}:{phase}", subject, f"Guardrail fails: {name}", severity)
