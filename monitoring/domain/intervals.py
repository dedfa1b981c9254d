"""How sure a reading is: the interval of its value, and whether a target is missed by more than a share. Pure.

Devices are what varies: the observations of one are alike, and a thousand of one phone say little more of the fleet than
one. So an interval is made of what devices of the panel observed, one pair each (`statistics.per_device`), and of the same
raw numbers that the reading was made of; it is as wide as 95 % on either side takes for a value that is looked at again and
again. Three ways, by what is known of a device:

 - a mean, or its change: one value per device, as guardrails have it; a mean of all observations that must lie in a normal
   range: the ratio of both totals, by the delta method;
 - a share: by the delta method where enough devices had the event, else each device counts once with its share, and the
   bound is exact, as for the crash rate;
 - a percentile: what lies beyond a value is a share too, but stored sketches are those of a class, not of a device, so that
   how alike a device's observations are is not known. We take the worst case, in which they are all on one side: the ranks
   that chance leaves possible among as many as there are devices (`ranks.quantile`). That is the largest design effect there
   can be, and needs no guess of it from the devices' means, which need not show a device's tail.

With too few devices for that, or none that were read, nothing is known, and it says so. Of decisions that were kept before,
`by_observation` has the old way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from hawkops.core.verdicts import Verdict
from monitoring.domain import by_observation, ranks
from monitoring.domain import criteria as domain
from monitoring.domain import numbers as raw
from monitoring.domain.by_observation import ALPHA, UNKNOWN, exactly
from monitoring.domain.criteria import SAMPLES, Aggregate, Comparator, Criterion, Judgement, Reading
from monitoring.domain.grid import Distribution, Observed
from monitoring.domain.metrics import CATALOGUE, MEASURED, Kind
from monitoring.domain.numbers import Numbers, Side
from monitoring.domain.statistics import per_device
from monitoring.domain.statistics.guardrails import MISSED_MOST, Miss
from monitoring.domain.statistics.means import Interval
from monitoring.domain.statistics.per_device import PerDevice

TIMES_MOST = 2**12
_NARROW = "\u202f"
# nothing is estimated of these: they are what was seen
SEEN = (Aggregate.MAX, Aggregate.COUNT)
CHANGES = (Aggregate.CHANGE, Aggregate.INTERVAL)


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
        return _drawn(one, reading, domain.judge(one, reading, now=now, allowed=allowed))
    threshold = one.threshold or 0.0
    if reading.value is None or reading.numbers is None:
        return domain.judge(replace(one, aggregate=Aggregate.CHANGE), reading, now=now)
    found, counted = interval(one, reading.numbers), devices(one, reading.numbers)
    unit = "observations" if counted is None else "devices on the smaller side"
    said = f"{domain.shown(reading.value, one)} {spoken(one, found)}, wanted {one.comparator.value} "
    said += f"{domain.shown(threshold, one)}; {reading.count:,} {unit}".replace(",", _NARROW)
    said += f"; {reading.note}" if reading.note else ""
    least = max(SAMPLES, one.samples)
    if reading.count < least or (counted is not None and not counted.enough):
        return Judgement(Verdict.INSUFFICIENT, f"{said}, {least} needed")
    floor = one.comparator.floor
    if (found.high < threshold) if floor else (found.low > threshold):
        return Judgement(Verdict.FAIL, f"{said}: beyond chance", abs(reading.value - threshold))
    if one.comparator in (Comparator.AT_LEAST, Comparator.AT_MOST):
        return Judgement(Verdict.PASS, said)
    proven = found.low > threshold if floor else found.high < threshold
    return Judgement(Verdict.PASS if proven else Verdict.INSUFFICIENT, said + ("" if proven else ": not proven yet"))


def _drawn(one: Criterion, reading: Reading, said: Judgement) -> Judgement:
    """Let a mean beside its normal range pass where other devices of the same fleet could as well have a mean within it.

    What is normal was read on everybody, the mean on those who were drawn; the miss says how far beyond it may be.
    """
    numbers = reading.numbers
    if one.aggregate is not Aggregate.RANGE or said.verdict is not Verdict.FAIL or numbers is None:
        return said
    found, (low, high) = interval(one, numbers), raw.normal(numbers.usual)
    if numbers.own.panel is None or found is UNKNOWN or found.low > high or found.high < low:
        return said
    sentence = f"{said.sentence.partition(', missed by')[0]}; the mean {spoken(one, found)}, so not beyond chance"
    return Judgement(Verdict.PASS, sentence)


@dataclass(frozen=True)
class Devices:
    """How many devices a number rests on, and from how many on it can be judged. `coming` came in the later half."""

    have: int
    need: int
    coming: int = 0

    @property
    def enough(self) -> bool:
        """Whether there are as many as it takes."""
        return self.have >= self.need

    @property
    def words(self) -> str:
        """Say both."""
        if not self.have:
            return f"no device's own value is kept, {_many(self.need)} devices needed"
        return f"{_many(self.have)} device{'' if self.have == 1 else 's'}, {_many(self.need)} needed"


def devices(one: Criterion, numbers: Numbers | None) -> Devices | None:
    """Count the devices that a criterion's interval is made of; of a comparison those of the smaller side.

    None where no device varies (the highest value, a number of events, what is measured here), and for decisions of before.
    Of a percentile, and of a share of which few devices have the event, it takes as many as the rule of three wants: without
    an event among n devices its share is below 3 / n.
    """
    if numbers is None or numbers.measured is not None or numbers.by_observation or one.aggregate in SEEN:
        return None
    sides = [numbers.own.panel or PerDevice()]
    if one.aggregate in (*CHANGES, Aggregate.TIMES):
        sides.append(numbers.other.panel if numbers.other is not None and numbers.other.panel else PerDevice())
    smaller = min(sides, key=lambda side: side.units)
    tail = 0.5 if one.aggregate is Aggregate.TIMES else one.aggregate.quantile
    coming = math.floor(smaller.newcomers * smaller.stands_for)
    if tail is not None:
        return Devices(smaller.units, max(SAMPLES, _needed_for_rank(min(tail, 1 - tail))), coming)
    if one.aggregate is Aggregate.RATIO and not per_device.measurable(smaller):
        bound = one.threshold if one.threshold is not None else 0.0
        rare = 1 - bound if one.comparator.floor else bound
        return Devices(smaller.units, max(SAMPLES, per_device.needed_for(rare)), coming)
    smaller = min(sides, key=lambda side: side.devices)
    return Devices(smaller.devices, SAMPLES, smaller.newcomers)


def limited(one: Criterion, reading: Reading, said: Judgement, sure: Sureness) -> Judgement:
    """Take a verdict back that rests on too few devices; a miss that is proven all the same stands."""
    counted = devices(one, reading.numbers)
    if counted is None or counted.enough or said.verdict not in (Verdict.PASS, Verdict.FAIL):
        return said
    threshold = one.threshold if one.threshold is not None else reading.threshold
    if said.verdict is Verdict.FAIL and threshold is not None and one.aggregate is not Aggregate.RANGE:
        beyond = sure.interval.high < threshold if one.comparator.floor else sure.interval.low > threshold
        if beyond:
            return said
    return replace(said, verdict=Verdict.INSUFFICIENT, sentence=f"{said.sentence}; {counted.words}")


@cache
def _needed_for_rank(tail: float) -> int:
    return per_device.needed_for_rank(tail)


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
    said = f"{own.observed.total:g} in treatment and none in control, of at least {_many(count)} {observed(one)} each"
    if own.observed.total > 0:
        beyond = interval(one, numbers).low > 0
        said += ": beyond chance" if beyond else ": not proven yet"
        return Judgement(Verdict.FAIL if beyond else Verdict.INSUFFICIENT, said, 1.0)
    if count < one.samples:
        return Judgement(Verdict.INSUFFICIENT, f"{said}, {one.samples} needed")
    return Judgement(Verdict.PASS, said)


def observed(one: Criterion) -> str:
    """Name what a criterion's observations are: sessions, inferences, or just observations."""
    if one.of is not None and one.of.metric in CATALOGUE:
        return CATALOGUE[one.of.metric].title.lower()
    if one.metric is not None and one.metric.kind is Kind.COUNTER:
        return one.metric.title.lower()
    return "observations"


