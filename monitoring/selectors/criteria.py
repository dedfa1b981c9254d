"""Criteria with their live readings: all of an environment in a handful of queries, however many there are."""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from django.db.models import Count

from hawkops.core import clock
from hawkops.core.verdicts import WORST_FIRST, Verdict
from monitoring.domain import criteria as domain
from monitoring.domain.criteria import Aggregate, Criterion, Judgement, Purpose, Reading
from monitoring.domain.grid import Grid, Observed, Rows
from monitoring.domain.metrics import INFERENCES
from monitoring.domain.sketch import Sketch, merged
from monitoring.domain.targets import Profiles, Stage
from monitoring.models import DeviceHour, Series, StoredCriterion
from monitoring.selectors import measured, rollups
from monitoring.selectors.profiles import profiles
from monitoring.selectors.telemetry import Population, may_judge

STAGES = {"litert.prefill.throughput": Stage.PREFILL, "litert.decode.throughput": Stage.DECODE}


@dataclass(frozen=True)
class Evaluated:
    """A criterion, what was read for it, and what that says. `parts` are the device classes of a profile's criterion."""

    criterion: Criterion
    reading: Reading
    judgement: Judgement
    parts: tuple[tuple[str, Reading, Judgement], ...] = ()
    simulated: bool = False


def stored() -> list[StoredCriterion]:
    """Return every stored criterion, in the file's order within each purpose."""
    return list(StoredCriterion.objects.all())


def criteria(*, purposes: Iterable[Purpose] = (), keys: Iterable[str] = ()) -> list[Criterion]:
    """Return the criteria of some purposes, or by key; all when neither is said. One query."""
    rows = StoredCriterion.objects.all()
    if purposes:
        rows = rows.filter(purpose__in=[purpose.value for purpose in purposes])
    if keys:
        rows = rows.filter(key__in=list(keys))
    return [domain.criterion(row.document) for row in rows]


def evaluate(
    environment: str, wanted: Sequence[Criterion], *, population: Population | None = None, now: datetime | None = None
) -> list[Evaluated]:
    """Read and judge criteria, of one population or of everybody. Two queries for each distinct window, and a few more."""
    return Evaluation(environment, wanted, population=population, now=now or clock.now()).all()


