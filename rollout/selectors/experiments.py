"""Reading A/B tests: who was exposed to which arm, whether the arms got their shares, and what their devices measured."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
from django.db import connection
from django.db.models import Count, Min, QuerySet

from hawkops.core import clock
from hawkops.core.environments import Environment
from monitoring.domain.metrics import CATALOGUE, INFERENCES, Direction
from monitoring.domain.statistics import means
from monitoring.domain.statistics.means import Interval, Sample
from monitoring.domain.statistics.ratio import SampleRatio, by_class, sample_ratio
from rollout.domain.experiments import Arm
from rollout.models import CensusDevice, Experiment, Exposure

ALPHA = 0.05
OK = ("", "ok", "match")
# a device's value is of so long since it was exposed, and counts when that is over: so it never changes again
DAY = timedelta(hours=24)
# how long after an hour devices still report what they measured in it
LATE = timedelta(hours=1)

_VALUES = """
SELECT x.arm, p.metric, x.device_id, x.first_at + %(day)s + %(late)s <= %(now)s AS over,
       sum(p.total), sum(p.count), sum(p.total) FILTER (WHERE p.outcome <> ALL(%(ok)s))
  FROM rollout_exposure AS x
  JOIN monitoring_panelhour AS p
    ON p.environment = x.environment AND p.device_id = x.device_id AND p.metric = ANY(%(metrics)s)
   AND p.hour_at >= x.first_at AND p.hour_at < least(x.first_at + %(day)s, %(until)s)
 WHERE x.environment = %(environment)s AND x.experiment = %(experiment)s AND (%(simulated)s OR NOT x.simulated)
 GROUP BY x.arm, p.metric, x.device_id, over
"""


@dataclass(frozen=True)
class Measure:
    """What one device measured while it was in its arm: a mean per observation, or a share `of` another metric.

    `failed` counts only what did not end well.
    """

    key: str
    title: str
    metric: str
    of: str = ""
    failed: bool = False
    direction: Direction = Direction.NEITHER

    @property
    def unit(self) -> str:
        """The unit of the value; empty for a share."""
        return "" if self.of else CATALOGUE[self.metric].unit


def _mean(metric: str) -> Measure:
    known = CATALOGUE[metric]
    return Measure(metric, known.title, metric, direction=known.direction)


# what the panel keeps one value per device of
MEASURES = (
    _mean("litert.prefill.throughput"),
    _mean("litert.decode.throughput"),
    _mean("gen_ai.client.operation.duration"),
    _mean("litert.memory.peak"),
    Measure("errors", "Failed inferences", INFERENCES, INFERENCES, failed=True, direction=Direction.LOWER),
    Measure("parity", "Wrong results", "litert.parity.checks", "litert.parity.checks", True, Direction.LOWER),
    Measure("switches", "Switches per inference", "litert.backend.switches", INFERENCES, direction=Direction.LOWER),
    Measure("crashes", "Crashes per session", "app.crashes", "app.sessions", direction=Direction.LOWER),
    _mean("app.session.duration"),
    Measure("tasks", "Tasks completed", "app.tasks.completed", "app.tasks.started", direction=Direction.HIGHER),
    _mean("app.user.satisfaction"),
)


@dataclass(frozen=True)
class ArmRow:
    """An arm with its devices: exposed, should have been exposed, and those of them that reported since."""

    arm: Arm
    exposed: int
    expected: float
    reporting: int


@dataclass(frozen=True)
class Line:
    """One arm's devices on one measure: a value for each that reported it, and whether its day is over."""

    arm: Arm
    values: np.ndarray
    over: np.ndarray

    @property
    def devices(self) -> int:
        """How many devices reported it."""
        return len(self.values)

    @cached_property
    def sample(self) -> Sample:
        """The values that will not change any more, in numbers."""
        return Sample.of(self.values[self.over])

    @property
    def mean(self) -> float | None:
        """The mean over devices, each counting once."""
        return float(self.values.mean()) if len(self.values) else None


@dataclass(frozen=True)
class Comparison:
    """How an arm differs from the first: relatively for a mean, in absolute shares for a share, which may be 0."""

    relative: bool
    interval: Interval
    better: Direction

    @property
    def word(self) -> str:
        """What that says: better, worse, different, or nothing while chance may explain it."""
        if self.interval.low <= 0 <= self.interval.high:
            return ""
        if self.better is Direction.NEITHER:
            return "different"
        return "better" if (self.interval.low > 0) is (self.better is Direction.HIGHER) else "worse"


@dataclass(frozen=True)
class Results:
    """Everything that a test has found out so far."""

    experiment: Experiment
    arms: tuple[ArmRow, ...]
    # of devices that were told an arm, and of those that reported since
    exposed: SampleRatio
    reporting: SampleRatio
    classes: dict[str, SampleRatio]
    measures: tuple[tuple[Measure, tuple[Line, ...]], ...] = field(default=())
    first_at: datetime | None = None
    simulated: bool = False

    @property
    def devices(self) -> int:
        """How many devices were exposed."""
        return sum(self.exposed.counts)

    @property
    def mismatch(self) -> bool:
        """Whether the arms' devices are not those that were shared out, so that comparing them is worth nothing."""
        return self.exposed.mismatch or self.reporting.mismatch


def experiments(environment: str) -> list[Experiment]:
    """Return every A/B test of an environment, newest first."""
    return list(Experiment.objects.filter(environment=environment))


def experiment(environment: str, key: str) -> Experiment | None:
    """Return one A/B test, or None."""
    return Experiment.objects.filter(environment=environment, key=key).first()


