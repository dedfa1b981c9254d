"""Cumulative streams: increments, resets, late points, other scales, and any gateway taking any device."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE as CUMULATIVE
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from hawkops.accounts.models import User
from hawkops.core.access import Role
from monitoring.domain.cumulative import (
    ANCIENT,
    FELL,
    OLDER,
    OTHER_BOUNDS,
    REMEMBERED_NS,
    UNKNOWN_START,
    Point,
    Stream,
    follow,
    pack,
    unpack,
)
from monitoring.domain.sketch import Sketch
from monitoring.models import CumulativeStream, DeviceNote, DoorTotal, RollupPartial
from tests.monitoring.conftest import Running, serving
from tests.monitoring.payloads import ON_CPU, Payload

START, NOW_NS = 1_000 * 10**9, 2_000 * 10**9


def plain(at: int, total: float, start: int = START) -> Point:
    return Point(start, START + at * 10**9, total)


def walked(*points: Point, now_ns: int = NOW_NS) -> tuple[list[float | None], list[str]]:
    """What each point in turn added, and why one was not counted."""
    stream, grown, whys = Stream(), [], []
    for point in points:
        step = follow(unpack(pack(stream)), point, now_ns=now_ns)
        stream = step.stream
        grown.append(step.grown.total if step.grown else None)
        whys.append(step.why)
    return grown, whys


def test_plain_sums_count_by_their_difference() -> None:
    assert walked(plain(10, 5.0), plain(20, 12.0), plain(30, 12.0)) == ([5, 7, None], ["", "", ""])


@pytest.mark.parametrize("total", [3.0, 99.0], ids=["fell", "grew"])
def test_a_run_with_a_new_start_counts_whole(total: float) -> None:
    assert walked(plain(10, 12.0), plain(30, total, START + 20 * 10**9)) == ([12, total], ["", ""])


def test_without_start_times_a_fall_is_a_new_run() -> None:
    assert walked(plain(10, 5.0, 0), plain(20, 9.0, 0), plain(30, 4.0, 0), plain(40, 5.0, 0)) == (
        [None, 4, 4, 1],
        [UNKNOWN_START, "", "", ""],
    )


@pytest.mark.parametrize("late", [plain(5, 2.0), plain(30, 2.0)], ids=["late", "fell-without-a-new-start"])
def test_a_point_below_its_runs_last_one_adds_nothing_and_says_so(late: Point) -> None:
    grown, whys = walked(plain(10, 5.0), late, plain(40, 6.0))
    assert (grown, whys) == ([5, None, 1], ["", FELL, ""])


def test_a_clock_set_back_within_a_run_loses_nothing() -> None:
    assert walked(plain(500, 5.0), plain(20, 8.0), plain(30, 9.0))[0] == [5, 3, 1]


def test_a_clock_set_right_after_it_was_ahead_loses_nothing() -> None:
    ahead = 86_400 * 10**9
    first = Point(NOW_NS + ahead, NOW_NS + ahead + 10**9, 5.0)
    restarted = Point(NOW_NS + 10 * 10**9, NOW_NS + 11 * 10**9, 3.0)
    stream = follow(Stream(), first, now_ns=NOW_NS + 10**9).stream
    step = follow(stream, restarted, now_ns=NOW_NS + 11 * 10**9)
    assert (step.grown, step.why) == (restarted, "")
    more = follow(step.stream, Point(restarted.start_ns, NOW_NS + 20 * 10**9, 4.0), now_ns=NOW_NS + 20 * 10**9)
    assert more.grown is not None
    assert more.grown.total == 1


def test_the_last_point_of_a_run_counts_though_the_next_run_was_faster() -> None:
    second = START + 20 * 10**9
    grown, whys = walked(plain(10, 5.0), plain(30, 2.0, second), plain(19, 8.0), plain(40, 3.0, second))
    assert (grown, whys) == ([5, 2, 3, 1], [""] * 4)


def test_a_run_older_than_a_known_one_is_a_base_line_and_then_counts() -> None:
    earlier = START - 10**9
    grown, whys = walked(plain(10, 5.0), plain(30, 90.0, earlier), plain(40, 91.0, earlier))
    assert (grown, whys) == ([5, None, 1], ["", OLDER, ""])


def test_many_processes_under_one_name_never_count_a_run_twice() -> None:
    """More of them than are remembered: the door counts too little and says so, never too much."""
    points = [plain(at, 10.0 + at, START + process) for at in range(1, 6) for process in range(6)]
    grown, whys = walked(*points)
    assert sum(one or 0 for one in grown) <= 6 * 15
    assert OLDER in whys


@pytest.mark.parametrize("start", [0, START + 50 * 10**9])
def test_a_run_without_a_start_before_its_first_point_is_a_base_line(start: int) -> None:
    first = Point(start, START + 50 * 10**9, 5.0)
    assert walked(first) == ([None], [UNKNOWN_START])
    assert walked(plain(10, 9.0), first) == ([9, None], ["", UNKNOWN_START])


def test_a_first_point_of_ancient_start_is_a_base_line() -> None:
    assert walked(plain(10, 5.0), now_ns=START + REMEMBERED_NS + 10**9) == ([None], [ANCIENT])


def test_a_run_whose_bounds_change_goes_on_from_a_base_line() -> None:
    narrow = Point(START, START + 10**9, 5.0, 5, bounds=(1.0,), positive={0: 5})
    wide = Point(START, START + 2 * 10**9, 7.0, 7, bounds=(2.0,), positive={0: 7})
    assert walked(narrow, wide) == ([5, None], ["", OTHER_BOUNDS])


def test_only_a_signed_metric_has_values_below_zero() -> None:
    point = Point(START, START + 1, None, 4, bounds=(-10.0, 0.0), positive={1: 4})
    assert point.sketch(signed=False).zeros == 4
    assert sum(point.sketch(signed=True).negative.values()) == 4


def test_what_was_stored_before_runs_were_told_apart_is_read() -> None:
    stream = unpack(b"[1000,2000,5.0,0,0,null,null,[],[]]")
    step = follow(stream, Point(1_000, 3_000, 7.0), now_ns=NOW_NS)
    assert step.grown is not None
    assert step.grown.total == 2


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
    stream = follow(Stream(), before, now_ns=NOW_NS).stream
    grown = follow(unpack(pack(stream)), after, now_ns=NOW_NS).grown
    assert grown is not None
    assert grown.positive == exponential(more, min(one, other), 2).positive
    assert grown.total == pytest.approx(sum(more), abs=1e-6)
    assert grown.sketch().count == len(more)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=20),
)
def test_whatever_the_restarts_the_increments_add_up(steps: list[tuple[int, bool]]) -> None:
    stream = Stream()
    start, total, counted, expected = START, 0.0, 0.0, 0.0
    for position, (more, restart) in enumerate(steps):
        at = START + (position + 1) * 10**9
        if restart:
            start, total = at - 1, 0.0
        total += more
        expected += more
        point = Point(start, at, total)
        step = follow(stream, point, now_ns=NOW_NS)
        counted += (step.grown.total or 0) if step.grown else 0
        stream = step.stream
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


def counted(
    value: float, *, at: float, start: float, user: str = "", resource: Mapping[str, object] | None = None
) -> bytes:
    sent = Payload({"device.id": "dev-1", **(resource or {})}, at=at)
    sent.sum("litert.inferences", value, {**ON_CPU, "user.id": user}, temporality=CUMULATIVE)
    sent.scope.metrics[0].sum.data_points[0].start_time_unix_nano = int(start * 1e9)
    return sent.body


@pytest.mark.fresh_database
def test_two_gateways_take_one_stream_at_once(door: Running, second_door: Running) -> None:
    """Whatever the order in which forty points get the stream's lock, what they add is the greatest of them."""
    began = time.time() - 60
    bodies = [counted(value, at=began + value, start=began) for value in range(1, 41)]
    barrier = threading.Barrier(8)

    def send(worker: int) -> set[int]:
        barrier.wait()
        return {(door, second_door)[n % 2].post(bodies[n]).status_code for n in range(worker, 40, 8)}

    with ThreadPoolExecutor(8) as pool:
        codes = set().union(*pool.map(send, range(8)))
    assert codes == {200}
    assert total("litert.inferences") == 40


