"""The runbook's shape: checklist, deployment, phases, validation. From plain data; what is wrong is said with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from hawkops.core.errors import InvalidInput
from rollout.domain import guardrails, procedure
from rollout.domain.guardrails import Guardrail
from rollout.domain.procedure import ProcedurePhase, Step
from rollout.domain.reading import Path, Reader, Unfit
from rollout.domain.targeting import Constraint, constraint

# as an argument of a script: the environment of the release
OWN = "{environment}"


class Kind(StrEnum):
    """What satisfies a box in the end."""

    SCRIPT = "script"
    CRITERION = "criterion"
    FLAGS = "flags"
    PROBE = "probe"
    EVIDENCE = "evidence"
    ATTESTATION = "attestation"


@dataclass(frozen=True)
class Limit:
    """A bound in base units; both may be absent."""

    at_least: float | None = None
    below: float | None = None

    def kept(self, value: float) -> bool:
        """Say whether a value keeps the limit; a bound below is strict, as gates are."""
        if self.at_least is not None and value < self.at_least:
            return False
        return self.below is None or value < self.below


@dataclass(frozen=True)
class Expectation:
    """One of the things a gate expects: a measurement (`metric`), or lines of its script by their titles.

    A title in `lines` may end in `*`. With neither it is words only, and nothing enforces it.
    """

    key: str
    title: str
    metric: str
    backend: str
    limit: Limit
    lines: tuple[str, ...] = ()

    def speaks_of(self, title: str) -> bool:
        """Whether a line of the script is one of those expected."""
        return any(fnmatchcase(title, pattern) for pattern in self.lines)


@dataclass(frozen=True)
class Box:
    """One box of the checklist. `by` names the check that ticks it; without one a person does.

    `arguments` are what its scripts run with, by name; runs with others don't decide it. A box without
    any hears every run. `criteria` are the keys of the stored criteria that judge it.
    """

    key: str
    title: str
    means: str
    kind: Kind
    by: str
    comes_with: str
    valid_for: timedelta
    scripts: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()
    reason: str = ""
    limit: Limit = Limit()
    expects: tuple[Expectation, ...] = ()

    @property
    def automatic(self) -> bool:
        """Whether it ticks itself."""
        return bool(self.by)

    def given(self, environment: str) -> dict[str, str]:
        """Return the arguments of its scripts for a release of an environment, which OWN stands for."""
        return {name: environment if value == OWN else value for name, value in self.arguments}


@dataclass(frozen=True)
class Group:
    """Boxes under one heading. `measured_in` names whose measurements speak for a production release."""

    key: str
    title: str
    measured_in: str
    gates: bool
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class PhaseCriterion:
    """A success criterion of a phase, and the keys of the criteria that judge it."""

    title: str
    judged_by: tuple[str, ...]


@dataclass(frozen=True)
class Phase:
    """One phase of the rollout.

    `steps` is how many equal steps its ramp has, `sample` how many devices must be served before it may end. `where` are
    the constraints of its audience as rules store them; `of_fleet` says that its percentages are of the whole fleet.
    """

    number: int
    title: str
    flag: str
    from_percent: float
    to_percent: float
    at_least: timedelta
    at_most: timedelta
    audience: str
    strategy: str
    groups: tuple[str, ...]
    criteria: tuple[PhaseCriterion, ...]
    steps: int = 1
    sample: int = 1
    of_fleet: bool = False
    where: tuple[Constraint, ...] = ()

    @property
    def lasts(self) -> str:
        """How long it takes, in words: `24 to 48 h`, `3 to 7 d`."""
        unit, seconds = ("h", 3600) if self.at_most.total_seconds() <= 48 * 3600 else ("d", 86_400)
        least, most = (int(span.total_seconds() // seconds) for span in (self.at_least, self.at_most))
        return f"{least} to {most} {unit}"


@dataclass(frozen=True)
class Version:
    """A line of the document's own history. `dated` is None for a draft."""

    version: str
    dated: date | None
    author: str
    changes: str


