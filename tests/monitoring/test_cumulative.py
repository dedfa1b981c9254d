"""Cumulative streams: increments, resets, late points, other scales, and any gateway taking any device."""

import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE as CUMULATIVE
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from monitoring.domain.cumulative import REMEMBERED_NS, Point, increment, pack, unpack
from monitoring.domain.sketch import Sketch
from monitoring.models import CumulativeStream, RollupPartial
from tests.monitoring.conftest import Running, serving
from tests.monitoring.payloads import Payload

START, NOW_NS = 1_000 * 10**9, 2_000 * 10**9


def plain(at: int, total: float, start: int = START) -> Point:
    return Point(start, START + at * 10**9, total)


def test_plain_sums_count_by_their_difference() -> None:
    first, second = plain(10, 5.0), plain(20, 12.0)
    assert increment(None, first, now_ns=NOW_NS) == first
    grown = increment(first, second, now_ns=NOW_NS)
    assert grown is not None
    assert grown.total == 7


@pytest.mark.parametrize(
    "after",
    [plain(30, 3.0), plain(30, 3.0, START + 20 * 10**9), plain(30, 99.0, START + 20 * 10**9)],
    ids=["value-fell", "start-moved-and-fell", "start-moved"],
)
def test_a_stream_that_starts_again_counts_whole(after: Point) -> None:
    assert increment(plain(10, 12.0), after, now_ns=NOW_NS) == after


@pytest.mark.parametrize("late", [plain(10, 5.0), plain(5, 2.0), plain(30, 90.0, START - 10**9)])
def test_late_and_repeated_points_add_nothing(late: Point) -> None:
    assert increment(plain(10, 5.0), late, now_ns=NOW_NS) is None


def test_a_first_point_of_unknown_or_ancient_start_is_a_base_line() -> None:
    assert increment(None, Point(0, START, 5.0), now_ns=NOW_NS) is None
    assert increment(None, Point(START, START, 5.0), now_ns=NOW_NS) is None
    assert increment(None, plain(10, 5.0), now_ns=START + REMEMBERED_NS + 10**9) is None


values = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=30)


def exponential(items: list[float], scale: int, at: int) -> Point:
    sketch = Sketch()
    for item in items:
        sketch.add(item)
    positive: dict[int, int] = {}
    for index, count in sketch.positive.items():
        positive[index >> (5 - scale)] = positive.get(index >> (5 - scale), 0) + count
    return Point(START, START + at, sum(items), len(items), scale=scale, positive=positive)


@given(values, values, st.integers(0, 5), st.integers(0, 5))
@settings(deadline=None)
def test_exponential_histograms_lose_nothing_when_the_scale_falls(
    first: list[float], more: list[float], one: int, other: int
) -> None:
    before, after = exponential(first, max(one, other), 1), exponential(first + more, min(one, other), 2)
    grown = increment(unpack(pack(before)), after, now_ns=NOW_NS)
    assert grown is not None
    assert grown.positive == exponential(more, min(one, other), 2).positive
    assert grown.total == pytest.approx(sum(more), abs=1e-6)
    assert grown.sketch().count == len(more)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=20),
)
def test_whatever_the_restarts_the_increments_add_up(steps: list[tuple[int, bool]]) -> None:
    last: Point | None = None
    start, total, counted, expected = START, 0.0, 0.0, 0.0
    for position, (more, restart) in enumerate(steps):
        at = START + (position + 1) * 10**9
        if restart:
            start, total = at - 1, 0.0
        total += more
        expected += more
        point = Point(start, at, total)
        grown = increment(last, point, now_ns=NOW_NS)
        counted += (grown.total or 0) if grown else 0
        last = point
    assert counted == expected


def total(metric: str) -> float:
    return sum(row.total for row in RollupPartial.objects.filter(series__metric=metric))


@pytest.fixture
def second_door() -> Iterator[Running]:
    with serving(os.environ["DATABASE_URL"]) as found:
        yield found


@pytest.mark.fresh_database
def test_two_gateways_take_one_stream_in_turns(door: Running, second_door: Running) -> None:
    began = time.time() - 60
    for step, value in enumerate([3, 7, 7, 12, 2, 5]):  # the fifth starts again
        sent = Payload(at=began + step).sum("litert.inferences", value, temporality=CUMULATIVE)
        point = sent.scope.metrics[0].sum.data_points[0]
        point.start_time_unix_nano = int((began - 1 if step < 4 else began + 3.5) * 1e9)
        assert (door, second_door)[step % 2].post(sent.body).status_code == 200
    assert total("litert.inferences") == 17
    assert CumulativeStream.objects.count() == 1


@pytest.mark.fresh_database
def test_explicit_histograms_count_by_their_difference(door: Running) -> None:
    began = time.time() - 60
    for step, counts in enumerate(([1, 2, 0], [1, 5, 1])):
        sent = Payload(at=began + step)
        metric = sent.metric("gen_ai.client.operation.duration", "s")
        metric.histogram.aggregation_temporality = CUMULATIVE
        point = metric.histogram.data_points.add(
            start_time_unix_nano=int((began - 1) * 1e9),
            time_unix_nano=sent.nanoseconds,
            explicit_bounds=[1.0, 2.0],
            bucket_counts=counts,
            count=sum(counts),
            sum=float(sum(counts)) * 1.5,
        )
        assert point.count
        assert door.post(sent.body).status_code == 200
    assert sum(row.count for row in RollupPartial.objects.all()) == 7
    assert total("gen_ai.client.operation.duration") == pytest.approx(10.5)


@pytest.mark.fresh_database
def test_a_stock_sdk_with_its_cumulative_default_is_understood(door: Running) -> None:
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(endpoint=f"{door.url}/v1/metrics", headers={"Authorization": "Bearer hk_demo_good"}),
        export_interval_millis=60_000,
    )
    provider = MeterProvider([reader], Resource.create({"device.id": "sdk"}), shutdown_on_exit=False)
    meter = provider.get_meter("test")
    counter = meter.create_counter("litert.inferences", "{inference}")
    histogram = meter.create_histogram("gen_ai.client.operation.duration", "s")
    for _ in range(3):
        for _ in range(10):
            counter.add(1)
            histogram.record(1.5)
        provider.force_flush()
    provider.shutdown()
    assert total("litert.inferences") == 30
    assert sum(row.count for row in RollupPartial.objects.filter(series__metric__startswith="gen_ai")) == 30
