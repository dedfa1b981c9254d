"""Intervals as decisions had them before devices counted: each observation as one of its own. Pure.

Kept so that decisions of then can be recomputed (`rollout.domain.bundle`); nothing new is judged by it, because those of
one device are alike, and an interval that takes them for independent is too narrow.
"""

import math

from monitoring.domain.criteria import SAMPLES, Aggregate, Criterion
from monitoring.domain.grid import Observed
from monitoring.domain.metrics import Direction, Kind
from monitoring.domain.numbers import Numbers, Side
from monitoring.domain.ranks import quantile
from monitoring.domain.statistics import means, proportions
from monitoring.domain.statistics.means import Interval, Sample
from monitoring.domain.statistics.proportions import CONFIDENCE, Events

# each side of an interval errs with the chance 1 - CONFIDENCE
ALPHA = 2 * (1 - CONFIDENCE)
UNKNOWN = Interval(math.nan, -math.inf, math.inf)


def interval(one: Criterion, numbers: Numbers) -> Interval:
    """Return the interval of the value that a reading of these numbers has; of a normal range that of the mean."""
    own, other = numbers.own, numbers.other or Side()
    if one.aggregate in (Aggregate.CHANGE, Aggregate.INTERVAL):
        return change(one, own, other)
    if one.aggregate is Aggregate.TIMES:
        a, b = quantile(own.observed, 0.5) or UNKNOWN, quantile(other.observed, 0.5) or UNKNOWN
        return times(one, a, b)
    if one.aggregate.quantile is not None:
        return quantile(own.observed, one.aggregate.quantile) or UNKNOWN
    if one.aggregate in (Aggregate.MEAN, Aggregate.RANGE):
        return _mean(own.observed)
    if one.aggregate is Aggregate.RATIO:
        return _share(own.observed.total, round(own.whole.total) if own.whole is not None else 0)
    return _per_device(own.observed.total, own.devices)


def times(one: Criterion, own: Interval, other: Interval) -> Interval:
    """Return how many times one median is better than the other."""
    a, b = own, other
    if one.metric is not None and one.metric.direction is Direction.LOWER:
        a, b = b, a
    return Interval(_over(a.estimate, b.estimate), max(0.0, _over(a.low, b.high)), _over(a.high, b.low))


def exactly(value: float) -> Interval:
    """Return a value of which nothing is estimated."""
    return Interval(value, value, value)


def change(one: Criterion, own: Side, other: Side) -> Interval:
    """Return by which share the treatment differs from the control."""
    counter = one.metric is not None and one.metric.kind is Kind.COUNTER
    if own.whole is not None and other.whole is not None:
        sizes = own.whole.total, other.whole.total
    elif counter:
        sizes = float(own.devices), float(other.devices)
    elif not own.observed.count or not other.observed.count:
        return UNKNOWN
    elif _alike(own.observed) and _alike(other.observed) and other.observed.total > 0:
        return exactly(own.observed.low / other.observed.low - 1)
    else:
        return means.change(_sample(own.observed), _sample(other.observed), alpha=ALPHA)
    if min(sizes) <= 0:
        return UNKNOWN
    treatment, control = Events(own.observed.total, round(sizes[0])), Events(other.observed.total, round(sizes[1]))
    return proportions.change(treatment, control, alpha=ALPHA, weight=sizes[0] / sizes[1])


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
        return exactly(found.total / found.count)
    return means.mean(_sample(found), alpha=ALPHA)


def _share(events: float, of: int) -> Interval:
    return proportions.share(Events(min(max(0.0, events), of), of), alpha=ALPHA) if of else UNKNOWN


def _per_device(events: float, devices: int) -> Interval:
    if not devices:
        return UNKNOWN
    if events <= devices:
        return _share(events, devices)
    return means.mean(Sample(devices, events / devices, events / devices), alpha=ALPHA)
