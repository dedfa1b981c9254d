"""The raw numbers behind a reading: counts, sums and buckets. Pure.

A reading is made from them and from nothing else, so that whoever has them can make it again, on any machine.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from monitoring.domain import criteria as domain
from monitoring.domain.criteria import Against, Aggregate, Criterion, Reading
from monitoring.domain.grid import Distribution, Observed
from monitoring.domain.metrics import Direction, Kind
from monitoring.domain.statistics.per_device import PerDevice

NOTHING = Distribution()


@dataclass(frozen=True)
class Side:
    """What one side observed: the metric itself, what it is a share of, and how many devices reported.

    `panel` is what devices of the panel observed, one pair each: what says how sure a number is. None where nobody asked,
    without a device where the panel does not keep what is asked for.
    """

    observed: Observed = NOTHING
    whole: Observed | None = None
    devices: int = 0
    panel: PerDevice | None = None


@dataclass(frozen=True)
class Numbers:
    """Everything that a reading is made of. `at` is when the newest observation was made.

    `other` is the side it is compared with, `usual` the hourly means that tell what is normal, in order; `flowing` counts
    the inferences that make a counter which never moved a zero; `measured` is what no device reports. `by_observation` are
    those of a decision of before devices counted.
    """

    own: Side = Side()
    other: Side | None = None
    usual: Sequence[float] = ()
    flowing: int = 0
    at: datetime | None = None
    measured: float | None = None
    by_observation: bool = False


def reading(one: Criterion, numbers: Numbers) -> Reading:
    """Make the reading of a criterion."""
    if numbers.measured is not None:
        made = Reading(numbers.measured, 1, 0, numbers.at)
    elif one.aggregate is Aggregate.RANGE:
        made = _ranged(one, numbers)
    elif one.against is not None:
        made = _compared(one, numbers)
    else:
        made = _read(one, numbers)
    return replace(made, numbers=numbers)


def _read(one: Criterion, numbers: Numbers) -> Reading:
    own, at = numbers.own, numbers.at
    if one.aggregate in (Aggregate.COUNT, Aggregate.PER_DEVICE) and not own.observed.count:
        # a counter that never moved says nothing; that devices report at all makes it a zero
        if numbers.flowing:
            value = 0.0 if one.aggregate is Aggregate.COUNT or own.devices else None
            return Reading(value, numbers.flowing, own.devices, at)
        return Reading(None, at=at)
    found, whole = own.observed, own.whole
    value = domain.read(one, found, whole=whole, devices=own.devices)
    if one.aggregate is Aggregate.MEAN and value is not None and own.panel is not None and own.panel.devices:
        # each device counts once
        return Reading(own.panel.mean, found.count, own.panel.devices, at)
    count = round(whole.total) if whole is not None else found.count
    if one.aggregate is Aggregate.RATIO and whole is not None and not whole.count:
        value = None
    note = domain.more_than_all(one, found.total, whole.total) if whole is not None and value is not None else ""
    return Reading(value, count, own.devices, at, note=note)


def _compared(one: Criterion, numbers: Numbers) -> Reading:
    """Set the treatment against the control, or now against the time before."""
    value, count = amount(one, numbers.own)
    reference, others = amount(one, numbers.other or Side())
    if value is None:
        return Reading(None, at=numbers.at)
    before = one.against is Against.BASELINE
    if reference is None or reference <= 0 or (one.aggregate is Aggregate.TIMES and value <= 0):
        where = f"in the {domain.spoken(domain.BASELINE)} before" if before else "in control"
        return Reading(
            None,
            min(count, others),
            at=numbers.at,
            note=f"nothing to compare with: {one.over.metric} {where} has no amount",
        )
    note = f"{as_read(value, one)} against {as_read(reference, one)} {'before' if before else 'in control'}"
    least = min(count, others)
    if one.aggregate is not Aggregate.TIMES:
        change, fewest = value / reference - 1, _fewest(numbers)
        if one.aggregate is Aggregate.INTERVAL and numbers.own.panel is not None:
            return Reading(-change if turned(one, numbers) else change, fewest, 0, numbers.at, note=note)
        return Reading(change, least, fewest, numbers.at, note=note)
    lower = one.metric is not None and one.metric.direction is Direction.LOWER
    return Reading(reference / value if lower else value / reference, least, 0, numbers.at, note=note)


def turned(one: Criterion, numbers: Numbers) -> bool:
    """Whether a change is said as an improvement: of an interval that must lie above, where less is better."""
    lower = one.metric is not None and one.metric.direction is Direction.LOWER
    return one.aggregate is Aggregate.INTERVAL and lower and one.comparator.floor and not numbers.by_observation


def _fewest(numbers: Numbers) -> int:
    """Return how many devices of the panel the smaller side has; 0 where nobody asked for them."""
    sides = (numbers.own.panel, numbers.other.panel if numbers.other is not None else None)
    return min(side.devices if side is not None else 0 for side in sides)


def amount(one: Criterion, side: Side) -> tuple[float | None, int]:
    """Return the median, share, amount per device or mean of one side, and of how many observations.

    Amounts and means are those of the panel's devices, each counting once, where they are known.
    """
    found = side.observed
    if one.aggregate is Aggregate.TIMES:
        return found.quantile(0.5), found.count
    if side.whole is not None:
        return domain.share(one, found.total, side.whole.total), round(side.whole.total)
    if side.panel is not None and side.panel.devices:
        counter = one.metric is not None and one.metric.kind is Kind.COUNTER
        return side.panel.mean, round(found.total) if counter else found.count
    if one.metric is not None and one.metric.kind is Kind.COUNTER:
        return (found.total / side.devices if side.devices and found.count else None), round(found.total)
    return found.mean, found.count


def _ranged(one: Criterion, numbers: Numbers) -> Reading:
    """Say how far from the middle of its hourly means before the release the mean now is: 1 is at their ends."""
    mean, usual = numbers.own.observed.mean, numbers.usual
    if mean is None:
        return Reading(None, at=numbers.at)
    if len(usual) < domain.BASELINE_HOURS_LEAST:
        seen = f"{len(usual)} of the {domain.BASELINE_HOURS_LEAST} hours that it takes"
        return Reading(None, at=numbers.at, note=f"what is normal is not known: before the release there are {seen}")
    rank = (bisect_left(usual, mean) + bisect_right(usual, mean)) / 2 / len(usual)
    low, high = normal(usual)
    note = f"mean {as_read(mean, one)}, normal {as_read(low, one)} to {as_read(high, one)}"
    return Reading(abs(2 * rank - 1), numbers.own.observed.count, 0, numbers.at, note=note)


def normal(usual: Sequence[float]) -> tuple[float, float]:
    """Return between which values 98 % of ordered hourly means lie."""
    return usual[len(usual) // 100], usual[-1 - len(usual) // 100]


def as_read(value: float, one: Criterion) -> str:
    """Write what a comparison is made of: a share, an amount per device, or a value of the metric."""
    counter = one.metric is not None and one.metric.kind is Kind.COUNTER
    aggregate = Aggregate.RATIO if one.of is not None else Aggregate.PER_DEVICE if counter else Aggregate.MEAN
    return domain.shown(value, replace(one, aggregate=aggregate))


# ---- as plain data, and back ----


def document(numbers: Numbers) -> dict[str, Any]:
    """Write numbers as plain data from which `numbers_of` makes them again, to the last digit.

    What was read without the panel is written without it, as it was before there was one in decisions.
    """
    return {
        "own": _side(numbers.own),
        "other": _side(numbers.other) if numbers.other is not None else None,
        "usual": list(numbers.usual),
        "flowing": numbers.flowing,
        "at": numbers.at.isoformat() if numbers.at is not None else None,
        "measured": numbers.measured,
    }


def numbers_of(data: Mapping[str, Any]) -> Numbers:
    """Read what `document` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    return Numbers(
        own=_side_of(data["own"]),
        other=_side_of(data["other"]) if data["other"] is not None else None,
        usual=tuple(map(float, data["usual"])),
        flowing=int(data["flowing"]),
        at=datetime.fromisoformat(data["at"]) if data["at"] is not None else None,
        measured=float(data["measured"]) if data["measured"] is not None else None,
    )


