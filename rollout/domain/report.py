"""The validation report: what it says, in the order of its page, and how it is told from its own numbers again. Pure.

The report is one document. Its page shows it and knows nothing else; `document` writes it with base units and stable
keys, together with the raw numbers and the thresholds by which `verify` judges every line anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from hawkops.core.verdicts import Verdict, worst
from monitoring.domain import criteria as criteria_domain
from monitoring.domain import intervals
from monitoring.domain import numbers as raw
from rollout.domain import bundle, lines
from rollout.domain.bundle import Difference
from rollout.domain.lines import Measured, Part
from rollout.domain.validation import exact

SCHEMA = "hawkops.validation-report/1"
NAMED_MOST = 4
# what another version of the code may say in other words
WORDS = ("title", "sentence", "value_shown", "target_shown", "interval_shown", "soon", "formula")


@dataclass(frozen=True)
class Chart:
    """A reading over the last hours: both sides in equal steps, None where nothing came. Values in base units.

    `limit` is None where the limit is no height on this scale; `band` says what lies between `low` and `high`.
    """

    since: datetime
    step_seconds: int
    treatment: tuple[float | None, ...]
    control: tuple[float | None, ...]
    what: str
    lowest_shown: str
    highest_shown: str
    # what stands at the ends of the scale, which reaches to the limit where that is near
    bottom_shown: str
    top_shown: str
    limit: float | None = None
    limit_shown: str = ""
    limit_near: bool = False
    low: float | None = None
    high: float | None = None
    band: str = ""
    # a share of the width: where the validation began, if that lies within
    begins: float | None = None


@dataclass(frozen=True)
class DeviceClass:
    """A device class of a criterion that each class meets by its own target. Without a target it has no verdict."""

    title: str
    verdict: Verdict | None
    value_shown: str
    target_shown: str


@dataclass(frozen=True)
class Reading:
    """One criterion as it reads: the number with its target, interval and samples. `low` and `high` are its interval.

    `soon` says when what is missing will be there; `value`, `threshold`, `low` and `high` are in `unit`, the metric's base
    unit, or a share where it is empty.
    """

    criterion: str
    title: str
    metric: str
    rule: str
    in_scope: bool
    verdict: Verdict
    sentence: str
    unit: str
    comparator: str
    value: float | None = None
    threshold: float | None = None
    low: float | None = None
    high: float | None = None
    value_shown: str = ""
    target_shown: str = ""
    interval_shown: str = ""
    have: int = 0
    need: int = 0
    soon: str = ""
    compares: bool = False
    # what it is compared with: control, or baseline for the time before
    against: str = ""
    formula: str = ""
    simulated: bool = False
    device_class: str = ""
    classes: tuple[DeviceClass, ...] = ()
    chart: Chart | None = None


@dataclass(frozen=True)
class Waived:
    """A waiver in force: the box may stay open until then."""

    box: str
    title: str
    reason: str
    owner: str
    by: str
    until: datetime


@dataclass(frozen=True)
class Line:
    """A line of the validation. `page` is the verdict that the release's page has of it, None without a release."""

    key: str
    part: str
    title: str
    means: str
    readings: tuple[Reading, ...]
    waived: Waived | None = None
    page: Verdict | None = None
    # one of the runbook's, or a criterion that the team judges beside them
    listed: bool = True

    @property
    def scoped(self) -> tuple[Reading, ...]:
        """The readings of which somebody has what they judge."""
        return tuple(one for one in self.readings if one.in_scope)

    @property
    def in_scope(self) -> bool:
        """Whether it is part of the verdict."""
        return bool(self.scoped) or not self.readings

    @property
    def verdict(self) -> Verdict:
        """What its readings come to; a line that nothing judges is no data."""
        return worst([one.verdict for one in self.scoped])


@dataclass(frozen=True)
class Beside:
    """What the system's health adds: health checks, security, critical alerts. Without verdict it is not in scope."""

    title: str
    verdict: Verdict | None
    sentence: str


@dataclass(frozen=True)
class Rail:
    """A guardrail as the last look left it."""

    key: str
    title: str
    does: str
    verdict: Verdict
    sentence: str
    looked_at: datetime | None


@dataclass(frozen=True)
class Against:
    """A reason against going on."""

    title: str
    sentence: str
    follows: str
    runbook: str


@dataclass(frozen=True)
class Advice:
    """What the numbers recommend after a phase, and the reasons, the weightiest first."""

    recommendation: str
    against: tuple[Against, ...]


