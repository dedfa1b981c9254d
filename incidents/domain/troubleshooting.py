"""Troubleshooting: problems as data, whether their symptoms are there, and whether what was pressed helped. Pure.

A problem has symptoms (each a criterion, a log pattern or a reading of its own), scripts that diagnose it, and solutions:
a flag's value, an override for some devices, a command that devices carry out once, a script.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from hawkops.core.verdicts import Verdict
from monitoring.domain import criteria
from monitoring.domain.criteria import Criterion
from rollout.domain import targeting
from rollout.domain.reading import Path, Reader, Unfit
from rollout.domain.targeting import Constraint, Operator

# when a solution is looked at again, and the span of the readings that are compared
LOOKS = (timedelta(minutes=10), timedelta(minutes=30))
WINDOW = timedelta(minutes=10)
# a symptom that stays moved when its distance from the limit changed by so much
MOVED_LEAST = 0.1
# so many active devices must obey before a comparison says anything
OBEYING_LEAST = 0.5
TITLE_MOST, SENTENCE_MOST, ITEMS_MOST = 120, 300, 12
SAMPLES = 30
PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s?%")


class ReadingKind(StrEnum):
    """What is read that no single criterion says."""

    CLOUD_SHARE = "cloud-share"
    GPU_AGAINST_CPU = "gpu-against-cpu"


class SolutionKind(StrEnum):
    """What a press does."""

    FLAG = "flag"
    SCOPED = "scoped"
    COMMAND = "command"
    SCRIPT = "script"


@dataclass(frozen=True)
class Symptom:
    """One symptom: exactly one of a criterion of its own, a stored one by key, a log pattern by key, or a reading."""

    key: str
    title: str
    reads: Criterion | None = None
    criterion: str = ""
    pattern: str = ""
    reading: ReadingKind | None = None
    # as it was written; empty where the criterion's own counts
    limit: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """A script of the catalogue with its arguments, as a form gives them."""

    script: str
    arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The command line as people type it."""
        said = [
            f"--{name}" if value in ("yes", "on") else f"--{name}={value}" for name, value in self.arguments.items()
        ]
        return " ".join([self.script, *said])


@dataclass(frozen=True)
class Solution:
    """One press. Which fields count says its kind; `value` is a flag's, `variant` an override's."""

    key: str
    title: str
    kind: SolutionKind
    flag: str = ""
    value: Any = None
    variant: str = ""
    attribute: str = ""
    operator: str = ""
    bound: str = ""
    proposes: str = ""
    script: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    does: str = ""
    reason: str = ""
    # what devices report of a command, without `_done` and `_failed`
    outcome: str = ""

    @property
    def asks(self) -> bool:
        """Whether somebody types a value before the press."""
        return self.kind is SolutionKind.SCOPED

    @property
    def words(self) -> str:
        """The script's command line."""
        return Diagnosis(self.script, self.arguments).words


@dataclass(frozen=True)
class Problem:
    """A problem with what belongs to it. `document` is the plain data that it was read from."""

    key: str
    title: str
    symptoms: tuple[Symptom, ...]
    diagnosis: tuple[Diagnosis, ...]
    solutions: tuple[Solution, ...]
    runbook: str = ""
    document: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def solution(self, key: str) -> Solution | None:
        """Return a solution by key."""
        return next((one for one in self.solutions if one.key == key), None)

    @property
    def criteria(self) -> frozenset[str]:
        """The stored criteria that are symptoms of it."""
        return frozenset(one.criterion for one in self.symptoms if one.criterion)

    @property
    def patterns(self) -> frozenset[str]:
        """The log patterns that are symptoms of it."""
        return frozenset(one.pattern for one in self.symptoms if one.pattern)


# ---- from plain data ----


def problems(data: Any) -> tuple[Problem, ...]:
    """Read a guide. Raises Unfit with the place of what is wrong."""
    reader = Reader(data, ())
    if reader.take("version")[0] != 1:
        raise Unfit(("version",), "version is 1")
    found = reader.items("problems", problem)
    reader.end()
    _distinct([one.key for one in found], ("problems",), "problem")
    return found


