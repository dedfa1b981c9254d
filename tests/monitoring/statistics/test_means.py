"""Means: the published bound, its tuning, and how often intervals of many looks miss the truth, simulated with seeds."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.domain.statistics.means import (
    Interval,
    Sample,
    best_x,
    boundary,
    change,
    difference,
    mean,
)


def published(t: float, rho: float, alpha: float) -> float:
    """The half-width of Waudby-Smith and others for a standard deviation of 1."""
    return math.sqrt(2 * (t * rho**2 + 1) / (t**2 * rho**2) * math.log(math.sqrt(t * rho**2 + 1) / alpha))


@pytest.mark.parametrize("alpha", [0.05, 0.01, 1e-4])
@pytest.mark.parametrize("t", [40, 500, 20_000])
def test_bound__many_degrees_of_freedom__is_the_published_one(alpha: float, t: int) -> None:
    rho = math.sqrt(best_x(alpha) / 500)
    found = float(boundary(np.array(float(t)), np.array(1e12), alpha, 500)) / math.sqrt(t)
    assert found == pytest.approx(published(t, rho, alpha), rel=1e-6)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 1e-4])
def test_tuning__is_narrowest_at_the_stated_size(alpha: float) -> None:
    x = best_x(alpha)
    assert x - math.log1p(x) == pytest.approx(-2 * math.log(alpha))
    at = published(1000, math.sqrt(x / 1000), alpha)
    # the closed form that the paper gives for it is a near approximation
    near = math.sqrt((-2 * math.log(alpha) + math.log(-2 * math.log(alpha)) + 1) / 1000)
    assert at <= published(1000, near, alpha) <= at * 1.001
    assert all(at < published(1000, math.sqrt(x * times / 1000), alpha) for times in (0.7, 1.4))


def test_bound__few_devices__is_wider_and_then_infinite() -> None:
    found = [float(boundary(np.array(n / 2), np.array(2.0 * n - 2), 0.001, 50)) for n in (4, 10, 30, 100, 1000)]
    assert found[0] == math.inf
    assert found[1] > found[2] > found[3]
    assert found[3] == pytest.approx(math.sqrt(best_x(0.001) + 1), rel=0.06)


def test_bound__exact_for_normal_values_however_few() -> None:
    # of a two-sample t by its evidence: the Bayes factor at the bound is 1 / alpha
    alpha, n, freedom = 0.01, 12, 22.0
    t = float(boundary(np.array(n / 2), np.array(freedom), alpha, 50))
    x = n / 2 * best_x(alpha) / 50
    factor = ((1 + t * t / freedom) / (1 + t * t / freedom / (1 + x))) ** ((freedom + 1) / 2) / math.sqrt(1 + x)
    assert factor == pytest.approx(1 / alpha)


def running(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    n = np.arange(1, values.shape[1] + 1)
    means = np.cumsum(values, axis=1) / n
    variances = (np.cumsum(values**2, axis=1) - n * means**2) / np.maximum(n - 1, 1)
    return n, means, variances


@pytest.mark.parametrize("shape", ["normal", "lognormal", "exponential"])
def test_every_look__of_one_arm__misses_the_mean_no_more_often_than_allowed(shape: str) -> None:
    chance, runs, alpha = np.random.default_rng(7), 4_000, 0.05
    size = (runs, 600)
    values = {
        "normal": chance.normal(1, 0.4, size),
        "lognormal": chance.lognormal(-0.077, 0.392, size),
        "exponential": chance.exponential(size=size),
    }[shape]
    n, means, variances = running(values)
    bound = boundary(n[1:].astype(float), n[1:] - 1.0, alpha, 100)
    missed = np.abs(means[:, 1:] - values.mean()) > bound * np.sqrt(variances[:, 1:] / n[1:])
    assert missed[:, 28:].any(axis=1).mean() <= alpha * (1.5 if shape == "exponential" else 1)


def test_two_arms__intervals_hold_the_truth_and_narrow_with_devices() -> None:
    chance = np.random.default_rng(3)
    few, many = (Sample.of(chance.lognormal(0, 0.4, size)) for size in (60, 6_000))
    others = Sample.of(chance.lognormal(math.log(0.8), 0.4, 6_000))
    narrow, wide = change(others, many, alpha=0.05), change(others, few, alpha=0.05)
    assert narrow.low < -0.2 < narrow.high < 0
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    apart = difference(others, many, alpha=0.05)
    assert apart.low < -0.2 * math.exp(0.08) < apart.high < 0
    only = mean(many, alpha=0.05)
    assert only.low < math.exp(0.08) < only.high


def test_intervals__tuned_for_a_size__are_narrower_there() -> None:
    sample = Sample(50, 1.0, 0.16)
    near, far = mean(sample, alpha=0.01, tuned_for=50), mean(sample, alpha=0.01, tuned_for=5_000)
    assert near.high < far.high


def test_too_little__bounds_nothing() -> None:
    one, many = Sample.of([2.0]), Sample.of([1.0, 2.0, 3.0] * 20)
    assert mean(one, alpha=0.05) == Interval(2.0, -math.inf, math.inf)
    assert difference(many, one, alpha=0.05) == Interval(0.0, -math.inf, math.inf)
    assert change(one, many, alpha=0.05) == Interval(0.0, -1.0, math.inf)
    assert math.isnan(mean(Sample.of([]), alpha=0.05).estimate)
    # a mean that may as well be zero has no logarithm to speak of
    assert change(Sample.of([0.0] * 97 + [1.0] * 3), many, alpha=0.05).low == -1.0


def test_mean__all_alike__lies_where_the_few_who_may_differ_leave_it() -> None:
    found = mean(Sample(128, 3.2, 0.0), alpha=1e-5)
    share = -math.log(1e-5) / 128
    assert (found.low, found.high) == pytest.approx((3.2 * (1 - share), 3.2 * (1 + share)))
    assert math.isinf(mean(Sample(20, 3.2, 0.0), alpha=1e-5).high), "twenty may be alike by chance"