def _side(side: Side) -> dict[str, Any]:
    found = {
        "observed": _observed(side.observed),
        "whole": _observed(side.whole) if side.whole is not None else None,
        "devices": side.devices,
    }
    return found if side.panel is None else {**found, "panel": side.panel.document()}


def _side_of(data: Mapping[str, Any]) -> Side:
    whole = data["whole"]
    return Side(
        _observed_of(data["observed"]),
        _observed_of(whole) if whole is not None else None,
        int(data["devices"]),
        PerDevice.of_document(data["panel"]) if "panel" in data else None,
    )


def _observed(found: Observed) -> dict[str, Any]:
    return {
        "count": found.count,
        "sum": found.total,
        "squares": found.squares,
        "low": found.low if math.isfinite(found.low) else None,
        "high": found.high if math.isfinite(found.high) else None,
        "buckets": [list(one) for one in found.columns()] if isinstance(found, Distribution) else [],
    }


def _observed_of(data: Mapping[str, Any]) -> Distribution:
    low, high = data["low"], data["high"]
    summary = (
        int(data["count"]),
        float(data["sum"]),
        float(data["squares"]),
        math.inf if low is None else float(low),
        -math.inf if high is None else float(high),
    )
    return Distribution.of_columns(summary, [(int(column), int(count)) for column, count in data["buckets"]])
