"""Logs over HTTP: lines bounded and readable in order, crashes counted once, the same guarantees as for metrics."""

import gzip
import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import psycopg
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from monitoring.models import DeviceNote, LogLine, RollupPartial
from monitoring.otlp.logs import BODY_MOST, decode_logs, stack_digest
from monitoring.otlp.parsing import parse_as
from monitoring.selectors.logs import last_line_id, lines_since
from monitoring.services.logs import lines_prune
from tests.monitoring.conftest import JSON, Running
from tests.monitoring.payloads import DEVICE, Payload, pairs

NOW = datetime(2026, 11, 24, 12, 0, 7, tzinfo=UTC)
STACK = "java.lang.IllegalStateException: no\n\tat app.Litert.run(Litert.kt:41)\n\tat app.Main@1f2e3d4c.go(Main.kt:7)"


def request(*records: dict[str, Any], device: Mapping[str, object] = DEVICE, at: float | None = None) -> Any:
    found = ExportLogsServiceRequest()
    resource_logs = found.resource_logs.add()
    resource_logs.resource.attributes.extend(pairs(device))
    scope = resource_logs.scope_logs.add()
    for said in records:
        record = scope.log_records.add(time_unix_nano=int((time.time() if at is None else at) * 1e9))
        record.severity_number = said.get("severity", 9)
        record.event_name = said.get("event", "")
        record.attributes.extend(pairs(said.get("attributes", {})))
        if "body" in said:
            record.body.string_value = said["body"]
    return found


def crash(**resource: object) -> bytes:
    said = {"exception.type": "java.lang.IllegalStateException", "exception.message": "no delegate"}
    record = {"event": "device.crash", "severity": 0, "attributes": {**said, "exception.stacktrace": STACK}}
    body: bytes = request(record, device={**DEVICE, **resource}).SerializeToString()
    return body


def crashes() -> float:
    return sum(row.total for row in RollupPartial.objects.filter(series__metric="app.crashes"))


@pytest.mark.fresh_database
def test_lines_arrive_in_both_encodings_and_are_counted_once(door: Running) -> None:
    sent = request({"body": "LITERT PERFORMANCE_DEGRADATION", "severity": 13}, {"body": "fine"})
    for _ in range(3):
        answer = door.post(gzip.compress(sent.SerializeToString(), mtime=0), path="/v1/logs", content_encoding="gzip")
        assert (answer.status_code, answer.content) == (200, b"")
    document = MessageToDict(request({"body": "from JSON"}), use_integers_for_enums=True)
    answer = door.post(orjson.dumps(document), path="/v1/logs", content_type=JSON)
    assert (answer.status_code, answer.json()) == (200, {})
    lines = lines_since(0, environment="demo")
    assert [(line.body, line.severity) for line in lines] == [
        ("LITERT PERFORMANCE_DEGRADATION", 13),
        ("fine", 9),
        ("from JSON", 9),
    ]
    first = lines[0]
    assert (first.device_id, first.device_class, first.app_version) == ("dev-1", "synthetic-host", "2.4.0")
    assert abs(first.received_at - first.at) < timedelta(seconds=5)
    assert last_line_id("demo") == lines[-1].pk
    assert not lines_since(lines[-1].pk)


@pytest.mark.fresh_database
def test_a_crash_becomes_a_line_and_counts_once(door: Running) -> None:
    body = crash()
    for _ in range(2):
        assert door.post(body, path="/v1/logs").status_code == 200
    (line,) = LogLine.objects.all()
    assert (line.event_name, line.crash, line.severity) == ("device.crash", True, 21)
    assert (line.exception_type, line.exception_message) == ("java.lang.IllegalStateException", "no delegate")
    assert line.body == "java.lang.IllegalStateException: no delegate"
    assert line.stack_digest == stack_digest(STACK)
    assert crashes() == 1


@pytest.mark.fresh_database
def test_a_crash_is_told_by_the_variant_of_its_record_or_its_resource(door: Running) -> None:
    name = "feature_flag.result.variant"
    record = {"event": "app.crash", "body": "gone"}
    own = {**record, "attributes": {name: "treatment"}}
    for sent in (request(own), request(record, own, device={**DEVICE, name: "control"}), request(record)):
        assert door.post(sent.SerializeToString(), path="/v1/logs").status_code == 200
    found: Counter[str] = Counter()
    for row in RollupPartial.objects.select_related("series"):
        found[row.series.variant] += row.count
    assert found == {"treatment": 2, "control": 1, "": 1}
    assert not DeviceNote.objects.get().details["dropped"]


@pytest.mark.fresh_database
def test_crashes_of_a_version_that_counts_them_itself_are_not_counted_again(door: Running) -> None:
    assert door.post(Payload().sum("app.crashes", 1, {}).body).status_code == 200
    assert door.post(crash(), path="/v1/logs").status_code == 200
    assert crashes() == 1
    assert door.post(crash(**{"service.version": "9.9"}), path="/v1/logs").status_code == 200
    assert crashes() == 2
    assert LogLine.objects.filter(crash=True).count() == 2


@pytest.mark.fresh_database
def test_empty_records_are_refused_by_partial_success(door: Running) -> None:
    answer = door.post(request({}, {"body": "kept"}).SerializeToString(), path="/v1/logs")
    partial = ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_log_records) == (200, 1)
    assert "without body" in partial.error_message
    note = DeviceNote.objects.get()
    assert (note.signal, note.accepted, note.rejected) == ("logs", 1, 1)


