"""Reading telemetry: windows of merged sketches, latest readings with their age, devices. Never a query per point."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from django.db.models import Count, OuterRef, Subquery

from hawkops.core import clock
from monitoring.domain import metrics, targets
from monitoring.domain.sketch import Sketch
from monitoring.domain.targets import Judgement, Stage, Target
from monitoring.domain.windows import Window
from monitoring.models import DeviceHour, RollupPartial, Series

BACKENDS = ("cpu", "gpu", "npu", "cloud")
BACKEND_WORDS = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU", "cloud": "cloud", "": "unknown"}
READING_SPAN = timedelta(minutes=5)
ACTIVE_SPAN = timedelta(hours=1)
REAL, SIMULATED = "real", "simulated"
G = TypeVar("G", bound=Hashable)


@dataclass(frozen=True)
class Population:
    """Which devices a page shows: the real ones, the simulated ones, or one class."""

    key: str
    label: str
    simulated: bool | None = None
    device_class: str = ""

    def holds(self, series: Series) -> bool:
        """Whether a series belongs to it."""
        if self.simulated is not None and series.simulated is not self.simulated:
            return False
        return not self.device_class or series.device_class == self.device_class


@dataclass
class Line(Generic[G]):
    """One line of a chart: a sketch for each step that has data, and all of them merged."""

    group: G
    steps: dict[int, Sketch] = field(default_factory=dict)
    whole: Sketch = field(default_factory=Sketch)
    last_at: datetime | None = None
    device_classes: set[str] = field(default_factory=set)

    def values(self, window: Window, read: Callable[[Sketch], float | None]) -> list[float | None]:
        """Read one number from each step; None where there is no data."""
        return [read(self.steps[step]) if step in self.steps else None for step in range(window.steps)]


def lines(
    *, environment: str, names: Sequence[str], window: Window, group: Callable[[Series], G | None]
) -> dict[G, Line[G]]:
    """Merge the rows of some metrics over a window into lines; `group` names a series' line, None leaves it out.

    Two queries, whatever the window.
    """
    found: dict[G, Line[G]] = {}
    of_series: dict[int, Line[G]] = {}
    for series in Series.objects.filter(environment=environment, metric__in=names):
        name = group(series)
        if name is None:
            continue
        line = found.get(name)
        if line is None:
            line = found[name] = Line(name)
        of_series[series.pk] = line
        line.device_classes.add(series.device_class)
    rows = RollupPartial.objects.filter(
        series_id__in=of_series, bucket_at__gte=window.since, bucket_at__lt=window.until
    ).values_list("series_id", "bucket_at", "count", "total", "squares", "low", "high", "buckets")
    for series_id, bucket_at, count, total, squares, low, high, buckets in rows.iterator(chunk_size=5_000):
        line = of_series[series_id]
        step = window.index(bucket_at)
        sketch = line.steps.get(step)
        if sketch is None:
            sketch = line.steps[step] = Sketch()
        sketch.merge_row(count, total, squares, low, high, buckets)
        if line.last_at is None or bucket_at > line.last_at:
            line.last_at = bucket_at
    for line in found.values():
        for sketch in line.steps.values():
            line.whole.merge(sketch)
    return {name: line for name, line in found.items() if line.steps}


def last_data_at(
    environment: str, *, names: Iterable[str] = (), population: Population | None = None
) -> datetime | None:
    """Return when the newest data of an environment was measured (to ten seconds); None without any. One query."""
    newest = RollupPartial.objects.filter(series=OuterRef("pk")).order_by("-bucket_at").values("bucket_at")[:1]
    series = Series.objects.filter(environment=environment)
    if names:
        series = series.filter(metric__in=list(names))
    found = [
        one.newest
        for one in series.annotate(newest=Subquery(newest))
        if one.newest is not None and (population is None or population.holds(one))
    ]
    return max(found, default=None)


@dataclass(frozen=True)
class DeviceClass:
    """How many devices of a class reported within the last hour."""

    name: str
    devices: int
    simulated: bool


def device_classes(environment: str, *, now: datetime | None = None) -> list[DeviceClass]:
    """Count the devices that reported in this hour or the one before, by class, real ones first. One query."""
    hour = (now or clock.now()).replace(minute=0, second=0, microsecond=0)
    rows = (
        DeviceHour.objects.filter(environment=environment, hour_at__gte=hour - ACTIVE_SPAN)
        .values("device_class", "simulated")
        .annotate(devices=Count("device_id", distinct=True))
        .order_by("simulated", "device_class")
    )
    return [DeviceClass(row["device_class"], row["devices"], row["simulated"]) for row in rows]


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


def switches_per_hour(
    *, environment: str, window: Window, population: Population, devices: int
) -> tuple[list[float | None], datetime | None]:
    """Return, for each step, the switches of the hour up to it, per device; None while the population never reported.

    Hours without a switch are 0 as long as inferences came in. Two queries for each of the two metrics.
    """
    wider = window.earlier(ACTIVE_SPAN)
    lead = wider.steps - window.steps

    def only(series: Series) -> str | None:
        return series.metric if population.holds(series) else None

    found = lines(environment=environment, names=(metrics.SWITCHES, metrics.INFERENCES), window=wider, group=only)
    if not found or not devices:
        return [None] * window.steps, None
    switches, inferences = found.get(metrics.SWITCHES), found.get(metrics.INFERENCES)
    amounts = [0.0] * wider.steps
    reported = [False] * wider.steps
    for line in (switches, inferences):
        for step in line.steps if line else ():
            reported[step] = True
    if switches:
        for step, sketch in switches.steps.items():
            amounts[step] = sketch.total
    hour = ACTIVE_SPAN // window.step
    values: list[float | None] = []
    for step in range(lead, wider.steps):
        first = max(0, step - hour + 1)
        values.append(sum(amounts[first : step + 1]) / devices if any(reported[first : step + 1]) else None)
    last = max((line.last_at for line in (switches, inferences) if line and line.last_at), default=None)
    return values, last


def switches_last_hour(
    *, environment: str, population: Population, devices: int, now: datetime | None = None
) -> tuple[float | None, datetime | None]:
    """Return the switches per device in the last hour, and when anything was last reported. Two queries."""
    now = now or clock.now()
    window = Window(now - ACTIVE_SPAN, 1, ACTIVE_SPAN + timedelta(seconds=10))

    def only(series: Series) -> str | None:
        return series.metric if population.holds(series) else None

    found = lines(environment=environment, names=(metrics.SWITCHES, metrics.INFERENCES), window=window, group=only)
    last_at = max((line.last_at for line in found.values() if line.last_at), default=None)
    if not found or not devices:
        return None, last_at
    return (found[metrics.SWITCHES].whole.total if metrics.SWITCHES in found else 0.0) / devices, last_at


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

    found = lines(environment=environment, names=(metrics.INFERENCES,), window=window, group=group)
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
    """The latest number of something: over the last five minutes, else NO DATA or STALE with its age."""

    metric: str
    backend: str
    value: float | None
    median: float | None
    mean: float | None
    maximum: float | None
    count: int
    at: datetime | None
    target: Target | None
    judgement: Judgement
    simulated: bool
    device_classes: tuple[str, ...] = ()


def readings(
    *, environment: str, population: Population, now: datetime | None = None
) -> dict[tuple[str, str], Reading]:
    """Return the latest readings of the LiteRT metrics by (metric, actual backend); "" merges all backends.

    A value is the guaranteed percentile over the last five minutes. Three queries.
    """
    now = now or clock.now()
    window = Window(now - READING_SPAN, 1, READING_SPAN + timedelta(seconds=10))
    by_backend = (metrics.PREFILL, metrics.DECODE)
    merged = (metrics.OPERATION, metrics.MEMORY, metrics.MEMORY_PEAK, metrics.SWITCH_DURATION)

    def group(series: Series) -> tuple[str, str] | None:
        if not population.holds(series):
            return None
        if series.metric == metrics.OPERATION and series.backend_actual == "cloud":
            return series.metric, "cloud"
        return series.metric, series.backend_actual if series.metric in by_backend else ""

    found = lines(environment=environment, names=(*by_backend, *merged), window=window, group=group)
    seen = _last_by(environment, (*by_backend, *merged), group)
    simulated = bool(population.simulated)
    result: dict[tuple[str, str], Reading] = {}
    for key in {*found, *seen}:
        name, backend = key
        line = found.get(key)
        sketch = line.whole if line else Sketch()
        value = sketch.quantile(metrics.CATALOGUE[name].guaranteed)
        at, classes = seen.get(key, (line.last_at if line else None, frozenset[str]()))
        target = _target(environment, name, backend, line.device_classes if line else classes)
        judged = _judged_value(name, sketch, value)
        judgement = targets.judge(
            value=judged,
            count=sketch.count,
            age_seconds=(now - at).total_seconds() if at else None,
            target=target,
            allowed=may_judge(environment, simulated=simulated),
        )
        result[key] = Reading(
            metric=name,
            backend=backend,
            value=judged,
            median=sketch.quantile(0.5),
            mean=sketch.mean,
            maximum=sketch.high if sketch.count else None,
            count=sketch.count,
            at=at,
            target=target,
            judgement=judgement,
            simulated=simulated,
            device_classes=tuple(sorted(line.device_classes if line else classes)),
        )
    return result


def _judged_value(name: str, sketch: Sketch, guaranteed: float | None) -> float | None:
    """The runbook speaks of the mean for average memory and switch time, of the highest for peak memory."""
    if name in (metrics.MEMORY, metrics.SWITCH_DURATION):
        return sketch.mean
    if name == metrics.MEMORY_PEAK:
        return sketch.high if sketch.count else None
    return guaranteed


def _target(environment: str, name: str, backend: str, classes: Iterable[str]) -> Target | None:
    if name in (metrics.PREFILL, metrics.DECODE):
        profile = targets.common_profile(classes, environment=environment)
        stage = Stage.PREFILL if name == metrics.PREFILL else Stage.DECODE
        return profile.target(stage, backend) if profile else None
    if backend == "cloud":
        return None
    return {
        metrics.OPERATION: targets.LATENCY_GATE,
        metrics.MEMORY: targets.MEMORY_AVERAGE,
        metrics.MEMORY_PEAK: targets.MEMORY_PEAK,
        metrics.SWITCH_DURATION: targets.SWITCH_SECONDS,
    }.get(name)


def _last_by(
    environment: str, names: Sequence[str], group: Callable[[Series], tuple[str, str] | None]
) -> dict[tuple[str, str], tuple[datetime, frozenset[str]]]:
    newest = RollupPartial.objects.filter(series=OuterRef("pk")).order_by("-bucket_at").values("bucket_at")[:1]
    found: dict[tuple[str, str], tuple[datetime, frozenset[str]]] = {}
    for series in Series.objects.filter(environment=environment, metric__in=names).annotate(newest=Subquery(newest)):
        key = group(series)
        if key is None or series.newest is None:
            continue
        at, classes = found.get(key, (series.newest, frozenset()))
        found[key] = max(at, series.newest), classes | {series.device_class}
    return found


def throughput_now(environment: str) -> Reading | None:
    """Return the prefill reading of the backend that runs most inferences now, None when none ran in five minutes.

    Of real devices whenever there are any; for the overview.
    """
    population = populations(device_classes(environment))[0]
    found = readings(environment=environment, population=population)
    live = [found[metrics.PREFILL, backend] for backend in BACKENDS if (metrics.PREFILL, backend) in found]
    return max((one for one in live if one.count), key=lambda one: one.count, default=None)


@dataclass(frozen=True)
class ClassRow:
    """One device class on one backend: its numbers of the last five minutes."""

    device_class: str
    simulated: bool
    backend: str
    devices: int
    guaranteed: float | None
    median: float | None
    latency: float | None
    memory_peak: float | None
    target: Target | None
    judgement: Judgement

    @property
    def backend_word(self) -> str:
        """Where it ran, as pages write it."""
        return BACKEND_WORDS[self.backend]


def class_rows(*, environment: str, classes: Sequence[DeviceClass], now: datetime | None = None) -> list[ClassRow]:
    """Return every device class that reported within the hour, by actual backend. Two queries."""
    now = now or clock.now()
    window = Window(now - READING_SPAN, 1, READING_SPAN + timedelta(seconds=10))

    def group(series: Series) -> tuple[str, bool, str, str] | None:
        if not series.backend_actual:
            return None
        return series.device_class, series.simulated, series.backend_actual, series.metric

    names = (metrics.PREFILL, metrics.OPERATION, metrics.MEMORY_PEAK)
    found = lines(environment=environment, names=names, window=window, group=group)
    rows: list[ClassRow] = []
    for one in classes:
        used = {key[2] for key in found if key[:2] == (one.name, one.simulated)}
        for backend in sorted(used, key=BACKENDS.index) or [""]:
            whole = {key[3]: line for key, line in found.items() if key[:3] == (one.name, one.simulated, backend)}
            prefill = whole[metrics.PREFILL].whole if metrics.PREFILL in whole else Sketch()
            latency = whole[metrics.OPERATION].whole if metrics.OPERATION in whole else Sketch()
            peak = whole[metrics.MEMORY_PEAK].whole if metrics.MEMORY_PEAK in whole else Sketch()
            last = max((line.last_at for line in whole.values() if line.last_at), default=None)
            target = _target(environment, metrics.PREFILL, backend, [one.name])
            value = prefill.quantile(0.05)
            rows.append(
                ClassRow(
                    device_class=one.name,
                    simulated=one.simulated,
                    backend=backend,
                    devices=one.devices,
                    guaranteed=value,
                    median=prefill.quantile(0.5),
                    latency=latency.quantile(0.95),
                    memory_peak=peak.high if peak.count else None,
                    target=target,
                    judgement=targets.judge(
                        value=value,
                        count=prefill.count,
                        age_seconds=(now - last).total_seconds() if last else None,
                        target=target,
                        allowed=may_judge(environment, simulated=one.simulated),
                    ),
                )
            )
    return rows