def interval(one: Criterion, numbers: Numbers) -> Interval:
    """Return the interval of the value that a reading of these numbers has; of a normal range that of the mean."""
    own = numbers.own
    if numbers.measured is not None:
        return exactly(numbers.measured)
    if one.aggregate in SEEN:
        # the highest value and the number of events are what was seen, not an estimate of what wasn't
        seen = own.observed.high if one.aggregate is Aggregate.MAX else own.observed.total
        return exactly(seen) if own.observed.count or numbers.flowing else UNKNOWN
    if numbers.by_observation:
        return by_observation.interval(one, numbers)
    return _by_device(one, numbers, own, own.panel or PerDevice()) or UNKNOWN


def _by_device(one: Criterion, numbers: Numbers, own: Side, panel: PerDevice) -> Interval | None:
    """Return the interval that the devices leave; None where they are too few for one."""
    if one.aggregate in CHANGES or one.aggregate is Aggregate.TIMES:
        other = numbers.other
        if other is None or other.panel is None:
            return None
        if one.aggregate is Aggregate.TIMES:
            mine, others = (
                ranks.quantile(side.observed, 0.5, at.units) for side, at in ((own, panel), (other, other.panel))
            )
            return by_observation.times(one, mine, others) if mine is not None and others is not None else None
        found = _change(own, other, panel, other.panel)
        if found is None or not raw.turned(one, numbers):
            return found
        return Interval(-found.estimate, -found.high, -found.low)
    if one.aggregate.quantile is not None:
        return ranks.quantile(own.observed, one.aggregate.quantile, panel.units)
    if one.aggregate is Aggregate.RANGE:
        mean = own.observed.mean
        return per_device.ratio_mean(panel, mean, alpha=ALPHA) if mean is not None else None
    if one.aggregate is Aggregate.RATIO:
        ratio = domain.share(one, own.observed.total, own.whole.total) if own.whole is not None else None
        return per_device.share(panel, ratio, alpha=ALPHA) if ratio is not None else None
    return per_device.mean(panel, alpha=ALPHA)


