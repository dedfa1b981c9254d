"""Sample-ratio mismatch: the published formula, its fairness by enumeration, and false alarms over every look."""

import math
from itertools import product

import numpy as np
import pytest

from monitoring.domain.statistics import ratio
from monitoring.domain.statistics.ratio import ALPHA, by_class, sample_ratio, together


def test_evidence__one_arm_only__is_the_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    # with a uniform prior all of n in one arm of two are 2 ** n / (n + 1) times likelier
    monkeypatch.setattr(ratio, "CONCENTRATIONS", (2,))
    assert sample_ratio((10, 0), (1, 1)).log_evidence == pytest.approx(math.log(2**10 / 11))
    assert sample_ratio((10, 0), (1, 1)).p_value == pytest.approx(11 / 2**10)
    # three arms, uniform: 2! 1! 1! among the 6! / 2! that four more draws make, against 3 ** -4
    monkeypatch.setattr(ratio, "CONCENTRATIONS", (3,))
    found = sample_ratio((2, 1, 1), (1, 1, 1)).log_evidence
    assert found == pytest.approx(math.log(2 * math.factorial(2) / math.factorial(6) * 3**4))


@pytest.mark.parametrize("weights", [(1, 1), (1, 3), (2, 1, 1)])
def test_evidence__enumerated__is_fair_at_the_intended_shares(weights: tuple[int, ...]) -> None:
    devices, whole = 9, sum(weights)
    mean = 0.0
    for counts in product(range(devices + 1), repeat=len(weights)):
        if sum(counts) != devices:
            continue
        ways = math.factorial(devices) / math.prod(map(math.factorial, counts))
        chance = ways * math.prod((weight / whole) ** count for count, weight in zip(counts, weights, strict=True))
        mean += chance * math.exp(sample_ratio(counts, weights).log_evidence)
    assert mean == pytest.approx(1.0)


def test_every_look__nothing_wrong__alarms_at_most_once_in_a_thousand() -> None:
    runs, devices = 4_000, 1_500
    came = np.cumsum(np.random.default_rng(1).random((runs, devices)) < 0.5, axis=1)
    # the evidence depends on the counts alone: the largest distance that any look allows is found once for each look
    alarms = np.zeros(runs, dtype=bool)
    for look in range(10, devices + 1, 10):
        counts = np.unique(came[:, look - 1])
        odd = [count for count in counts if sample_ratio((int(count), look - int(count)), (1, 1)).mismatch]
        alarms |= np.isin(came[:, look - 1], odd)
    assert alarms.mean() <= ALPHA + 0.001


def test_missing_devices__found_in_small_and_in_large_fleets() -> None:
    assert not sample_ratio((100, 100), (1, 1)).mismatch
    assert not sample_ratio((113, 87), (1, 1)).mismatch
    assert sample_ratio((100, 45), (1, 1)).mismatch
    assert sample_ratio((51_500, 48_500), (1, 1)).mismatch
    assert not sample_ratio((50_500, 49_500), (1, 1)).mismatch
    found = sample_ratio((30, 60), (1, 2))
    assert found.expected == (30.0, 60.0)
    assert found.p_value == 1.0


def test_weightless_arm__any_device_in_it_is_a_mismatch() -> None:
    assert sample_ratio((0, 50), (0, 1)).p_value == 1.0
    found = sample_ratio((1, 50), (0, 1))
    assert (found.p_value, found.mismatch, found.expected) == (0.0, True, (0.0, 51.0))


def test_no_devices__say_nothing() -> None:
    assert sample_ratio((0, 0), (1, 1)).p_value == 1.0


@pytest.mark.parametrize(("counts", "weights"), [((1, 2), (1,)), ((-1, 2), (1, 1)), ((1, 2), (0, 0)), ((), ())])
def test_counts_that_do_not_fit__refused(counts: tuple[int, ...], weights: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="weight"):
        sample_ratio(counts, weights)


def test_steps_of_a_ramp__add_their_evidence() -> None:
    first, second = sample_ratio((40, 60), (1, 1)), sample_ratio((300, 100), (3, 1))
    joined = together([first, second])
    assert joined.counts == (340, 160)
    assert joined.expected == (350.0, 150.0)
    assert joined.log_evidence == pytest.approx(first.log_evidence + second.log_evidence)
    with pytest.raises(ValueError, match="step"):
        together([])


def test_classes__the_one_that_lacks_devices_stands_first() -> None:
    found = by_class({"pixel": (500, 480), "galaxy": (400, 250), "redmi": (20, 30)}, (1, 1))
    assert next(iter(found)) == "galaxy"
    assert [name for name, one in found.items() if one.mismatch] == ["galaxy"]
    assert found["pixel"].alpha == ALPHA / 3