@dataclass(frozen=True)
class Runbook:
    """A whole version of the runbook.

    The checklist comes before phase 1. After each phase come compliance and validation, and the conclusion: what runs by
    itself once the validation has had its time.
    """

    version: str
    title: str
    product: str
    author: str
    dated: date
    updated: date
    next_review: date
    owner: str
    approvers: tuple[str, ...]
    changes: str
    versions: tuple[Version, ...]
    checklist: tuple[Group, ...]
    phases: tuple[Phase, ...]
    procedure: tuple[ProcedurePhase, ...] = ()
    compliance: tuple[Group, ...] = ()
    validation: tuple[Group, ...] = ()
    conclusion: tuple[Group, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()

    @property
    def after_phases(self) -> tuple[Group, ...]:
        """The groups that must pass after each phase."""
        return (*self.validation, *self.compliance, *self.conclusion)

    @property
    def groups(self) -> tuple[Group, ...]:
        """Every group of boxes, before the phases and after each."""
        return (*self.checklist, *self.after_phases)

    @property
    def boxes_total(self) -> int:
        """How many boxes the document has; what runs by itself at the end of a phase is none of them."""
        return sum(len(group.boxes) for group in (*self.checklist, *self.compliance, *self.validation))

    def boxes(self) -> Iterator[tuple[Group, Box]]:
        """Go through all boxes of the checklist and of what comes after phases."""
        for group in self.groups:
            for box in group.boxes:
                yield group, box

    def box(self, key: str) -> tuple[Group, Box] | None:
        """Find a box by its key."""
        return next(((group, box) for group, box in self.boxes() if box.key == key), None)

    def steps(self) -> Iterator[Step]:
        """Go through the steps of the deployment procedure in their order."""
        for phase in self.procedure:
            yield from phase.steps

    @property
    def flags(self) -> frozenset[str]:
        """Every flag that a phase moves, a box looks at, or a step sets."""
        named = [box.flags for _group, box in self.boxes()] + [step.flags for step in self.steps()]
        return frozenset([phase.flag for phase in self.phases] + [key for keys in named for key in keys])


ENVIRONMENTS = ("production", "staging", "demo")
# the members of a runbook that hold groups of boxes
AFTER = ("compliance", "validation", "conclusion")
GROUPS = ("checklist", *AFTER)
STRATEGIES = ("TARGET_GROUPS", "HASH_BASED", "CAPABILITY_BASED", "GRADUAL")


def runbook(document: Any) -> Runbook:
    """Read a runbook from plain data. Raises Unfit with the path of the first thing that is wrong."""
    whole = Reader(document, ())
    value, path = whole.take("runbook")
    about = Reader(value, path)
    found = Runbook(
        version=about.text("version"),
        title=about.text("title"),
        product=about.text("product"),
        author=about.text("author"),
        dated=about.day("dated"),
        updated=about.day("updated"),
        next_review=about.day("next_review"),
        owner=about.text("owner"),
        approvers=about.texts("approvers"),
        changes=about.text("changes"),
        versions=whole.items("versions", _version),
        checklist=whole.items("checklist", _group),
        phases=whole.items("phases", _phase),
        # a text from before the procedure has none
        procedure=whole.items("procedure", procedure.phase, needed=False),
        guardrails=whole.items("guardrails", guardrails.guardrail, needed=False),
        **{name: whole.items(name, _group, needed=False) for name in AFTER},
    )
    about.end()
    whole.end()
    _distinct(found)
    return found


def _version(value: Any, path: Path) -> Version:
    reader = Reader(value, path)
    dated = reader.day("dated") if "dated" in value else None
    found = Version(reader.text("version"), dated, reader.text("author", ""), reader.text("changes"))
    reader.end()
    return found


def _group(value: Any, path: Path) -> Group:
    reader = Reader(value, path)
    found = Group(
        key=reader.key(),
        title=reader.text("title"),
        measured_in=reader.one_of("measured_in", ENVIRONMENTS, ""),
        gates=reader.yes("gates"),
        boxes=reader.items("boxes", _box),
    )
    reader.end()
    return found


def _box(value: Any, path: Path) -> Box:
    reader = Reader(value, path)
    found = Box(
        key=reader.key(),
        title=reader.text("title"),
        means=reader.text("means"),
        kind=Kind(reader.one_of("kind", tuple(Kind))),
        by=reader.text("by", ""),
        comes_with=reader.text("comes_with", ""),
        valid_for=reader.span("valid_for"),
        scripts=reader.texts("scripts"),
        arguments=tuple(reader.pairs("arguments").items()),
        flags=reader.texts("flags"),
        metrics=reader.texts("metrics"),
        criteria=reader.texts("criteria"),
        reason=reader.text("reason", ""),
        limit=_limits(reader, "limits"),
        expects=reader.items("expects", _expectation, needed=False),
    )
    reader.end()
    if found.by and found.comes_with:
        raise Unfit((*path, "comes_with"), "a box that ticks itself (`by`) does not wait for anything (`comes_with`)")
    if not found.by and not found.comes_with and found.kind is not Kind.ATTESTATION:
        raise Unfit(path, f"the box {found.key} needs `by`, or `comes_with` until its check is there")
    return found


def _expectation(value: Any, path: Path) -> Expectation:
    reader = Reader(value, path)
    found = Expectation(
        key=reader.key(),
        title=reader.text("title"),
        metric=reader.text("metric", ""),
        backend=reader.one_of("backend", ("cpu", "gpu", "npu"), ""),
        limit=_limit(reader),
        lines=reader.texts("lines"),
    )
    reader.end()
    if found.metric and found.lines:
        raise Unfit(
            (*path, "lines"), "a measurement (`metric`) is expected, or lines of the script (`lines`), not both"
        )
    return found


def _limit(reader: Reader) -> Limit:
    return Limit(reader.number("at_least"), reader.number("below"))


def _limits(reader: Reader, name: str) -> Limit:
    value, path = reader.take(name)
    if value is None:
        return Limit()
    inner = Reader(value, path)
    found = _limit(inner)
    inner.end()
    return found


def _phase(value: Any, path: Path) -> Phase:
    reader = Reader(value, path)
    number = reader.number("number")
    span_value, span_path = reader.take("lasts")
    spans = Reader(span_value, span_path)
    found = Phase(
        number=int(number or 0),
        title=reader.text("title"),
        flag=reader.text("flag"),
        from_percent=reader.percent("from_percent"),
        to_percent=reader.percent("to_percent"),
        at_least=spans.span("at_least"),
        at_most=spans.span("at_most"),
        audience=reader.text("audience"),
        strategy=reader.one_of("strategy", STRATEGIES),
        groups=reader.texts("groups"),
        criteria=reader.items("criteria", _phase_criterion),
        steps=int(reader.number("steps") or 1),
        sample=int(reader.number("sample") or 1),
        of_fleet=reader.yes("of_fleet"),
        where=reader.items("where", _where, needed=False),
    )
    spans.end()
    reader.end()
    if found.number != path[-1] + 1:  # type: ignore[operator]
        raise Unfit((*path, "number"), "phases are numbered 1, 2, 3, … in their order")
    if not 1 <= found.steps <= 50:
        raise Unfit((*path, "steps"), f"phase {found.number} has 1 to 50 steps")
    if found.to_percent <= found.from_percent:
        raise Unfit((*path, "to_percent"), f"phase {found.number} must end above where it begins")
    if found.at_most < found.at_least:
        raise Unfit((*path, "lasts"), f"phase {found.number} may not end before its minimum time")
    return found


def _phase_criterion(value: Any, path: Path) -> PhaseCriterion:
    reader = Reader(value, path)
    found = PhaseCriterion(reader.text("title"), reader.texts("by"))
    reader.end()
    if not found.judged_by:
        raise Unfit(path, "a success criterion names the criteria that judge it: by: [phase-…]")
    return found


def _where(value: Any, path: Path) -> Constraint:
    reader = Reader(value, path)
    try:
        found = constraint(reader.text("attribute"), reader.text("is"), reader.text("value"))
    except InvalidInput as unfit:
        raise Unfit(path, unfit.message) from None
    reader.end()
    return found


def _distinct(found: Runbook) -> None:
    groups: set[str] = set()
    boxes: set[str] = set()
    for name in GROUPS:
        for index, group in enumerate(getattr(found, name)):
            if group.key in groups:
                raise Unfit((name, index, "key"), f"there are two groups {group.key!r}")
            groups.add(group.key)
            for place, box in enumerate(group.boxes):
                if box.key in boxes:
                    raise Unfit((name, index, "boxes", place, "key"), f"there are two boxes {box.key!r}")
                boxes.add(box.key)
    for index, phase in enumerate(found.phases[1:], start=1):
        if phase.from_percent != found.phases[index - 1].to_percent:
            raise Unfit(("phases", index, "from_percent"), "a phase begins where the one before it ended")
    keys = [one.key for one in found.guardrails]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise Unfit(("guardrails", keys.index(twice[0]), "key"), f"there are two guardrails {twice[0]!r}")
    procedure.distinct(found.procedure)
