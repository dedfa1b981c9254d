"""Sketches: the error bound, merging in any order, OTLP histograms at other scales, and the stored form."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.domain.sketch import (
    BASE,
    RELATIVE_ERROR,
    SMALLEST,
    NotASketch,
    Sketch,
    Unreadable,
    bucket_index,
    bucket_middle,
    merged,
)

PER_OCTAVE = 32
values = st.floats(min_value=SMALLEST, max_value=2.0**49, allow_nan=False)
many = st.lists(values | st.just(0.0), min_size=1, max_size=200)


def sketch_of(items: list[float]) -> Sketch:
    sketch = Sketch()
    for item in items:
        sketch.add(item)
    return sketch


def exact(items: list[float], q: float) -> float:
    position = q * (len(items) - 1)
    return sorted(items)[math.ceil(position) if q > 0.5 else math.floor(position)]


def exponential(items: list[float], scale: int) -> Sketch:
    indexes = [math.ceil(math.log2(item) * 2**scale) - 1 for item in items]
    offset = min(indexes)
    counts = [0] * (max(indexes) - offset + 1)
    for index in indexes:
        counts[index - offset] += 1
    sketch = Sketch()
    sketch.add_exponential(
        scale=scale, zero_count=3, positive=(offset, counts), negative=(0, []), total=None, low=None, high=None
    )
    return sketch


def test_the_bound_is_what_is_promised() -> None:
    assert RELATIVE_ERROR < 0.011


@given(many, st.sampled_from([0.0, 0.05, 0.5, 0.9, 0.95, 0.99, 1.0]))
@settings(max_examples=300)
def test_quantiles_stay_within_the_bound(items: list[float], q: float) -> None:
    estimate = sketch_of(items).quantile(q)
    assert estimate is not None
    assert estimate == pytest.approx(exact(items, q), rel=0.011)


@given(many, many)
def test_merging_equals_adding_everything(first: list[float], second: list[float]) -> None:
    whole, together = merged([sketch_of(first), sketch_of(second)]), sketch_of(second + first)
    assert (whole.positive, whole.zeros, whole.count) == (together.positive, together.zeros, together.count)
    assert (whole.low, whole.high) == (together.low, together.high)
    assert whole.total == pytest.approx(together.total)


@given(st.lists(values | values.map(lambda v: -v) | st.just(0.0), max_size=100))
def test_the_stored_form_returns_the_same_buckets(items: list[float]) -> None:
    sketch, again = sketch_of(items), Sketch()
    again.merge_bytes(sketch.buckets_bytes())
    assert (again.positive, again.negative, again.zeros) == (sketch.positive, sketch.negative, sketch.zeros)


def test_the_stored_form_stays_small_and_notices_damage() -> None:
    sketch = Sketch()
    for step in range(3 * PER_OCTAVE):
        sketch.add(BASE**step * 1.001, 70_000)
    stored = sketch.buckets_bytes()
    assert len(stored) < 540
    for damaged in (stored[:-4], b"", b"\x09" + stored[1:], stored[:20]):
        with pytest.raises(NotASketch):
            Sketch().merge_bytes(damaged)


@pytest.mark.parametrize("exponent", [-30, -1, 0, 1, 7, 31, 49])
def test_powers_of_two_lie_at_the_top_of_their_bucket(exponent: int) -> None:
    assert bucket_index(2.0**exponent) == exponent * PER_OCTAVE - 1
    assert bucket_index(2.0**exponent * 1.0001) == exponent * PER_OCTAVE


@given(st.lists(st.floats(1.0, 2.0), min_size=1, max_size=50), st.integers(min_value=5, max_value=12))
def test_finer_exponential_histograms_shift_down_without_loss(items: list[float], scale: int) -> None:
    sketch = exponential(items, scale)
    assert sketch.count == len(items) + 3
    assert sketch.zeros == 3
    for item in items:
        assert (math.ceil(math.log2(item) * 2**scale) - 1) >> (scale - 5) in sketch.positive


@given(st.lists(st.floats(1.0, 1_000.0), min_size=1, max_size=80), st.integers(min_value=1, max_value=4))
def test_coarser_exponential_histograms_stay_within_their_own_bound(items: list[float], scale: int) -> None:
    sketch = exponential(items, scale)
    sketch.zeros = 0
    base = 2.0 ** (2.0**-scale)
    estimate = sketch.quantile(0.5)
    assert estimate == pytest.approx(exact(items, 0.5), rel=math.sqrt(base) - 1 + 0.011)


@given(
    st.lists(st.integers(0, 500), min_size=4, max_size=4).filter(any),
    st.floats(0.01, 0.09),
    st.floats(10.5, 40.0),
)
def test_explicit_histograms_keep_counts_and_bounds(counts: list[int], low: float, high: float) -> None:
    sketch = Sketch()
    sketch.add_explicit(bounds=[0.1, 1.0, 10.0], counts=counts, total=None, low=low, high=high)
    assert sketch.count == sum(counts) == sum(sketch.positive.values())
    for position, (left, right) in enumerate([(low, 0.1), (0.1, 1.0), (1.0, 10.0), (10.0, high)]):
        inside = sum(
            n for index, n in sketch.positive.items() if left * 0.999 < BASE ** (index + 1) <= right * BASE * 0.9999
        )
        assert inside >= counts[position] * 0.9 - 1


def test_one_explicit_value_is_found_exactly() -> None:
    sketch = Sketch()
    sketch.add_explicit(bounds=[5.0, 10.0], counts=[7, 0, 0], total=2.1, low=0.3, high=0.3)
    assert sketch.quantile(0.5) == 0.3
    assert sketch.mean == pytest.approx(0.3)


def explicit(bounds: list[float], counts: list[int], **said: float) -> Sketch:
    sketch = Sketch()
    sketch.add_explicit(
        bounds=bounds, counts=counts, total=said.get("total"), low=said.get("low"), high=said.get("high")
    )
    return sketch


@pytest.mark.parametrize("mean", [0.02, 0.3, 2.5, 4.0])
def test_values_in_a_wide_bucket_are_placed_so_that_they_agree_with_the_sum(mean: float) -> None:
    """The default bounds of SDKs begin 0, 5, 10: of a metric in seconds everything lies in one bucket."""
    sketch = explicit([0.0, 5.0, 10.0], [0, 1_000, 0, 0], total=1_000 * mean)
    placed = sum(bucket_middle(index) * count for index, count in sketch.positive.items()) / 1_000
    assert placed == pytest.approx(mean, rel=0.03)
    median, p95 = sketch.quantile(0.5), sketch.quantile(0.95)
    assert median is not None
    assert p95 is not None
    assert median < p95 <= 5.0 * BASE
    if mean < 1:
        assert p95 == pytest.approx(3 * mean, rel=0.1)  # what an exponential distribution of that mean has


def test_a_value_above_all_bounds_is_as_large_as_the_sum_demands() -> None:
    assert explicit([1.0, 2.0], [0, 0, 1], total=500.0).quantile(0.5) == pytest.approx(500, rel=0.011)
    assert explicit([0.0], [0, 1], total=0.3).quantile(0.5) == pytest.approx(0.3, rel=0.011)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=60))
def test_negative_values_of_explicit_histograms_keep_their_side(items: list[float]) -> None:
    bounds = [-50.0, -5.0, 0.0, 5.0, 50.0]
    counts = [0] * 6
    for item in items:
        counts[sum(item > bound for bound in bounds)] += 1
    sketch = explicit(bounds, counts, total=sum(items), low=min(items), high=max(items))
    assert sketch.count == len(items) == sketch.zeros + sum(sketch.positive.values()) + sum(sketch.negative.values())
    assert sum(sketch.negative.values()) <= sum(item <= 0 for item in items)
    assert sum(sketch.positive.values()) <= sum(item > 0 for item in items)
    median = sketch.quantile(0.5)
    assert median is not None
    assert min(items) <= median <= max(items)


def test_one_bucket_for_everything_tells_nothing_without_both_extremes() -> None:
    with pytest.raises(Unreadable, match="min and max"):
        explicit([], [5], total=10.0, high=4.0)
    median = explicit([], [500], total=1_500.0, low=2.0, high=4.0).quantile(0.5)
    assert median == pytest.approx(3, rel=0.02)


def test_guarantees_are_never_flattered() -> None:
    two = sketch_of([100.0, 300.0])
    assert two.quantile(0.05) == pytest.approx(100, rel=0.011)
    assert two.quantile(0.95) == pytest.approx(300, rel=0.011)
    assert Sketch().quantile(0.5) is None
    assert Sketch().mean is None