def problem(data: Any, path: Path) -> Problem:
    """Read one problem. Raises Unfit."""
    reader = Reader(data, path)
    made = Problem(
        key=reader.key(),
        title=_line(reader, "title", path),
        runbook=_line(reader, "runbook", path, default="", most=SENTENCE_MOST),
        symptoms=reader.items("symptoms", _symptom),
        diagnosis=reader.items("diagnosis", _diagnosis, needed=False),
        solutions=reader.items("solutions", _solution, needed=False),
        document=dict(data),
    )
    reader.end()
    for name, rows in (("symptoms", made.symptoms), ("diagnosis", made.diagnosis), ("solutions", made.solutions)):
        if len(rows) > ITEMS_MOST:
            raise Unfit((*path, name), f"at most {ITEMS_MOST} {name}")
    _distinct([one.key for one in made.symptoms], (*path, "symptoms"), "symptom")
    _distinct([one.key for one in made.solutions], (*path, "solutions"), "solution")
    return made


def _distinct(keys: list[str], path: Path, what: str) -> None:
    if twice := [key for index, key in enumerate(keys) if key in keys[:index]]:
        raise Unfit(path, f"there are two {what}s {twice[0]!r}")


def _line(reader: Reader, name: str, path: Path, *, default: str | None = None, most: int = TITLE_MOST) -> str:
    value = reader.text(name, default).strip()
    if len(value) > most or not criteria.writable(value):
        raise Unfit((*path, name), f"{name} is one line of at most {most} characters")
    return value


def _symptom(data: Any, path: Path) -> Symptom:
    reader = Reader(data, path)
    # empty where the title of the criterion or the pattern says it
    key, title = reader.key(), _line(reader, "title", path, default="")
    own, own_path = reader.take("reads")
    reading = reader.one_of("reading", tuple(ReadingKind), "")
    made = Symptom(
        key=key,
        title=title,
        criterion=reader.text("criterion", ""),
        pattern=reader.text("pattern", ""),
        reading=ReadingKind(reading) if reading else None,
        limit=_limit(reader, path),
    )
    reader.end()
    if sum(map(bool, (own, made.criterion, made.pattern, made.reading))) != 1:
        raise Unfit(path, "a symptom is one of reads, criterion, pattern and reading")
    if not title and (own or made.reading):
        raise Unfit(path, "needs title, a text")
    if made.reading is not None and limit_of(made.limit) is None:
        raise Unfit((*path, "limit"), f"{made.limit!r} is no limit; write 5 % or a number")
    if made.pattern and made.limit and not (made.limit.isdigit() and int(made.limit)):
        raise Unfit((*path, "limit"), f"{made.limit!r} is no limit; a log pattern has a whole number of lines")
    return replace(made, reads=_reads(own, own_path, made)) if own else made


def _limit(reader: Reader, path: Path) -> str:
    value, place = reader.take("limit")
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unfit(place, "a limit is a number with its unit")
    return str(value).strip()


def limit_of(text: str) -> float | None:
    """Return the limit of a reading: a share in percent, or a plain number; None for anything else."""
    if found := PERCENT.fullmatch(text):
        return float(found[1]) / 100
    return float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) else None


def _reads(data: Any, path: Path, symptom: Symptom) -> Criterion:
    if not isinstance(data, Mapping):
        raise Unfit(path, "reads is a criterion")
    whole = {
        **data,
        "key": symptom.key.replace("_", "-"),
        "title": symptom.title,
        "purpose": criteria.Purpose.ALERT.value,
        "serves": "Troubleshooting",
    }
    try:
        return criteria.criterion(whole, path)
    except criteria.Unfit as unfit:
        raise Unfit(unfit.path, unfit.message) from unfit


def limited(one: Criterion, limit: str) -> Criterion:
    """Return a criterion with a limit of the problem's own. Raises criteria.Unfit for one that does not fit its metric."""
    if not limit:
        return one
    return criteria.criterion({**criteria.document(one), "threshold": limit})


