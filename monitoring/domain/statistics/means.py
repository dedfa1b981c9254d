"""Means of one value per device, with intervals that hold at every look: of one arm, and of how two arms differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# the largest standard error of a mean, as a share of it, at which its logarithm is about normal: in simulations of values of
# which nine in ten are zero, a third gives half as many false alarms as allowed and a half twenty times too many
ERROR_MOST = 0.25
# devices of an arm at which the intervals are narrowest, in standard errors: with a tenth as many they are up to a quarter
# wider, with forty times as many an eighth
TUNED_FOR = 100
# so many values that are all alike say something; fewer may be so by chance
ALIKE_LEAST = 30


@dataclass(frozen=True)
class Interval:
    """An estimate and where the true value lies, at every look, but for the chance `alpha` that any look ever errs."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Sample:
    """What is known of an arm: how many devices, the mean of their values, and the unbiased variance between them."""

    devices: int
    mean: float
    variance: float

    @classmethod
    def of(cls, values: Sequence[float] | NDArray[np.float64]) -> "Sample":
        """Sum up values, one for each device."""
        found = np.asarray(values, dtype=float)
        if not found.size:
            return cls(0, math.nan, math.nan)
        return cls(int(found.size), float(found.mean()), float(found.var(ddof=1)) if found.size > 1 else math.nan)


class Columns(NamedTuple):
    """The same of many arms at once, one a place."""

    devices: NDArray[Any]
    means: NDArray[np.float64]
    variance: NDArray[np.float64]


Ends = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def mean(sample: Sample, *, alpha: float, tuned_for: int = TUNED_FOR) -> Interval:
    """Return the mean of the arm. Unbounded for fewer than two devices.

    Of values that are all alike no error is known. But were a share of the fleet different, n devices would all be alike
    with the chance (1 - share) ** n; so a share of log(1 / alpha) / n may be, and we let it differ by the value itself.
    """
    if sample.devices < 2:
        return Interval(sample.mean, -math.inf, math.inf)
    if not sample.variance:
        radius = (
            abs(sample.mean) * min(1.0, -math.log(alpha) / sample.devices)
            if sample.devices >= ALIKE_LEAST
            else math.inf
        )
        return Interval(sample.mean, sample.mean - radius, sample.mean + radius)
    error = math.sqrt(sample.variance / sample.devices)
    return _around(sample.mean, error, sample.devices, sample.devices - 1, alpha, tuned_for)


def difference(treatment: Sample, control: Sample, *, alpha: float, tuned_for: int = TUNED_FOR) -> Interval:
    """Return the mean of the treatment less that of the control. Unbounded for fewer than two devices on a side.

    As Maharaj and others, Anytime-valid confidence sequences in an enterprise A/B testing platform (2023): the difference
    of means is itself a mean, of each device's part in it, so that the interval of a mean applies. Degrees of freedom by
    Welch and Satterthwaite.
    """
    if min(treatment.devices, control.devices) < 2:
        return Interval(treatment.mean - control.mean, -math.inf, math.inf)
    parts = treatment.variance / treatment.devices, control.variance / control.devices
    squares = parts[0] ** 2 / (treatment.devices - 1) + parts[1] ** 2 / (control.devices - 1)
    freedom = sum(parts) ** 2 / squares if squares else 1.0
    # two arms of n tell as much as n / 2 differences
    pairs = treatment.devices * control.devices / (treatment.devices + control.devices)
    estimate = treatment.mean - control.mean
    return _around(estimate, math.sqrt(sum(parts)), pairs, freedom, alpha, tuned_for / 2)


