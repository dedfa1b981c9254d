"""Shares of devices something happened to, few or many: of one arm against a limit, and of two arms against each other.

All of it is exact or errs on the safe side at every look, with as few devices as there are. A device counts once, with a
value of 0 or 1, or with a share between them (of its inferences that failed): every bound below also holds for the mean of
such shares, because x ** v is at most 1 + v * (x - 1) for v from 0 to 1.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.domain.statistics.means import Interval

CONFIDENCE = 0.95
# What the bets are on: odds so many times the limit's, from 3 % beyond it to 65 times, and as far on the other side.
_BETS = tuple(1 + 2.0**step for step in range(-5, 7))
# That nothing ever happens is what most passes of a small limit rest on: so much of the evidence is put on it.
_ON_NEVER = 0.8
# rounds that narrow the odds of a bound down, each to one of so many parts
_ROUNDS, _PLACES = 6, 65


@dataclass(frozen=True)
class Events:
    """How many devices of an arm something happened to (a sum of shares, where a device counts in part), of how many."""

    events: float
    devices: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Events":
        """Sum up values from 0 to 1, one for each device. Raises ValueError for others."""
        found = list(values)
        if not all(0 <= value <= 1 for value in found):
            raise ValueError("A share lies between 0 and 1.")
        return cls(math.fsum(found), len(found))

    @property
    def share(self) -> float:
        """The share of devices; not a number without devices."""
        return self.events / self.devices if self.devices else math.nan


def above(counted: Events, limit: float) -> float:
    """Return the logarithm of the evidence that the true share is above a limit between 0 and 1.

    If it is not, `exp` of this ever reaches 1 / a with at most the chance a. A mixture of likelihood ratios of a larger
    share to the limit: each is a supermartingale under every share up to the limit (Wald 1945; Robbins, Statistical
    methods related to the law of the iterated logarithm, 1970; Ville's inequality), and so is their mean.
    """
    return float(log_above(np.array(counted.events), np.array(counted.devices), np.array(_odds(limit))))


def below(counted: Events, limit: float) -> float:
    """Return the logarithm of the evidence that the true share is below a limit: as `above`, on smaller shares and on 0.

    With no event among n devices it reaches 1 / a when 0.8 * (1 - limit) ** -n nearly does: of 0.1 %, 95 % sure, with 3 121
    devices, where a single look takes the 2 995 of the rule of three.
    """
    return float(log_below(np.array(counted.events), np.array(counted.devices), np.array(_odds(limit))))


def share(counted: Events, *, alpha: float) -> Interval:
    """Return the share with its interval: the limits that neither `above` nor `below` refuses, half of alpha each."""
    s, n, wanted = np.array(counted.events), np.array(counted.devices), math.log(2 / alpha)
    low = _root(lambda odds: log_above(s, n, odds) < wanted)
    high = _root(lambda odds: log_below(s, n, odds) >= wanted)
    ends = low / (1 + low), high / (1 + high) if math.isfinite(high) else 1.0
    return Interval(counted.share, *ends)


def change(treatment: Events, control: Events, *, alpha: float, weight: float = 1.0) -> Interval:
    """Return by which share the treatment has more (or fewer) than the control: 1.0 is twice as many.

    `weight` is how many devices of the treatment there should be for one of the control: as shared out, not as they came.
    Each device with an event is in the treatment with odds weight * ratio of the shares, whatever the shares are and
    whenever it came: the conditional binomial test of two Poisson rates (Przyborowski and Wilenski, 1940), here with the
    bets of `above` and `below` in the place of its tail. Unbounded above without an event in the control.
    """
    found, all_of = np.array(treatment.events), np.array(treatment.events + control.events)
    wanted = math.log(2 / alpha)
    low = _root(lambda odds: log_above(found, all_of, odds) < wanted)
    # the bet on never gets no more than the others: the control's silence is as telling as the treatment's
    high = _root(lambda odds: log_below(found, all_of, odds, 1 / (len(_BETS) + 1)) >= wanted)
    if control.events:
        estimate = treatment.events / control.events / weight - 1
    else:
        estimate = math.inf if treatment.events else math.nan
    return Interval(estimate, low / weight - 1, high / weight - 1)


@dataclass(frozen=True)
class Progress:
    """How many devices there are and how many it takes; how soon that is at the pace at which they come."""

    have: int
    need: int
    per_hour: float = 0.0

    @property
    def missing(self) -> int:
        """How many more devices it takes."""
        return max(0, self.need - self.have)

    @property
    def hours(self) -> float | None:
        """How many hours that takes; None where no device comes."""
        if not self.missing:
            return 0.0
        return self.missing / self.per_hour if self.per_hour > 0 else None


def needed(counted: Events, limit: float, *, alpha: float = 1 - CONFIDENCE, most: int = 10_000_000) -> int | None:
    """Return how many devices show that a share is below a limit, if no further event comes. None beyond `most`.

    Judged at every look. For the single look of a fixed sample see `needed_once`.
    """
    odds, wanted = np.array(_odds(limit)), math.log(1 / alpha)

    def enough(devices: int) -> bool:
        return float(log_below(np.array(counted.events), np.array(devices), odds)) >= wanted

    return _least(enough, math.ceil(counted.events), most)


def needed_once(events: int, limit: float, *, confidence: float = CONFIDENCE, most: int = 10_000_000) -> int | None:
    """Return the devices among which so few events show, looked at once, that a share is below a limit.

    Clopper and Pearson (1934), one-sided. Without an event about 3 / limit, the rule of three.
    """
    return _least(lambda devices: at_most(events, devices, limit) <= 1 - confidence, events, most)


def at_most(events: int, trials: int, chance: float) -> float:
    """Return how likely at most so many events are among trials that each succeed with a chance: the binomial tail."""
    if events >= trials:
        return 1.0
    if chance <= 0 or chance >= 1:
        return float(chance <= 0)
    terms = (
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        + k * math.log(chance) + (trials - k) * math.log1p(-chance)
        for k in range(events + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, terms)))


def _odds(limit: float) -> float:
    if not 0 < limit < 1:
        raise ValueError("A limit of a share lies between 0 and 1.")
    return limit / (1 - limit)


def _bet(events: NDArray[Any], trials: NDArray[Any], odds: NDArray[np.float64], times: float) -> NDArray[np.float64]:
    """Return the logarithm of how much likelier the events are with odds so many times larger.

    It falls as the odds that are doubted grow when `times` is above 1, and grows when it is below.
    """
    found = np.asarray(trials * (np.log1p(odds) - np.log1p(times * odds)))
    if times:
        return found + events * math.log(times)
    return np.where(events > 0, -np.inf, found)


def log_above(events: NDArray[Any], trials: NDArray[Any], odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return _mean([(1 / len(_BETS), _bet(events, trials, odds, times)) for times in _BETS])


def log_below(
    events: NDArray[Any], trials: NDArray[Any], odds: NDArray[np.float64], on_never: float = _ON_NEVER
) -> NDArray[np.float64]:
    """Return `below` of many counts at once, by the odds of the limit."""
    rest = (1 - on_never) / len(_BETS)
    bets = [(rest, _bet(events, trials, odds, 1 / times)) for times in _BETS]
    return _mean([(on_never, _bet(events, trials, odds, 0.0)), *bets])


def _mean(bets: list[tuple[float, NDArray[np.float64]]]) -> NDArray[np.float64]:
    found = np.array([math.log(part) + bet for part, bet in bets])
    return np.asarray(np.logaddexp.reduce(found, axis=0))


def _root(holds: Callable[[NDArray[np.float64]], NDArray[np.bool_]]) -> float:
    """Return the odds where a condition that holds for all larger odds begins to hold; 0 and infinity at the ends."""
    low, high = -50.0, 50.0
    for _ in range(_ROUNDS):
        places = np.linspace(low, high, _PLACES)
        found = holds(np.exp(places))
        if not found[-1]:
            return math.inf
        first = int(found.argmax())
        if not first:
            return 0.0 if low == -50.0 else math.exp(low)
        low, high = float(places[first - 1]), float(places[first])
    return math.exp(high)


def _least(enough: Callable[[int], bool], least: int, most: int) -> int | None:
    """Return the smallest number that is enough, where every larger one is."""
    low, high = least, max(1, least)
    while not enough(high):
        if high >= most:
            return None
        low, high = high, min(most, high * 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
