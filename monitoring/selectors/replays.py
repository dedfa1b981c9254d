"""Replays of a criterion over stored telemetry: what it would have said, before it is saved."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from monitoring.domain import criteria as domain
from monitoring.domain.arms import belongs
from monitoring.domain.criteria import Aggregate, Criterion, Reading
from monitoring.domain.grid import Grid
from monitoring.domain.targets import Profiles
from monitoring.models import Series
from monitoring.selectors import measured, rollups
from monitoring.selectors.criteria import STAGES, chosen
from monitoring.selectors.devices import hourly_counts
from monitoring.selectors.profiles import profiles
from monitoring.selectors.telemetry import may_judge

SPAN, STEP = timedelta(days=30), timedelta(minutes=10)
HOUR = timedelta(hours=1)
# series read at once: what bounds the memory of a replay over a fleet with thousands of them
TOGETHER = 50


@dataclass(frozen=True)
class Replay:
    """What a criterion would have said, looked at every `step` over the `window` before; `coarser` than its own or not."""

    since: datetime | None
    steps: int
    failed: int
    fired: int
    longest: timedelta
    step: timedelta
    window: timedelta = STEP
    coarser: bool = False
    why_not: str = ""


def replay(environment: str, one: Criterion, *, now: datetime | None = None) -> Replay:
    """Run a criterion over the stored telemetry of the last 30 days, every ten minutes over its window before.

    Ten minutes is what is stored for so long: a shorter window is replayed over ten minutes, and `coarser` says so.
    A few queries, one more for each fifty series.
    """
    now = now or clock.now()
    width = max(1, -(-one.window // STEP))
    window = width * STEP
    refused = Replay(None, 0, 0, 0, timedelta(), STEP, window)
    if measured.reader(one.over.metric):
        return replace(refused, why_not="it is measured now and not kept")
    if one.aggregate.compares:
        return replace(refused, why_not="a comparison is judged now only")
    per_device = one.aggregate is Aggregate.PER_DEVICE
    # how many devices there were in an hour is kept for longer than this, though which they were is not
    since = _floor(now - SPAN)
    steps = (_floor(now) - since) // STEP + 1
    parts, whole = _read(environment, one, since=since, steps=steps, now=now)
    filled = sorted({step for grid in (*parts.values(), *([whole] if whole else [])) for step in grid.filled})
    devices = _devices(environment, one, since=since, steps=steps, width=width) if per_device else None
    known = profiles()
    bad: set[int] = set()
    for group, grid in parts.items():
        judged = _of_group(environment, known, one, group)
        if judged is not None:
            bad |= _failing(judged, grid.trailing(width), whole.trailing(width) if whole else None, devices, since)
    fired, longest = _runs(bad, at_least=max(1, -(-one.for_ // STEP)))
    first = since + filled[0] * STEP if filled else None
    coarser = window != one.window
    return Replay(first, len(filled), len(bad), fired, longest * STEP, STEP, window, coarser)


def _floor(at: datetime) -> datetime:
    seconds = int(STEP.total_seconds())
    return datetime.fromtimestamp(int(at.timestamp()) // seconds * seconds, tz=UTC)


def _read(
    environment: str, one: Criterion, *, since: datetime, steps: int, now: datetime
) -> tuple[dict[str, Grid], Grid | None]:
    """Return what was observed in each step, by device class and backend where those have floors of their own."""
    counts = may_judge(environment, simulated=True)
    names = [one.over.metric, *([one.of.metric] if one.of else [])]
    known = [
        row for row in Series.objects.filter(environment=environment, metric__in=names) if counts or not row.simulated
    ]
    over = {row.pk for row in chosen(one.over, known)}
    of_whole = {row.pk for row in chosen(one.of, known)} if one.of is not None else set()
    series = [row for row in known if row.pk in over or row.pk in of_whole]
    begins, width = int(since.timestamp()), int(STEP.total_seconds())
    parts: dict[str, Grid] = {}
    whole = Grid(steps) if one.of is not None else None
    for some in _batches(series):
        own = {row.pk: row for row in some}
        until = now + timedelta(seconds=1)
        read: dict[str, Grid] = {}
        of = Grid(steps)
        for pk, rows in rollups.rows(rollups.steps_of(own, since=since, until=until, step=STEP, now=now)).items():
            places, row = (rows.starts - begins) // width, own[pk]
            if pk in over:
                group = f"{row.device_class} {row.backend_actual}" if one.threshold is None else ""
                read.setdefault(group, Grid(steps)).add(places, rows)
            if pk in of_whole:
                of.add(places, rows)
        for group, grid in read.items():
            parts[group] = parts[group].plus(grid) if group in parts else grid.packed()
        if whole is not None:
            whole = whole.plus(of)
    if whole is not None:
        parts.setdefault("", Grid(steps))
    return parts, whole


def _batches(series: Iterable[Series]) -> Iterator[list[Series]]:
    rest = iter(series)
    while some := list(islice(rest, TOGETHER)):
        yield some


def _devices(environment: str, one: Criterion, *, since: datetime, steps: int, width: int) -> list[int]:
    """Return how many devices there were in the busiest hour of the window that ends with each step."""
    counts = may_judge(environment, simulated=True)
    lead = since - max(width * STEP, HOUR)
    found = {
        int(hour.timestamp()) // 3_600: sum(
            x.devices for x in rows if (counts or not x.simulated) and belongs(x.variant, one.over.arm)
        )
        for hour, rows in hourly_counts(environment, since=lead, by_variant=True).items()
    }
    ends = [since + step * STEP for step in range(steps)]
    hours = [(int((end - (width - 1) * STEP).timestamp()) // 3_600, int(end.timestamp()) // 3_600) for end in ends]
    return [max((found.get(hour, 0) for hour in range(first, last + 1)), default=0) for first, last in hours]


def _of_group(environment: str, known: Profiles, one: Criterion, group: str) -> Criterion | None:
    """Return the criterion with the threshold of a group; None where it has no target."""
    if one.threshold is not None:
        return replace(one, where_available=False)
    device_class, _, backend = group.rpartition(" ")
    profile = known.of(device_class, environment)
    target = profile.target(STAGES[one.over.metric], backend) if profile else None
    return replace(one, where_available=False, threshold=target.threshold) if target else None


def _failing(
    one: Criterion, grid: Grid, whole: Grid | None, devices: Sequence[int] | None, since: datetime
) -> set[int]:
    """Return the steps at which a criterion fails."""
    assert one.threshold is not None
    values = _values(one, grid, whole, devices)
    counts = whole.amounts() if whole is not None else grid.counts()
    bad = set()
    for step, value in enumerate(values):
        if value is None or one.comparator.holds(value, one.threshold):
            continue
        at = since + (step + 1) * STEP
        reading = Reading(value, round(counts[step]), devices[step] if devices else 0, at)
        if domain.judge(one, reading, now=at).verdict is Verdict.FAIL:
            bad.add(step)
    return bad


def _values(one: Criterion, grid: Grid, whole: Grid | None, devices: Sequence[int] | None) -> Sequence[float | None]:
    quantile = one.aggregate.quantile
    if quantile is not None:
        return grid.quantiles(quantile)
    if one.aggregate is Aggregate.MEAN:
        return grid.means()
    if one.aggregate is Aggregate.MAX:
        return grid.highs()
    if whole is not None:
        pairs = zip(grid.amounts(), whole.amounts(), strict=True)
        return [domain.share(one, part, of) for part, of in pairs]
    if devices is not None:
        pairs = zip(grid.amounts(), devices, strict=True)
        return [amount / many if many else None for amount, many in pairs]
    return grid.totals()


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
