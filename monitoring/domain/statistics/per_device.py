"""What a decision is made of where devices are what varies: sums over devices, each of which adds one pair of amounts.

A device gives an amount `a` (of what it observed, the sum; of a share, the part) and what that is of, `b` (observations, the
whole of the share, or 1). Its value is a / b. From the sums alone come

 - the mean of the devices' values, each device counting once (`means`);
 - the ratio of both totals, sum a / sum b, whose variance is that of the residuals a - ratio * b, one for each device: the
   delta method of a ratio estimator (Cochran, Sampling techniques, 1977, section 6.3; of experiments that draw devices and
   judge what they do, Deng, Knoblich and Lu, KDD 2018);
 - for how many alike devices they count. Devices with many observations weigh more in a ratio, so that it is as uncertain as
   that of (sum b) ** 2 / sum b ** 2 devices of equal weight (Kish, Survey sampling, 1965).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.domain.criteria import SAMPLES
from monitoring.domain.statistics import means, proportions
from monitoring.domain.statistics.means import ERROR_MOST, Interval, Sample
from monitoring.domain.statistics.proportions import Events

# from how many devices on the laws of large numbers are trusted: in all, and of those that had what is counted
DEVICES_LEAST = SAMPLES


@dataclass(frozen=True)
class PerDevice:
    """One arm's devices. `affected` are those whose amount is not zero, `lacking` those whose amount is not all of it.

    `newcomers` were first heard of in the later half of the time; each device stands for `stands_for` of the fleet, of which
    the panel keeps a part, at least.
    """

    devices: int = 0
    values: float = 0.0
    values_squared: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    amounts: float = 0.0
    amounts_squared: float = 0.0
    of: float = 0.0
    of_squared: float = 0.0
    products: float = 0.0
    affected: int = 0
    lacking: int = 0
    newcomers: int = 0
    stands_for: float = 1.0

    @classmethod
    def summed(
        cls, amounts: NDArray[np.float64], of: NDArray[np.float64], *, newcomers: int = 0, stands_for: float = 1.0
    ) -> PerDevice:
        """Sum pairs up, one for each device. Who has an amount of nothing adds to the ratio, and no value."""
        if not amounts.size:
            return cls(stands_for=stands_for)
        there = of > 0
        values = amounts[there] / of[there]
        return cls(
            devices=int(amounts.size),
            values=float(values.sum()),
            values_squared=float((values * values).sum()),
            low=float(values.min(initial=math.inf)),
            high=float(values.max(initial=-math.inf)),
            amounts=float(amounts.sum()),
            amounts_squared=float((amounts * amounts).sum()),
            of=float(of.sum()),
            of_squared=float((of * of).sum()),
            products=float((amounts * of).sum()),
            affected=int(np.count_nonzero(amounts)),
            lacking=int(np.count_nonzero(amounts != of)),
            newcomers=newcomers,
            stands_for=stands_for,
        )

    @property
    def mean(self) -> float | None:
        """The mean of the devices' values; None without devices."""
        return self.values / self.devices if self.devices else None

    @property
    def ratio(self) -> float | None:
        """All amounts by all that they are of; None where that is nothing."""
        return self.amounts / self.of if self.of > 0 else None

    @property
    def alike(self) -> bool:
        """Whether all of many devices have the same value, whose spread is nothing."""
        return self.devices >= DEVICES_LEAST and self.low == self.high

    @property
    def units(self) -> int:
        """For how many devices of equal weight they count, all that they stand for taken together."""
        if self.of_squared <= 0:
            return 0
        return math.floor(min(float(self.devices), self.of**2 / self.of_squared) * self.stands_for + 1e-9)

    def sample(self) -> Sample:
        """Return the devices' values, each counting once."""
        if not self.devices:
            return Sample(0, math.nan, math.nan)
        mean = self.values / self.devices
        return Sample(self.devices, mean, _variance(self.values_squared - mean * self.values, self.devices))

    def ratios(self, ratio: float | None = None) -> Sample:
        """Return the ratio of totals as a mean of one value per device: its linear part. `ratio` is that of the fleet."""
        own = self.ratio
        if own is None:
            return Sample(0, math.nan, math.nan)
        residuals = self.amounts_squared - 2 * own * self.products + own * own * self.of_squared
        variance = _variance(residuals, self.devices) / (self.of / self.devices) ** 2
        return Sample(self.devices, own if ratio is None else ratio, variance)

    def times(self, many: int) -> PerDevice:
        """Return so many times as many devices, all alike."""
        counts = {name: getattr(self, name) * many for name in _COUNTED}
        return replace(self, **counts)

    def document(self) -> dict[str, Any]:
        """Write the sums as plain data, to the last digit."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value if math.isfinite(value) else None for name, value in found.items()}

    @classmethod
    def of_document(cls, data: Any) -> PerDevice:
        """Read what `document` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        told: dict[str, Any] = {}
        for name, known in cls.__dataclass_fields__.items():
            value = data[name]
            usual = known.default
            told[name] = usual if value is None else int(value) if isinstance(usual, int) else float(value)
        made = cls(**told)
        if made.devices < 0 or not made.stands_for >= 1:
            raise ValueError("These are no sums over devices.")
        return made