class Evaluation:
    """One look at an environment: read once, judged as a whole or one device class after another."""

    def __init__(
        self, environment: str, wanted: Sequence[Criterion], *, population: Population | None, now: datetime
    ) -> None:
        self.environment = environment
        self.wanted = wanted
        self.profiles = profiles()
        self.now = now
        self.population = population
        names = {INFERENCES}
        for one in wanted:
            names.add(one.over.metric)
            if one.of is not None:
                names.add(one.of.metric)
        simulated_counts = may_judge(environment, simulated=True)
        everything = Series.objects.filter(environment=environment, metric__in=names)
        held = [one for one in everything if population is None or population.holds(one)]
        self.series = [one for one in held if simulated_counts or not one.simulated]
        self.left_out = {one.metric for one in held if one.simulated and not simulated_counts}
        self.everything = self.series
        self.ids = [one.pk for one in self.series]
        self.last = rollups.newest(self.ids)
        self.sums: dict[timedelta, dict[int, Sketch]] = {}
        self.sketches: dict[timedelta, dict[int, Rows]] = {}
        self.devices: dict[timedelta, dict[tuple[str, bool], int]] = {}

    def of_class(self, device_class: str, *, simulated: bool) -> list[Evaluated]:
        """Evaluate every criterion on one device class, from what was read before."""
        part = copy(self)
        part.population = Population("", "", simulated=simulated, device_class=device_class)
        part.series = [one for one in self.series if one.device_class == device_class and one.simulated is simulated]
        part.left_out = {one.over.metric for one in self.wanted} if not part.series and simulated else set()
        return part.all()

    def of_population(self, population: Population) -> list[Evaluated]:
        """Evaluate every criterion on a part of the population, from what was read before."""
        part = copy(self)
        part.population = population
        part.series = [one for one in self.series if population.holds(one)]
        part.left_out = set() if population.simulated is False else self.left_out
        return part.all()

    def all(self) -> list[Evaluated]:
        """Evaluate every criterion."""
        return [self._one(one) for one in self.wanted]

    def _one(self, one: Criterion) -> Evaluated:
        chosen = [series for series in self.series if _holds(one.over, series)]
        simulated = bool(chosen) and all(series.simulated for series in chosen)
        if one.threshold is None:
            return self._by_class(one, chosen, simulated)
        reading = self._reading(one, chosen)
        allowed = bool(chosen) or one.over.metric not in self.left_out
        return Evaluated(one, reading, domain.judge(one, reading, now=self.now, allowed=allowed), simulated=simulated)

    def _by_class(self, one: Criterion, chosen: list[Series], simulated: bool) -> Evaluated:
        """Judge each device class by its own profile; the worst of those that have one speaks for all."""
        parts: list[tuple[str, Reading, Judgement]] = []
        for name in sorted({series.device_class for series in chosen}):
            profile = self.profiles.of(name, self.environment)
            for backend in one.over.backends or ("cpu", "gpu", "npu"):
                own = [series for series in chosen if series.device_class == name and series.backend_actual == backend]
                target = profile.target(STAGES[one.over.metric], backend) if profile else None
                reading = self._reading(one, own)
                if not own or reading.value is None:
                    continue
                reading = replace(reading, threshold=target.threshold if target else None)
                label = f"{name} {backend}"
                parts.append((label, reading, domain.judge(replace(one, where_available=False), reading, now=self.now)))
        judged = [part for part in parts if part[1].threshold is not None]
        if not judged:
            reading = replace(self._reading(one, chosen), scope=self._scope(one, len(parts)))
            allowed = bool(chosen) or one.over.metric not in self.left_out
            return Evaluated(
                one, reading, domain.judge(one, reading, now=self.now, allowed=allowed), tuple(parts), simulated
            )
        label, reading, verdict = min(judged, key=lambda part: WORST_FIRST.index(part[2].verdict))
        sentence = f"{label}: {verdict.sentence}"
        if len(judged) > 1:
            passing = sum(part[2].verdict is Verdict.PASS for part in judged)
            sentence += f"; {passing} of {len(judged)} judged classes pass"
        if without := len(parts) - len(judged):
            sentence += f"; {without} without absolute target"
        return Evaluated(one, reading, replace(verdict, sentence=sentence), tuple(parts), simulated)

    def _scope(self, one: Criterion, classes: int) -> str:
        if classes:
            return ""
        devices = self._devices(timedelta(hours=1))
        backends = " or ".join(one.over.backends) or "this"
        return f"not in scope: 0 of {devices} devices ran on {backends}" if devices else ""

    def _reading(self, one: Criterion, chosen: list[Series]) -> Reading:
        if measure := measured.reader(one.over.metric):
            return measure(self.environment, one.window, self.now)
        found, at = self._merged(one, chosen)
        whole = None
        if one.of is not None:
            whole, whole_at = self._merged(one, [series for series in self.series if _holds(one.of, series)])
            at = max(filter(None, (at, whole_at)), default=None)
        devices = self._devices(max(one.window, timedelta(hours=1)))
        if one.aggregate in (Aggregate.COUNT, Aggregate.PER_DEVICE) and not found.count:
            # a counter that never moved says nothing; that devices report at all makes it a zero
            flowing, flowing_at = self._merged(one, [series for series in self.series if series.metric == INFERENCES])
            if flowing.count:
                value = 0.0 if one.aggregate is Aggregate.COUNT or devices else None
                return Reading(value, flowing.count, devices, flowing_at)
            return Reading(None, at=at)
        value = domain.read(one, found, whole=whole, devices=devices)
        count = round(whole.total) if whole is not None else found.count
        if one.aggregate is Aggregate.RATIO and whole is not None and not whole.count:
            value = None
        return Reading(value, count, devices, at)

    def _merged(self, one: Criterion, chosen: list[Series]) -> tuple[Observed, datetime | None]:
        last = max((self.last[series.pk] for series in chosen if series.pk in self.last), default=None)
        if one.aggregate.quantile is None:
            sums = self._summed(one.window)
            return merged(sums[series.pk] for series in chosen if series.pk in sums), last
        found = self._sketched(one.window)
        grid = Grid(1)
        for rows in (found[series.pk] for series in chosen if series.pk in found):
            grid.add(np.zeros_like(rows.starts), rows)
        return grid.merged(), last

    def _span(self, ids: list[int], window: timedelta) -> rollups.Span:
        until = self.now + timedelta(seconds=1)
        # what is still kept depends on the clock, also when somebody looks back
        return rollups.window_of(ids, since=self.now - window, until=until, now=max(self.now, clock.now()))

    def _summed(self, window: timedelta) -> dict[int, Sketch]:
        """Return what each series observed within a window, without buckets, of the metrics whose sums are wanted."""
        if window not in self.sums:
            wanted = [c for c in self.wanted if c.aggregate.quantile is None and c.window == window]
            metrics = {INFERENCES, *(one.metric for c in wanted for one in (c.over, c.of) if one is not None)}
            ids = [series.pk for series in self.everything if series.metric in metrics]
            self.sums[window] = rollups.sums(self._span(ids, window))
        return self.sums[window]

    def _sketched(self, window: timedelta) -> dict[int, Rows]:
        """Return the rows of each series within a window, of the metrics whose percentiles are wanted."""
        if window not in self.sketches:
            metrics = {c.over.metric for c in self.wanted if c.aggregate.quantile is not None and c.window == window}
            ids = [series.pk for series in self.everything if series.metric in metrics]
            self.sketches[window] = rollups.rows(self._span(ids, window))
        return self.sketches[window]

    def _devices(self, window: timedelta) -> int:
        """Return how many devices of the population reported within a window of hours."""
        if window not in self.devices:
            since = (self.now - window).replace(minute=0, second=0, microsecond=0)
            rows = (
                DeviceHour.objects.filter(environment=self.environment, hour_at__gte=since)
                .values_list("device_class", "simulated")
                .annotate(many=Count("device_id", distinct=True))
            )
            counts = may_judge(self.environment, simulated=True)
            self.devices[window] = {
                (name, simulated): many for name, simulated, many in rows if counts or not simulated
            }
        return sum(
            many
            for (name, simulated), many in self.devices[window].items()
            if self.population is None or self.population.counts(name, simulated=simulated)
        )