@dataclass(frozen=True)
class Missing:
    """What the next step of the release lacks."""

    title: str
    sentence: str
    have: str
    verdict: Verdict | None


@dataclass(frozen=True)
class Happened:
    """An incident or a rollback since the phase began."""

    kind: str
    title: str
    at: datetime
    ended_at: datetime | None = None
    entry: int = 0


@dataclass(frozen=True)
class Subject:
    """What is judged: the release and the phase that it is in. `phase` is None before the first."""

    release: int
    name: str
    app_version: str
    version_code: int
    model_name: str
    model_digest: str
    backends: tuple[str, ...]
    runbook: str
    running: bool
    phase: int | None = None
    phases: int = 0
    phase_title: str = ""
    phase_state: str = ""
    percent: float | None = None
    devices: int | None = None
    started_at: datetime | None = None


@dataclass(frozen=True)
class Hours:
    """Over which time it was read, and how much of it had data. `needed` is None where no validation has begun."""

    since: datetime
    until: datetime
    live_seconds: float
    needed_seconds: float
    begun: bool
    full: bool
    sentence: str
    expected_at: datetime | None = None


@dataclass(frozen=True)
class Decided:
    """A decision that people made, by its number, and its entry of the history."""

    number: int
    phase: int
    recommendation: str
    decided: str
    by: str
    at: datetime
    sha256: str


@dataclass(frozen=True)
class Proof:
    """What the report stands on: the head of the history when it was made, the code, the thresholds, the runbook."""

    history_seq: int
    history_hash: str
    thresholds_sha256: str
    code_version: str
    code_sha256: str
    runbook_sha256: str
    flag_revision: int
    decisions: tuple[Decided, ...]


