"""Whether data flows, and how a criterion's number moved: what a validation's clock and its drawings are made of.

Read from stored rollups only: one statement each, whatever the fleet's size.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hawkops.core import clock
from monitoring.domain.arms import Arm, belongs
from monitoring.domain.criteria import Aggregate, Criterion, Selection
from monitoring.domain.grid import Grid
from monitoring.domain.metrics import INFERENCES, Kind
from monitoring.domain.tiers import TEN_MINUTES
from monitoring.models import Series
from monitoring.selectors import rollups
from monitoring.selectors.criteria import chosen
from monitoring.selectors.judging import counting
from monitoring.selectors.telemetry import may_judge

SLOT = TEN_MINUTES.step


@dataclass(frozen=True)
class Flow:
    """Where each ten minutes with data begin, in order, and when the newest observation was made."""

    slots: tuple[datetime, ...]
    last_at: datetime | None


def flow(environment: str, *, since: datetime, until: datetime) -> Flow:
    """Return when devices that LiteRT is served to reported inferences. Three queries.

    Who counts is who counts in verdicts: no simulated device and no generated model outside demo.
    """
    ids = [one.pk for one in _counted(environment, [INFERENCES]) if belongs(one.variant, Arm.TREATMENT)]
    span = rollups.steps_of(ids, since=_floor(since, SLOT), until=until, step=SLOT, now=max(until, clock.now()))
    slots = sorted({_floor(at, SLOT) for at in rollups.moments(span)})
    if not slots:
        return Flow((), None)
    return Flow(tuple(slots), max((at for at in rollups.newest(ids).values() if at < until), default=slots[-1]))


def traces(
    environment: str, wanted: Iterable[Criterion], *, since: datetime, until: datetime, steps: int
) -> dict[str, list[float | None]]:
    """Return each criterion's number in equal steps of a window, by its key; None where nothing was reported.

    Of a comparison it is the treatment's own number. Two queries.
    """
    criteria = list(wanted)
    read = _Stretch(environment, criteria, since=since, until=until, steps=steps)
    return {one.key: read.numbers(one) for one in criteria}


@dataclass(frozen=True)
class Sides:
    """A criterion's number on both sides of the comparison, in equal steps from `since` on; None where nothing came."""

    since: datetime
    step: timedelta
    treatment: list[float | None]
    control: list[float | None]


def sides(
    environment: str, wanted: Iterable[Criterion], *, since: datetime, until: datetime, steps: int,
    classes: Mapping[str, str],
) -> dict[str, Sides]:  # fmt: skip
    """Return each criterion's number on both sides in equal steps of a window, by its key. Two queries.

    `classes` names, by key, the one device class to read. The control's inferences ran in the cloud, so that its number is
    of every backend.
    """
    criteria = list(wanted)
    read = _Stretch(environment, criteria, since=since, until=until, steps=steps)
    return {
        one.key: Sides(
            read.begins,
            read.width,
            read.numbers(one, device_class=classes.get(one.key, "")),
            read.numbers(_of_control(one), device_class=classes.get(one.key, "")),
        )
        for one in criteria
    }


def _of_control(one: Criterion) -> Criterion:
    of = replace(one.of, arm=Arm.CONTROL, backends=()) if one.of is not None else None
    return replace(one, over=replace(one.over, arm=Arm.CONTROL, backends=()), of=of)


class _Stretch:
    """A window in equal steps, and the rows of all metrics of some criteria in it, read once."""

    def __init__(
        self, environment: str, criteria: Sequence[Criterion], *, since: datetime, until: datetime, steps: int
    ) -> None:
        self.width = _step(until - since, steps)
        self.begins = _floor(since, self.width)
        self.count = max(1, -(-(until - self.begins) // self.width))
        self.series = _counted(environment, {one.metric for c in criteria for one in (c.over, c.of) if one is not None})
        ids = [one.pk for one in self.series]
        span = rollups.steps_of(ids, since=self.begins, until=until, step=self.width, now=max(until, clock.now()))
        self.rows = rollups.rows(span)

    def numbers(self, one: Criterion, *, device_class: str = "") -> list[float | None]:
        """Return a criterion's number in each step, of all device classes or of one."""
        whole = self._grid(one.of, device_class) if one.of is not None else None
        return _numbers(one, self._grid(one.over, device_class), whole)

    def _grid(self, selection: Selection, device_class: str) -> Grid:
        found = Grid(self.count)
        for one in chosen(selection, self.series):
            if one.pk in self.rows and device_class in ("", one.device_class):
                mine = self.rows[one.pk]
                places = (mine.starts - int(self.begins.timestamp())) // int(self.width.total_seconds())
                found.add(places.clip(0, self.count - 1), mine)
        return found


def _numbers(one: Criterion, own: Grid, of: Grid | None) -> list[float | None]:
    if of is not None:
        part, whole = own.amounts(), of.amounts()
        return [mine / all_ if all_ else None for mine, all_ in zip(part, whole, strict=True)]
    if one.aggregate.quantile is not None:
        return own.quantiles(one.aggregate.quantile)
    if one.aggregate is Aggregate.MAX:
        return own.highs()
    if one.metric is not None and one.metric.kind is Kind.COUNTER:
        return own.totals()
    return own.means()


def _counted(environment: str, metrics: Iterable[str]) -> Sequence[Series]:
    population = counting(environment)
    found = Series.objects.filter(environment=environment, metric__in=list(metrics))
    return [
        one
        for one in found
        if may_judge(environment, simulated=one.simulated) and (population is None or population.holds(one))
    ]


def _step(span: timedelta, steps: int) -> timedelta:
    """Return the width of steps of which at least so many fit: a multiple of ten minutes, of hours where it can be."""
    width = max(SLOT, span / steps)
    unit = timedelta(hours=1) if width > timedelta(hours=1) else SLOT
    return -(-width // unit) * unit


def _floor(at: datetime, width: timedelta) -> datetime:
    seconds = int(width.total_seconds())
    return datetime.fromtimestamp(int(at.timestamp()) // seconds * seconds, tz=UTC)