_COUNTED = (
    "devices",
    "values",
    "values_squared",
    "amounts",
    "amounts_squared",
    "of",
    "of_squared",
    "products",
    "affected",
    "lacking",
    "newcomers",
)


def mean(found: PerDevice, *, alpha: float) -> Interval | None:
    """Return the interval of the mean of the devices' values; None for fewer devices than it is right for."""
    if found.devices < DEVICES_LEAST:
        return None
    if found.alike:
        return Interval(found.low, found.low, found.low)
    return means.mean(found.sample(), alpha=alpha)


def ratio_mean(found: PerDevice, ratio: float, *, alpha: float) -> Interval | None:
    """Return the interval of a ratio of totals that is an amount: a mean of all observations. None for too few devices."""
    if found.devices < DEVICES_LEAST:
        return None
    if found.alike:
        return Interval(ratio, ratio, ratio)
    return means.mean(found.ratios(ratio), alpha=alpha)


def share(found: PerDevice, ratio: float, *, alpha: float) -> Interval | None:
    """Return the interval of a share of totals, each device counting once with its own share; None without devices.

    By the delta method where enough devices had what is counted for their differences to be known. Else by the bound of
    `proportions.share`, which holds for however few and whatever lies between the devices: the rule of three, of devices.
    """
    if measurable(found):
        one = means.mean(found.ratios(ratio), alpha=alpha)
        return Interval(ratio, max(0.0, one.low), min(1.0, one.high)) if ratio <= 1 else one
    units = found.units
    if not units:
        return None
    one = proportions.share(Events(min(1.0, max(0.0, ratio)) * units, units), alpha=alpha)
    return Interval(ratio, one.low, one.high)


def measurable(found: PerDevice) -> bool:
    """Whether so many devices had the event, and so many all but the event, that their differences tell its error."""
    own = found.ratio
    if own is None or min(found.affected, found.lacking) < DEVICES_LEAST:
        return False
    sample = found.ratios()
    rare = min(own, abs(1 - own)) if own <= 1 else own
    return rare > 0 and math.sqrt(sample.variance / sample.devices) <= ERROR_MOST * rare


def change(treatment: PerDevice, control: PerDevice, *, alpha: float) -> Interval | None:
    """Return by which share the devices' values differ: of their means, or of how many have one where most have none.

    None for fewer devices than it is right for.
    """
    if min(treatment.devices, control.devices) < DEVICES_LEAST:
        return None
    if treatment.alike and control.alike and control.low > 0:
        only = treatment.low / control.low - 1
        return Interval(only, only, only)
    if _rare(treatment.sample()) or _rare(control.sample()):
        return _affected_change(treatment, control, (0.0, 0.0), alpha=alpha)
    return means.change(treatment.sample(), control.sample(), alpha=alpha)


def ratio_change(
    treatment: PerDevice, control: PerDevice, ratios: tuple[float, float], *, alpha: float
) -> Interval | None:
    """Return by which share a share of totals differs; of few devices that had the event, how many they are."""
    if min(treatment.devices, control.devices) < DEVICES_LEAST:
        return None
    if measurable(treatment) and measurable(control):
        return means.change(treatment.ratios(ratios[0]), control.ratios(ratios[1]), alpha=alpha)
    return _affected_change(treatment, control, ratios, alpha=alpha)


def _affected_change(
    treatment: PerDevice, control: PerDevice, ratios: tuple[float, float], *, alpha: float
) -> Interval:
    """Return by which share more devices of the treatment had what is counted, once or often.

    What the fleet had and no device of the panel is counted as a share of devices.
    """
    sides = [
        Events(min(side.devices, side.affected or ratio * side.devices), side.devices)
        for side, ratio in zip((treatment, control), ratios, strict=True)
    ]
    return proportions.change(*sides, alpha=alpha, weight=treatment.devices / control.devices)


def needed_for(share_of: float) -> int:
    """Return how many devices, none of them affected, show that a share is smaller: the rule of three."""
    return math.ceil(3 / share_of - 1e-9) if 0 < share_of < 1 else 1


def needed_for_rank(tail: float) -> int:
    """Return from how many devices on a quantile with such a tail has a bound on that side, at every look."""
    return proportions.needed(Events(0, 0), tail) or 1


def _rare(sample: Sample) -> bool:
    """Whether the mean is too uncertain for its logarithm to be about normal."""
    return not sample.mean > 0 or math.sqrt(sample.variance / sample.devices) > ERROR_MOST * sample.mean


def _variance(squares: float, devices: int) -> float:
    return max(0.0, squares) / (devices - 1) if devices > 1 else math.nan
