"""The runbook's immediate rollback against its five minutes: which steps there are, and what was late. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

LIMIT = timedelta(minutes=5)


class Step(StrEnum):
    """What is reached, in its order. The press turns LiteRT off and fallback on in one change, so both have its time."""

    PRESSED = "pressed"
    OFF = "off"
    TOLD = "told"
    OBEYED_50 = "obeyed_50"
    OBEYED_95 = "obeyed_95"
    OBEYED_99 = "obeyed_99"
    SETTLED = "settled"

    @property
    def label(self) -> str:
        """What it is called."""
        return _LABELS[self]

    @property
    def counts(self) -> bool:
        """Whether the five minutes are kept only with it."""
        return self in COUNTED


_LABELS = {
    Step.PRESSED: "Pressed",
    Step.OFF: "LiteRT off, cloud fallback on",
    Step.TOLD: "Stakeholders told",
    Step.OBEYED_50: "50 % of active devices obey",
    Step.OBEYED_95: "95 % of active devices obey",
    Step.OBEYED_99: "99 % of active devices obey",
    Step.SETTLED: "All settled",
}
# the last devices, those without a network say, only the lease can stop: they are shown, and don't break the promise
COUNTED = (Step.OFF, Step.TOLD, Step.OBEYED_50, Step.OBEYED_95)
SHARES = {Step.OBEYED_50: 0.50, Step.OBEYED_95: 0.95, Step.OBEYED_99: 0.99}


class State(StrEnum):
    """How a clock stands. It is looked at until all is settled, also after it was judged."""

    RUNNING = "running"
    MET = "met"
    MISSED = "missed"
    LIFTED = "lifted"


MOVES = {State.RUNNING: (State.MET, State.MISSED, State.LIFTED), State.MET: (), State.MISSED: (), State.LIFTED: ()}


@dataclass(frozen=True)
class Judged:
    """Whether the five minutes were kept, how long it took as far as it is known, and what was late."""

    state: State
    took: timedelta | None
    late: tuple[Step, ...] = ()


def wanted(devices: int) -> tuple[Step, ...]:
    """Return the steps that must be reached in time; nobody is there to obey where no device was active."""
    return tuple(one for one in COUNTED if devices or one not in SHARES)


def judged(moments: Mapping[Step, datetime], *, pressed_at: datetime, devices: int, now: datetime) -> Judged:
    """Judge what was reached until now."""
    steps = wanted(devices)
    reached = [moments[one] for one in steps if one in moments]
    took = max(reached) - pressed_at if len(reached) == len(steps) else None
    late = tuple(one for one in steps if moments.get(one, now) - pressed_at > LIMIT)
    if late:
        return Judged(State.MISSED, took, late)
    return Judged(State.MET if took is not None else State.RUNNING, took)


def written(span: timedelta) -> str:
    """Write a time as a clock does: 2:13, 1:02:13."""
    minutes, seconds = divmod(max(0, int(span.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def said(steps: Sequence[str]) -> str:
    """Name steps in a sentence."""
    return ", ".join(Step(one).label for one in steps)


def kill_revision(after: Any) -> int:
    """Return the revision of the flags that a kill made, from what its entry keeps."""
    state: dict[str, Any] = after or {}
    states = [state] if "revision" in state else list(state.values())
    return max((int(one["revision"]) for one in states if isinstance(one, dict)), default=0)
