"""Cohorts: planted culprits are found with little more than themselves, and none where nothing is wrong."""

import numpy as np
import pytest

from hawkops.bench.error_rates import planted
from monitoring.domain.cohorts import CHANCE_MOST, Cohort, Device, culprits


def fleet(
    seed: int, worse: float, *, devices: int = 1_200, control: bool = True, drivers: tuple[str, ...] = ("511", "512")
) -> list[Device]:
    """Devices of two drivers and three systems, of which 2 % are bad, and in treatment on driver 511 a share more."""
    chance = np.random.default_rng(seed)
    made = []
    for _ in range(devices):
        driver, system = str(chance.choice(drivers, p=(0.3, 0.7))), str(chance.choice(("33", "34", "35")))
        treated = not control or bool(chance.random() < 0.5)
        bad = chance.random() < 0.02 + worse * (treated and driver == "511")
        made.append(Device(("gpu", "Tensor G2", driver, system, "Pixel 7"), treated, float(bad)))
    return made


def test_culprit__is_named_with_its_numbers_and_the_rest_is_well() -> None:
    devices = fleet(1, 0.2)
    found = culprits(devices)
    assert [one.name for one in found.cohorts] == ["driver 511"]
    (cohort,) = found.cohorts
    inside = [one for one in devices if one.attributes[2] == "511"]
    assert cohort.treatment == sum(one.treatment for one in inside)
    assert cohort.control == sum(not one.treatment for one in inside)
    bad = sum(one.value for one in inside if one.treatment)
    assert cohort.treatment_mean == pytest.approx(bad / cohort.treatment)
    assert cohort.treatment_mean > 5 * cohort.control_mean
    assert cohort.chance < 1e-6
    assert (found.restored, found.everywhere, found.excluded, found.devices) == (True, False, len(inside), 1_200)
    assert all(cohort.holds(one.attributes) is not bool(kept) for one, kept in zip(devices, found.rest, strict=True))


@pytest.mark.parametrize(("share", "others"), [(0.4, 0.02), (0.02, 0.4), (0.0, 0.15)])
def test_cohort_that_was_always_bad__or_always_good__is_no_culprit(share: float, others: float) -> None:
    found = 0
    for seed in range(10):
        chance = np.random.default_rng(seed)
        shares = {"511": share, "512": others}
        devices = [one._replace(value=float(chance.random() < shares[one.attributes[2]])) for one in fleet(seed, 0.0)]
        found += bool(culprits(devices).cohorts)
    assert found <= 1


def test_harm_in_all_devices__is_said_to_be_everywhere() -> None:
    chance = np.random.default_rng(3)
    found = culprits([one._replace(value=float(chance.random() < 0.02 + 0.2 * one.treatment)) for one in fleet(3, 0.0)])
    assert (found.cohorts, found.everywhere, found.restored) == ((), True, False)


def test_nothing_wrong__nothing_found() -> None:
    wrong = sum(bool(culprits(fleet(seed, 0.0, devices=600)).cohorts) for seed in range(40))
    assert wrong / 40 <= CHANCE_MOST
    found = culprits(fleet(1, 0.0))
    assert (found.cohorts, found.everywhere, found.restored, found.excluded) == ((), False, True, 0)


def test_amounts__more_is_worse_by_their_ratio() -> None:
    chance = np.random.default_rng(4)
    devices = [
        one._replace(
            value=float(chance.lognormal(7, 0.4)) * (1.4 if one.treatment and one.attributes[3] == "35" else 1)
        )
        for one in fleet(4, 0.0)
    ]
    assert [one.name for one in culprits(devices).cohorts] == ["os 35"]
    # the other way round it is an improvement
    assert culprits([one._replace(value=1e6 / one.value) for one in devices]).cohorts == ()


def test_without_a_control__judged_by_the_limit() -> None:
    devices = fleet(5, 0.2, control=False)
    found = culprits(devices, limit=0.03)
    assert [one.name for one in found.cohorts] == ["driver 511"]
    assert found.restored
    assert found.cohorts[0].control == 0
    with pytest.raises(ValueError, match="limit"):
        culprits(devices)
    with pytest.raises(ValueError, match="limit"):
        culprits([one._replace(value=7.0) for one in devices], limit=0.03)


def test_no_devices__nothing_to_say() -> None:
    found = culprits([])
    assert (found.cohorts, found.restored, found.devices) == ((), False, 0)


@pytest.mark.parametrize("crashes", [True, False])
def test_planted_culprits__found_with_at_most_two_cohorts_more(crashes: bool) -> None:
    fleets = [planted(seed, crashes=crashes) for seed in range(500, 520)]
    assert {len(one.cohorts) for one in fleets} == {1, 2}
    found = sum(one.found_by(culprits(one.devices)) for one in fleets)
    assert found >= 19
    # of the same fleets, what is found does not depend on the order of devices
    again = culprits(fleets[0].devices[::-1])
    names = {one.name for one in culprits(fleets[0].devices).cohorts}
    assert {one.name for one in again.cohorts} == names


def test_cohort__says_what_it_is() -> None:
    one = Cohort((("soc", "Tensor G2"), ("driver", "512")), 10, 12, 0.5, 0.0, 0.001)
    assert one.name == "soc Tensor G2 and driver 512"
    assert one.holds(("gpu", "Tensor G2", "512", "34", "Pixel 7"))
    assert not one.holds(("gpu", "Tensor G2", "511", "34", "Pixel 7"))
