"""Guardrails of a phase: what each one watches and does, which device belongs to which arm since when, and one verdict.

Treatment are the devices of the phase's audience that its own share reaches; the control beside them are as many from the
other end of the buckets, up to half of the audience, so that a ramp never moves a device from the one to the other before
it passes the half. Whom an earlier phase, a pin or an override serves belongs to neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from hawkops.core.verdicts import WORST_FIRST, Verdict
from monitoring.domain.arms import Arm
from monitoring.domain.cohorts import Exclusion
from rollout.domain.bucketing import BUCKETS
from rollout.domain.reading import Path, Reader, Unfit

HOUR_SECONDS = 3600
LEVELS = (1, 2, 3)
TOLERATED_PERCENT = 5.0


class Role(StrEnum):
    """What a failed guardrail does: roll back, hold the steps until it has recovered, or only write down that it would."""

    GUARDRAIL = "guardrail"
    SIGNAL = "signal"
    WATCH = "watch"


class Judges(StrEnum):
    """What a guardrail looks at: the values of a criterion, how many devices report, or whether the arms are as drawn."""

    CRITERION = "criterion"
    REPORTING = "reporting"
    SAMPLE_RATIO = "sample ratio"


@dataclass(frozen=True)
class Guardrail:
    """One guardrail. `level` is the rollback of the role guardrail; so much worse than the control is `tolerated`.

    In a `dry_run` it does nothing when it fails, and writes down once what it would have done.
    """

    key: str
    title: str
    role: Role
    judges: Judges
    criterion: str = ""
    level: int = 0
    tolerated: float = TOLERATED_PERCENT / 100
    dry_run: bool = False

    @property
    def acts(self) -> bool:
        """Whether it rolls back when it fails."""
        return self.role is Role.GUARDRAIL and not self.dry_run

    @property
    def holds(self) -> bool:
        """Whether the next step waits while it fails."""
        return self.role is not Role.WATCH and not self.dry_run

    @property
    def would(self) -> str:
        """What it would have done when it fails, in words; empty for one that does it."""
        if self.holds:
            return ""
        if self.role is Role.GUARDRAIL:
            return f"rolled back by level {self.level}"
        return "held the next step"

    @property
    def short(self) -> str:
        """What happens when it fails, in a word."""
        if self.role is Role.GUARDRAIL:
            word = {1: "halve", 2: "backends off", 3: "kill"}[self.level]
        else:
            word = "hold" if self.role is Role.SIGNAL else "watch"
        return f"dry run: {word}" if self.dry_run else word

    @property
    def does(self) -> str:
        """What happens when it fails, in words."""
        if self.role is Role.GUARDRAIL:
            acts = {1: "halves the percentage", 2: "disables the backends", 3: "kills LiteRT, cloud answers"}
            said = f"level {self.level}: {acts[self.level]}"
        else:
            said = "holds the next step" if self.role is Role.SIGNAL else "is only written down"
        return f"dry run, writes down that it would have acted: {said}" if self.dry_run else said


def guardrail(value: Any, path: Path) -> Guardrail:
    """Read a guardrail from plain data. Raises Unfit."""
    reader = Reader(value, path)
    percent = reader.number("tolerated_percent")
    found = Guardrail(
        key=reader.key(),
        title=reader.text("title"),
        role=Role(reader.one_of("role", tuple(Role))),
        judges=Judges(reader.one_of("judges", tuple(Judges), Judges.CRITERION.value)),
        criterion=reader.text("criterion", ""),
        level=int(reader.number("level") or 0),
        tolerated=(TOLERATED_PERCENT if percent is None else percent) / 100,
        dry_run=reader.yes("dry_run"),
    )
    reader.end()
    if (found.role is Role.GUARDRAIL) is not (found.level in LEVELS):
        raise Unfit((*path, "level"), f"the role guardrail names its rollback, level 1, 2 or 3; {found.role} has none")
    if (found.judges is Judges.CRITERION) is not bool(found.criterion):
        raise Unfit((*path, "criterion"), "a guardrail names its criterion, or judges reporting or the sample ratio")
    if found.role is Role.WATCH and found.dry_run:
        raise Unfit((*path, "dry_run"), "a watch does nothing anyway; leave its dry_run out")
    if found.tolerated < 0:
        raise Unfit((*path, "tolerated_percent"), "it is 0 or more")
    return found


@dataclass(frozen=True)
class Served:
    """A step of a phase as it was done: when, and the share of its audience that it serves, in buckets of 100 000."""

    at: datetime
    thousandths: int

    @property
    def weights(self) -> tuple[int, int]:
        """How many buckets are treatment, and how many control."""
        return self.thousandths, BUCKETS - max(self.thousandths, BUCKETS - self.thousandths)


@dataclass(frozen=True)
class Stay:
    """A device's time in an arm, in hours since 1970: from its first whole one up to, without it, the one it left in."""

    arm: Arm
    first: int
    end: int | None = None


