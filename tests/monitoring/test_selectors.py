"""Reading windows: merged lines, populations, switches, backends, throughput with its age."""

from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import DjangoAssertNumQueries

from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from monitoring.domain import metrics, windows
from monitoring.domain.windows import Window
from monitoring.models import DeviceHour, PayloadDigest, Series
from monitoring.selectors import telemetry as selectors
from monitoring.selectors.history_gaps import history_gaps
from monitoring.selectors.telemetry import REAL, SIMULATED, Population, Rolled
from monitoring.services import telemetry as services
from tests.monitoring.rows import seen, steps, stored

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 12, 30, 4, tzinfo=UTC)
REAL_DEVICES = Population(REAL, "Real devices", simulated=False)
SIMULATED_DEVICES = Population(SIMULATED, "Simulated devices", simulated=True)


def by_backend(series: Series) -> str:
    return series.backend_actual


def test_windows_hold_now_in_their_last_step() -> None:
    for choice in windows.CHOICES:
        window = windows.window(choice, NOW)
        assert window.index(NOW) == window.steps - 1
        assert window.span == choice.span
        assert window.starts()[0] == window.since
        assert len(window.starts()) == window.steps
    assert windows.chosen("nonsense").key == "15m"
    earlier = windows.window(windows.CHOICES[0], NOW).earlier(timedelta(hours=1))
    assert earlier.index(NOW) == earlier.steps - 1


@pytest.mark.parametrize(
    ("key", "days", "step_seconds"),
    [("15m", 0.05, 10), ("15m", 1, 60), ("1h", 10, 600), ("6h", 10, 600), ("7d", 10, 3_600), ("15m", 60, 3_600)],
)
def test_a_window_that_ended_has_the_steps_that_are_kept_of_it(key: str, days: float, step_seconds: int) -> None:
    until = NOW - timedelta(days=days)
    window = windows.ended(windows.chosen(key), until, NOW)
    assert window.step == timedelta(seconds=step_seconds)
    assert window.span >= windows.chosen(key).span
    assert window.index(until) == window.steps - 1


