"""The deployment procedure: phases of ordered steps, how each is done, and where one stands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hawkops.core.verdicts import Verdict
from rollout.domain.reading import Path, Reader, Unfit


class StepKind(StrEnum):
    """How a step is done."""

    SCRIPT = "script"
    COMMAND = "command"
    ATTESTATION = "attestation"
    FLAGS = "flags"
    DRILL = "drill"


class Mark(StrEnum):
    """What people did to a step; a run speaks for itself."""

    NONE = ""
    PRESSED = "pressed"
    DONE = "done"
    SKIPPED = "skipped"


class StepState(StrEnum):
    """Where a step stands; only DONE and SKIPPED let the next one begin."""

    OPEN = "open"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def css(self) -> str:
        """The class and icon name of the badge."""
        return {"open": "nodata", "running": "running", "done": "pass", "failed": "fail", "skipped": "waived"}[self]

    @property
    def is_behind(self) -> bool:
        """Whether nothing is left to do."""
        return self in (StepState.DONE, StepState.SKIPPED)


@dataclass(frozen=True)
class Step:
    """One step. `script` is the catalogue's name; `command` the line as the runbook types it, where that differs."""

    key: str
    title: str
    means: str
    kind: StepKind
    script: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    flags: tuple[str, ...] = ()
    reason: str = ""
    attests: str = ""

    @property
    def line(self) -> str:
        """The command line as somebody would type it; empty when nothing is typed."""
        if self.command or not self.script:
            return self.command
        return shlex.join([f"./{self.script}", *(f"--{name}={value}" for name, value in self.arguments.items())])


@dataclass(frozen=True)
class ProcedurePhase:
    """Steps under one heading, in their order."""

    number: int
    title: str
    steps: tuple[Step, ...]


def state(mark: Mark, *, ran: bool, rehearsal: bool = False, verdict: Verdict | None = None) -> StepState:
    """Say where a step stands: by its mark, else by its newest run, whose verdict is None while it goes on.

    A dry run that passed opens the way and does nothing; only a real run that passed makes a step done.
    """
    if mark is Mark.SKIPPED:
        return StepState.SKIPPED
    if mark is Mark.DONE:
        return StepState.DONE
    if mark is Mark.PRESSED or (ran and verdict is None):
        return StepState.RUNNING
    if not ran:
        return StepState.OPEN
    if verdict is not Verdict.PASS:
        return StepState.FAILED
    return StepState.OPEN if rehearsal else StepState.DONE


def phase(value: Any, path: Path) -> ProcedurePhase:
    """Read one phase. Raises Unfit."""
    reader = Reader(value, path)
    found = ProcedurePhase(
        number=int(reader.number("number") or 0), title=reader.text("title"), steps=reader.items("steps", _step)
    )
    reader.end()
    if found.number != path[-1] + 1:  # type: ignore[operator]
        raise Unfit((*path, "number"), "phases are numbered 1, 2, 3, … in their order")
    return found


NEEDS = {
    StepKind.SCRIPT: ("script",),
    StepKind.COMMAND: ("script", "command"),
    StepKind.ATTESTATION: ("attests",),
    StepKind.FLAGS: ("flags", "reason"),
    StepKind.DRILL: ("flags", "reason"),
}


def _step(value: Any, path: Path) -> Step:
    reader = Reader(value, path)
    found = Step(
        key=reader.key(),
        title=reader.text("title"),
        means=reader.text("means"),
        kind=StepKind(reader.one_of("kind", tuple(StepKind))),
        script=reader.text("script", ""),
        arguments=reader.pairs("arguments"),
        command=reader.text("command", ""),
        flags=reader.texts("flags"),
        reason=reader.text("reason", ""),
        attests=reader.text("attests", ""),
    )
    reader.end()
    needed = NEEDS[found.kind]
    if missing := [name for name in needed if not getattr(found, name)]:
        raise Unfit(path, f"the step {found.key} is a {found.kind} and needs {missing[0]}")
    # whatever is done without a program has a line to show at most
    foreign = (
        {"script", "arguments", "flags", "reason", "attests"} - set(needed) - {"arguments" if found.script else ""}
    )
    if unfit := sorted(name for name in foreign if getattr(found, name)):
        raise Unfit((*path, unfit[0]), f"the step {found.key} is a {found.kind} and has no {unfit[0]}")
    return found


def distinct(phases: tuple[ProcedurePhase, ...]) -> None:
    """Refuse two steps of one key. Raises Unfit."""
    seen: set[str] = set()
    for index, one in enumerate(phases):
        for place, step in enumerate(one.steps):
            if step.key in seen:
                raise Unfit(("procedure", index, "steps", place, "key"), f"there are two steps {step.key!r}")
            seen.add(step.key)