def _diagnosis(data: Any, path: Path) -> Diagnosis:
    reader = Reader(data, path)
    made = Diagnosis(reader.text("script"), reader.pairs("arguments"))
    reader.end()
    return made


def _solution(data: Any, path: Path) -> Solution:
    reader = Reader(data, path)
    kind = SolutionKind(reader.one_of("kind", tuple(SolutionKind)))
    made = Solution(
        key=reader.key(),
        title=_line(reader, "title", path),
        kind=kind,
        does=_line(reader, "does", path, default="", most=SENTENCE_MOST),
        reason=_line(reader, "reason", path, default=""),
    )
    if kind is SolutionKind.SCRIPT:
        made = replace(made, script=reader.text("script"), arguments=reader.pairs("arguments"))
    else:
        made = replace(made, flag=reader.text("flag"))
    if kind is SolutionKind.FLAG:
        value, place = reader.take("value")
        if value is None:
            raise Unfit(place, "a flag is set to a value")
        made = replace(made, value=value)
    if kind is SolutionKind.COMMAND:
        made = replace(made, outcome=reader.key("outcome"))
    if kind is SolutionKind.SCOPED:
        made = replace(
            made,
            variant=reader.one_of("variant", ("on", "off")),
            attribute=reader.one_of("attribute", tuple(targeting.ATTRIBUTES)),
            operator=reader.one_of("operator", tuple(Operator)),
            bound=reader.text("bound", ""),
            proposes=reader.one_of("proposes", ("gpu-driver",), ""),
        )
    reader.end()
    return made


# ---- whether symptoms are there ----


class Presence(StrEnum):
    """Whether a problem is there."""

    PRESENT = "present"
    ABSENT = "not there"
    UNKNOWN = "no data"


@dataclass(frozen=True)
class Measured:
    """What was read of a symptom at one time. A symptom is there when its verdict is FAIL."""

    key: str
    title: str
    verdict: Verdict
    sentence: str
    value: float | None = None
    limit: float | None = None
    # both as people write them
    said: str = ""
    wanted: str = ""
    count: int = 0
    devices: int = 0
    # it counts lines of logs, whose absence says little
    lines: bool = False

    @property
    def known(self) -> bool:
        """Whether it says something: enough was read, lately, of the right subject."""
        return self.verdict in (Verdict.PASS, Verdict.FAIL) and self.value is not None

    @property
    def there(self) -> bool:
        """Whether the symptom is there."""
        return self.verdict is Verdict.FAIL

    @property
    def sample(self) -> str:
        """Of how much it was read."""
        many = f"{self.count} observation{'s' * (self.count != 1)}"
        return f"{many} of {self.devices} device{'s' * (self.devices != 1)}" if self.devices else many

    def document(self) -> dict[str, Any]:
        """Write it as plain data."""
        return {**vars(self), "verdict": self.verdict.value}


def measured_of(data: Mapping[str, Any]) -> Measured:
    """Read what `document` wrote."""
    return Measured(**{**data, "verdict": Verdict(data["verdict"])})


def presence(symptoms: Iterable[Measured]) -> Presence:
    """Say whether a problem is there: one symptom is enough; silence says nothing, and that of logs neither."""
    found = list(symptoms)
    if any(one.there for one in found):
        return Presence.PRESENT
    measured = any(one.verdict is Verdict.PASS and not one.lines for one in found)
    only_lines = all(one.lines for one in found) and any(one.verdict is Verdict.PASS for one in found)
    return Presence.ABSENT if measured or only_lines else Presence.UNKNOWN


# ---- whether it helped ----


class Helped(StrEnum):
    """What a look after a press says."""

    HELPED = "helped"
    NOT = "did not help"
    WORSE = "worse"
    EARLY = "too early"
    NO_DATA = "no data"


class Moved(StrEnum):
    """How a symptom moved between two readings."""

    GONE = "gone"
    BETTER = "better"
    SAME = "the same"
    WORSE = "worse"
    CAME = "new"
    WELL = "was not there"
    UNKNOWN = "not known"


@dataclass(frozen=True)
class Outcome:
    """Whether it helped, with the numbers that say so."""

    helped: Helped
    sentence: str


