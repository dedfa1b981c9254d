"""Reading telemetry: windows of merged sketches, latest readings with their age, devices. Never a query per point."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from hawkops.core import clock
from monitoring.domain import metrics
from monitoring.domain.arms import VARIANTS, arm_of
from monitoring.domain.arms import Arm as Arm
from monitoring.domain.grid import Distribution, Grid, Rows
from monitoring.domain.tiers import FINEST
from monitoring.domain.windows import Window
from monitoring.models import Series
from monitoring.selectors import rollups
from monitoring.selectors.devices import DeviceCount, hourly_counts, shown_counts

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


class Observations:
    """The rows of some metrics over a window, read once; lines are drawn from them in any grouping."""

    def __init__(self, series: Iterable[Series], window: Window, *, now: datetime) -> None:
        self.window = window
        self._series = {one.pk: one for one in series}
        span = rollups.steps_of(self._series, since=window.since, until=window.until, step=window.step, now=now)
        self._rows = rollups.rows(span)
        self._precise = span.tier is FINEST or window.until < now

    @cached_property
    def _last(self) -> dict[int, datetime]:
        """When each series was measured last: wide rows say so to their width only."""
        if self._precise:
            return {pk: datetime.fromtimestamp(int(rows.starts.max()), tz=UTC) for pk, rows in self._rows.items()}
        return self._ever

    @cached_property
    def _ever(self) -> dict[int, datetime]:
        """When each series was measured last, whether in the window or before."""
        return rollups.newest(self._series)

    def ever(self, metric: str, *, backend: str = "") -> datetime | None:
        """Return when a metric was measured last, in the window or before it; None if never. One query for all."""
        return max((at for pk, at in self._ever.items() if self._is(pk, metric, backend)), default=None)

    def _is(self, pk: int, metric: str, backend: str) -> bool:
        series = self._series[pk]
        return series.metric == metric and backend in ("", series.backend_actual)

    def lines(self, group: Callable[[Series], G | None]) -> dict[G, Line[G]]:
        """Merge what was read into lines; `group` names a series' line, None leaves it out."""
        begins, width = int(self.window.since.timestamp()), max(1, int(self.window.step.total_seconds()))
        # a step of some seconds and a half is cut to whole ones, and its last row lies behind it then
        last = self.window.steps - 1
        found: dict[G, Line[G]] = {}
        for pk, rows in self._rows.items():
            series = self._series[pk]
            name = group(series)
            if name is None:
                continue
            line = found.get(name)
            if line is None:
                line = found[name] = Line(name, Grid(self.window.steps))
            line.device_classes.add(series.device_class)
            line.grid.add(np.clip((rows.starts - begins) // width, 0, last), rows)
            if last_at := self._last.get(pk):
                line.last_at = max(line.last_at or last_at, last_at)
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
    hour = (now or clock.now()).replace(minute=0, second=0, microsecond=0)
    found = shown_counts(environment, since=hour - ACTIVE_SPAN, until=hour + ACTIVE_SPAN)
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
                Population(
                    f"{SIMULATED if one.simulated else REAL}:{one.name}",
                    f"{one.name}, simulated" if one.simulated else one.name,
                    one.simulated,
                    one.name,
                )
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


def declared(environment: str) -> list[str]:
    """Return the business metrics that devices of an environment ever reported. One query."""
    rows = Series.objects.filter(environment=environment, metric__startswith=metrics.BUSINESS_PREFIX)
    return list(rows.order_by("metric").values_list("metric", flat=True).distinct())


def variants_of(side: Arm) -> list[str]:
    """Return the variants that put a device on a side of the comparison."""
    return [variant for variant, one in VARIANTS.items() if one is side]


def may_judge(environment: str, *, simulated: bool) -> bool:
    """Simulated devices count towards a verdict in demo only."""
    return not simulated or environment == "demo"


@dataclass
class Rolled:
    """A counter's growth in the time before each moment, for one line."""

    values: list[float | None]
    total: float = 0.0
    last_at: datetime | None = None


def rolling(
    *, environment: str, names: Sequence[str], counts: Callable[[Series], bool], window: Window, span: timedelta,
    population: Population, now: datetime,
) -> dict[str, Rolled]:  # fmt: skip
    """Return how much was counted in the span before each step's end, by side of the comparison.

    0 while the side reports inferences, None while it is silent. What leaves does so to a fifteenth of the span.
    """
    series = {
        one.pk: one
        for one in Series.objects.filter(environment=environment, metric__in={*names, metrics.INFERENCES})
        if population.holds(one)
    }
    behind = rollups.window_of(series, since=window.since - span, until=window.since, now=now)
    joint = datetime.fromtimestamp(int(window.since.timestamp()) // behind.tier.width * behind.tier.width, tz=UTC)
    parts = [
        rollups.rows(replace(behind, until=joint)),
        rollups.rows(rollups.steps_of(series, since=joint, until=window.until, step=window.step, now=now)),
    ]
    counted: dict[str, list[Rows]] = {}
    alive: dict[str, list[Rows]] = {}
    for pk, rows in (item for part in parts for item in part.items()):
        side = str(arm(series[pk]) or "")
        alive.setdefault(side, []).append(rows)
        if counts(series[pk]):
            counted.setdefault(side, []).append(rows)
    newest: dict[str, datetime] = {}
    for pk, at in rollups.newest(series).items():
        side = str(arm(series[pk]) or "")
        newest[side] = max(newest.get(side, at), min(at, window.until))
    ends = window.since.timestamp() + window.step.total_seconds() * np.arange(1, window.steps + 1)
    begins = ends - span.total_seconds()
    found: dict[str, Rolled] = {}
    for side, rows_of in alive.items():
        heard = _between(rows_of, begins, ends, of_total=False)
        amounts = _between(counted.get(side, []), begins, ends, of_total=True)
        values = [amount if many else None for amount, many in zip(amounts.tolist(), heard.tolist(), strict=True)]
        inside = _between(counted.get(side, []), np.array([window.since.timestamp()]), ends[-1:])
        found[side] = Rolled(values, float(inside[0]), newest.get(side))
    return found


def _between(
    rows_of: Sequence[Rows], begins: NDArray[np.floating], ends: NDArray[np.floating], *, of_total: bool = True
) -> NDArray[np.floating]:
    """Add up, for each pair, the totals (or the counts) of buckets that began in between."""
    if not rows_of:
        return np.zeros(len(ends))
    starts = np.concatenate([rows.starts for rows in rows_of])
    order = np.argsort(starts)
    amounts = np.concatenate([rows.summary[1 if of_total else 0] for rows in rows_of])[order]
    sums = np.concatenate(([0.0], np.cumsum(amounts)))
    edges = starts[order]
    return np.asarray(sums[np.searchsorted(edges, ends)] - sums[np.searchsorted(edges, begins)])


def per_device_hour(
    *, environment: str, metric: str, window: Window, population: Population, now: datetime
) -> dict[str, Rolled]:
    """Return a counter's growth in the hour up to each step, per device that reported in that hour or began it.

    By side of the comparison where devices say which; hours in which it did not grow are 0 while inferences come in.
    """
    rolled = rolling(
        environment=environment, names=(metric,), counts=lambda series: series.metric == metric, window=window,
        span=ACTIVE_SPAN, population=population, now=now,
    )  # fmt: skip
    first = window.since.replace(minute=0, second=0, microsecond=0) - ACTIVE_SPAN
    sides = set(rolled) != {""}
    counts = hourly_counts(environment, since=first, until=window.until, by_variant=sides)
    for side, one in rolled.items():
        devices = {hour: _devices_of(found, population, side) for hour, found in counts.items()}
        for place, value in enumerate(one.values):
            last = window.since + place * window.step
            hour = last.replace(minute=0, second=0, microsecond=0)
            many = max(devices.get(hour, 0), devices.get(hour - ACTIVE_SPAN, 0))
            one.values[place] = value / many if value is not None and many else None
    return rolled


def _devices_of(counts: Iterable[DeviceCount], population: Population, side: str) -> int:
    return sum(
        one.devices
        for one in counts
        if population.counts(one.device_class, simulated=one.simulated) and (arm_of(one.variant) or "") == side
    )


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


def backend_use(
    *, environment: str, window: Window, population: Population, now: datetime | None = None
) -> list[BackendUse]:
    """Return requested against actual backends over a window, most asked first."""

    def group(series: Series) -> tuple[str, str, bool]:
        return series.backend_requested, series.backend_actual, series.outcome not in ("", "ok")

    names = (metrics.INFERENCES,)
    found = observe(environment=environment, names=names, window=window, population=population, now=now).lines(group)
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
    """The latest throughput of a backend, over the last five minutes. Whether it is enough, its criterion says."""

    backend: str
    value: float | None
    median: float | None
    count: int
    at: datetime | None


def throughputs(*, environment: str, population: Population, now: datetime | None = None) -> dict[str, Reading]:
    """Return the prefill reading of each backend that ran: the guaranteed percentile over the last five minutes."""
    now = now or clock.now()
    window = Window(now - READING_SPAN, 1, READING_SPAN + timedelta(seconds=10))
    guaranteed = metrics.CATALOGUE[metrics.PREFILL].guaranteed
    found = observe(
        environment=environment, names=(metrics.PREFILL,), window=window, population=population, now=now
    ).lines(lambda series: series.backend_actual)
    return {
        backend: Reading(
            backend, line.whole.quantile(guaranteed), line.whole.quantile(0.5), line.whole.count, line.last_at
        )
        for backend, line in found.items()
    }


def throughput_now(environment: str) -> Reading | None:
    """Return the prefill reading of the backend that runs most inferences now, None when none ran in five minutes.

    Of real devices whenever there are any; for the overview.
    """
    population = populations(device_classes(environment))[0]
    found = throughputs(environment=environment, population=population)
    live = [found[backend] for backend in BACKENDS if backend in found]
    return max(live, key=lambda one: one.count, default=None)