def _holds(selection: domain.Selection, series: Series) -> bool:
    return selection.holds(metric=series.metric, backend=series.backend_actual, outcome=series.outcome)


# ---- replay ----

REPLAY_SPAN = timedelta(days=30)
REPLAY_STEP = timedelta(minutes=10)


@dataclass(frozen=True)
class Replay:
    """What a criterion would have said over stored telemetry."""

    since: datetime | None
    steps: int
    failed: int
    fired: int
    longest: timedelta
    step: timedelta
    why_not: str = ""


def replay(environment: str, one: Criterion, *, now: datetime | None = None) -> Replay:
    """Run a criterion over the stored telemetry of the last 30 days, window by window. Three queries."""
    now = now or clock.now()
    step = max(one.window, REPLAY_STEP)
    if measured.reader(one.over.metric):
        return Replay(None, 0, 0, 0, timedelta(), step, "it is measured now and not kept")
    if one.aggregate is Aggregate.PER_DEVICE:
        return Replay(None, 0, 0, 0, timedelta(), step, "how many devices there were in each hour is not kept yet")
    counts = may_judge(environment, simulated=True)
    names = [one.over.metric, *([one.of.metric] if one.of else [])]
    series = [
        row for row in Series.objects.filter(environment=environment, metric__in=names) if counts or not row.simulated
    ]
    parts: dict[int, dict[str, Sketch]] = {}
    whole: dict[int, Sketch] = {}
    since = now - REPLAY_SPAN
    of_series = {row.pk: row for row in series}
    span = rollups.steps_of(of_series, since=since, until=now + timedelta(seconds=1), step=step, now=now)
    first: datetime | None = None
    for pk, rows in rollups.rows(span).items():
        own = of_series[pk]
        held, of = _holds(one.over, own), one.of is not None and _holds(one.of, own)
        group = f"{own.device_class} {own.backend_actual}" if one.threshold is None else ""
        for bucket, sketch in rows.sketches():
            at = datetime.fromtimestamp(bucket, tz=UTC)
            place = (at - since) // step
            first = at if first is None else min(first, at)
            if held:
                parts.setdefault(place, {}).setdefault(group, Sketch()).merge(sketch)
            if of:
                whole.setdefault(place, Sketch()).merge(sketch)
    known = profiles()
    bad = {
        place
        for place in {*parts, *whole}
        if _failed(environment, known, one, parts.get(place, {}), whole.get(place), since + place * step)
    }
    fired, longest = _runs(bad, at_least=max(1, -(-one.for_ // step)))
    return Replay(first, len({*parts, *whole}), len(bad), fired, longest * step, step)


def _failed(
    environment: str, known: Profiles, one: Criterion, parts: dict[str, Sketch], whole: Sketch | None, at: datetime
) -> bool:
    for group, sketch in (parts or {"": Sketch()}).items():
        threshold = one.threshold
        if threshold is None:
            device_class, _, backend = group.rpartition(" ")
            profile = known.of(device_class, environment)
            target = profile.target(STAGES[one.over.metric], backend) if profile else None
            if target is None:
                continue
            threshold = target.threshold
        count = round(whole.total) if whole is not None else sketch.count
        reading = Reading(domain.read(one, sketch, whole=whole), count, 0, at, threshold)
        if domain.judge(replace(one, where_available=False), reading, now=at).verdict is Verdict.FAIL:
            return True
    return False


def _runs(places: set[int], *, at_least: int) -> tuple[int, int]:
    """Count runs of consecutive places of a length at least, and find the longest."""
    fired = longest = length = 0
    previous: int | None = None
    for place in sorted(places):
        length = length + 1 if previous is not None and place == previous + 1 else 1
        fired += length == at_least
        longest = max(longest, length)
        previous = place
    return fired, longest
