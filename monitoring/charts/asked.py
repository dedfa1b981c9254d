"""What charts are asked for, what is read for all of them together, and the pieces that every figure is made of."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import TypeVar

from hawkops.core import charts
from hawkops.core.charts import Chart, Figure, Foot, Mark, Steps, Trace
from hawkops.core.templatetags.look import number
from hawkops.core.verdicts import Verdict
from monitoring.charts.words import scale_of
from monitoring.domain import criteria, metrics
from monitoring.domain.criteria import Comparator, Criterion, Purpose
from monitoring.domain.metrics import Kind, Metric
from monitoring.domain.targets import Profiles, Stage
from monitoring.domain.windows import Window
from monitoring.models import Series
from monitoring.selectors import telemetry as selectors
from monitoring.selectors.criteria import Evaluated
from monitoring.selectors.profiles import profiles
from monitoring.selectors.telemetry import Line, Observations, Population

# A ceiling far above everything measured would flatten the lines: it is said at the edge.
FAR = 3.0
FEW = 12
ARM_ORDER = ("treatment", "control", "")
# A device reports at least each minute; older than two reports is older than expected.
DUE_LEAST = timedelta(minutes=2)
FLOWS = 3
NO_TARGET = "no absolute target"
# aggregates that are heights on an axis of the metric; every other one compares, and stands in words
HEIGHTS = frozenset(("p5", "p50", "p95", "p99", "mean", "max", "count", "ratio", "per device"))
G = TypeVar("G", bound=Hashable)


@dataclass
class Asked:
    """What charts are asked for. `now` is the moment they look back from, `clock_at` what the clock says.

    `live` is false for a window that has ended; `exact` asks for base units and every digit, as exports want them.
    """

    environment: str
    window: Window
    population: Population
    marks: Sequence[Mark]
    names: Sequence[str]
    now: datetime
    clock_at: datetime
    criteria: Mapping[str, Criterion] = field(default_factory=dict)
    judged: Mapping[str, Evaluated] = field(default_factory=dict)
    renew: timedelta = timedelta(seconds=1)
    live: bool = True
    exact: bool = False

    @cached_property
    def observed(self) -> Observations:
        """The rows of every metric asked for, read once."""
        return selectors.observe(
            environment=self.environment,
            names=self.names,
            window=self.window,
            population=self.population,
            now=self.clock_at,
        )

    def lines(self, group: Callable[[Series], G | None]) -> dict[G, Line[G]]:
        """Return lines in a grouping of one's own."""
        return self.observed.lines(group)

    @cached_property
    def profiles(self) -> Profiles:
        """The floors of device classes."""
        return profiles()

    def has_floor(self, device_class: str, metric: str, backend: str) -> bool:
        """Whether a profile says what a device class has to reach on a backend."""
        profile = self.profiles.of(device_class, self.environment)
        return profile is not None and profile.target(_stage(metric), backend) is not None

    @property
    def steps(self) -> Steps:
        """Where the steps of the window begin."""
        return Steps(self.window.since, self.window.step)

    @property
    def simulated(self) -> bool:
        """Whether these are simulated devices."""
        return bool(self.population.simulated)

    def chosen(self, keys: Iterable[str]) -> list[Criterion]:
        """Return those of some criteria that there are."""
        return [self.criteria[key] for key in keys if key in self.criteria]

    def scale(self, metric: Metric, highest: float) -> tuple[float, str]:
        """Return the factor and the unit to draw in."""
        return (1.0, metric.unit) if self.exact else scale_of(metric, highest)

    def drawn(self, values: Sequence[float | None], scale: float = 1.0) -> list[float | None]:
        """Scale values and cut them to four digits of the largest: what an eye can tell, in few bytes."""
        if self.exact:
            return [None if value is None else value * scale for value in values]
        highest = max((abs(value) for value in values if value is not None), default=0.0) * scale
        digits = max(0, 4 - len(str(int(highest)))) if highest >= 1 else 4
        return [None if value is None else round(value * scale, digits) for value in values]


@dataclass(frozen=True)
class Drawer:
    """A way to draw, the metrics whose rows it wants read beforehand, and the criteria whose limits it draws."""

    names: tuple[str, ...]
    draw: Callable[[Asked], Figure]
    keys: tuple[str, ...] = ()
    # which criteria it takes instead of `keys` as soon as there are such
    own: Callable[[Criterion], bool] | None = None

    def keys_among(self, known: Mapping[str, Criterion]) -> tuple[str, ...]:
        """Return the criteria whose limits it draws, of those that there are."""
        found = tuple(key for key, one in known.items() if self.own is not None and self.own(one))
        return found or tuple(key for key in self.keys if key in known)


# --- words ------------------------------------------------------------------------------------------------------------


def arm_word(arm: str, among: Iterable[str]) -> str:
    """Name a side of the comparison; devices that don't say theirs are "all" while nobody does."""
    return arm or ("side not said" if {"treatment", "control"} & set(among) else "all")


def limit_word(one: Criterion) -> str:
    """Say what kind of limit a criterion is."""
    return {Purpose.ALERT: "alert", Purpose.GATE: "gate", Purpose.SECURITY: "limit"}.get(one.purpose, "target")