@pytest.mark.fresh_database
def test_a_collectors_changing_words_make_no_new_stream_but_a_points_attributes_do(door: Running) -> None:
    began = time.time() - 60
    for step, value in enumerate((3, 5, 9)):
        on_the_way: dict[str, object] = {"network.type": f"wifi-{step}"}
        assert door.post(counted(value, at=began + 1 + step, start=began, resource=on_the_way)).status_code == 200
    assert total("litert.inferences") == 9
    assert door.post(counted(4, at=began + 9, start=began, user="other")).status_code == 200
    assert total("litert.inferences") == 13
    assert CumulativeStream.objects.count() == 2
    assert set(CumulativeStream.objects.values_list("environment", flat=True)) == {"demo"}


@pytest.mark.fresh_database
def test_what_did_not_count_stands_in_the_devices_note_and_in_the_totals(
    door: Running, person: Callable[..., User], client_as: Callable[[User], Client]
) -> None:
    began = time.time() - 60
    assert door.post(counted(9, at=began + 1, start=began)).status_code == 200
    assert door.post(counted(4, at=began + 2, start=began)).content == b""  # acknowledged: nothing is wrong with it
    note = DeviceNote.objects.get()
    assert note.details["not_counted"] == [[f"litert.inferences {FELL}", 1]]
    counts = DoorTotal.objects.get(reason=f"litert.inferences {FELL}")
    assert (counts.environment, counts.signal, counts.points) == ("demo", "metrics", 1)
    page = client_as(person("author", Role.VIEWER)).get("/demo/monitoring/understood/device?id=dev-1").content.decode()
    assert "Not counted" in page
    assert FELL in page
    assert total("litert.inferences") == 9


@pytest.mark.fresh_database
def test_what_did_not_count_is_added_to_a_note_that_is_not_due(door: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.otlp.notes.DEVICE_SECONDS", 3_600.0)
    began = time.time() - 60
    for value in (9, 4):
        assert door.post(counted(value, at=began + 1, start=began)).status_code == 200
    note = DeviceNote.objects.get()
    assert note.details["not_counted"] == [[f"litert.inferences {FELL}", 1]]
    assert note.details["names"] == [["litert.inferences", 1]]


@pytest.mark.fresh_database
def test_streams_beyond_what_an_environment_keeps_are_refused_and_known_ones_go_on(
    door: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.otlp.streams.STREAMS_MOST", 2)
    began = time.time() - 60
    for user in range(4):
        answer = door.post(counted(2, at=began + 1, start=began, user=str(user)))
        assert answer.status_code == 200
        partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
        assert (partial.rejected_data_points, "beyond 2 of an environment" in partial.error_message) == (
            (0, False) if user < 2 else (1, True)
        )
    assert door.post(counted(5, at=began + 2, start=began, user="1")).content == b""
    assert total("litert.inferences") == 7
    assert CumulativeStream.objects.count() == 2
    refused = DoorTotal.objects.exclude(reason="").get()
    assert (refused.points, "beyond 2" in refused.reason) == (2, True)


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
