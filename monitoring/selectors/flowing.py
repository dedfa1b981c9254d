"""Whether data flows, and how a criterion's number moved: what a validation's clock and its drawings are made of.

Read from stored rollups only: one statement each, whatever the fleet's size.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
    width = _step(until - since, steps)
    begins = _floor(since, width)
    count = max(1, -(-(until - begins) // width))
    names = {one.metric for c in criteria for one in (c.over, c.of) if one is not None}
    series = _counted(environment, names)
    now = max(until, clock.now())
    ids = [one.pk for one in series]
    rows = rollups.rows(rollups.steps_of(ids, since=begins, until=until, step=width, now=now))

    def grid(selection: Selection) -> Grid:
        found = Grid(count)
        for one in chosen(selection, series):
            if one.pk in rows:
                mine = rows[one.pk]
                places = (mine.starts - int(begins.timestamp())) // int(width.total_seconds())
                found.add(places.clip(0, count - 1), mine)
        return found

    return {one.key: _numbers(one, grid(one.over), grid(one.of) if one.of is not None else None) for one in criteria}


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
