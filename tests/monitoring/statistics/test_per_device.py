"""Sums over devices and what is concluded from them: by hand, exactly, and against drawing again."""

import json
import math
from itertools import product

import numpy as np
import pytest

from monitoring.domain import by_observation, intervals, metrics, ranks
from monitoring.domain.criteria import Criterion, criterion
from monitoring.domain.grid import Distribution, Grid, Rows
from monitoring.domain.numbers import Numbers, Side, document, numbers_of
from monitoring.domain.sketch import Sketch
from monitoring.domain.statistics import means, per_device, proportions
from monitoring.domain.statistics.means import Sample
from monitoring.domain.statistics.per_device import PerDevice
from monitoring.domain.statistics.proportions import Events

ALPHA = 0.1


def pairs(*given: tuple[float, float]) -> PerDevice:
    """Sums of so many devices, each with an amount and what it is of."""
    amounts, of = np.array(given, dtype=float).reshape(-1, 2).T
    return PerDevice.summed(amounts, of)


def test_sums__of_three_devices__give_what_is_reckoned_by_hand() -> None:
    """Failed of all inferences: 1 of 10, 0 of 20, 5 of 10."""
    found = pairs((1, 10), (0, 20), (5, 10))
    assert (found.devices, found.affected, found.lacking) == (3, 2, 3)
    # each device once: (0.1 + 0 + 0.5) / 3, and the variance of these three
    assert found.mean == pytest.approx(0.2)
    assert found.sample().variance == pytest.approx((0.1**2 + 0.2**2 + 0.3**2) / 2)
    # all by all: 6 / 40, residuals 1 - 1.5, 0 - 3 and 5 - 1.5, of 40 / 3 inferences a device
    assert found.ratio == pytest.approx(0.15)
    assert found.ratios().variance == pytest.approx((0.5**2 + 3**2 + 3.5**2) / 2 / (40 / 3) ** 2)
    # 40 ** 2 / (100 + 400 + 100) devices of equal weight
    assert found.units == 2
    assert PerDevice.of_document(json.loads(json.dumps(found.document()))) == found


def test_ratio__every_outcome_of_few_devices__its_variance_is_right_on_average() -> None:
    """Of all 3 ** 6 draws of six devices from three kinds, the mean of the estimated variances is the variance."""
    kinds = [(1.0, 8.0), (2.0, 10.0), (4.0, 12.0)]
    draws = [pairs(*draw) for draw in product(kinds, repeat=6)]
    errors = [one.ratios().variance / one.devices for one in draws]
    true = float(np.var([one.ratio or 0.0 for one in draws]))
    assert np.mean(errors) == pytest.approx(true, rel=0.03)


def test_weights__one_device_that_reports_nearly_everything__counts_as_hardly_more_than_one() -> None:
    assert pairs(*[(0, 5)] * 200).units == 200
    assert pairs((0, 100_000), *[(0, 5)] * 199).units == 1
    found = PerDevice.summed(np.zeros(100), np.ones(100), stands_for=25.0)
    assert found.units == 2_500


@pytest.mark.parametrize(("devices", "safe"), [(200, False), (3_200, True)])
def test_share__without_an_event__is_bounded_by_devices_and_not_by_sessions(devices: int, safe: bool) -> None:
    found = pairs(*[(0, 50)] * devices)
    one = per_device.share(found, 0.0, alpha=ALPHA)
    assert one is not None
    assert one == proportions.share(Events(0, devices), alpha=ALPHA)
    assert (one.high < 0.0012) is safe
    assert per_device.needed_for(0.001) == 3_000


def test_share__a_clustered_failure__is_wider_than_of_as_many_scattered_ones() -> None:
    scattered = pairs(*[(1, 100)] * 200, *[(0, 100)] * 200)
    clustered = pairs(*[(5, 100)] * 40, *[(0, 100)] * 360)
    widths = []
    for found in (scattered, clustered):
        assert per_device.measurable(found)
        one = per_device.share(found, 0.005, alpha=ALPHA)
        assert one is not None
        assert one.low < 0.005 < one.high
        widths.append(one.high - one.low)
    assert widths[1] > 2.5 * widths[0]
    # the same two hundred failures, all on four phones: their differences are not known, so the bound is exact
    four = pairs(*[(50, 100)] * 4, *[(0, 100)] * 396)
    assert not per_device.measurable(four)
    one = per_device.share(four, 0.005, alpha=ALPHA)
    assert one is not None
    exact = proportions.share(Events(2, 400), alpha=ALPHA)
    assert (one.low, one.high) == (exact.low, exact.high)


def test_change__of_devices_means__is_what_guardrails_have() -> None:
    chance = np.random.default_rng(1)
    own, other = chance.normal(90, 20, 60), chance.normal(100, 20, 80)
    counts = chance.integers(1, 500, 60), chance.integers(1, 500, 80)
    sides = [
        PerDevice.summed(values * many, many.astype(float)) for values, many in zip((own, other), counts, strict=True)
    ]
    found = per_device.change(*sides, alpha=ALPHA)
    wanted = means.change(Sample.of(own), Sample.of(other), alpha=ALPHA)
    assert found is not None
    assert (found.low, found.estimate, found.high) == pytest.approx((wanted.low, wanted.estimate, wanted.high))
    assert per_device.change(pairs(*[(1, 1)] * 29), sides[1], alpha=ALPHA) is None


