"""Criteria with their live readings: all of an environment in a handful of queries, however many there are."""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

import numpy as np

from hawkops.core import clock
from hawkops.core.verdicts import WORST_FIRST, Verdict
from monitoring.domain import criteria as domain
from monitoring.domain import intervals, numbers
from monitoring.domain.arms import Arm, arm_of, belongs
from monitoring.domain.criteria import Against, Aggregate, Criterion, Judgement, Purpose, Reading, Selection
from monitoring.domain.grid import Grid, Observed, Rows
from monitoring.domain.metrics import INFERENCES, Kind
from monitoring.domain.numbers import Numbers, Side
from monitoring.domain.sketch import Sketch, merged
from monitoring.domain.statistics.per_device import PerDevice
from monitoring.domain.targets import Profiles, Stage
from monitoring.models import Series, StoredCriterion
from monitoring.selectors import comparison, measured, rollups
from monitoring.selectors.devices import DeviceCount, shown_counts
from monitoring.selectors.profiles import profiles
from monitoring.selectors.telemetry import Population, may_judge

# how far back a backend was asked for or ran, or a source reported, to be in scope
BACKEND_SCOPE, SOURCE_SCOPE = timedelta(hours=24), domain.WINDOW_MOST
HOUR = timedelta(hours=1)
# whose verdicts let something advance, so that how sure they are is asked
ADVANCES = (Purpose.PHASE, Purpose.VALIDATION, Purpose.DECISION)
STAGES = {"litert.prefill.throughput": Stage.PREFILL, "litert.decode.throughput": Stage.DECODE}


@dataclass(frozen=True)
class Evaluated:
    """A criterion, what was read for it, and what that says. `parts` are the device classes of a profile's criterion."""

    criterion: Criterion
    reading: Reading
    judgement: Judgement
    parts: tuple[tuple[str, Reading, Judgement], ...] = ()
    simulated: bool = False
    # whether what reports may be judged here at all
    allowed: bool = True


def stored() -> list[StoredCriterion]:
    """Return every stored criterion, in the file's order within each purpose."""
    return list(StoredCriterion.objects.all())


def criteria(*, purposes: Iterable[Purpose] = (), keys: Iterable[str] = ()) -> list[Criterion]:
    """Return the criteria of some purposes, or by key; all when neither is said. One query.

    A stored row that can't be read is `broken`: it is judged ERROR and keeps no other from being judged.
    """
    rows = StoredCriterion.objects.all()
    if purposes:
        rows = rows.filter(purpose__in=[purpose.value for purpose in purposes])
    if keys:
        rows = rows.filter(key__in=list(keys))
    return [_usable(row) for row in rows]


def changed_since(keys: Iterable[str], at: datetime) -> bool:
    """Say whether one of the criteria was changed after a moment."""
    return StoredCriterion.objects.filter(key__in=list(keys), changed_at__gt=at).exists()


def _usable(row: StoredCriterion) -> Criterion:
    try:
        return domain.criterion(row.document)
    except domain.Unfit as unfit:
        message = f"{'.'.join(map(str, unfit.path)) or 'criterion'}: {unfit.message}"
        title = row.document.get("title") if isinstance(row.document, dict) else None
        return domain.unusable(key=row.key, purpose=row.purpose, title=str(title or ""), message=message)


def evaluate(
    environment: str, wanted: Sequence[Criterion], *, population: Population | None = None, now: datetime | None = None,
    released_at: datetime | None = None, floors: Profiles | None = None, by_device: bool = False,
) -> list[Evaluated]:  # fmt: skip
    """Read and judge criteria, of one population or of everybody. Two queries for each distinct window, and a few more.

    `released_at` ends the time that tells what is normal; without it that time ends where the criterion's window begins.
    `floors` stand in for the stored profiles of device classes. `by_device` reads what each device of the panel observed
    beside it, of what lets a release advance; an interval of a change is never read without.
    """
    look = Evaluation(environment, wanted, population=population, now=now or clock.now(), released_at=released_at)
    look.profiles = floors or look.profiles
    look.by_device = by_device
    return look.all()