def running_on(environment: str, flag: str) -> Experiment | None:
    """Return the A/B test that divides a flag now, or None."""
    return Experiment.objects.filter(environment=environment, flag=flag, ended_at=None).first()


def exposed(environment: str) -> dict[str, int]:
    """Return how many devices each test has exposed. One query."""
    found = Exposure.objects.filter(environment=environment).values_list("experiment").annotate(devices=Count("pk"))
    return dict(found)


def compared(measure: Measure, lines: Sequence[Line], line: Line) -> Comparison | None:
    """Compare an arm with the first; None for the first itself, or while one of them has no device.

    The arms share the 5 % of being wrong (Bonferroni), and an interval holds at every look: only devices whose day is over
    have a part in it.
    """
    first, alpha = lines[0], ALPHA / max(1, len(lines) - 1)
    if line is first or not first.sample.devices or not line.sample.devices:
        return None
    compare = means.difference if measure.of else means.change
    return Comparison(not measure.of, compare(line.sample, first.sample, alpha=alpha), measure.direction)


def exposures(found: Experiment) -> QuerySet[Exposure]:
    """Return the devices that count: simulated ones only in demo."""
    rows = Exposure.objects.filter(environment=found.environment, experiment=found.key)
    return rows if found.environment == Environment.DEMO else rows.filter(simulated=False)


def results(found: Experiment) -> Results:
    """Read a test's results as they stand. Simulated devices count only in demo. Three queries."""
    arms = found.domain().arms
    rows = exposures(found)
    counts = dict(rows.values_list("arm").annotate(devices=Count("pk")))
    values, reported = _values(found)
    shares = [one.weight for one in arms]
    ratio = sample_ratio([counts.get(one.variant, 0) for one in arms], shares)
    reporting = [len(reported.get(one.variant, ())) for one in arms]
    return Results(
        experiment=found,
        arms=tuple(
            ArmRow(arm, counts.get(arm.variant, 0), expected, many)
            for arm, expected, many in zip(arms, ratio.expected, reporting, strict=True)
        ),
        exposed=ratio,
        reporting=sample_ratio(reporting, shares),
        classes=by_class(_by_class(found, arms), shares),
        measures=tuple((measure, lines) for measure in MEASURES if (lines := _lines(arms, measure, values))),
        first_at=rows.aggregate(first=Min("first_at"))["first"],
        simulated=rows.filter(simulated=True).exists(),
    )


def _by_class(found: Experiment, arms: Sequence[Arm]) -> dict[str, list[int]]:
    """Return how many devices of each class are exposed to each arm."""
    rows = exposures(found).values_list("arm", "device_id")
    classes = dict(
        CensusDevice.objects.filter(
            environment=found.environment, device_id__in=rows.values_list("device_id", flat=True)
        ).values_list("device_id", "device_class")
    )
    at = {one.variant: place for place, one in enumerate(arms)}
    counts: dict[str, list[int]] = {}
    for arm, device in rows.iterator(chunk_size=5_000):
        counts.setdefault(classes.get(device) or "unknown", [0] * len(arms))[at[arm]] += 1
    return counts


# (arm, metric) → device → (total, observations, total of what did not end well, whether its day is over)
Sums = dict[tuple[str, str], dict[str, tuple[float, int, float, bool]]]


def _values(found: Experiment) -> tuple[Sums, dict[str, set[str]]]:
    """Return what each exposed device of the panel measured in its day, and by arm which have reported at all.

    From the first hour that began when it was exposed: what it measured before is not the arm's.
    """
    names = {measure.metric for measure in MEASURES} | {measure.of for measure in MEASURES if measure.of}
    asked: dict[str, Any] = {
        "environment": found.environment,
        "experiment": found.key,
        "metrics": sorted(names),
        "ok": list(OK),
        "until": (found.ended_at or clock.now()) + LATE,
        "day": DAY,
        "late": LATE,
        "now": clock.now(),
        "simulated": found.environment == Environment.DEMO,
    }
    sums: Sums = {}
    reported: dict[str, set[str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_VALUES, asked)
        for arm, metric, device, over, total, count, failed in cursor.fetchall():
            sums.setdefault((arm, metric), {})[device] = (total, int(count), failed or 0.0, over)
            reported.setdefault(arm, set()).add(device)
    return sums, reported


def _lines(arms: Sequence[Arm], measure: Measure, sums: Sums) -> tuple[Line, ...]:
    """Return each arm's devices on a measure; none when no device of any arm ever reported it.

    An app that reports crashes only when it crashes has 0 where nothing came, once anybody reports them.
    """
    if not any(sums.get((arm.variant, measure.metric)) for arm in arms):
        return ()
    found = tuple(_line(arm, measure, sums) for arm in arms)
    return found if any(line.devices for line in found) else ()


def _line(arm: Arm, measure: Measure, sums: Sums) -> Line:
    own = sums.get((arm.variant, measure.metric), {})
    values: list[tuple[float, bool]] = []
    if not measure.of:
        values = [(total / count, over) for total, count, _, over in own.values() if count]
    else:
        for device, (of, _count, _failed, over) in sums.get((arm.variant, measure.of), {}).items():
            total, _, failed, _ = own.get(device, (0.0, 0, 0.0, over))
            if of > 0:
                values.append(((failed if measure.failed else total) / of, over))
    return Line(arm, np.array([value for value, _ in values]), np.array([over for _, over in values], dtype=bool))
