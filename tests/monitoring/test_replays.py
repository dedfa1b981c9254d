"""Replays: what a criterion would have said over stored telemetry, before it is saved."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring import thresholds
from monitoring.domain import criteria as domain
from monitoring.domain.criteria import Criterion
from monitoring.domain.grid import Grid, Rows
from monitoring.domain.sketch import Sketch
from monitoring.models import DeviceHour, RollupPartial, Series
from monitoring.selectors.replays import replay
from monitoring.services.telemetry import device_hours_prune, device_hours_sum
from tests.monitoring.rows import seen, stored

NOW = datetime(2026, 11, 20, 12, 3, tzinfo=UTC)
TEN = timedelta(minutes=10)


def of_file(key: str, **changes: Any) -> Criterion:
    found = next(domain.document(one) for one in thresholds.load() if one.key == key)
    return domain.criterion({**found, **changes})


def sketch(*values: float) -> Sketch:
    made = Sketch()
    for value in values:
        made.add(value)
    return made


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.floats(0.01, 1e6)), min_size=1, max_size=40),
    st.integers(1, 12),
)
def test_trailing__is_what_merging_each_window_by_hand_gives(seen: list[tuple[int, float]], width: int) -> None:
    grid = Grid(10)
    for step, value in seen:
        grid.add(np.array([step]), Rows.of([(0, sketch(value))]))
    found = grid.trailing(width)
    for step in range(10):
        by_hand = Sketch()
        for at, value in seen:
            if step - width < at <= step:
                by_hand.add(value)
        assert found.counts()[step] == by_hand.count
        assert found.quantiles(0.95)[step] == by_hand.quantile(0.95)
        assert found.highs()[step] == (by_hand.high if by_hand.count else None)
        assert found.amounts()[step] == pytest.approx(by_hand.total)


def test_plus__grids_of_far_apart_values__are_both_there() -> None:
    low, high, nothing = Grid(2), Grid(2), Grid(2)
    low.add(np.array([0]), Rows.of([(0, sketch(0.001, 0.002))]))
    high.add(np.array([0, 1]), Rows.of([(0, sketch(5_000.0)), (0, sketch(7.0))]))

    found = low.packed().plus(nothing).plus(high)

    assert found.counts() == [3, 1]
    assert found.filled == [0, 1]
    assert found.highs() == [5_000.0, 7.0]
    assert found.quantiles(0.05)[0] == pytest.approx(0.001, rel=0.011)


@pytest.mark.django_db
@pytest.mark.parametrize("window", ["5m", "1h"])
def test_breach_of_half_an_hour_in_thirty_days__would_have_fired_once(window: str) -> None:
    metric, begins = "gen_ai.client.operation.duration", NOW - timedelta(days=30)
    series = Series.objects.create(
        environment="demo", metric=metric, backend_actual="gpu", device_class="synthetic-host", variant="on"
    )
    well, bad = sketch(*[0.8] * 95, *[1.2] * 5), sketch(*[9.0] * 100)
    breach = range(2_000, 2_003)
    RollupPartial.objects.bulk_create(
        RollupPartial(
            series=series,
            bucket_at=datetime.fromtimestamp(int(begins.timestamp()) // 600 * 600, tz=UTC) + step * TEN,
            width_seconds=600,
            count=one.count,
            total=one.total,
            squares=one.squares,
            low=one.low,
            high=one.high,
            buckets=one.buckets_bytes(),
        )
        for step in range(1, 4_320)
        for one in [bad if step in breach else well]
    )

    found = replay("demo", of_file("alert-latency", window=window), now=NOW)

    assert found.fired == 1
    assert found.steps == 4_319
    assert found.longest == (30 if window == "5m" else 80) * timedelta(minutes=1), "and until the window is over"
    assert (found.coarser, found.window) == ((True, TEN) if window == "5m" else (False, timedelta(hours=1)))


@pytest.mark.django_db
def test_switches_per_device__are_replayed_with_the_devices_of_each_hour() -> None:
    """The same 200 switches are ten for each of twenty devices, and a hundred for each of two."""
    for hours, devices in ((50, 20), (20, 2)):
        at = NOW - timedelta(hours=hours)
        for number in range(devices):
            seen(f"d{number}", at, variant="on")
        for number in range(devices):
            seen(f"c{number}", at, variant="off")
        stored("litert.backend.switches", [1.0] * 200, at, variant="on", width=600)

    found = replay("demo", of_file("alert-switches"), now=NOW)

    assert found.why_not == ""
    assert (found.fired, found.longest) == (1, timedelta(hours=1))


@pytest.mark.django_db
def test_switches_per_device__are_replayed_as_far_back_as_how_many_devices_there_were_is_kept() -> None:
    at = NOW - timedelta(days=20)
    for number in range(2):
        seen(f"d{number}", at, variant="on")
    stored("litert.backend.switches", [1.0] * 200, at, variant="on", width=600)
    device_hours_sum(now=NOW, environments=["demo"])
    device_hours_prune(now=NOW)
    assert not DeviceHour.objects.exists()

    found = replay("demo", of_file("alert-switches"), now=NOW)

    assert found.since is not None
    assert found.since < at + TEN
    assert (found.fired, found.longest) == (1, timedelta(hours=1))


@pytest.mark.django_db
def test_profile__is_replayed_by_class_and_rare_shares_by_their_whole() -> None:
    at = NOW - timedelta(days=2)
    for device_class, speed in (("snapdragon-8-gen3", 900.0), ("exynos-1480", 9.0)):
        stored("litert.prefill.throughput", [speed] * 50, at, actual="gpu", device_class=device_class, width=600)
    stored("app.sessions", [1.0] * 100, at, width=600)
    stored("app.crashes", [1.0] * 8, at, width=600)
    stored("app.sessions", [1.0] * 100, at - timedelta(hours=5), width=600)
    stored("app.crashes", [1.0], at - timedelta(hours=5), width=600)

    slow = replay("demo", of_file("alert-gpu-throughput"), now=NOW)
    crashing = replay("demo", of_file("alert-crash-rate"), now=NOW)

    assert (slow.fired, slow.failed) == (1, 1)
    assert crashing.fired == 1, "eight crashes in a hundred sessions are no chance, one may be"


@pytest.mark.django_db
def test_what_cannot_be_replayed__says_why() -> None:
    assert "measured now" in replay("demo", of_file("security-audit-gaps"), now=NOW).why_not
    assert "comparison" in replay("demo", of_file("phase-3x"), now=NOW).why_not
    assert replay("demo", of_file("alert-latency"), now=NOW).steps == 0