def change(treatment: Sample, control: Sample, *, alpha: float, tuned_for: int = TUNED_FOR) -> Interval:
    """Return by which share the mean of the treatment differs from that of the control: -0.2 is a fifth less.

    The logarithm of the ratio of means, whose variance is variance / (devices * mean ** 2) on each side (delta method),
    mapped back. Unbounded where that is no approximation: fewer than two devices on a side, or a mean below four standard
    errors. Of values that are mostly zero count the devices that have one: `proportions.change`.
    """
    sides = (Columns(*map(np.array, (side.devices, side.mean, side.variance))) for side in (treatment, control))
    return Interval(*map(float, changes(*sides, alpha=alpha, tuned_for=tuned_for)))


def changes(treatment: Columns, control: Columns, *, alpha: float, tuned_for: int = TUNED_FOR) -> Ends:
    """Return `change` of many comparisons at once: estimates, low and high ends."""
    with np.errstate(all="ignore"):
        squares = [side.variance / side.devices / side.means**2 for side in (treatment, control)]
        total = squares[0] + squares[1]
        freedom = total**2 / (squares[0] ** 2 / (treatment.devices - 1) + squares[1] ** 2 / (control.devices - 1))
        pairs = treatment.devices * control.devices / (treatment.devices + control.devices)
        ratio = treatment.means / control.means
        radius = boundary(pairs, freedom, alpha, tuned_for / 2) * np.sqrt(total)
        known = (np.minimum(treatment.devices, control.devices) >= 2) & (total > 0)
        known &= (np.minimum(treatment.means, control.means) > 0) & (np.maximum(*squares) <= ERROR_MOST**2)
        low, high = ratio * np.exp(-radius) - 1, ratio * np.exp(radius) - 1
        return ratio - 1, np.where(known, low, -1.0), np.where(known, high, np.inf)


def boundary(
    information: NDArray[np.float64], freedom: NDArray[np.float64], alpha: float, tuned_at: float
) -> NDArray[np.float64]:
    """Return how many standard errors an estimate may ever be off, at that many devices (`information`).

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit theory and asymptotic confidence sequences
    (Annals of Statistics 2024), their Gaussian mixture: with x = t * rho ** 2 of t devices it is
        sqrt((x + 1) / x * 2 * log(sqrt(x + 1) / alpha)),
    the bound of a normal mixture. That is right for many devices. With few the variance is uncertain, so we take the bound
    of the same mixture for Student's t with so many degrees of freedom,
        t ** 2 = freedom * (a - 1) / (1 - a / (x + 1)),  a = (sqrt(x + 1) / alpha) ** (2 / (freedom + 1)),
    infinite where a reaches x + 1: the evidence for it is the Bayes factor of Gonen and others, The Bayesian two-sample t
    test (2005), a martingale for normal values of any variance by Perez-Ortiz and others, E-statistics, group invariance
    and anytime-valid testing (2024). The two agree as devices grow.
    """
    x = information * (best_x(alpha) / tuned_at)
    log_a = 2 / (freedom + 1) * (np.log1p(x) / 2 - math.log(alpha))
    left = -np.expm1(log_a - np.log1p(x))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(left > 0, np.sqrt(freedom * np.expm1(log_a) / np.where(left > 0, left, 1.0)), np.inf)


def best_x(alpha: float) -> float:
    """Return t * rho ** 2 that makes the interval narrowest at t: where x = log(1 + x) - 2 log(alpha).

    The derivative of the bound set to zero; the same as -W(-alpha ** 2 / e) - 1 with the lower branch of Lambert's W, as
    Howard, Ramdas, McAuliffe and Sekhon have it (Annals of Statistics 2021). The right side is a contraction.
    """
    x = 1.0 - 2 * math.log(alpha)
    for _ in range(60):
        x = math.log1p(x) - 2 * math.log(alpha)
    return x


def _around(
    estimate: float, error: float, information: float, freedom: float, alpha: float, tuned_at: float
) -> Interval:
    times = float(boundary(np.array(float(information)), np.array(float(freedom)), alpha, tuned_at))
    # values that never differ have no error that could be known
    radius = times * error if error else math.inf
    return Interval(estimate, estimate - radius, estimate + radius)