@pytest.mark.fresh_database
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff", {}, 400),
        (b"not json", {"content_type": JSON}, 400),
        (b'{"resourceLogs": 7}', {"content_type": JSON}, 400),
        (b"", {"key": "hk_demo_bad"}, 401),
        (b"{}", {"content_type": "text/plain"}, 415),
        (b"\x0a\x00" * 300_000, {}, 413),
        (b"x", {"content_encoding": "gzip"}, 400),
        (request(device={"hawkops.simulated": True}).SerializeToString(), {"key": "hk_production_good"}, 400),
    ],
    ids=range(8),
)
def test_bad_input_is_refused_and_changes_nothing(door: Running, body: bytes, headers: Any, status: int) -> None:
    assert door.post(body, path="/v1/logs", **headers).status_code == status
    assert not LogLine.objects.exists()


@pytest.mark.fresh_database
def test_what_can_not_be_stored_is_cleaned_and_bounded(door: Running) -> None:
    hostile = {
        "body": "a\x00b\n" + "x" * 10_000,
        "event": "e\x00" * 300,
        "attributes": {"exception.type": "T\x00" * 900},
    }
    assert door.post(request(hostile).SerializeToString(), path="/v1/logs").status_code == 200
    line = LogLine.objects.get()
    assert line.body.startswith("ab x")
    assert len(line.body) == BODY_MOST
    assert (len(line.event_name), len(line.exception_type)) == (100, 200)


@pytest.mark.fresh_database
def test_a_reader_that_goes_on_from_an_id_misses_no_line(door: Running) -> None:
    """Many writers in two doors' worth of transactions, one reader: every line once, in order."""
    seen: list[int] = []
    ended = threading.Event()

    def read() -> None:
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as line:
            while True:
                last = ended.is_set()
                after = seen[-1] if seen else 0
                rows = line.execute("SELECT id FROM monitoring_logline WHERE id > %s ORDER BY id", [after]).fetchall()
                seen.extend(row[0] for row in rows)
                if last and not rows:
                    return

    reader = threading.Thread(target=read)
    reader.start()
    bodies = [request(*[{"body": f"{number}-{step}"} for step in range(5)]).SerializeToString() for number in range(60)]
    with ThreadPoolExecutor(12) as pool:
        codes = {answer.status_code for answer in pool.map(lambda body: door.post(body, path="/v1/logs"), bodies)}
    ended.set()
    reader.join(20)
    assert codes == {200}
    assert len(seen) == 300 == LogLine.objects.count()
    assert seen == sorted(seen)


@pytest.mark.django_db
def test_lines_are_dropped_by_age_and_by_number() -> None:
    now = datetime.now(tz=UTC)
    for days in (20, 3, 2, 1):
        LogLine.objects.create(
            environment="demo", at=now, received_at=now - timedelta(days=days), severity=9, body=f"{days}"
        )
    assert lines_prune(now=now) == 1
    assert lines_prune(now=now, most=2) == 1
    assert [line.body for line in lines_since(0)] == ["2", "1"]


@pytest.mark.parametrize(
    ("seconds", "moved"), [(0, False), (-3_600, False), (-6 * 86_400, False), (-8 * 86_400, True), (60, True)]
)
def test_clocks_too_far_off_count_as_arriving_now(seconds: int, moved: bool) -> None:
    sent = request({"body": "x"}, at=NOW.timestamp() + seconds)
    found = decode_logs(sent, environment="demo", now=NOW)
    assert (found.moved_to_arrival == 1) is moved
    expected = NOW if moved else NOW + timedelta(seconds=seconds)
    assert abs(found.lines[0].at - expected) < timedelta(seconds=0.001)


def test_the_same_stack_has_the_same_digest_whatever_its_addresses() -> None:
    assert stack_digest(STACK) == stack_digest(STACK.replace(":41", ":42").replace("1f2e3d4c", "aabbccdd"))
    assert stack_digest(STACK) != stack_digest(STACK.replace("Litert.run", "Litert.stop"))
    assert stack_digest("") == ""


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "body": st.text(max_size=30).filter(lambda text: text.isprintable()),
                "event": st.sampled_from(["device.crash", "app.crash", "session.start", ""]),
                "severity": st.integers(0, 24),
                "attributes": st.dictionaries(
                    st.sampled_from(["exception.type", "exception.stacktrace", "event.name", "user"]),
                    st.sampled_from(["a", "device.crash", ""]),
                ),
            },
        ),
        max_size=5,
    )
)
def test_json_and_protobuf_say_the_same(records: list[dict[str, Any]]) -> None:
    sent = request(*records, at=NOW.timestamp())
    document = orjson.dumps(MessageToDict(sent, use_integers_for_enums=True))
    by_json = decode_logs(parse_as(ExportLogsServiceRequest, document, as_json=True), environment="demo", now=NOW)
    body = sent.SerializeToString()
    by_protobuf = decode_logs(parse_as(ExportLogsServiceRequest, body, as_json=False), environment="demo", now=NOW)
    assert by_json == by_protobuf


def test_bodies_of_other_types_become_text() -> None:
    sent = request({"body": "x"})
    record = sent.resource_logs[0].scope_logs[0].log_records[0]
    record.body.CopyFrom(AnyValue())
    record.body.kvlist_value.values.add(key="n").value.int_value = 3
    assert decode_logs(sent, environment="demo", now=datetime.now(tz=UTC)).lines[0].body == '{"n":3}'