def test_change__where_most_have_none__counts_the_devices_that_have_one() -> None:
    """One phone that crashes fifty times is one phone, and fifty phones are fifty."""
    calm = pairs(*[(0, 10)] * 1_000)
    one_phone = pairs((50, 10), *[(0, 10)] * 999)
    fifty = pairs(*[(1, 10)] * 50, *[(0, 10)] * 950)
    lows = [
        found.low
        for side in (one_phone, fifty)
        if (found := per_device.ratio_change(side, calm, (0.005, 0.0), alpha=ALPHA)) is not None
    ]
    assert lows[0] < 0 < lows[1]


def test_alike__devices_without_any_spread__are_exact_from_thirty_on() -> None:
    found = per_device.mean(pairs(*[(6, 3)] * 30), alpha=ALPHA)
    assert found is not None
    assert (found.low, found.high) == (2.0, 2.0)
    assert per_device.mean(pairs(*[(6, 3)] * 29), alpha=ALPHA) is None


# ---- percentiles ----


def mixed(bad: int, good: int) -> Distribution:
    """A hundred observations of each device: slow ones of 4 s, others of 1 s."""
    sketch = Sketch()
    for value, many in ((1.0, good), (4.0, bad)):
        for _ in range(100 * many):
            sketch.add(value)
    grid = Grid(1)
    grid.add(np.zeros(1, np.int64), Rows.of([(0, sketch)]))
    return grid.merged()


def test_quantile__a_twentieth_of_devices_always_slow__is_told_from_none_only_by_enough_devices() -> None:
    """Of 200 devices 8 are slow: 4 %, and 6 % of the fleet are possible, so that its p95 may be slow."""
    found = mixed(8, 192)
    naive, by_device = ranks.quantile(found, 0.95), ranks.quantile(found, 0.95, 200)
    assert naive is not None
    assert by_device is not None
    assert naive.high < 2 < 3.5 < by_device.high
    few = ranks.quantile(mixed(0, 40), 0.95, 40)
    assert few is not None
    assert few.high == math.inf
    assert ranks.quantile(found, 0.95, 0) is None
    least = per_device.needed_for_rank(0.05)
    assert least == 61
    for devices, known in ((least - 1, False), (least, True)):
        one = ranks.quantile(mixed(0, devices), 0.95, devices)
        assert one is not None
        assert math.isfinite(one.high) is known


# ---- criteria ----


def rule(**given: object) -> Criterion:
    """A criterion of a decision."""
    known: dict[str, object] = {
        "key": "decision-x",
        "title": "X",
        "purpose": "go/no-go",
        "metric": metrics.MEMORY,
        "aggregate": "mean",
        "window": "48h",
        "comparator": "<",
        "threshold": "1000 MB",
        "serves": "Proceed",
    }
    return criterion({**known, **given})


def test_numbers__of_a_panel_that_keeps_nothing__have_no_interval_and_say_how_many_it_takes() -> None:
    observed = Distribution((10_000, 10_000 * 5e8, 10_000 * 2.6e17, 4e8, 6e8))
    kept = Numbers(Side(observed, panel=PerDevice()))
    assert intervals.interval(rule(), kept) is by_observation.UNKNOWN
    counted = intervals.devices(rule(), kept)
    assert counted is not None
    assert (counted.have, counted.need, counted.enough) == (0, 30, False)
    assert document(numbers_of(json.loads(json.dumps(document(kept))))) == document(kept)
    # nor where nobody asked for devices: never by observation instead, but of a decision of before
    assert intervals.interval(rule(), Numbers(Side(observed))) is by_observation.UNKNOWN
    before = Numbers(Side(observed), by_observation=True)
    assert intervals.interval(rule(), before).high < 6e8
    assert intervals.devices(rule(), before) is None


def test_interval__covers_where_devices_differ__and_the_one_by_observation_does_not() -> None:
    """Two hundred runs of 100 devices, each with its own level and 50 observations around it."""
    one, missed, naive = rule(), 0, 0
    chance = np.random.default_rng(3)
    for _ in range(200):
        levels = chance.normal(9e8, 9e7, 100)
        values = levels[:, None] + chance.normal(0, 3e7, (100, 50))
        observed = Distribution(
            (values.size, values.sum(), (values * values).sum(), float(values.min()), float(values.max()))
        )
        side = Side(observed, panel=PerDevice.summed(values.sum(axis=1), np.full(100, 50.0)))
        for by_device in (True, False):
            found = intervals.interval(one, Numbers(side, by_observation=not by_device))
            wrong = not found.low <= 9e8 <= found.high
            missed, naive = missed + (wrong and by_device), naive + (wrong and not by_device)
    assert missed <= 10
    assert naive > 60
