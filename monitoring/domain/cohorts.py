"""Which few cohorts a harm sits in: the smallest exclusion by backend, SoC, driver, OS and model that restores a guardrail.

A cohort is a conjunction: `driver = 512` and `soc = Tensor G2`. It is judged by its own devices in the control, so that a
cohort that was always slow is no culprit. What has a shorter name needs less evidence: that is what "smallest" means here,
and what keeps a search through thousands of cohorts from finding one by chance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ATTRIBUTES = ("backend", "soc", "driver", "os", "model")
# what a cohort's evidence must leave to chance at most, after the search for it is paid for
CHANCE_MOST = 0.05
COHORTS_MOST = 5
# what leaves fewer of the devices excludes no cohorts, it ends the rollout
LEFT_LEAST = 0.25
# the rest is well again while its harm is no more than one in twenty would show by chance: half the square of 1.645
_WELL = 1.645**2 / 2
# devices' worth of everybody's variance in a cohort's own: three alike devices are not certain
_SHRUNK = 10.0
# the least and the most of the whole control's devices that are added to a cohort's own (see `_borrowed`)
_BORROWED_LEAST, _BORROWED_MOST = 10.0, 300.0

Whole = NDArray[np.int64]
Real = NDArray[np.float64]


class Device(NamedTuple):
    """One device: its attributes in the order of ATTRIBUTES, its arm, and a value of which more is worse.

    Values from 0 to 1 (bad or not, or the share of what failed) are counted; others are compared by their means, and by
    those of their logarithms where all are positive. Of a throughput give its reciprocal.
    """

    attributes: tuple[str, ...]
    treatment: bool
    value: float


@dataclass(frozen=True)
class Cohort:
    """A conjunction, how many devices it has in each arm, their mean values, and the chance that it is innocent."""

    conditions: tuple[tuple[str, str], ...]
    treatment: int
    control: int
    treatment_mean: float
    control_mean: float
    chance: float

    @property
    def name(self) -> str:
        """The conditions in words."""
        return " and ".join(f"{attribute} {value}" for attribute, value in self.conditions)

    def holds(self, attributes: Sequence[str]) -> bool:
        """Whether a device with these attributes is in it."""
        return all(attributes[ATTRIBUTES.index(attribute)] == value for attribute, value in self.conditions)


@dataclass(frozen=True)
class Exclusion:
    """The cohorts to leave out, most evident first, what that leaves out and leaves, and whether the rest is well.

    `everywhere`: the harm is in all devices alike, and no cohort explains it. Nothing of either where nothing is wrong.
    `rest` says of each device whether it stays. A cohort's counts are of what the ones before it leave.
    """

    cohorts: tuple[Cohort, ...] = ()
    everywhere: bool = False
    restored: bool = False
    excluded: int = 0
    devices: int = 0
    rest: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool), compare=False)


def culprits(
    devices: Sequence[Device],
    *,
    limit: float | None = None,
    counted: bool | None = None,
    chance_most: float = CHANCE_MOST,
) -> Exclusion:
    """Find the smallest union of cohorts whose exclusion restores the guardrail.

    `counted` says whether values are shares of what went wrong; None looks whether all lie between 0 and 1, as seconds may.
    `limit` is the share that may be bad, for when there is no control any more. A union is sought that has the most
    evidence after each cohort has paid for its name: greedily, and then each cohort anew beside the others. Raises
    ValueError without a control and without a limit between 0 and 1.
    """
    if not devices:
        return Exclusion()
    scan = _Scan(devices, limit, counted)
    asked = -math.log(chance_most)
    chosen: list[_Candidate] = []
    while len(chosen) < COHORTS_MOST:
        best = scan.best(chosen)
        if best is None or best.score < asked:
            break
        chosen = scan.settled([*chosen, best])
    rest = scan.rest(chosen)
    restored, harm = scan.well(rest), scan.evidence(scan.everyone)
    if rest.mean() < LEFT_LEAST or (not restored and sum(one.score for one in chosen) <= harm):
        # that everybody is harmed alike says as much, in fewer words
        return Exclusion((), harm >= asked, False, 0, len(devices), scan.everyone)
    cohorts = tuple(scan.described(one, scan.rest(chosen[:place])) for place, one in enumerate(chosen))
    return Exclusion(cohorts, False, restored, int((~rest).sum()), len(devices), rest)


@dataclass(frozen=True)
class _Candidate:
    attributes: tuple[int, ...]
    group: int
    score: float


class _Scan:
    """All conjunctions that occur, and their evidence on any part of the devices."""

    def __init__(self, devices: Sequence[Device], limit: float | None, counted: bool | None) -> None:
        self.devices = devices
        self.limit = limit
        self.everyone = np.ones(len(devices), dtype=bool)
        self.treated = np.array([one.treatment for one in devices])
        self.values = np.array([one.value for one in devices], dtype=float)
        shares = bool(((self.values >= 0) & (self.values <= 1)).all())
        self.counted = shares if counted is None else counted
        if self.treated.all() and (limit is None or not 0 < limit < 1 or not self.counted):
            raise ValueError("Without a control give shares from 0 to 1, and a limit between them.")
        self.by_limit = bool(self.treated.all())
        self.seen = self.values if self.counted or self.values.min() <= 0 else np.log(self.values)
        codes = [
            np.unique([one.attributes[at] for one in devices], return_inverse=True)[1] for at in range(len(ATTRIBUTES))
        ]
        kinds = [int(code.max()) + 1 for code in codes]
        self.groups: dict[tuple[int, ...], Whole] = {}
        self.costs: dict[tuple[int, ...], Real] = {}
        telling = [at for at, many in enumerate(kinds) if many > 1]
        for depth in range(1, len(telling) + 1):
            for subset in combinations(telling, depth):
                key = np.zeros(len(devices), dtype=np.int64)
                for at in subset:
                    key = key * kinds[at] + codes[at]
                self.groups[subset] = np.unique(key, return_inverse=True)[1]
                self.costs[subset] = self._cost(self.groups[subset], depth, len(telling))
        self.variance = self._variance()
        self.share = 0.0 if self.by_limit else float(self.values[~self.treated].mean())
        self.borrowed = self._borrowed()

    def members(self, one: _Candidate) -> NDArray[np.bool_]:
        """Return which devices are in a cohort."""
        return np.asarray(self.groups[one.attributes] == one.group)

    def best(self, others: Sequence[_Candidate]) -> _Candidate | None:
        """Return the cohort with the most evidence, its name paid for, among the devices that no other holds."""
        rest = self.rest(others)
        found: _Candidate | None = None
        for subset, groups in self.groups.items():
            scores = self._evidence(groups, rest) - self.costs[subset]
            group = int(scores.argmax())
            if found is None or scores[group] > found.score + 1e-9:
                found = _Candidate(subset, group, float(scores[group]))
        return found

    def settled(self, chosen: list[_Candidate]) -> list[_Candidate]:
        """Choose each cohort anew beside the others, until that adds no evidence."""
        for _ in range(4):
            before = sum(one.score for one in chosen)
            for place in range(len(chosen)):
                others = chosen[:place] + chosen[place + 1 :]
                best = self.best(others)
                if best is not None:
                    chosen = self._scored([*others[:place], best, *others[place:]])
            if sum(one.score for one in chosen) <= before + 1e-9:
                break
        return self._scored(sorted(chosen, key=lambda one: -one.score))

    def evidence(self, part: NDArray[np.bool_]) -> float:
        """Return the evidence of harm in a part of the devices as a whole."""
        return float(self._evidence(np.zeros(len(self.devices), dtype=np.int64), part)[0])

    def well(self, part: NDArray[np.bool_]) -> bool:
        """Whether a part shows no harm; nobody is no part."""
        return bool((part & self.treated).any()) and self.evidence(part) <= _WELL

    def described(self, one: _Candidate, part: NDArray[np.bool_]) -> Cohort:
        """Return what is told of a cohort, of its devices in a part."""
        inside = part & self.members(one)
        example = self.devices[int(np.flatnonzero(self.members(one))[0])]
        arms = inside & self.treated, inside & ~self.treated
        counts = [int(arm.sum()) for arm in arms]
        means = [float(self.values[arm].mean()) if arm.any() else math.nan for arm in arms]
        conditions = tuple((ATTRIBUTES[at], example.attributes[at]) for at in one.attributes)
        return Cohort(conditions, counts[0], counts[1], means[0], means[1], min(1.0, math.exp(-one.score)))

    def rest(self, others: Sequence[_Candidate]) -> NDArray[np.bool_]:
        """Return the devices that no cohort holds."""
        rest = self.everyone.copy()
        for one in others:
            rest &= ~self.members(one)
        return rest

    def _scored(self, chosen: Sequence[_Candidate]) -> list[_Candidate]:
        """Score cohorts one after another, each on what the ones before it leave."""
        scored: list[_Candidate] = []
        for one in chosen:
            found = self._evidence(self.groups[one.attributes], self.rest(scored))[one.group]
            scored.append(_Candidate(one.attributes, one.group, float(found - self.costs[one.attributes][one.group])))
        return scored

    def _sums(self, groups: Whole, part: NDArray[np.bool_]) -> tuple[Real, Real, Real]:
        """Return devices, sum and sum of squares of each group, of one arm's devices."""
        many = int(groups.max()) + 1
        some, seen = groups[part], self.seen[part]
        counts = np.bincount(some, minlength=many).astype(float)
        total, squares = (np.bincount(some, weights, many).astype(float) for weights in (seen, seen * seen))
        return counts, total, squares

    def _cost(self, groups: Whole, depth: int, attributes: int) -> Real:
        """Return what the name of each cohort costs: the chances by which they are meant sum to less than 1.

        Half of them go to one condition, a quarter to two, and so on; of these to each choice of attributes the same, and
        of that to each cohort its share of devices: large ones are likelier meant.
        """
        shares = np.bincount(groups) / groups.size
        return depth * math.log(2) + math.log(math.comb(attributes, depth)) - np.log(shares)

    def _variance(self) -> float:
        """Return the variance of values within arms."""
        parts = [self.seen[self.treated], self.seen[~self.treated]]
        return float(sum(part.var() * part.size for part in parts if part.size) / len(self.devices)) or 1.0

    def _borrowed(self) -> float:
        """Return how many of the whole control's devices, at its share, a cohort's control is joined by.

        A cohort's own devices rarely show a rare event, and what they can't show the others can, as far as cohorts are
        alike: p * (1 - p) / variance between cohorts, by the method of moments for a beta-binomial (Kleinman, 1973). Of
        the attributes the one whose values differ most decides.
        """
        if not self.counted or self.by_limit:
            return 0.0
        spread = 0.0
        for subset, groups in self.groups.items():
            if len(subset) > 1:
                continue
            n, total, _ = self._sums(groups, ~self.treated)
            n, total = n[n > 1], total[n > 1]
            whole = n.sum()
            if whole - (n**2).sum() / whole <= 0:
                continue
            between = float((n * (total / n - self.share) ** 2).sum())
            chance = (n.size - 1) * self.share * (1 - self.share)
            spread = max(spread, (between - chance) / (whole - (n**2).sum() / whole))
        whole_variance = self.share * (1 - self.share)
        if spread * _BORROWED_MOST <= whole_variance:
            return _BORROWED_MOST
        return max(_BORROWED_LEAST, whole_variance / spread)

    def _evidence(self, groups: Whole, part: NDArray[np.bool_]) -> Real:
        """Return, for each group, the log-likelihood ratio of its arms being two against being one; 0 where none is worse.

        Its tail is about exp(-x) or less, so that x less what the name costs is a confidence for the whole search (union
        bound). Shares: the binomial ratio (Kulldorff, A spatial scan statistic, 1997). Means: Student's ratio
        freedom / 2 * log(1 + t ** 2 / freedom), the variance shrunk towards that of all devices.
        """
        n, total, squares = self._sums(groups, part & self.treated)
        if self.by_limit:
            limit = np.full(n.size, self.limit)
            found = _likelihood(total, n) - total * np.log(limit) - (n - total) * np.log1p(-limit)
            return np.where(total > limit * n, found, 0.0)
        others, other_total, other_squares = self._sums(groups, part & ~self.treated)
        with np.errstate(divide="ignore", invalid="ignore"):
            worse = (n > 0) & (others > 0) & (total / n > other_total / others)
            if self.counted:
                others, other_total = others + self.borrowed, other_total + self.borrowed * self.share
                # what is borrowed must not make a cohort look worse that is better than the fleet on both sides
                worse &= total / n > other_total / others
                found = _likelihood(total, n) + _likelihood(other_total, others)
                found -= _likelihood(total + other_total, n + others)
                return np.where(worse, found, 0.0)
            within = squares - total**2 / n + other_squares - other_total**2 / others
            freedom = n + others - 2 + _SHRUNK
            variance = (np.maximum(within, 0.0) + _SHRUNK * self.variance) / freedom
            t_squared = (total / n - other_total / others) ** 2 / (variance * (1 / n + 1 / others))
            return np.where(worse, freedom / 2 * np.log1p(t_squared / freedom), 0.0)


def _likelihood(total: Real, n: Real) -> Real:
    """Return the logarithm of the greatest likelihood of a share: 0 at its ends."""

    def part(some: Real) -> Any:
        return np.where(some > 1e-12, some * np.log(np.maximum(some, 1e-12) / np.maximum(n, 1e-12)), 0.0)

    return np.asarray(part(total) + part(n - total))
