"""How sure a reading is: the interval of its value, and whether a target is missed by more than a share. Pure.

Every interval is 95 % sure on either side at every look (`statistics`), from the same raw numbers that the reading was
made of. Each observation counts as one of its own; those of one device are more alike than that, so that with few devices
an interval is rather too narrow: guardrails compare one value per device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from hawkops.core.verdicts import Verdict
from monitoring.domain import criteria as domain
from monitoring.domain import numbers as raw
from monitoring.domain.criteria import SAMPLES, Aggregate, Comparator, Criterion, Judgement, Reading
from monitoring.domain.grid import Distribution, Observed
from monitoring.domain.metrics import Direction, Kind
from monitoring.domain.numbers import Numbers, Side
from monitoring.domain.sketch import RELATIVE_ERROR
from monitoring.domain.statistics import means, proportions
from monitoring.domain.statistics.guardrails import MISSED_MOST, Miss
from monitoring.domain.statistics.means import Interval, Sample
from monitoring.domain.statistics.proportions import CONFIDENCE, Events

# each side of an interval errs with the chance 1 - CONFIDENCE
ALPHA = 2 * (1 - CONFIDENCE)
UNKNOWN = Interval(math.nan, -math.inf, math.inf)
TIMES_MOST = 2**12


@dataclass(frozen=True)
class Sureness:
    """The interval of a value (of a normal range that of the mean), the miss, and whether it is worse beyond chance.

    `worse` is told of comparisons with the control only: the whole interval lies on the bad side of no change.
    """

    interval: Interval
    miss: Miss
    worse: bool = False


def sureness(one: Criterion, reading: Reading, *, missed_most: float = MISSED_MOST) -> Sureness:
    """Say how sure a reading is. Nothing is known of one without a value: the miss is possible."""
    threshold = one.threshold if one.threshold is not None else reading.threshold
    if reading.numbers is None or threshold is None:
        return Sureness(UNKNOWN, Miss.POSSIBLE)
    if reading.value is None and _without_events(one, reading) is None:
        return Sureness(UNKNOWN, Miss.POSSIBLE)
    found = interval(one, reading.numbers)
    if one.aggregate in (Aggregate.CHANGE, Aggregate.INTERVAL):
        bad = Interval(-found.estimate, -found.high, -found.low) if one.comparator.floor else found
        return Sureness(found, _miss(bad.low > missed_most, bad.high <= missed_most), bad.low > 0)
    if one.aggregate is Aggregate.RANGE:
        low, high = raw.normal(reading.numbers.usual)
        low, high = low - abs(low) * missed_most, high + abs(high) * missed_most
        return Sureness(found, _miss(found.low > high or found.high < low, low <= found.low <= found.high <= high))
    if one.comparator.floor:
        edge = threshold - abs(threshold) * missed_most
        return Sureness(found, _miss(found.high < edge, found.low >= edge))
    edge = threshold + abs(threshold) * missed_most
    return Sureness(found, _miss(found.low > edge, found.high <= edge))


def judge(one: Criterion, reading: Reading, *, now: datetime, allowed: bool = True) -> Judgement:
    """Judge a reading as `criteria.judge` does, and what that leaves open: an interval, and a control without events.

    "At least" and "at most" ask that it is not proven otherwise, "above" and "below" that it is proven.
    """
    if allowed and (quiet := _without_events(one, reading)) is not None:
        return quiet
    if one.aggregate is not Aggregate.INTERVAL or one.broken or not allowed or (one.where_available and reading.scope):
        return domain.judge(one, reading, now=now, allowed=allowed)
    threshold = one.threshold or 0.0
    if reading.value is None or reading.numbers is None:
        return domain.judge(replace(one, aggregate=Aggregate.CHANGE), reading, now=now)
    found = interval(one, reading.numbers)
    said = f"{domain.shown(reading.value, one)} {spoken(one, found)}, wanted {one.comparator.value} "
    said += f"{domain.shown(threshold, one)}; {reading.count:,} observations".replace(",", "\u202f")
    said += f"; {reading.note}" if reading.note else ""
    if reading.count < max(SAMPLES, one.samples):
        return Judgement(Verdict.INSUFFICIENT, f"{said}, {max(SAMPLES, one.samples)} needed")
    floor = one.comparator.floor
    if (found.high < threshold) if floor else (found.low > threshold):
        return Judgement(Verdict.FAIL, f"{said}: beyond chance", abs(reading.value - threshold))
    if one.comparator in (Comparator.AT_LEAST, Comparator.AT_MOST):
        return Judgement(Verdict.PASS, said)
    proven = found.low > threshold if floor else found.high < threshold
    return Judgement(Verdict.PASS if proven else Verdict.INSUFFICIENT, said + ("" if proven else ": not proven yet"))


def _without_events(one: Criterion, reading: Reading) -> Judgement | None:
    """Judge shares of events of which the control has none, so that there is nothing to divide by; None for all others."""
    numbers = reading.numbers
    if one.aggregate is not Aggregate.CHANGE or one.comparator.floor or numbers is None or reading.scope:
        return None
    own, other = numbers.own, numbers.other
    if other is None or own.whole is None or other.whole is None or other.observed.total > 0:
        return None
    count = min(round(own.whole.total), round(other.whole.total))
    if count <= 0:
        return None
    many = f"{count:,}".replace(",", "\u202f")
    said = f"{own.observed.total:g} in treatment and none in control, of at least {many} each"
    if own.observed.total > 0:
        beyond = _change(one, own, other).low > 0
        said += ": beyond chance" if beyond else ": not proven yet"
        return Judgement(Verdict.FAIL if beyond else Verdict.INSUFFICIENT, said, 1.0)
    if count < one.samples:
        return Judgement(Verdict.INSUFFICIENT, f"{said}, {one.samples} needed")
    return Judgement(Verdict.PASS, said)


def interval(one: Criterion, numbers: Numbers) -> Interval:
    """Return the interval of the value that a reading of these numbers has; of a normal range that of the mean."""
    own, other = numbers.own, numbers.other or Side()
    if numbers.measured is not None:
        return _exactly(numbers.measured)
    if one.aggregate in (Aggregate.CHANGE, Aggregate.INTERVAL):
        return _change(one, own, other)
    if one.aggregate is Aggregate.TIMES:
        a, b = _quantile(own.observed, 0.5), _quantile(other.observed, 0.5)
        if one.metric is not None and one.metric.direction is Direction.LOWER:
            a, b = b, a
        return Interval(_over(a.estimate, b.estimate), max(0.0, _over(a.low, b.high)), _over(a.high, b.low))
    if one.aggregate.quantile is not None:
        return _quantile(own.observed, one.aggregate.quantile)
    if one.aggregate in (Aggregate.MEAN, Aggregate.RANGE):
        return _mean(own.observed)
    if one.aggregate is Aggregate.RATIO:
        return _share(own.observed.total, round(own.whole.total) if own.whole is not None else 0)
    if one.aggregate is Aggregate.PER_DEVICE:
        return _per_device(own.observed.total, own.devices)
    # the highest value and the number of events are what was seen, not an estimate of what wasn't
    seen = own.observed.high if one.aggregate is Aggregate.MAX else own.observed.total
    return _exactly(seen) if own.observed.count or numbers.flowing else UNKNOWN


def settled(
    one: Criterion, reading: Reading, *, missed_most: float = MISSED_MOST, times_most: int = TIMES_MOST
) -> float | None:
    """Return how many times as many observations, all alike, tell whether a miss is that large; None beyond `times_most`."""
    numbers = reading.numbers
    if numbers is None or sureness(one, reading, missed_most=missed_most).interval is UNKNOWN:
        return None
    times = 1
    while times <= times_most:
        more = replace(reading, numbers=_more(numbers, times))
        if sureness(one, more, missed_most=missed_most).miss is not Miss.POSSIBLE:
            return times
        times *= 2
    return None


def formula(one: Criterion) -> str:
    """Say how the value and its interval are computed."""
    always = "The interval is 95\u202f% sure on either side at every look; each observation counts as one of its own."
    ways: dict[Aggregate, str] = {
        Aggregate.MEAN: "Sum of the observations by their number; the interval from the sum of their squares.",
        Aggregate.MAX: "The highest observation: nothing is estimated, so the interval is the value.",
        Aggregate.COUNT: "The number of events: nothing is estimated, so the interval is the value.",
        Aggregate.RATIO: "Events by all; the interval from the binomial law, exact for few events.",
        Aggregate.PER_DEVICE: "Events by devices that reported; the interval from the binomial law, or Poisson's.",
        Aggregate.TIMES: "The median of one side by that of the other; the interval from the ends of both.",
        Aggregate.RANGE: (
            "How far the mean lies from the middle of the hourly means of the 14 days before the release, by rank. "
            "The interval is that of the mean, held against the 1st and 99th percentile of those."
        ),
    }
    said = ways.get(one.aggregate, "")
    if one.aggregate.quantile is not None:
        said = (
            f"The value at rank {one.aggregate.quantile:g} of all observations, counted in buckets 2.2\u202f% wide; "
            "the interval from the ranks that the binomial law leaves possible."
        )
    if one.aggregate in (Aggregate.CHANGE, Aggregate.INTERVAL):
        counted = one.of is not None or (one.metric is not None and one.metric.kind is Kind.COUNTER)
        how = "which side each event fell to" if counted else "the logarithm of the ratio of both means"
        said = f"The treatment by the control, less one; the interval from {how}."
    return f"{said} {always}"


def spoken(one: Criterion, found: Interval) -> str:
    """Say an interval in the criterion's own unit: `(from 1 to 2)`; empty where it says nothing."""
    if found.low == found.high:
        return "exact"
    ends = []
    if math.isfinite(found.low) and abs(found.low) < 1e12:
        ends.append(f"from {_shown(one, found.low)}")
    if math.isfinite(found.high) and abs(found.high) < 1e12:
        ends.append(f"to {_shown(one, found.high)}")
    return f"({' '.join(ends)})" if ends else ""