def small(title: str) -> str:
    """Return a title inside a sentence: acronyms stay as they are."""
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def sample(metric: Metric, lines: Iterable[Line[G]]) -> str:
    """Say on how much lines rest: observations, or what a counter counted."""
    if metric.kind is not Kind.COUNTER:
        return many(sum(line.whole.count for line in lines), "observation")
    return many(sum(line.whole.total for line in lines), metric.unit.strip("{}"))


def many(count: float, what: str) -> str:
    """Say a number of things."""
    if round(count) != 1:
        what = f"{what[:-1]}ies" if what.endswith("ry") else f"{what}es" if what.endswith("ch") else f"{what}s"
    return f"{number(round(count))} {what}"


# --- pieces -----------------------------------------------------------------------------------------------------------


def aimless(targets: Iterable[charts.Target]) -> bool:
    """Say whether no line is drawn to stay above or below."""
    return not any(one.drawn for one in targets)


def foot(asked: Asked, text: str, last_at: datetime | None, filled: Sequence[int], *, aimless: bool) -> Foot:
    """Say under a chart on how much it rests and how old that is; older than twice the usual gap is not expected."""
    due = None
    if asked.live and len(filled) >= FLOWS:
        due = max(DUE_LEAST, 2 * median(late - early for early, late in pairwise(filled)) * asked.window.step)
    return Foot(
        sample=text,
        data_at=last_at,
        age=max(asked.clock_at - last_at, timedelta()) if asked.live and last_at else None,
        due=due,
        note=NO_TARGET if aimless else "",
    )


def filled(lines: Iterable[Line[G]]) -> list[int]:
    """Return the steps in which any of the lines has data."""
    return sorted({step for line in lines for step in line.grid.filled})


def newest(lines: Iterable[Line[G]]) -> datetime | None:
    """Return when the newest of it was measured."""
    return max((line.last_at for line in lines if line.last_at), default=None)


def empty(
    asked: Asked, what: str, metric: str = "", *, backend: str = "", sentence: str = "", brings: str = ""
) -> Figure:
    """Say that nobody did that in this window, when it was last done, and how soon a report would show."""
    who = "simulated device" if asked.simulated else "device"
    within = 4 + asked.renew.total_seconds()
    usual = f"It appears within {within:.0f}\u202fs of a device's report, without reloading." if asked.live else ""
    last_at = asked.observed.ever(metric, backend=backend) if metric and asked.live else None
    return charts.empty(
        sentence or f"No {who} {what} in this window.",
        brings=brings or usual,
        marks=asked.marks,
        foot=foot(asked, "", last_at, (), aimless=False) if last_at else None,
    )


def figure(
    asked: Asked, sentence: str, unit: str, traces: Sequence[Trace], under: Foot, targets: Sequence[charts.Target] = ()
) -> Figure:
    """Build a figure over the window, with the changes in it."""
    return charts.figure(
        Chart(
            sentence=sentence,
            unit=unit,
            traces=traces,
            since=asked.window.since,
            until=asked.window.until,
            targets=targets,
            marks=asked.marks,
            data_at=under.data_at,
            foot=under,
            zero_based=True,
        )
    )


def trace(asked: Asked, values: Sequence[float | None], *, name: str, style: str, thin: bool = False) -> Trace:
    """Draw one line over the window."""
    # A single step with data between two without would be an invisible line: markers show it.
    dots = sum(value is not None for value in values) < FEW
    return charts.line(
        asked.steps, values, name=name, style=style or "treatment", thin=thin, simulated=asked.simulated, markers=dots
    )


def limits(
    asked: Asked,
    keys: Sequence[str],
    *,
    scale: float,
    highest: float,
    classes: Iterable[str] = (),
    compares: bool = False,
) -> list[charts.Target]:
    """Return the lines of some criteria, missed where their own judgement says so; `compares` draws comparisons too.

    A criterion of the profile has a line for each floor that judged somebody, else the floor that all classes share.
    """
    made: list[charts.Target] = []
    for one in asked.chosen(keys):
        found = asked.judged.get(one.key)
        for threshold, missed in _thresholds(asked, one, found, classes):
            name = limit_word(one)
            far = one.comparator is not Comparator.AT_LEAST and threshold > highest * FAR
            label = f"{name} {criteria.shown(threshold, one)}"
            height = compares or one.aggregate.value in HEIGHTS
            made.append(charts.Target(threshold * scale, label, missed, far and height, height))
    return made


def _thresholds(
    asked: Asked, one: Criterion, found: Evaluated | None, classes: Iterable[str]
) -> list[tuple[float, bool | None]]:
    if one.threshold is not None:
        return [(one.threshold, _missed([found.judgement.verdict] if found else []))]
    floors: dict[float, list[Verdict]] = {}
    for _, reading, judgement in found.parts if found else ():
        if reading.threshold is not None:
            floors.setdefault(reading.threshold, []).append(judgement.verdict)
    if floors:
        return [(threshold, _missed(verdicts)) for threshold, verdicts in sorted(floors.items())]
    shared = asked.profiles.common(classes, asked.environment)
    target = shared.target(_stage(one.over.metric), one.over.backends[0]) if shared and one.over.backends else None
    return [(target.threshold, None)] if target else []


def _stage(metric: str) -> Stage:
    return Stage.PREFILL if metric == metrics.PREFILL else Stage.DECODE


def _missed(verdicts: Sequence[Verdict]) -> bool | None:
    if Verdict.FAIL in verdicts:
        return True
    return False if Verdict.PASS in verdicts else None
