"""Whether devices report from the arms as they were shared out: sample-ratio mismatch, at every look.

A mismatch makes every comparison of the arms worthless, and is often the finding itself: an app that dies before it
reports is missing from its arm.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALPHA = 0.001
# How close to the intended shares a mismatch may lie, in pseudo-devices of the prior: 10 finds an arm that is half gone
# among a hundred devices, 10 000 one that lacks a fiftieth among many thousands. Each gets the same part of the evidence.
CONCENTRATIONS = (10, 100, 1_000, 10_000)


@dataclass(frozen=True)
class SampleRatio:
    """How many devices each arm has, how many it should have, and how likely chance alone ever goes as far."""

    counts: tuple[int, ...]
    expected: tuple[float, ...]
    log_evidence: float  # natural logarithm of the e-value; of devices shared out otherwise, it is added
    alpha: float = ALPHA

    @property
    def p_value(self) -> float:
        """Valid at every look: below x, at any look at all, at most with the chance x where nothing is wrong."""
        return math.exp(-max(0.0, self.log_evidence))

    @property
    def mismatch(self) -> bool:
        """Whether devices are missing, or too many, beyond chance."""
        return self.p_value <= self.alpha


def sample_ratio(counts: Sequence[int], weights: Sequence[int]) -> SampleRatio:
    """Compare the devices that have reported from each arm, each once, with the weights they were shared out by.

    The weights must not change while these devices came; of a ramp that changes them, `together` joins the steps.
    Raises ValueError for counts and weights that don't fit.
    """
    if len(counts) != len(weights) or min(counts, default=0) < 0 or min(weights, default=0) < 0 or not any(weights):
        raise ValueError("Give each arm a count of devices and a weight, none of them negative.")
    total, whole = sum(counts), sum(weights)
    expected = tuple(total * weight / whole for weight in weights)
    if any(count and not weight for count, weight in zip(counts, weights, strict=True)):
        return SampleRatio(tuple(counts), expected, math.inf)
    arms = [(count, weight / whole) for count, weight in zip(counts, weights, strict=True) if weight]
    found = [_log_bayes_factor(arms, concentration) for concentration in CONCENTRATIONS]
    most = max(found)
    mean = most + math.log(math.fsum(math.exp(one - most) for one in found) / len(found))
    return SampleRatio(tuple(counts), expected, mean)


def together(steps: Sequence[SampleRatio]) -> SampleRatio:
    """Join the steps of a ramp, in each of which other devices came and weights were others: evidence multiplies.

    Raises ValueError without a step, or for steps of other arms.
    """
    if not steps or len({len(step.counts) for step in steps}) > 1:
        raise ValueError("Give at least one step, all of the same arms.")
    return SampleRatio(
        tuple(map(sum, zip(*(step.counts for step in steps), strict=True))),
        tuple(map(math.fsum, zip(*(step.expected for step in steps), strict=True))),
        math.fsum(step.log_evidence for step in steps),
    )


def by_class(counts: Mapping[str, Sequence[int]], weights: Sequence[int]) -> dict[str, SampleRatio]:
    """Compare the arms in each device class, most evidence first: where devices are missing.

    All classes share one alpha (Bonferroni), so that many classes find no more by chance than one.
    """
    found = {name: sample_ratio(some, weights) for name, some in counts.items()}
    ordered = sorted(found.items(), key=lambda one: (-one[1].log_evidence, one[0]))
    return {name: SampleRatio(one.counts, one.expected, one.log_evidence, ALPHA / len(found)) for name, one in ordered}


def _log_bayes_factor(arms: Sequence[tuple[int, float]], concentration: float) -> float:
    """Return how much likelier the counts are under shares drawn around the intended ones than under these themselves.

    Lindon and Malek, Anytime-valid inference for multinomial count data (NeurIPS 2022): with the prior
    Dirichlet(a), a = concentration * shares, the factor is a martingale of mean 1 under the intended shares t,
        G(sum a) / G(sum a + n) * product of G(a_i + n_i) / G(a_i) / t_i ** n_i.
    A mean of such factors is one too, so 1 / mean is a p-value at every look (Ville's inequality).
    """
    total = sum(count for count, _ in arms)
    found = math.lgamma(concentration) - math.lgamma(concentration + total)
    for count, share in arms:
        prior = concentration * share
        found += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return found