def moved(before: Measured, after: Measured) -> Moved:
    """Say how a symptom moved. One that stays moved when its distance from its limit changed by a tenth."""
    if not before.known or not after.known:
        return Moved.UNKNOWN
    if before.there and not after.there:
        return Moved.GONE
    if after.there and not before.there:
        return Moved.CAME
    if not after.there:
        return Moved.WELL
    assert before.value is not None and after.value is not None
    distance = abs(before.value - (before.limit or 0.0))
    nearer = distance - abs(after.value - (after.limit or 0.0))
    if not distance:
        return Moved.SAME if not nearer else Moved.WORSE
    if abs(nearer) / distance < MOVED_LEAST:
        return Moved.SAME
    return Moved.BETTER if nearer > 0 else Moved.WORSE


def outcome(
    before: Sequence[Measured], after: Sequence[Measured], *, obeying: int | None, active: int, minutes: int
) -> Outcome:
    """Compare a problem's symptoms before a press and so many minutes after it; the worst move speaks for all.

    `obeying` is None for what devices don't obey, such as a script on this host.
    """
    who = (
        ""
        if obeying is None
        else f"{obeying} of {active} active device{'s' * (active != 1)} obey{'s' * (active == 1)}. "
    )
    if obeying is not None and not active:
        return Outcome(Helped.NO_DATA, f"After {minutes} min: no device is active, so nobody obeys.")
    if obeying is not None and obeying < OBEYING_LEAST * active:
        return Outcome(Helped.EARLY, f"After {minutes} min: {who}Half of them must, before a comparison says anything.")
    later = {one.key: one for one in after}
    pairs = [(one, later[one.key], moved(one, later[one.key])) for one in before if one.key in later]
    moves = {move for *_, move in pairs}
    there = [(one, move) for one, _, move in pairs if one.there]
    if moves & {Moved.CAME, Moved.WORSE}:
        found = Helped.WORSE
    elif not moves - {Moved.UNKNOWN}:
        found = Helped.NO_DATA
    elif not there:
        found = Helped.NOT
    elif moves & {Moved.GONE, Moved.BETTER}:
        found = Helped.HELPED
    else:
        found = Helped.NO_DATA if all(move is Moved.UNKNOWN for _, move in there) else Helped.NOT
    told = [_told(*pair) for pair in pairs if pair[2] is not Moved.WELL and (pair[0].there or pair[1].there)]
    if not there and Moved.CAME not in moves:
        told.append("None of its symptoms was there before." if moves - {Moved.UNKNOWN} else "No symptom can be read.")
    return Outcome(found, f"After {minutes} min: {who}{' '.join(told)}".strip())


def _told(before: Measured, after: Measured, move: Moved) -> str:
    was, now = before.said or "no data", after.said or "no data"
    goal = f", wanted {after.wanted or before.wanted}" if after.wanted or before.wanted else ""
    return f"{before.title}: {was} before ({before.sample}), {now} after ({after.sample}){goal}: {move.value}."


# ---- which drivers are slow ----


@dataclass(frozen=True)
class Driver:
    """One GPU driver: how many devices report it, their mean throughput on the GPU, and their class's on the CPU."""

    version: str
    devices: int
    gpu: float
    cpu: float

    @property
    def slow(self) -> bool:
        """Whether its GPU does worse than the CPU."""
        return self.gpu < self.cpu


def driver_bound(drivers: Iterable[Driver]) -> str:
    """Return the lowest version above every slow driver that is not slow itself; empty when there is none to name."""
    known = [(version, one) for one in drivers if (version := targeting.version(one.version)) is not None]
    slow = [version for version, one in known if one.slow]
    fine = sorted((version, one.version) for version, one in known if not one.slow)
    return next((text for version, text in fine if slow and version > max(slow)), "")


def constraint_of(solution: Solution, bound: str) -> Constraint:
    """Return whom an override for some devices means. Raises InvalidInput for a value that can't be compared."""
    return targeting.constraint(solution.attribute, solution.operator, bound)