@dataclass(frozen=True)
class Report:
    """A validation report."""

    environment: str
    at: datetime
    run: int | None
    subject: Subject | None
    hours: Hours
    lines: tuple[Line, ...]
    beside: tuple[Beside, ...]
    measured: tuple[Measured, ...]
    missed_most: float
    proof: Proof
    advice: Advice | None = None
    next_step: str = ""
    missing: tuple[Missing, ...] = ()
    rails: tuple[Rail, ...] = ()
    waivers: tuple[Waived, ...] = ()
    happened: tuple[Happened, ...] = ()
    left_out: tuple[str, ...] = ()
    unreal: bool = False

    @property
    def verdict(self) -> Verdict:
        """What everything in scope comes to. Nothing in scope at all is no data."""
        found = [line.verdict for line in self.lines if line.in_scope]
        return worst([*found, *(one.verdict for one in self.beside if one.verdict is not None)])

    @property
    def listed(self) -> tuple[Line, ...]:
        """The runbook's lines, which are counted."""
        return tuple(line for line in self.lines if line.listed)

    @property
    def parts(self) -> list[tuple[str, list[Line]]]:
        """The lines under the titles of their parts, in order."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.part, []).append(line)
        return list(found.items())

    @property
    def simulated(self) -> bool:
        """Whether any number is of devices that are not real."""
        return self.unreal or any(one.simulated for line in self.lines for one in line.readings)

    @property
    def sentences(self) -> tuple[str, str, str]:
        """What a manager reads first: what the numbers say, where the release stands, what is to be done."""
        return (self._numbers, self._standing, self._advised)

    @property
    def _numbers(self) -> str:
        scoped = [line for line in self.listed if line.in_scope]
        if not self.lines:
            return "No criterion of the validation is stored, so nothing is judged: `manage.py seed` brings them."
        passing = sum(line.verdict is Verdict.PASS for line in scoped)
        out = len(self.listed) - len(scoped)
        words = [f"{passing} of {len(scoped)} lines pass" + (f", {out} not in scope" if out else "")]
        extra = [line for line in self.lines if not line.listed and line.in_scope]
        every = [(line.title, line.verdict) for line in (*scoped, *extra)]
        every += [(one.title, one.verdict) for one in self.beside if one.verdict is not None]
        fails = [title for title, verdict in every if verdict is Verdict.FAIL]
        lacks = [title for title, verdict in every if verdict not in (Verdict.FAIL, Verdict.PASS)]
        words += [f"failing: {named(fails)}"] if fails else []
        words += [f"not known: {named(lacks)}"] if lacks else []
        return f"{'; '.join(words)}."

    @property
    def _standing(self) -> str:
        one = self.subject
        if one is None:
            return f"No release walks through the runbook in {self.environment}. {self.hours.sentence}"
        name = f"{one.name} {one.app_version}"
        if one.phase is None:
            return f"{name} is before its first phase. {self.hours.sentence}"
        share = f" at {one.percent:g}\u202f%" if one.percent is not None else ""
        served = f", served to {_thousands(one.devices)} devices now" if one.devices is not None else ""
        where = f"in phase {one.phase} of {one.phases}, {one.phase_title.lower()}{share}{served}"
        state = "" if one.phase_state == "running" else f" ({one.phase_state})"
        return f"{name} is {where}{state}. {self.hours.sentence}"

    @property
    def _advised(self) -> str:
        if self.advice is None:
            if self.subject is None:
                return "There is nothing to decide: the numbers say how the environment does."
            return self.next_step or "Nothing is recommended before a phase is under way."
        if not self.advice.against:
            return f"The numbers recommend to {self.advice.recommendation}: every line of the decision passes."
        first, more = self.advice.against[0], len(self.advice.against) - 1
        rest = f" And {more} more reason{'s' if more > 1 else ''}." if more else ""
        return f"The numbers recommend to {self.advice.recommendation}. {first.title}: {first.sentence}{rest}"


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")


def named(titles: Sequence[str]) -> str:
    """Name the first few of many."""
    more = len(titles) - NAMED_MOST
    return ", ".join(titles[:NAMED_MOST]) + (f" and {more} more" if more > 0 else "")


def hours_without(since: datetime, until: datetime, live: timedelta, needed: timedelta, *, why: str) -> Hours:
    """Return the time that is read where no validation counts it."""
    sentence = f"{why} Devices reported in {exact(live)} of the last {exact(until - since)}, which are read here."
    return Hours(since, until, live.total_seconds(), needed.total_seconds(), begun=False, full=False, sentence=sentence)


# ---- as plain data ----


def document(report: Report) -> dict[str, Any]:
    """Write a report as plain data: base units, times in UTC, stable keys. What is not in scope says so."""
    thresholds = {
        "missed_most": report.missed_most,
        "needed_seconds": report.hours.needed_seconds,
        "criteria": [bundle.threshold(one.criterion) for one in report.measured],
    }
    made = {
        "schema": SCHEMA,
        "environment": report.environment,
        "at": report.at,
        "run": report.run,
        "verdict": report.verdict,
        "sentences": report.sentences,
        "simulated": report.simulated,
        "left_out": report.left_out,
        "subject": asdict(report.subject) if report.subject else None,
        "hours": asdict(report.hours),
        "recommendation": asdict(report.advice) if report.advice else None,
        "lines": [
            {**asdict(line), "verdict": line.verdict if line.in_scope else None, "in_scope": line.in_scope}
            for line in report.lines
        ],
        "beside": [asdict(one) for one in report.beside],
        "guardrails": [asdict(one) for one in report.rails],
        "next_step": report.next_step,
        "missing": [asdict(one) for one in report.missing],
        "waivers": [asdict(one) for one in report.waivers],
        "happened": [asdict(one) for one in report.happened],
        "proof": asdict(report.proof),
        "thresholds": thresholds,
        "numbers": {one.criterion.key: bundle.raw_numbers(one) for one in report.measured},
    }
    plain: dict[str, Any] = _plain(made)
    return plain


def thresholds_digest(measured: Iterable[Measured], *, missed_most: float, needed: timedelta) -> str:
    """Return the digest of everything that a report judges by, as its document writes it."""
    return bundle.digest(
        _plain(
            {
                "missed_most": missed_most,
                "needed_seconds": needed.total_seconds(),
                "criteria": [bundle.threshold(one.criterion) for one in measured],
            }
        )
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if isinstance(value, datetime) else value


# ---- told from its own numbers again ----


def verify(told: Any, *, words: bool = True) -> list[Difference]:
    """Return everything in a report's document that its own numbers and thresholds do not give; nothing when it holds.

    Without `words` what is only said in words is not compared: for a report of another version of the code.
    """
    if not isinstance(told, Mapping) or told.get("schema") != SCHEMA:
        return [Difference("schema", f"this is no validation report of the schema {SCHEMA}")]
    try:
        found = _digests(told)
        found += _readings(told, words=words)
        found += _verdicts(told)
    except criteria_domain.Unfit as unfit:
        return [Difference("thresholds", f"a criterion can't be read: {unfit.message}")]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        return [Difference("report", f"a part of it can't be read: {type(error).__name__} {error}")]
    return found


def _digests(told: Mapping[str, Any]) -> list[Difference]:
    if bundle.digest(told["thresholds"]) == told["proof"]["thresholds_sha256"]:
        return []
    return [Difference("thresholds", "its content does not give the digest that stands for it")]


def _readings(told: Mapping[str, Any], *, words: bool) -> list[Difference]:
    at = datetime.fromisoformat(told["at"])
    live = timedelta(seconds=told["hours"]["live_seconds"])
    missed_most = float(told["thresholds"]["missed_most"])
    again = {
        one.criterion.key: judged(one, now=at, missed_most=missed_most, live=live) for one in bundle.measured_of(told)
    }
    found = []
    for line in told["lines"]:
        for one in line["readings"]:
            if one["criterion"] not in again:
                if one["verdict"] == Verdict.PASS:
                    found.append(Difference(f"lines: {one['criterion']}", "no number speaks of it"))
                continue
            fresh = _plain(asdict(again[one["criterion"]]))
            for name in COMPUTED:
                if one.get(name) != fresh[name] and (words or name not in WORDS):
                    why = f"{name} is {one.get(name)!r}; its numbers and threshold give {fresh[name]!r}"
                    found.append(Difference(f"lines: {one['criterion']}", why))
    return found


def _verdicts(told: Mapping[str, Any]) -> list[Difference]:
    found, scoped = [], []
    for line in told["lines"]:
        own = [Verdict(one["verdict"]) for one in line["readings"] if one["in_scope"]]
        said = worst(own) if own or not line["readings"] else None
        if line["verdict"] != (said.value if said else None):
            found.append(Difference(f"lines: {line['key']}", f"it says {line['verdict']}; its readings give {said}"))
        scoped += [said] if said else []
    scoped += [Verdict(one["verdict"]) for one in told["beside"] if one["verdict"] is not None]
    if told["verdict"] != worst(scoped):
        found.append(Difference("verdict", f"it says {told['verdict']}; its lines give {worst(scoped)}"))
    return found


# what `judged` computes of a reading; the chart and the device classes stand beside it
COMPUTED = (
    "title",
    "in_scope",
    "verdict",
    "sentence",
    "unit",
    "comparator",
    "value",
    "threshold",
    "low",
    "high",
    "value_shown",
    "target_shown",
    "interval_shown",
    "have",
    "need",
    "soon",
    "compares",
    "against",
    "formula",
    "simulated",
    "device_class",
)


def judged(one: Measured, *, now: datetime, missed_most: float, live: timedelta) -> Reading:
    """Judge what was read, by the function that judges a decision's lines. `live` is the time in which it came."""
    criterion, shown = (
        one.criterion,
        lines.judged(one, now=now, missed_most=missed_most, live=live, enough_devices=False),
    )
    part = _deciding(one, shown.line.sentence)
    threshold = criterion.threshold if part is None else part.threshold
    reading = replace(raw.reading(criterion, one.numbers if part is None else part.numbers), threshold=threshold)
    interval = intervals.sureness(criterion, reading, missed_most=missed_most).interval if shown.interval else None
    return Reading(
        criterion=criterion.key,
        title=criterion.title,
        metric=criterion.over.metric,
        rule=criterion.sentence(),
        in_scope=shown.line.in_scope,
        verdict=shown.line.verdict,
        sentence=shown.line.sentence,
        unit=criterion.unit,
        comparator=criterion.comparator.value,
        value=reading.value if shown.value else None,
        threshold=threshold,
        low=_finite(interval.low) if interval is not None else None,
        high=_finite(interval.high) if interval is not None else None,
        value_shown=shown.value,
        target_shown=shown.target,
        interval_shown=shown.interval,
        have=shown.have,
        need=shown.need,
        soon=shown.line.soon,
        compares=criterion.aggregate.compares,
        against=criterion.against.value if criterion.against else "",
        formula=shown.formula,
        simulated=shown.simulated,
        device_class=part.label if part is not None else "",
    )


def _deciding(one: Measured, sentence: str) -> Part | None:
    """Return the device class whose number speaks for all, which the sentence begins with; None where all speak at once."""
    named = [part for part in one.parts if part.threshold is not None and sentence.startswith(f"{part.label}: ")]
    return max(named, key=lambda part: len(part.label), default=None) if one.criterion.threshold is None else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
