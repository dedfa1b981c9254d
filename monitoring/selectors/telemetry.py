"""Reading telemetry: windows of merged sketches, latest readings with their age, devices. Never a query per point."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from hawkops.core import clock
from monitoring.domain import metrics, targets
from monitoring.domain.arms import Arm as Arm
from monitoring.domain.arms import arm_of
from monitoring.domain.grid import Distribution, Grid
from monitoring.domain.targets import Judgement, Stage, Target
from monitoring.domain.windows import Window
from monitoring.models import Series
from monitoring.selectors import rollups
from monitoring.selectors.devices import shown_counts
from monitoring.selectors.profiles import profiles

BACKENDS = ("cpu", "gpu", "npu", "cloud")
BACKEND_WORDS = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU", "cloud": "cloud", "": "unknown"}
READING_SPAN = timedelta(minutes=5)
ACTIVE_SPAN = timedelta(hours=1)
REAL, SIMULATED = "real", "simulated"
G = TypeVar("G", bound=Hashable)


def arm(series: Series) -> Arm | None:
    """Return the side a series belongs to; None when its device did not say."""
    return arm_of(series.variant)


@dataclass(frozen=True)
class Population:
    """Which devices a page shows: the real ones, the simulated ones, or one class; of one side of the comparison or both."""

    key: str
    label: str
    simulated: bool | None = None
    device_class: str = ""
    arm: Arm | None = None

    def holds(self, series: Series) -> bool:
        """Whether a series belongs to it."""
        if self.simulated is not None and series.simulated is not self.simulated:
            return False
        if self.arm is not None and arm(series) is not self.arm:
            return False
        return not self.device_class or series.device_class == self.device_class

    def of_arm(self, arm: Arm) -> "Population":
        """Return those of it that are on one side of the comparison."""
        return replace(self, arm=arm)

    def counts(self, device_class: str, *, simulated: bool) -> bool:
        """Whether a device of that class belongs to it, whatever its side of the comparison."""
        return self.simulated in (None, simulated) and self.device_class in ("", device_class)


@dataclass
class Line(Generic[G]):
    """One line of a chart: what was observed in each step."""

    group: G
    grid: Grid
    last_at: datetime | None = None
    device_classes: set[str] = field(default_factory=set)

    @cached_property
    def whole(self) -> Distribution:
        """Everything in the window."""
        return self.grid.merged()

    @cached_property
    def recent(self) -> Distribution:
        """The newest full picture: the last three steps with data."""
        return self.grid.merged(self.grid.filled[-3:])


class Observations:
    """The rows of some metrics over a window, read once; lines are drawn from them in any grouping."""

    def __init__(self, series: Iterable[Series], window: Window, *, now: datetime) -> None:
        self.window = window
        self._series = {one.pk: one for one in series}
        span = rollups.steps_of(self._series, since=window.since, until=window.until, step=window.step, now=now)
        self._rows = rollups.rows(span)

    def lines(self, group: Callable[[Series], G | None]) -> dict[G, Line[G]]:
        """Merge what was read into lines; `group` names a series' line, None leaves it out."""
        begins, width = int(self.window.since.timestamp()), int(self.window.step.total_seconds())
        found: dict[G, Line[G]] = {}
        newest: dict[G, int] = {}
        for pk, rows in self._rows.items():
            series = self._series[pk]
            name = group(series)
            if name is None:
                continue
            line = found.get(name)
            if line is None:
                line = found[name] = Line(name, Grid(self.window.steps))
            line.device_classes.add(series.device_class)
            line.grid.add(np.maximum((rows.starts - begins) // width, 0), rows)
            newest[name] = max(newest.get(name, 0), int(rows.starts.max()))
        for name, line in found.items():
            line.last_at = datetime.fromtimestamp(newest[name], tz=UTC)
        return found


def observe(
    *, environment: str, names: Sequence[str], window: Window, population: Population | None = None,
    now: datetime | None = None,
) -> Observations:  # fmt: skip
    """Read the rows of some metrics of a population over a window. Three queries, whatever the window."""
    series = Series.objects.filter(environment=environment, metric__in=names)
    held = [one for one in series if population is None or population.holds(one)]
    return Observations(held, window, now=now or clock.now())


def lines(
    *, environment: str, names: Sequence[str], window: Window, group: Callable[[Series], G | None],
    now: datetime | None = None,
) -> dict[G, Line[G]]:  # fmt: skip
    """Merge the rows of some metrics over a window into lines; `group` names a series' line, None leaves it out."""
    return observe(environment=environment, names=names, window=window, now=now).lines(group)


def last_data_at(
    environment: str, *, names: Iterable[str] = (), population: Population | None = None
) -> datetime | None:
    """Return when the newest data of an environment was measured (to ten seconds); None without any."""
    series = Series.objects.filter(environment=environment)
    if names:
        series = series.filter(metric__in=list(names))
    held = [one.pk for one in series if population is None or population.holds(one)]
    return max(rollups.newest(held).values(), default=None)


@dataclass(frozen=True)
class DeviceClass:
    """How many devices of a class reported within the last hour."""

    name: str
    devices: int
    simulated: bool
    exact: bool = True


def device_classes(environment: str, *, now: datetime | None = None) -> list[DeviceClass]:
    """Count the devices that reported in this hour or the one before, by class, real ones first. One query."""
    found = shown_counts(environment, since=(now or clock.now()) - ACTIVE_SPAN)
    return [DeviceClass(one.device_class, one.devices, one.simulated, one.exact) for one in found]


def populations(classes: Sequence[DeviceClass]) -> list[Population]:
    """Return what a page can be narrowed to; the first is the default: real devices whenever there are any."""
    real = [one for one in classes if not one.simulated]
    simulated = [one for one in classes if one.simulated]
    found: list[Population] = []
    if real or not simulated:
        found.append(Population(REAL, "Real devices", simulated=False))
    if simulated:
        found.append(Population(SIMULATED, "Simulated devices", simulated=True))
    for kinds in (real, simulated):
        if len(kinds) > 1:
            found.extend(
                Population(f"{SIMULATED if one.simulated else REAL}:{one.name}", one.name, one.simulated, one.name)
                for one in kinds
            )
    return found


def devices_in(classes: Sequence[DeviceClass], population: Population) -> int:
    """Return how many devices of a population reported lately."""
    return sum(
        one.devices
        for one in classes
        if one.simulated is population.simulated and population.device_class in ("", one.name)
    )


def may_judge(environment: str, *, simulated: bool) -> bool:
    """Simulated devices count towards a verdict in demo only."""
    return not simulated or environment == "demo"


def per_device_hour(
    *, environment: str, metric: str, window: Window, population: Population, devices: int, now: datetime | None = None
) -> tuple[list[float | None], datetime | None]:
    """Return, for each step, a counter's growth in the hour up to it, per device; None while the population is silent.

    Hours in which it did not grow are 0 as long as inferences came in.
    """
    wider = window.earlier(ACTIVE_SPAN)
    lead = wider.steps - window.steps
    names = (metric, metrics.INFERENCES)
    found = observe(environment=environment, names=names, window=wider, population=population, now=now).lines(
        lambda series: series.metric
    )
    if not found or not devices:
        return [None] * window.steps, None
    amounts, reported = [0.0] * wider.steps, [False] * wider.steps
    for line in found.values():
        for step in line.grid.filled:
            reported[step] = True
    if metric in found:
        amounts = [total or 0.0 for total in found[metric].grid.totals()]
    hour = max(1, ACTIVE_SPAN // window.step)
    values: list[float | None] = []
    for step in range(lead, wider.steps):
        first = max(0, step - hour + 1)
        values.append(sum(amounts[first : step + 1]) / devices if any(reported[first : step + 1]) else None)
    return values, max((line.last_at for line in found.values() if line.last_at), default=None)


@dataclass(frozen=True)
class BackendUse:
    """How many inferences asked for one backend and ran on another."""

    requested: str
    actual: str
    inferences: int
    failed: int
    of_requested: int

    @property
    def requested_word(self) -> str:
        """What was asked for, as pages write it."""
        return BACKEND_WORDS[self.requested]

    @property
    def actual_word(self) -> str:
        """Where it ran, as pages write it."""
        return BACKEND_WORDS[self.actual]

    @property
    def differs(self) -> bool:
        """Whether it ran elsewhere than asked."""
        return bool(self.requested) and self.requested != self.actual


def backend_use(*, environment: str, window: Window, population: Population) -> list[BackendUse]:
    """Return requested against actual backends over a window, most asked first."""

    def group(series: Series) -> tuple[str, str, bool] | None:
        if not population.holds(series):
            return None
        return series.backend_requested, series.backend_actual, series.outcome not in ("", "ok")

    found = observe(environment=environment, names=(metrics.INFERENCES,), window=window).lines(group)
    amounts: dict[tuple[str, str], list[float]] = {}
    asked: dict[str, float] = {}
    for (requested, actual, failed), line in found.items():
        pair = amounts.setdefault((requested, actual), [0.0, 0.0])
        pair[0] += line.whole.total
        pair[1] += line.whole.total if failed else 0.0
        asked[requested] = asked.get(requested, 0.0) + line.whole.total
    rows = [
        BackendUse(requested, actual, round(amount), round(failed), round(asked[requested]))
        for (requested, actual), (amount, failed) in amounts.items()
    ]
    return sorted(rows, key=lambda row: (-row.of_requested, row.requested, -row.inferences))


@dataclass(frozen=True)
class Reading:
    """The latest throughput of a backend: over the last five minutes, else NO DATA or STALE with its age."""

    backend: str
    value: float | None
    median: float | None
    count: int
    at: datetime | None
    target: Target | None
    judgement: Judgement
    simulated: bool


def throughputs(*, environment: str, population: Population, now: datetime | None = None) -> dict[str, Reading]:
    """Return the prefill reading of each backend that ever ran: the guaranteed percentile over the last five minutes."""
    now = now or clock.now()
    window = Window(now - READING_SPAN, 1, READING_SPAN + timedelta(seconds=10))
    guaranteed = metrics.CATALOGUE[metrics.PREFILL].guaranteed
    names = (metrics.PREFILL,)

    def group(series: Series) -> str | None:
        return series.backend_actual if population.holds(series) else None

    found = lines(environment=environment, names=names, window=window, group=group, now=now)
    seen = _last_by(environment, names, group)
    simulated = bool(population.simulated)
    known = profiles()
    result: dict[str, Reading] = {}
    for backend in {*found, *seen}:
        line = found.get(backend)
        whole = line.whole if line else Distribution()
        at, classes = seen.get(backend, (line.last_at if line else None, frozenset[str]()))
        classes = frozenset(line.device_classes) if line else classes
        profile = known.common(classes, environment)
        target = profile.target(Stage.PREFILL, backend) if profile else None
        value = whole.quantile(guaranteed)
        judgement = targets.judge(
            value=value,
            count=whole.count,
            age_seconds=(now - at).total_seconds() if at else None,
            target=target,
            allowed=may_judge(environment, simulated=simulated),
        )
        result[backend] = Reading(
            backend=backend,
            value=value,
            median=whole.quantile(0.5),
            count=whole.count,
            at=at,
            target=target,
            judgement=judgement,
            simulated=simulated,
        )
    return result


def _last_by(
    environment: str, names: Sequence[str], group: Callable[[Series], str | None]
) -> dict[str, tuple[datetime, frozenset[str]]]:
    series = {one.pk: one for one in Series.objects.filter(environment=environment, metric__in=names)}
    found: dict[str, tuple[datetime, frozenset[str]]] = {}
    for pk, newest in rollups.newest(series).items():
        key = group(series[pk])
        if key is None:
            continue
        at, classes = found.get(key, (newest, frozenset()))
        found[key] = max(at, newest), classes | {series[pk].device_class}
    return found


def throughput_now(environment: str) -> Reading | None:
    """Return the prefill reading of the backend that runs most inferences now, None when none ran in five minutes.

    Of real devices whenever there are any; for the overview.
    """
    population = populations(device_classes(environment))[0]
    found = throughputs(environment=environment, population=population)
    live = [found[backend] for backend in BACKENDS if backend in found]
    return max((one for one in live if one.count), key=lambda one: one.count, default=None)
