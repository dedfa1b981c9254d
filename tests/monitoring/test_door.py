"""The door over HTTP: answers by the protocol, nothing counted twice, nothing acknowledged lost, no 5xx for bad input."""

import gzip
import io
import os
import socket
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource

from monitoring.domain.sketch import Sketch
from monitoring.models import DeviceHour, PayloadDigest, RollupPartial, Series
from monitoring.otlp.writing import GroupWriter
from tests.monitoring.conftest import JSON, PROTOBUF, Running
from tests.monitoring.payloads import Payload

pytestmark = pytest.mark.fresh_database


def total(metric: str) -> float:
    return sum(row.total for row in RollupPartial.objects.filter(series__metric=metric))


def test_success_is_empty_in_both_encodings(door: Running) -> None:
    answer = door.post(Payload().sum("litert.inferences", 2).body)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", PROTOBUF)
    answer = door.post(b"{}", content_type=f"{JSON}; charset=utf-8")
    assert (answer.status_code, answer.json(), answer.headers["content-type"]) == (200, {}, JSON)
    assert total("litert.inferences") == 2
    assert Series.objects.get().environment == "demo"
    assert [row.device_id for row in DeviceHour.objects.all()] == ["dev-1"]
    assert [report.device_id for report in door.reports] == ["dev-1"]


def test_a_sketch_survives_the_way_through_the_door(door: Running) -> None:
    values = [200.0 + step for step in range(100)]
    assert door.post(Payload().exponential("litert.prefill.throughput", values).body).status_code == 200
    row = RollupPartial.objects.get()
    sketch = Sketch()
    sketch.merge_row(row.count, row.total, row.squares, row.low, row.high, row.buckets)
    assert (row.count, row.low, row.high, row.width_seconds) == (100, 200.0, 299.0, 10)
    assert sketch.quantile(0.05) == pytest.approx(204, rel=0.011)
    assert sketch.quantile(0.95) == pytest.approx(295, rel=0.011)


def test_what_is_sent_again_is_acknowledged_and_not_counted_twice(door: Running) -> None:
    body = Payload().sum("litert.inferences", 5).body
    with ThreadPoolExecutor(8) as pool:
        codes = {answer.status_code for answer in pool.map(lambda _: door.post(body), range(24))}
    assert codes == {200}
    assert total("litert.inferences") == 5
    assert PayloadDigest.objects.count() == 1


def test_compressions(door: Running) -> None:
    bodies = [Payload(at=time.time() - step).sum("litert.inferences", 1).body for step in range(3)]
    assert door.post(gzip.compress(bodies[0]), content_encoding="gzip").status_code == 200
    assert door.post(zlib.compress(bodies[1]), content_encoding="deflate").status_code == 200
    assert door.post(bodies[2], content_encoding="identity").status_code == 200
    assert total("litert.inferences") == 3


