"""One value per device: bands close once, in order, and never change; alpha is never spent twice."""

import numpy as np
import pytest

from hawkops.core.verdicts import Verdict
from monitoring.domain.criteria import Comparator
from monitoring.domain.statistics.guardrails import Rule, judge
from monitoring.domain.statistics.means import Sample
from monitoring.domain.statistics.spending import ALPHA, RATIO, SILENCE, spend
from monitoring.domain.statistics.values import BAND_ENDS, band, by_band

# device 0 since hour 100, device 1 since hour 103; what was seen in an hour: total and count
ROWS = [
    (0, 100, 30.0, 10.0),
    (0, 101, 8.0, 2.0),
    (0, 105, 2.0, 8.0),
    (0, 106, 50.0, 1.0),
    (1, 103, 7.0, 7.0),
    (1, 108, 0.0, 0.0),
]
FIRST = np.array([100, 103])


def columns() -> tuple[np.ndarray, ...]:
    device, hour, total, count = zip(*ROWS, strict=True)
    return np.array(device), np.array(hour), np.array(total), np.array(count)


def found(closed_before: int) -> list[dict[int, float]]:
    bands = by_band(*columns(), first=FIRST, closed_before=closed_before)
    assert len(bands) == len(BAND_ENDS)
    return [dict(zip(one.devices.tolist(), one.values.tolist(), strict=True)) for one in bands]


def test_bands__count_once_all_their_hours_are_closed() -> None:
    assert found(100)[0] == {}
    assert found(101)[0] == {0: 3.0}
    assert found(104)[:2] == [{0: 3.0, 1: 1.0}, {}]
    # hours 1 to 5 of device 0: a mean over what was seen, 10 of 10; device 1 was silent in its own and has none
    assert found(106)[1] == {0: 1.0}
    assert found(200)[1] == {0: 1.0}
    assert found(200)[2] == {0: 50.0}


def test_bands__a_value_that_counts_never_changes() -> None:
    before = found(101)
    for closed in range(102, 300):
        after = found(closed)
        for earlier, later in zip(before, after, strict=True):
            assert earlier.items() <= later.items()
        before = after


def test_bands__devices_stand_in_the_order_in_which_they_began_to_count() -> None:
    device, hour, total, count = columns()
    swapped = by_band(1 - device, hour, total, count, first=FIRST[::-1].copy(), closed_before=200)
    assert swapped[0].devices.tolist() == [1, 0]


def test_band_of_an_hour() -> None:
    assert [band(age) for age in (-1, 0, 1, 5, 6, 47, 48, 767, 768)] == [None, 0, 1, 1, 2, 3, 4, 7, None]


@pytest.mark.parametrize("classes", [(), ("a",), ("a", "b", "other"), tuple("abcdefgh")])
def test_budget__everything_together_is_at_most_alpha(classes: tuple[str, ...]) -> None:
    budget = spend({"throughput": 2, "latency": 1, "crashes": 3}, classes)
    everywhere = ["", *({budget.counted_as(name) for name in (*classes, "never seen")} if classes else ())]
    spent = RATIO + SILENCE
    for key in budget.guardrails:
        for number in range(len(BAND_ENDS)):
            spent += sum(budget.alpha(key, band=number, device_class=name) for name in everywhere)
    assert 0.95 * ALPHA < spent <= ALPHA
    assert budget.alpha("throughput", band=0) == pytest.approx(2 * budget.alpha("latency", band=0))


def test_budget__unusable_weights_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        spend({"latency": 0})
    with pytest.raises(ValueError, match="alpha"):
        spend({"latency": 1}, alpha=RATIO)
    with pytest.raises(KeyError):
        spend({"latency": 1}).alpha("memory", band=0)
    with pytest.raises(KeyError, match="no classes"):
        spend({"latency": 1}).alpha("latency", band=0, device_class="Pixel 7")


def test_whole_way__harm_that_takes_hours_is_found_in_the_band_where_it_shows() -> None:
    # 400 devices an arm come over 12 hours and report for 30; from its seventh hour on the treatment is a fifth slower
    chance, devices = np.random.default_rng(11), 800
    first, treated = np.sort(chance.integers(500_000, 500_012, devices)), chance.random(devices) < 0.5
    own = chance.lognormal(4, 0.4, devices)
    device, age = (grid.ravel() for grid in np.meshgrid(np.arange(devices), np.arange(30), indexing="ij"))
    count = chance.integers(1, 9, device.size).astype(float)
    slower = np.where(treated[device] & (age >= 6), 0.8, 1.0)
    amount = count * own[device] * slower * chance.lognormal(0, 0.3, device.size)
    budget, rule = spend({"throughput": 1}), Rule(Comparator.AT_LEAST)

    def verdicts(closed_before: int) -> list[Verdict]:
        bands = by_band(device, first[device] + age, amount, count, first=first, closed_before=closed_before)
        sides = [[Sample.of(one.values[treated[one.devices] == arm]) for arm in (True, False)] for one in bands]
        return [
            judge(rule, *side, alpha=budget.alpha("throughput", band=number)).verdict
            for number, side in enumerate(sides)
        ]

    assert set(verdicts(500_000)) == {Verdict.NO_DATA}
    assert verdicts(500_013)[0] is Verdict.INSUFFICIENT
    found = verdicts(500_042)
    assert found[2] is Verdict.FAIL
    assert Verdict.FAIL not in found[:2]
    assert set(found[3:]) == {Verdict.NO_DATA}