def arm_at(bucket: int, thousandths: int) -> Arm | None:
    """Return the arm of a bucket while a share is served; None for one between the arms."""
    if bucket < thousandths:
        return Arm.TREATMENT
    return Arm.CONTROL if bucket >= BUCKETS - thousandths else None


def stays(bucket: int, steps: Sequence[Served]) -> list[Stay]:
    """Return a device's times in arms over a phase's steps, in their order."""
    found: list[Stay] = []
    now: Arm | None = None
    for step in steps:
        arm = arm_at(bucket, step.thousandths)
        if arm is now:
            continue
        seconds = int(step.at.timestamp())
        if now is not None:
            last = found.pop()
            found.append(Stay(last.arm, last.first, seconds // HOUR_SECONDS))
        if arm is not None:
            found.append(Stay(arm, -(-seconds // HOUR_SECONDS)))
        now = arm
    return [one for one in found if one.end is None or one.end > one.first]


@dataclass(frozen=True)
class Line:
    """What a guardrail said of one band of ages, of all devices or one class. Ends of the interval may be None: open.

    A `relative` interval is of the change against the control; another one is of the value itself. `own` are low end,
    middle and high end of the value against its limit, where it was held against both.
    """

    band: str
    device_class: str
    verdict: Verdict
    sentence: str
    low: float | None = None
    estimate: float | None = None
    high: float | None = None
    relative: bool = False
    own: tuple[float | None, ...] | None = None


def together(lines: Iterable[Line]) -> tuple[Verdict, str]:
    """Return one verdict of a guardrail's lines and the sentence that decides it.

    One failure anywhere fails. Otherwise what is known of all devices counts, the longest band first that says something:
    a class, or an old age, that has too few devices takes nothing away.
    """
    found = list(lines)
    for verdict in (Verdict.FAIL, Verdict.ERROR):
        for one in found:
            if one.verdict is verdict:
                return verdict, _said(one)
    whole = [one for one in found if not one.device_class]
    passing = [one for one in whole if one.verdict is Verdict.PASS]
    if passing:
        return Verdict.PASS, _said(passing[-1])
    open_ = sorted(whole, key=lambda one: WORST_FIRST.index(one.verdict), reverse=True)
    return (open_[0].verdict, _said(open_[0])) if open_ else (Verdict.NO_DATA, "Nothing to compare yet.")


def short(found: Exclusion) -> dict[str, Any]:
    """Write what of an exclusion is kept and shown, as plain data."""
    return {
        "cohorts": [
            {
                "conditions": [list(pair) for pair in cohort.conditions],
                "name": cohort.name,
                "treatment": cohort.treatment,
                "control": cohort.control,
                "chance": cohort.chance,
            }
            for cohort in found.cohorts
        ],
        "everywhere": found.everywhere,
        "restored": found.restored,
        "excluded": found.excluded,
        "devices": found.devices,
    }


def _said(one: Line) -> str:
    where = f"{one.device_class}, " if one.device_class else ""
    return f"{where}{one.band}: {one.sentence}."