def _shown(one: Criterion, value: float) -> str:
    return raw.as_read(value, one) if one.aggregate is Aggregate.RANGE else domain.shown(value, one)


def _miss(certain: bool, safe: bool) -> Miss:
    if certain:
        return Miss.CERTAIN
    return Miss.SAFE if safe else Miss.POSSIBLE


def _exactly(value: float) -> Interval:
    return Interval(value, value, value)


def _over(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.inf


def _sample(found: Observed) -> Sample:
    if found.count < 2:
        return Sample(found.count, found.total, math.nan)
    mean = found.total / found.count
    return Sample(found.count, mean, max(0.0, (found.squares - mean * found.total) / (found.count - 1)))


def _alike(found: Observed) -> bool:
    """Whether all of many observations are the same value, whose spread is nothing."""
    return found.count >= SAMPLES and found.low == found.high


def _mean(found: Observed) -> Interval:
    if not found.count:
        return UNKNOWN
    if _alike(found):
        return _exactly(found.total / found.count)
    return means.mean(_sample(found), alpha=ALPHA)


def _share(events: float, of: int) -> Interval:
    return proportions.share(Events(min(max(0.0, events), of), of), alpha=ALPHA) if of else UNKNOWN


def _per_device(events: float, devices: int) -> Interval:
    if not devices:
        return UNKNOWN
    if events <= devices:
        return _share(events, devices)
    return means.mean(Sample(devices, events / devices, events / devices), alpha=ALPHA)


def _change(one: Criterion, own: Side, other: Side) -> Interval:
    counter = one.metric is not None and one.metric.kind is Kind.COUNTER
    if own.whole is not None and other.whole is not None:
        sizes = own.whole.total, other.whole.total
    elif counter:
        sizes = float(own.devices), float(other.devices)
    elif not own.observed.count or not other.observed.count:
        return UNKNOWN
    elif _alike(own.observed) and _alike(other.observed) and other.observed.total > 0:
        return _exactly(own.observed.low / other.observed.low - 1)
    else:
        return means.change(_sample(own.observed), _sample(other.observed), alpha=ALPHA)
    if min(sizes) <= 0:
        return UNKNOWN
    treatment, control = Events(own.observed.total, round(sizes[0])), Events(other.observed.total, round(sizes[1]))
    return proportions.change(treatment, control, alpha=ALPHA, weight=sizes[0] / sizes[1])


def _quantile(found: Observed, q: float) -> Interval:
    """Return the interval of a quantile: from the ranks that are not refused, each end to the edge of its bucket.

    As many observations lie below the true quantile as events come by chance among all with the probability q, and above
    it with 1 - q; a rank is refused when `proportions.below` finds twenty times more evidence for fewer than for that.
    """
    value = found.quantile(q)
    if value is None or not isinstance(found, Distribution):
        return UNKNOWN
    placed, enough = found.placed, math.log(1 / (1 - CONFIDENCE))
    low = _first(lambda rank: proportions.below(Events(rank, placed), q) < enough, placed)
    high = _first(
        lambda rank: rank > placed or proportions.below(Events(placed - rank, placed), 1 - q) >= enough, placed + 1
    )
    lowest = found.ranked(low - 1) if low > 0 else -math.inf
    highest = found.ranked(high - 1) if high <= placed else math.inf
    return Interval(value, *_widened(lowest, highest, found))


def _widened(low: float, high: float, found: Distribution) -> tuple[float, float]:
    """Return both ends moved outwards by what a bucket hides, within the extremes that were seen."""
    if math.isfinite(low):
        low = max(found.low, low - abs(low) * RELATIVE_ERROR)
    if math.isfinite(high):
        high = min(found.high, high + abs(high) * RELATIVE_ERROR)
    return low, high


def _first(holds: Callable[[int], bool], most: int) -> int:
    """Return the smallest number up to `most` for which a condition holds that holds for all larger ones."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _more(numbers: Numbers, times: int) -> Numbers:
    return replace(
        numbers,
        own=_side(numbers.own, times),
        other=_side(numbers.other, times) if numbers.other is not None else None,
        flowing=numbers.flowing * times,
    )


def _side(side: Side, times: int) -> Side:
    whole = _observed(side.whole, times) if side.whole is not None else None
    return Side(_observed(side.observed, times), whole, side.devices * times)


def _observed(found: Observed, times: int) -> Distribution:
    summary = (found.count * times, found.total * times, found.squares * times, found.low, found.high)
    columns = found.columns() if isinstance(found, Distribution) else []
    return Distribution.of_columns(summary, [(column, count * times) for column, count in columns])
