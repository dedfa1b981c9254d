"""Shares of devices: published sample sizes, and error rates of every look counted exactly, path by path."""

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from monitoring.domain.statistics.proportions import (
    Events,
    Progress,
    above,
    at_most,
    below,
    change,
    needed,
    needed_once,
    share,
)


def ever(stops: Callable[[int, int], bool], chance: float, devices: int) -> float:
    """Return exactly how likely any look of so many devices, one after another, stops."""
    alive, stopped = np.array([1.0]), 0.0
    for n in range(1, devices + 1):
        alive = np.append(alive * (1 - chance), 0.0) + np.append(0.0, alive * chance)
        for events in np.flatnonzero(alive > 0):
            if stops(int(events), n):
                stopped += float(alive[events])
                alive[events] = 0.0
    return stopped


@pytest.mark.parametrize("limit", [0.02, 0.3])
@pytest.mark.parametrize("evidence", [above, below])
def test_evidence__at_the_limit__is_reached_at_most_as_often_as_allowed(
    evidence: Callable[[Events, float], float], limit: float
) -> None:
    alpha = 0.05
    found = ever(lambda events, n: evidence(Events(events, n), limit) >= math.log(1 / alpha), limit, 180)
    assert 0 < found <= alpha


def test_evidence__of_shares_of_a_device__is_fair() -> None:
    # four devices, each with nothing, a half or all of its inferences failed, 0.3 in the mean: every outcome, weighed
    chances = {0.0: 0.55, 0.5: 0.3, 1.0: 0.15}
    for evidence in (above, below):
        expected = 0.0
        for values in product(chances, repeat=4):
            expected += math.prod(chances[value] for value in values) * math.exp(evidence(Events.of(values), 0.3))
        assert expected <= 1.0


def test_interval__every_look__holds_the_share() -> None:
    truth, alpha = 0.1, 0.1

    def misses(events: int, n: int) -> bool:
        wanted = math.log(2 / alpha)
        return above(Events(events, n), truth) >= wanted or below(Events(events, n), truth) >= wanted

    assert ever(misses, truth, 150) <= alpha
    for events, n in ((0, 30), (2, 40), (31, 150), (80, 80)):
        found = share(Events(events, n), alpha=alpha)
        assert found.low <= events / n <= found.high
        assert misses(events, n) is not (found.low < truth < found.high)


def test_two_arms__same_rate__differ_at_most_as_often_as_allowed() -> None:
    # events fall to the arms as devices do, here two of the treatment to one of the control
    alpha = 0.05

    def differs(of_treatment: int, events: int) -> bool:
        found = change(Events(of_treatment, 900), Events(events - of_treatment, 450), alpha=alpha, weight=2.0)
        return not found.low < 0 < found.high

    assert 0 < ever(differs, 2 / 3, 50) <= alpha


def test_two_arms__few_events__say_what_can_be_said() -> None:
    nothing = change(Events(0, 500), Events(0, 500), alpha=0.05)
    assert (nothing.low, nothing.high) == (-1.0, math.inf)
    assert math.isnan(nothing.estimate)
    found = change(Events(14, 300), Events(0, 300), alpha=0.05)
    assert found.low > 0.5
    assert found.high == math.inf
    fewer = change(Events(0, 300), Events(14, 300), alpha=0.05)
    assert fewer.low == fewer.estimate == -1.0
    assert fewer.high < -0.4
    more = change(Events(300, 5_000), Events(100, 5_000), alpha=0.001)
    assert more.estimate == pytest.approx(2.0)
    assert 0.7 < more.low < 2.0 < more.high


def test_no_crash_in_two_hundred__is_too_few_for_a_thousandth() -> None:
    found = share(Events(0, 200), alpha=0.1)
    assert found.high > 0.01
    assert below(Events(0, 200), 0.001) < math.log(20)
    need = needed(Events(0, 200), 0.001)
    assert need == 3_121
    assert below(Events(0, need), 0.001) >= math.log(20) > below(Events(0, need - 1), 0.001)
    assert needed(Events(1, 200), 0.001) == 8_834
    assert needed(Events(5, 10), 1e-6, most=10_000) is None


@pytest.mark.parametrize(("events", "need"), [(0, 59), (1, 93), (2, 124), (3, 153), (4, 181)])
def test_once__95_per_cent_sure_of_95_per_cent__is_the_published_table(events: int, need: int) -> None:
    assert needed_once(events, 0.05) == need


def test_once__rule_of_three() -> None:
    assert needed_once(0, 0.001) == 2_995
    assert needed_once(0, 0.01) == 299


def test_binomial_tail__is_the_sum_of_its_terms() -> None:
    exact = sum(math.comb(40, k) * 0.15**k * 0.85 ** (40 - k) for k in range(4))
    assert at_most(3, 40, 0.15) == pytest.approx(exact)
    assert (at_most(40, 40, 0.9), at_most(0, 5, 0.0), at_most(0, 5, 1.0)) == (1.0, 1.0, 0.0)


def test_progress__says_how_long_it_takes() -> None:
    assert Progress(200, 3_000, 100.0).hours == 28.0
    assert Progress(200, 3_000).hours is None
    assert Progress(3_000, 3_000).hours == 0.0


def test_values_that_are_no_shares__refused() -> None:
    assert Events.of([0, 0.25, 1]) == Events(1.25, 3)
    with pytest.raises(ValueError, match="between"):
        Events.of([2.0])
    with pytest.raises(ValueError, match="between"):
        above(Events(1, 2), 0.0)