def test_lines_merge_partial_rows_of_one_bucket_in_three_queries(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for moment in steps(NOW, 60):
        stored(metrics.PREFILL, [200.0, 300.0], moment)
        stored(metrics.PREFILL, [400.0], moment)  # as another process saw it
        stored(metrics.PREFILL, [1_900.0], moment, actual="gpu", requested="gpu")
        stored(metrics.PREFILL, [9.0], moment, environment="production")
    window = windows.window(windows.CHOICES[0], NOW)
    with django_assert_num_queries(2):
        found = selectors.lines(environment="demo", names=(metrics.PREFILL,), window=window, group=by_backend, now=NOW)
    assert set(found) == {"cpu", "gpu"}
    assert found["cpu"].whole.count == 180
    assert found["cpu"].grid.counts()[-1] == 3
    medians = found["cpu"].grid.quantiles(0.5)
    assert medians[0] is None
    assert medians[-1] == pytest.approx(300, rel=0.011)
    assert found["cpu"].last_at == NOW.replace(second=0)


def test_real_devices_come_first_and_simulated_ones_stand_apart() -> None:
    seen("a", NOW)
    seen("b", NOW - timedelta(hours=1))
    seen("c", NOW - timedelta(hours=3))
    for number in range(3):
        seen(f"s{number}", NOW, device_class="tensor-g4", simulated=True)
    seen("s9", NOW, device_class="exynos-1480", simulated=True)
    classes = selectors.device_classes("demo", now=NOW)
    assert [(one.name, one.devices, one.simulated) for one in classes] == [
        ("synthetic-host", 2, False),
        ("exynos-1480", 1, True),
        ("tensor-g4", 3, True),
    ]
    offered = selectors.populations(classes)
    assert [one.key for one in offered] == ["real", "simulated", "simulated:exynos-1480", "simulated:tensor-g4"]
    assert [selectors.devices_in(classes, one) for one in offered] == [2, 4, 1, 3]
    assert selectors.populations([])[0].key == "real"
    assert selectors.device_classes("production", now=NOW) == []


def test_throughput_carries_value_sample_and_age() -> None:
    for moment in steps(NOW - timedelta(seconds=10), 20):
        stored(metrics.PREFILL, [30_000.0, 32_000.0, 31_000.0], moment)
    stored(metrics.PREFILL, [5_000.0], NOW - timedelta(minutes=20), actual="gpu")
    found = selectors.throughputs(environment="demo", population=REAL_DEVICES, now=NOW)
    assert set(found) == {"cpu"}  # nothing ran on the GPU in five minutes
    prefill = found["cpu"]
    assert prefill.value == pytest.approx(30_000, rel=0.011)
    assert prefill.median == pytest.approx(31_000, rel=0.011)
    assert prefill.count == 60
    assert prefill.at is not None and NOW - prefill.at < timedelta(seconds=20)
    assert selectors.throughputs(environment="staging", population=REAL_DEVICES, now=NOW) == {}
    assert selectors.throughputs(environment="demo", population=SIMULATED_DEVICES, now=NOW) == {}


def switches(window: Window, population: Population = REAL_DEVICES) -> dict[str, Rolled]:
    return selectors.per_device_hour(
        environment="demo", metric=metrics.SWITCHES, window=window, population=population, now=NOW
    )


def test_switches_are_counted_per_device_over_the_hour_before() -> None:
    for moment in (NOW, NOW - timedelta(hours=1)):
        seen("a", moment)
        seen("b", moment)
    for minutes in (50, 40, 2):
        stored(metrics.SWITCHES, [2.0], NOW - timedelta(minutes=minutes))
    stored(metrics.SWITCHES, [8.0], NOW - timedelta(minutes=70))
    stored(metrics.INFERENCES, [5.0], NOW)
    found = switches(windows.window(windows.CHOICES[0], NOW))[""]
    assert found.values[-1] == 3.0
    assert found.values[0] == 6.0  # 15 minutes ago the early eight still count
    assert found.total == 2.0
    assert found.last_at is not None
    assert switches(windows.window(windows.CHOICES[0], NOW), SIMULATED_DEVICES) == {}


def test_switches_of_an_hour_are_divided_by_the_devices_of_that_hour() -> None:
    for number in range(10):
        seen(f"early-{number}", NOW - timedelta(hours=5))
    seen("a", NOW)
    stored(metrics.SWITCHES, [20.0], NOW - timedelta(hours=5))
    stored(metrics.SWITCHES, [4.0], NOW)
    window = windows.window(windows.chosen("6h"), NOW)
    found = switches(window)[""]
    assert found.values[window.index(NOW - timedelta(hours=5))] == 2.0
    assert found.values[-1] == 4.0


def test_switches_of_each_side_are_divided_by_its_own_devices() -> None:
    for name, variant in (("a", "on"), ("b", "on"), ("c", "safe")):
        seen(name, NOW, variant=variant)
        stored(metrics.INFERENCES, [5.0], NOW, variant=variant)
    stored(metrics.SWITCHES, [6.0], NOW, variant="on")
    stored(metrics.SWITCHES, [5.0], NOW, variant="safe")
    found = switches(windows.window(windows.CHOICES[0], NOW))
    assert {side: one.values[-1] for side, one in found.items()} == {"treatment": 3.0, "control": 5.0}


def test_a_counter_is_added_up_over_its_own_window_whatever_the_page_shows() -> None:
    failed = "litert.model.validations"
    for hours, many in ((23, 3.0), (5, 2.0), (30, 9.0)):
        stored(failed, [many], NOW - timedelta(hours=hours), outcome="failed", width=10)
    stored(metrics.INFERENCES, [5.0], NOW)
    window = windows.window(windows.CHOICES[0], NOW)
    found = selectors.rolling(
        environment="demo", names=(failed,), counts=lambda series: series.metric == failed, window=window,
        span=timedelta(hours=24), population=REAL_DEVICES, now=NOW,
    )  # fmt: skip
    assert found[""].values[-1] == 5.0
    assert found[""].total == 0.0


def test_silences_of_the_history_end_or_last_in_their_step() -> None:
    now = datetime.now(tz=UTC)
    window = windows.window(windows.CHOICES[0], now)
    with change(actor=Actor.system("test"), environment="demo") as this:
        this.record("test.happened", subject="test:1")
    last = HistoryEntry.objects.order_by("-seq")[0].at
    found = history_gaps(window=window, now=now + timedelta(seconds=1))
    assert found.entries >= 1
    later = windows.window(windows.CHOICES[0], last + timedelta(seconds=90))
    longest = history_gaps(window=later, now=last + timedelta(seconds=90)).longest
    assert longest[-1] == pytest.approx(90, abs=10)
    assert [value for value in longest if value is not None][-6] < 60


def test_backends_asked_and_used() -> None:
    stored(metrics.INFERENCES, [30.0], NOW, requested="gpu", actual="cpu")
    stored(metrics.INFERENCES, [60.0], NOW, requested="gpu", actual="gpu")
    stored(metrics.INFERENCES, [10.0], NOW, requested="gpu", actual="gpu", outcome="timeout")
    stored(metrics.INFERENCES, [5.0], NOW, requested="cpu", actual="cpu")
    window = windows.window(windows.CHOICES[0], NOW)
    rows = selectors.backend_use(environment="demo", window=window, population=REAL_DEVICES)
    assert [(row.requested, row.actual, row.inferences, row.failed, row.of_requested, row.differs) for row in rows] == [
        ("gpu", "gpu", 70, 10, 100, False),
        ("gpu", "cpu", 30, 0, 100, True),
        ("cpu", "cpu", 5, 0, 5, False),
    ]


def test_the_overview_gets_one_number_or_none() -> None:
    assert selectors.throughput_now("demo") is None
    assert selectors.last_data_at("demo") is None
    stored(metrics.PREFILL, [100.0] * 5, datetime.now(tz=UTC))
    stored(metrics.PREFILL, [900.0], datetime.now(tz=UTC), actual="gpu")
    found = selectors.throughput_now("demo")
    assert found is not None
    assert (found.backend, found.count) == ("cpu", 5)
    assert selectors.last_data_at("demo") is not None


def test_sweepers_forget_what_is_too_old() -> None:
    PayloadDigest.objects.create(digest=b"a" * 32, seen_at=NOW - timedelta(minutes=61))
    PayloadDigest.objects.create(digest=b"b" * 32, seen_at=NOW - timedelta(minutes=59))
    seen("a", NOW - timedelta(days=9))
    seen("b", NOW)
    assert services.digests_prune(now=NOW) == 1
    assert services.device_hours_prune(now=NOW) == 1
    assert DeviceHour.objects.get().device_id == "b"