def _change(own: Side, other: Side, treatment: PerDevice, control: PerDevice) -> Interval | None:
    if own.whole is None or other.whole is None:
        return per_device.change(treatment, control, alpha=ALPHA)
    if min(own.whole.total, other.whole.total) <= 0:
        return None
    ratios = own.observed.total / own.whole.total, other.observed.total / other.whole.total
    return per_device.ratio_change(treatment, control, ratios, alpha=ALPHA)


def settled(
    one: Criterion, reading: Reading, *, missed_most: float = MISSED_MOST, times_most: int = TIMES_MOST
) -> float | None:
    """Return how many times as many devices, all alike, tell whether a miss is that large; None beyond `times_most`."""
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
    devices_count = "The interval is 95\u202f% sure on either side, and each device counts once in it."
    seen = "nothing is estimated, so the interval is the value."
    ways: dict[Aggregate, str] = {
        Aggregate.MEAN: f"The mean of the devices' own means; the interval from how much these differ. {devices_count}",
        Aggregate.MAX: f"The highest observation of any device: {seen}",
        Aggregate.COUNT: f"The number of events: {seen}",
        Aggregate.RATIO: (
            f"Events by all {observed(one)}; the interval from how much the devices' shares differ where {SAMPLES} had the "
            f"event, else the exact one of as many as there are devices. {devices_count}"
        ),
        Aggregate.PER_DEVICE: f"The mean of the devices' own numbers. {devices_count}",
        Aggregate.TIMES: f"The median of one side by that of the other; the interval from the ends of both. {devices_count}",
        Aggregate.RANGE: (
            "How far the mean lies from the middle of the hourly means of the 14 days before the release, by rank. "
            f"The interval is that of the mean, held against the 1st and 99th percentile of those. {devices_count}"
        ),
    }
    if one.over.metric in MEASURED:
        return f"Measured here, not by devices: {seen}"
    if one.aggregate.quantile is not None:
        return (
            f"The value at rank {one.aggregate.quantile:g} of all observations, counted in buckets 2.2\u202f% wide; the "
            "interval from the ranks that chance leaves possible among as many as there are devices, as if all that one "
            f"observes lay on one side. {devices_count}"
        )
    if one.aggregate in CHANGES:
        said = "of the devices' own means" if one.of is None else f"of the shares of {observed(one)}"
        if one.of is None and one.metric is not None and one.metric.kind is Kind.COUNTER:
            said = "of the devices' own numbers"
        rare = "; where few devices have any, of how many do"
        return f"The treatment by the control, less one, {said}{rare}. {devices_count}"
    return ways[one.aggregate]


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


def _many(number: int) -> str:
    return f"{number:,}".replace(",", _NARROW)


def _more(numbers: Numbers, times: int) -> Numbers:
    return replace(
        numbers,
        own=_side(numbers.own, times),
        other=_side(numbers.other, times) if numbers.other is not None else None,
        flowing=numbers.flowing * times,
    )


def _side(side: Side, times: int) -> Side:
    whole = _observed(side.whole, times) if side.whole is not None else None
    panel = side.panel.times(times) if side.panel is not None else None
    return Side(_observed(side.observed, times), whole, side.devices * times, panel)


def _observed(found: Observed, times: int) -> Distribution:
    summary = (found.count * times, found.total * times, found.squares * times, found.low, found.high)
    columns = found.columns() if isinstance(found, Distribution) else []
    return Distribution.of_columns(summary, [(column, count * times) for column, count in columns])