class Evaluation:
    """One look at an environment: read once, judged as a whole or one device class after another."""

    def __init__(
        self, environment: str, wanted: Sequence[Criterion], *, population: Population | None, now: datetime,
        released_at: datetime | None = None,
    ) -> None:  # fmt: skip
        self.environment = environment
        self.wanted = _as_asked(wanted, population)
        self.profiles = profiles()
        self.now = now
        self.released_at = released_at
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
        # of a look at the past: what came later is none of its business
        self.last = {pk: min(at, now) for pk, at in rollups.newest(self.ids).items()}
        self.sums: dict[timedelta, dict[int, Sketch]] = {}
        self.sketches: dict[timedelta, dict[int, Rows]] = {}
        self.before: dict[timedelta, dict[int, Sketch]] = {}
        self.hours: dict[timedelta, dict[int, Rows]] = {}
        self.devices: dict[tuple[timedelta, bool], list[DeviceCount]] = {}
        self.by_device = False
        self.panels: dict[timedelta, comparison.Look] = {}

    def of_class(self, device_class: str, *, simulated: bool) -> list[Evaluated]:
        """Evaluate every criterion on one device class, on the side read before."""
        side = self.population.arm if self.population is not None else None
        part = self._part(Population("", "", simulated=simulated, device_class=device_class, arm=side))
        part.left_out = {one.over.metric for one in self.wanted} if not part.series and simulated else set()
        return part.all()

    def of_population(self, population: Population) -> list[Evaluated]:
        """Evaluate every criterion on a part of the population, from what was read before."""
        part = self._part(population)
        part.left_out = set() if population.simulated is False else self.left_out
        return part.all()

    def _part(self, population: Population) -> Self:
        part = copy(self)
        part.population = population
        part.wanted = _as_asked(self.wanted, population)
        part.series = [one for one in self.series if population.holds(one)]
        return part

    def all(self) -> list[Evaluated]:
        """Evaluate every criterion."""
        return [self._one(one) for one in self.wanted]

    def _one(self, one: Criterion) -> Evaluated:
        chosen = self._chosen(one.over)
        simulated = bool(chosen) and all(series.simulated for series in chosen)
        allowed = bool(chosen) or one.over.metric not in self.left_out
        if one.threshold is None:
            return self._by_class(one, chosen, simulated)
        reading = Reading(None) if one.broken else self._reading(one, chosen)
        reading = replace(reading, scope=self._scope(one))
        judge = intervals.judge if one.aggregate in (Aggregate.INTERVAL, Aggregate.RANGE) else domain.judge
        found = judge(one, reading, now=self.now, allowed=allowed)
        return Evaluated(one, reading, found, simulated=simulated, allowed=allowed)

    def _chosen(self, selection: Selection) -> list[Series]:
        return chosen(selection, self.series)

    # ---- throughput, by the profile of each device class ----

    def _by_class(self, one: Criterion, chosen: list[Series], simulated: bool) -> Evaluated:
        """Judge each device class by its own profile; the worst of those that have one speaks for all.

        A backend with a target that was asked for or ran within a day and reads nothing now is a part too: in a verdict
        that lets something advance it counts, in an alert it is named, or a phone in a pocket would hold every alert open.
        """
        parts: list[tuple[str, Reading, Judgement]] = []
        silent: list[tuple[str, Reading, Judgement]] = []
        plain = replace(one, where_available=False)
        backends = one.over.backends or ("cpu", "gpu", "npu")
        by_part: dict[tuple[str, str], list[Series]] = {}
        for series in chosen:
            by_part.setdefault((series.device_class, series.backend_actual), []).append(series)
        for name in sorted({series.device_class for series in self.series}):
            profile = self.profiles.of(name, self.environment)
            for backend in backends:
                own = by_part.get((name, backend), [])
                target = profile.target(STAGES[one.over.metric], backend) if profile else None
                if not own and target is None:
                    continue
                reading = self._reading(one, own, within=(name, backend))
                reading = replace(reading, threshold=target.threshold if target else None)
                label = f"{name} {backend}"
                if reading.value is not None:
                    parts.append((label, reading, domain.judge(plain, reading, now=self.now)))
                elif target is not None and self._used(one, (backend,), device_class=name):
                    if reading.at is None:
                        reading = replace(reading, note=f"{backend} was asked for and something else ran")
                    silent.append((label, reading, domain.judge(plain, reading, now=self.now)))
        judged = [part for part in parts if part[1].threshold is not None]
        if one.purpose not in (Purpose.ALERT, Purpose.SECURITY) or not judged:
            judged += silent
        shown = (*parts, *silent)
        if not judged:
            reading = replace(self._reading(one, chosen), scope="" if parts else self._scope(one))
            allowed = bool(chosen) or one.over.metric not in self.left_out
            found = domain.judge(one, reading, now=self.now, allowed=allowed)
            return Evaluated(one, reading, found, shown, simulated, allowed)
        label, reading, verdict = min(judged, key=lambda part: WORST_FIRST.index(part[2].verdict))
        sentence = f"{label}: {verdict.sentence}"
        if len(judged) > 1:
            passing = sum(part[2].verdict is Verdict.PASS for part in judged)
            sentence += f"; {passing} of {len(judged)} judged classes pass"
        if without := sum(part[1].threshold is None for part in parts):
            sentence += f"; {without} without absolute target"
        if quiet := [part[0] for part in silent if part not in judged]:
            sentence += f"; silent: {', '.join(quiet[:3])}{' and more' if len(quiet) > 3 else ''}"
        return Evaluated(one, reading, replace(verdict, sentence=sentence), shown, simulated)

    # ---- scope ----

    def _scope(self, one: Criterion) -> str:
        """Say why a criterion is out of scope; empty when it is not, or when nobody reports at all."""
        if not one.where_available:
            return ""
        if one.over.backends:
            if self._used(one, one.over.backends):
                return ""
            did = f"asked for or ran on {' or '.join(one.over.backends)} in {domain.spoken(BACKEND_SCOPE)}"
        else:
            since = self.now - SOURCE_SCOPE
            if any(self.last.get(x.pk, since) > since for x in self.series if x.metric == one.over.metric):
                return ""
            did = f"reported {one.over.metric} in {domain.spoken(SOURCE_SCOPE)}"
        devices = self._devices(HOUR, one.over.arm)
        return f"not in scope: 0 of {devices} devices {did}" if devices else ""

    def _used(self, one: Criterion, backends: Sequence[str], *, device_class: str = "") -> bool:
        """Whether a backend was asked for, or ran, within a day: one that hangs reports nothing and is still there."""
        since = self.now - BACKEND_SCOPE
        return any(
            series.metric in (INFERENCES, one.over.metric)
            and (series.backend_requested in backends or series.backend_actual in backends)
            and device_class in ("", series.device_class)
            and belongs(series.variant, one.over.arm)
            and self.last.get(series.pk, since) > since
            for series in self.series
        )

    # ---- readings ----

    def _reading(self, one: Criterion, chosen: list[Series], *, within: tuple[str, str] | None = None) -> Reading:
        """Read a criterion; of a profile's, `within` is the device class and the backend."""
        found = self._numbers(one, chosen)
        return numbers.reading(one, self._with_panel(one, found, within) if self._counts_devices(one) else found)

    def _numbers(self, one: Criterion, chosen: list[Series]) -> Numbers:
        """Return the raw numbers of a criterion."""
        if one.aggregate is Aggregate.RANGE:
            return self._of_range(one, chosen)
        if one.against is not None:
            return self._of_both(one)
        if measure := measured.reader(one.over.metric):
            found = measure(self.environment, one.window, self.now)
            return Numbers(at=found.at, measured=found.value)
        observed, at = self._merged(one, chosen)
        whole = None
        if one.of is not None:
            whole, whole_at = self._merged(one, self._chosen(one.of))
            at = max(filter(None, (at, whole_at)), default=None)
        # of long windows only what divides by it needs to know: counting a large fleet's days costs more than all else
        counted = one.aggregate is Aggregate.PER_DEVICE or one.window <= HOUR
        own = Side(observed, whole, self._devices(one.window, one.over.arm) if counted else 0)
        if one.aggregate in (Aggregate.COUNT, Aggregate.PER_DEVICE) and not observed.count:
            flowing, flowing_at = self._merged(one, self._chosen(Selection(INFERENCES, arm=one.over.arm)))
            if flowing.count:
                return Numbers(own, flowing=flowing.count, at=flowing_at)
        return Numbers(own, at=at)

    # ---- what each device of the panel observed ----

    def _counts_devices(self, one: Criterion) -> bool:
        """Whether a criterion is read device by device."""
        if one.aggregate is Aggregate.INTERVAL:
            return True
        return self.by_device and one.purpose in ADVANCES and one.aggregate not in comparison.SEEN

    def _with_panel(self, one: Criterion, found: Numbers, within: tuple[str, str] | None) -> Numbers:
        """Return the numbers with what devices observed; of what the panel does not keep, without a device."""
        if found.measured is not None:
            return found
        control = one.against is Against.CONTROL
        backends = one.over.backends if within is None else (within[1],)
        own = self._of_panel(one, one.over.arm, strict=control, backends=backends, within=within[0] if within else "")
        other = found.other
        if other is not None:
            reference = self._of_panel(one, Arm.CONTROL, strict=True, backends=()) if control else PerDevice()
            other = replace(other, panel=reference)
        return replace(found, own=replace(found.own, panel=own), other=other)

    def _of_panel(
        self, one: Criterion, arm: Arm | None, *, strict: bool, backends: Sequence[str], within: str = ""
    ) -> PerDevice:
        if not comparison.keeps(one):
            return PerDevice()
        if one.window not in self.panels:
            wanted = [each for each in self.wanted if self._counts_devices(each)]
            self.panels[one.window] = comparison.look(self.environment, wanted, one.window, now=self.now)
        return self.panels[one.window].of_side(
            one, self.population, arm=arm, strict=strict, backends=backends, within=within
        )

    def _of_both(self, one: Criterion) -> Numbers:
        """Return what the treatment observed and the control, or what was observed now and in the time before."""
        own = self._chosen(one.over)
        if one.against is Against.CONTROL:
            # who did not say may be on either side, and would blur the difference
            own = [series for series in own if arm_of(series.variant) is Arm.TREATMENT]
            # the control's inferences ran in the cloud
            other = self._chosen(replace(one.over, arm=Arm.CONTROL, backends=()))
        else:
            other = self._chosen(replace(one.over, arm=None))
        before = one.against is Against.BASELINE
        reference = self._side(one, other, None if before else Arm.CONTROL, before=before)
        at = max((self.last[x.pk] for x in own if x.pk in self.last), default=None)
        return Numbers(self._side(one, own, Arm.TREATMENT, before=False), reference, at=at)

    def _side(self, one: Criterion, series: list[Series], arm: Arm | None, *, before: bool) -> Side:
        """Return what one side of a comparison observed."""
        if one.aggregate is Aggregate.TIMES:
            return Side(self._merged(one, series)[0])
        sums = self._sums_before(one.window) if before else self._summed(one.window)
        total = merged(sums[x.pk] for x in series if x.pk in sums)
        if one.of is not None:
            of = [x for x in self._chosen(replace(one.of, arm=arm)) if arm is None or arm_of(x.variant) is arm]
            return Side(total, merged(sums[x.pk] for x in of if x.pk in sums))
        counter = one.metric is not None and one.metric.kind is Kind.COUNTER
        return Side(total, devices=self._devices(one.window, arm, strict=True) if counter else 0)

    def _of_range(self, one: Criterion, chosen: list[Series]) -> Numbers:
        """Return what was observed now, and the hourly means before the release in order."""
        sums = self._summed(one.window)
        own = Side(merged(sums[series.pk] for series in chosen if series.pk in sums))
        at = max((self.last[series.pk] for series in chosen if series.pk in self.last), default=None)
        if own.observed.mean is None:
            return Numbers(own, at=at)
        since = self._baseline_ends(one.window) - domain.BASELINE
        grid = Grid(domain.BASELINE // HOUR + 1)
        for rows in self._hourly(one.window, replace(one.over, arm=None)):
            grid.add((rows.starts - int(since.timestamp())) // 3_600, rows)
        return Numbers(own, usual=tuple(sorted(mean for mean in grid.means() if mean is not None)), at=at)

    # ---- what was stored, each window read once ----

    def _merged(self, one: Criterion, chosen: list[Series]) -> tuple[Observed, datetime | None]:
        last = max((self.last[series.pk] for series in chosen if series.pk in self.last), default=None)
        if not _of_buckets(one):
            sums = self._summed(one.window)
            return merged(sums[series.pk] for series in chosen if series.pk in sums), last
        found = self._sketched(one.window)
        grid = Grid(1)
        for rows in (found[series.pk] for series in chosen if series.pk in found):
            grid.add(np.zeros_like(rows.starts), rows)
        return grid.merged(), last

    def _span(self, ids: list[int], window: timedelta) -> rollups.Span:
        until = self.now + timedelta(seconds=1)
        return rollups.window_of(ids, since=self.now - window, until=until, now=self._kept_at)

    @property
    def _kept_at(self) -> datetime:
        """The moment that says what is still kept: the clock's, also when somebody looks back."""
        return max(self.now, clock.now())

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
            metrics = {c.over.metric for c in self.wanted if _of_buckets(c) and c.window == window}
            self.sketches[window] = rollups.rows(self._span(self._ids_of(metrics), window))
        return self.sketches[window]

    def _ids_of(self, metrics: set[str]) -> list[int]:
        return [series.pk for series in self.everything if series.metric in metrics]

    def _baseline_ends(self, window: timedelta) -> datetime:
        ends = self.released_at or self.now - window
        return ends.replace(minute=0, second=0, microsecond=0)

    def _sums_before(self, window: timedelta) -> dict[int, Sketch]:
        """Return what each series of a comparison with the time before observed then."""
        if window not in self.before:
            wanted = [c for c in self.wanted if c.against is Against.BASELINE and c.window == window]
            names = {c.over.metric for c in wanted} | {c.of.metric for c in wanted if c.of is not None}
            until = self._baseline_ends(window)
            span = rollups.window_of(self._ids_of(names), since=until - domain.BASELINE, until=until, now=self._kept_at)
            self.before[window] = rollups.sums(span)
        return self.before[window]

    def _hourly(self, window: timedelta, selection: Selection) -> list[Rows]:
        """Return the hourly rows of the time before, of the series of a selection."""
        if window not in self.hours:
            names = {c.over.metric for c in self.wanted if c.aggregate is Aggregate.RANGE and c.window == window}
            until = self._baseline_ends(window)
            span = rollups.steps_of(
                self._ids_of(names), since=until - domain.BASELINE, until=until, step=HOUR, now=self._kept_at
            )
            self.hours[window] = rollups.rows(span)
        found = self.hours[window]
        return [found[series.pk] for series in self._chosen(selection) if series.pk in found]

    def _devices(self, window: timedelta, arm: Arm | None = None, *, strict: bool = False) -> int:
        """Return how many devices of the population reported within a window of hours.

        Those that did not say their variant count as treatment, unless only who said it counts (`strict`).
        """
        # who was on both sides counts on both, and once where sides don't matter
        look = (max(window, HOUR), arm is not None or (self.population is not None and self.population.arm is not None))
        if look not in self.devices:
            counts = may_judge(self.environment, simulated=True)
            until = self.now.replace(minute=0, second=0, microsecond=0) + HOUR
            found = shown_counts(self.environment, since=self.now - look[0], until=until, by_variant=look[1])
            self.devices[look] = [one for one in found if counts or not one.simulated]
        return sum(
            one.devices
            for one in self.devices[look]
            if (arm_of(one.variant) is arm if strict and arm else belongs(one.variant, arm))
            and (self.population is None or _counts(self.population, one))
        )


def _counts(population: Population, one: DeviceCount) -> bool:
    if population.arm is not None and arm_of(one.variant) is not population.arm:
        return False
    return population.counts(one.device_class, simulated=one.simulated)


def _as_asked(wanted: Sequence[Criterion], population: Population | None) -> list[Criterion]:
    """Return the criteria as they are read: whoever asks for one side of the comparison gets all of them on that side."""
    one_side = population is not None and population.arm is not None
    return [_of_everybody(one) for one in wanted] if one_side else list(wanted)


def _of_everybody(one: Criterion) -> Criterion:
    of = replace(one.of, arm=None) if one.of is not None else None
    return replace(one, over=replace(one.over, arm=None), of=of)


def _of_buckets(one: Criterion) -> bool:
    return one.aggregate.quantile is not None or one.aggregate is Aggregate.TIMES


def chosen(selection: Selection, series: Iterable[Series]) -> list[Series]:
    """Return the series that belong to a selection."""
    rows = list(series)
    found = [
        one
        for one in rows
        if selection.holds(
            metric=one.metric,
            backend=one.backend_actual,
            outcome=one.outcome,
            variant=one.variant,
            requested=one.backend_requested,
        )
    ]
    if not selection.able:
        return found
    able = {(one.device_class, one.backend_requested) for one in rows if one.backend_requested == one.backend_actual}
    return [one for one in found if (one.device_class, one.backend_requested) in able]