def test_partial_success_counts_and_explains(door: Running) -> None:
    body = Payload().sum("litert.inferences", float("nan")).sum("app.sessions", 1).body
    answer = door.post(body)
    assert answer.status_code == 200
    partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_data_points == 1
    assert "not a finite number" in partial.error_message
    assert total("app.sessions") == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff\xff", {}, 400),
        (b"not json", {"content_type": JSON}, 400),
        (b'{"a":' * 9_000, {"content_type": JSON}, 400),
        (b"{}", {"content_type": "text/plain"}, 415),
        (b"{}", {"content_type": ""}, 415),
        (b"", {"key": "hk_demo_bad"}, 401),
        (b"", {"key": ""}, 401),
        (b"not gzip", {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"abc" * 100, mtime=0)[:-9], {"content_encoding": "gzip"}, 400),
        (b"", {"content_encoding": "zstd"}, 415),
        (Payload({"device.id": "x", "hawkops.simulated": True}).body, {"key": "hk_production_good"}, 400),
        (b"\x0a\x00" * 300_000, {}, 413),
    ],
    ids=[
        "broken-protobuf",
        "broken-json",
        "deep-json",
        "plain-text",
        "no-type",
        "unknown-key",
        "no-key",
        "not-gzip",
        "cut-gzip",
        "zstd",
        "simulated-in-production",
        "message-bomb",
    ],
)
def test_bad_input_gets_a_status_in_its_own_encoding_and_changes_nothing(
    door: Running, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = door.post(body, **headers)
    assert answer.status_code == status
    if headers.get("content_type") == JSON:
        assert answer.json()["message"]
    else:
        assert Status.FromString(answer.content).message
    assert not RollupPartial.objects.exists()
    assert not door.reports


def test_a_gzip_bomb_is_refused_in_a_moment(door: Running) -> None:
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as packed:
        for _ in range(100):
            packed.write(bytes(1024 * 1024))
    began = time.monotonic()
    answer = door.post(bomb.getvalue(), content_encoding="gzip")
    assert answer.status_code == 413
    assert time.monotonic() - began < 5


def test_a_hundred_megabytes_are_refused_before_they_are_read(door: Running) -> None:
    def endless() -> object:
        for _ in range(100):
            yield bytes(1024 * 1024)

    headers = {"content-type": PROTOBUF, "authorization": "Bearer hk_demo_good"}
    try:
        answer = httpx.post(f"{door.url}/v1/metrics", content=endless(), headers=headers)  # type: ignore[arg-type]
    except httpx.WriteError:
        return  # answered and closed while we were still writing
    assert answer.status_code == 413


def test_other_paths_and_methods_say_where_to_go(door: Running) -> None:
    key = {"authorization": "Bearer hk_demo_good", "content-type": JSON}
    traces = httpx.post(f"{door.url}/v1/traces", content=b"{}", headers=key)
    assert traces.status_code == 404
    assert "/v1/metrics" in traces.json()["message"]
    assert httpx.get(f"{door.url}/v1/metrics", headers=key).status_code == 405
    assert httpx.post(f"{door.url}//v1//metrics", content=b"{}", headers=key).status_code == 200


def test_a_stock_sdk_exporter_reports_through_the_door(door: Running) -> None:
    exporter = OTLPMetricExporter(
        endpoint=f"{door.url}/v1/metrics",
        headers={"Authorization": "Bearer hk_demo_good"},
        compression=Compression.Gzip,
        preferred_temporality={Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA},
        preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()},
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    resource = Resource.create({"device.id": "sdk-1", "device.soc": "snapdragon-8-gen3"})
    provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    meter = provider.get_meter("test")
    histogram = meter.create_histogram("litert.prefill.throughput", "{token}/s")
    counter = meter.create_counter("litert.inferences", "{inference}")
    meter.create_gauge("hawkops.flags.revision").set(12)
    for step in range(200):
        histogram.record(240.0 + step / 10, {"litert.backend.requested": "npu", "litert.backend.actual": "cpu"})
        counter.add(1, {"litert.backend.actual": "cpu"})
    provider.force_flush()
    histogram.record(300.0, {"litert.backend.requested": "npu", "litert.backend.actual": "cpu"})
    provider.shutdown()
    rows = RollupPartial.objects.filter(series__metric="litert.prefill.throughput")
    assert sum(row.count for row in rows) == 201
    assert total("litert.inferences") == 200
    assert {row.series.backend_requested for row in rows.select_related("series")} == {"npu"}
    assert {report.revision for report in door.reports} == {12}


def test_pages_hear_of_the_last_group_too(door: Running) -> None:
    heard: list[str] = []
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as line:
        line.execute("LISTEN hawkops_live")
        for step in range(3):
            door.post(Payload(at=time.time() - step).sum("litert.inferences", 1).body)
        heard.extend(notify.payload for notify in line.notifies(timeout=2.5, stop_after=2))
    assert [orjson.loads(payload) for payload in heard] == [{"topic": "telemetry", "environment": "demo"}] * 2


def test_a_series_too_many_is_counted_as_other(door: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.domain.cardinality.SERIES_MOST", 3)
    monkeypatch.setattr("monitoring.domain.cardinality.STEPS", ((3, ("device_class",)),))
    for step in range(6):
        device = {"device.id": f"d{step}", "device.soc": f"soc-{step}"}
        assert door.post(Payload(device).sum("litert.inferences", 1).body).status_code == 200
    assert Series.objects.count() == 4
    assert Series.objects.filter(device_class="other").count() == 1
    assert total("litert.inferences") == 6


def test_one_bad_payload_never_fails_its_group(door: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value the database refuses (made by force here) fails alone; its neighbours are committed."""
    honest = GroupWriter._copy

    async def poisoned(self: GroupWriter, line: Any, rows: list[tuple[int, int, Sketch]]) -> None:
        for _, _, sketch in rows:
            if sketch.total == 666:
                sketch.low, sketch.high = 2.0, 1.0  # against the table's check
        await honest(self, line, rows)

    monkeypatch.setattr(GroupWriter, "_copy", poisoned)
    barrier = threading.Barrier(6)

    def send(value: int) -> int:
        device = {"device.id": f"d{value}", "device.soc": f"soc-{value}"}
        body = Payload(device).sum("litert.inferences", value).body
        barrier.wait()
        return door.post(body).status_code

    with ThreadPoolExecutor(6) as pool:
        codes = dict(zip([1, 2, 666, 3, 4, 5], pool.map(send, [1, 2, 666, 3, 4, 5]), strict=True))
    assert codes.pop(666) == 503
    assert set(codes.values()) == {200}
    assert total("litert.inferences") == 15


@pytest.mark.parametrize("door", ["postgresql://nobody@127.0.0.1:9/none"], indirect=True)
def test_without_a_database_nothing_is_acknowledged(door: Running) -> None:
    answer = door.post(Payload().sum("litert.inferences", 1).body)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_series_forgotten_by_another_group__a_group_under_way_keeps_its_own(
    door: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = GroupWriter._new

    async def forgetful(self: GroupWriter, line: Any, digests: list[bytes]) -> Any:
        self._series = {}  # what a refused group does on the other connection
        return await honest(self, line, digests)

    monkeypatch.setattr(GroupWriter, "_new", forgetful)

    assert door.post(Payload().sum("litert.inferences", 3).body).status_code == 200
    assert total("litert.inferences") == 3


def test_a_body_that_does_not_arrive_is_given_up_and_the_others_are_taken(
    door: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert door.door is not None
    monkeypatch.setattr(door.door._reader, "seconds", 0.1)
    url = httpx.URL(door.url)
    head = f"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer hk_demo_good\r\nContent-Type: {PROTOBUF}\r\n"
    with socket.create_connection((url.host, url.port), timeout=10) as slow:
        slow.sendall(f"{head}Content-Length: 100\r\n\r\n12".encode())
        assert door.post(Payload().sum("litert.inferences", 2).body).status_code == 200
        said = slow.recv(4_096)
    assert said.startswith(b"HTTP/1.1 503")  # OTLP sends again after it, and would not after 408
    assert b"retry-after: 5" in said
    assert total("litert.inferences") == 2


def test_only_a_browser_is_told_that_it_may_read_the_answer(door: Running) -> None:
    body = Payload().sum("litert.inferences", 2).body
    assert "access-control-allow-origin" not in door.post(body).headers
    assert door.post(body, origin="https://app.example").headers["access-control-allow-origin"] == "*"
