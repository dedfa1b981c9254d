"""Walking payloads: dimensions, clocks, what is refused point by point, and what is refused as a whole."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from hawkops.core.bounded import Malformed, TooLarge
from monitoring.otlp.decoding import POINTS_MOST, TOO_COARSE, Decoded, decode
from monitoring.otlp.parsing import FIELDS_MOST, count_messages, parse, varint
from monitoring.otlp.quick import QuickDecoder
from tests.monitoring.payloads import DEVICE, ON_CPU, Payload

NOW = datetime(2026, 11, 24, 12, 0, 7, tzinfo=UTC)


def walked(payload: Payload, environment: str = "demo") -> Decoded:
    return decode(parse(payload.body, as_json=False), environment=environment, now=NOW)


def payload(**resource: object) -> Payload:
    return Payload(
        {**DEVICE, **{name.replace("_", "."): value for name, value in resource.items()}}, at=NOW.timestamp()
    )


def only(found: Decoded) -> tuple[object, int]:
    assert len(found.sketches) == 1
    (slot,) = found.sketches
    return slot


def test_requested_and_actual_backend_are_separate_dimensions() -> None:
    found = walked(payload().exponential("litert.prefill.throughput", [250.0, 260.0], unit="{token}/s"))
    ((key, bucket), sketch) = next(iter(found.sketches.items()))
    assert (key.backend_requested, key.backend_actual) == ("gpu", "cpu")
    assert (key.environment, key.device_class, key.app_version, key.model) == (
        "demo",
        "synthetic-host",
        "2.4.0",
        "synthetic",
    )
    assert bucket == int(NOW.timestamp()) // 10 * 10
    assert sketch.count == 2
    assert sketch.quantile(0.5) == pytest.approx(250, rel=0.011)
    assert found.rejected == 0


def test_points_of_one_series_and_bucket_are_merged() -> None:
    found = walked(payload().sum("litert.inferences", 3).sum("litert.inferences", 4))
    (sketch,) = found.sketches.values()
    assert (sketch.total, sketch.count) == (7, 2)


def test_the_revision_goes_to_the_census_and_not_into_a_series() -> None:
    found = walked(payload().gauge("hawkops.flags.revision", 17))
    assert not found.sketches
    assert [(r.device_id, r.revision, r.simulated) for r in found.reports] == [("dev-1", 17, False)]


def test_an_installation_without_device_id_is_known_by_its_other_ids() -> None:
    found = walked(Payload({"app.installation.id": "abc", "device.model.identifier": "SM-S928B"}, at=NOW.timestamp()))
    assert [(r.device_id, r.device_class) for r in found.reports] == [("abc", "SM-S928B")]


@pytest.mark.parametrize("said", [True, "true", "TRUE", "1"])
def test_simulated_devices_are_marked_and_refused_in_production(said: object) -> None:
    found = walked(payload(hawkops_simulated=said).sum("litert.inferences", 1))
    assert next(iter(found.sketches))[0].simulated
    with pytest.raises(Malformed, match="production key"):
        walked(payload(hawkops_simulated=said).sum("litert.inferences", 1), "production")


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        (timedelta(), 0),
        (timedelta(seconds=-30), -30),
        (timedelta(days=-400), 0),
        (timedelta(hours=1), 0),
        (timedelta(minutes=-20), 0),
    ],
)
def test_clocks_too_far_off_count_as_arriving_now(offset: timedelta, expected: int) -> None:
    sent = Payload(at=(NOW + offset).timestamp()).sum("litert.inferences", 1)
    _, bucket = only(walked(sent))
    assert bucket == int(NOW.timestamp() + expected) // 10 * 10


def test_unknown_attributes_are_dropped_and_counted() -> None:
    found = walked(payload().sum("litert.inferences", 1, {**ON_CPU, "user.name": "somebody", "prompt": "secret"}))
    assert found.dropped_attributes == 2
    assert "somebody" not in repr(found.sketches)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (payload().sum("litert.inferences", float("nan")), "not a finite number"),
        (payload().gauge("process.cpu.utilization", float("inf")), "not a finite number"),
        (payload().sum("litert.inferences", -1), "negative"),
        (payload().gauge("device.storage.free", 2.0**60), "beyond 2^50"),
        (payload().sum("made.up", 1), "not in the catalogue"),
        (payload().sum("litert.inferences", 5, temporality=0), "neither delta nor cumulative"),
        (payload().exponential("litert.memory.peak", [1.0], temporality=0), "neither delta nor cumulative"),
        (payload().sum("business.\x00", 5), "not in the catalogue"),
        (payload().exponential("gen_ai.client.operation.duration", [20.0], unit="ms"), "its unit is 's'"),
        (payload().gauge("litert.inferences", 1), "send a monotonic sum"),
        (payload().sum("litert.prefill.throughput", 250), "send a histogram"),
        (payload().sum("litert.inferences", 1, {"litert.backend.actual": "abacus"}), "cpu, gpu, npu or cloud"),
    ],
)
def test_a_point_that_can_not_be_taken_is_refused_alone_with_its_reason(sent: Payload, why: str) -> None:
    sent.sum("app.sessions", 1)
    found = walked(sent)
    assert found.rejected == 1
    assert why in found.message
    assert {key.metric for key, _ in found.sketches} == {"app.sessions"}


def test_histograms_that_contradict_themselves_are_refused() -> None:
    sent = payload()
    for change in ("count", "sum", "min", "scale", "negative", "nan"):
        sent.exponential("litert.prefill.throughput", [250.0, 260.0])
        point = sent.scope.metrics[-1].exponential_histogram.data_points[0]
        if change == "count":
            point.count = 9
        elif change == "sum":
            point.sum = 1e9
        elif change == "min":
            point.min = 300.0
        elif change == "scale":
            point.scale = 60
        elif change == "negative":
            point.negative.bucket_counts.append(1)
        else:
            point.max = float("nan")
    found = walked(sent)
    assert found.rejected == 6
    assert not found.sketches


def test_explicit_histograms_are_taken_and_checked() -> None:
    sent = payload()
    for bounds, counts, count in (
        ([1.0, 2.0], [1, 2, 3], 6),
        ([2.0, 1.0], [1, 2, 3], 6),
        ([1.0], [1, 2, 3], 6),
        ([], [], 3),
    ):
        metric = sent.metric("gen_ai.client.operation.duration", "s")
        metric.histogram.aggregation_temporality = 1  # type: ignore[assignment]
        point = metric.histogram.data_points.add(count=count, explicit_bounds=bounds, bucket_counts=counts)
        point.time_unix_nano = sent.nanoseconds
    found = walked(sent)
    assert found.rejected == 3
    (sketch,) = found.sketches.values()
    assert sketch.count == 6


def histogram(name: str, bounds: list[float], counts: list[int], *, temporality: int = 1, **said: float) -> Payload:
    sent = payload()
    metric = sent.metric(name)
    metric.histogram.aggregation_temporality = temporality  # type: ignore[assignment]
    point = metric.histogram.data_points.add(count=sum(counts), explicit_bounds=bounds, bucket_counts=counts)
    point.time_unix_nano, point.start_time_unix_nano = sent.nanoseconds, sent.nanoseconds - 10**9
    for field, value in said.items():
        setattr(point, field, value)
    return sent


def test_negative_bounds_are_taken_of_a_teams_own_metric_only() -> None:
    bounds, counts = [-10.0, 0.0, 10.0], [0, 40, 10, 0]
    found = walked(histogram("business.balance", bounds, counts, sum=-150.0, min=-9.0, max=8.0))
    assert not found.reasons
    (sketch,) = found.sketches.values()
    assert (sum(sketch.negative.values()), sum(sketch.positive.values())) == (40, 10)
    assert (sketch.total, sketch.low, sketch.high) == (-150.0, -9.0, 8.0)
    found = walked(histogram("app.session.duration", bounds, counts))
    assert next(iter(found.sketches.values())).zeros == 40  # nothing else can lie there
    found = walked(histogram("app.session.duration", [-10.0, -1.0, 10.0], counts))
    assert found.message == "1 × app.session.duration has negative values"


@pytest.mark.parametrize("temporality", [1, 2])
def test_one_bucket_for_everything_is_refused_unless_its_extremes_are_there(temporality: int) -> None:
    found = walked(histogram("app.session.duration", [], [5], temporality=temporality, sum=10.0))
    assert "no percentile can be read" in found.message
    found = walked(histogram("app.session.duration", [], [5], temporality=temporality, sum=10.0, min=1.0, max=3.0))
    assert found.rejected == temporality - 1  # extremes since the start say nothing of what was added


def test_bounds_too_coarse_for_a_metric_are_taken_and_said() -> None:
    found = walked(histogram("gen_ai.client.operation.duration", [0.0, 5.0, 10.0], [0, 90, 2, 0], sum=40.0))
    assert found.accepted == 1
    assert list(found.hints) == [f"gen_ai.client.operation.duration {TOO_COARSE}"]
    assert not walked(histogram("gen_ai.client.operation.duration", [0.1, 0.2, 0.4], [0, 90, 2, 0], sum=14.0)).hints


@pytest.mark.parametrize(
    ("count", "total", "why"),
    [(2**32 + 1, 1.0, "count that differs"), (2, 2.0**52, "sum that contradicts"), (2, float("inf"), "finite")],
)
def test_numbers_that_no_device_can_have_are_refused(count: int, total: float, why: str) -> None:
    sent = payload()
    metric = sent.metric("litert.prefill.throughput")
    metric.exponential_histogram.aggregation_temporality = 1  # type: ignore[assignment]
    point = metric.exponential_histogram.data_points.add(count=count, zero_count=count, sum=total, scale=5)
    point.time_unix_nano = sent.nanoseconds
    found = walked(sent)
    assert (found.accepted, found.rejected) == (0, 1)
    assert why in found.message
    assert QuickDecoder().decode(sent.body, environment="demo", now=NOW).message == found.message


def test_a_level_kept_by_an_up_down_counter_counts_as_a_gauge() -> None:
    sent = payload().sum(
        "device.thermal.status", 2, {}, temporality=AGGREGATION_TEMPORALITY_CUMULATIVE, monotonic=False
    )
    assert walked(sent).rejected == 0


def test_points_are_bounded_in_number() -> None:
    sent = payload()
    metric = sent.metric("litert.inferences")
    metric.sum.aggregation_temporality = 1  # type: ignore[assignment]
    metric.sum.is_monotonic = True
    for _ in range(POINTS_MOST + 7):
        metric.sum.data_points.add(as_int=1, time_unix_nano=sent.nanoseconds)
    found = walked(sent)
    assert (found.accepted, found.rejected) == (POINTS_MOST, 7)


def test_messages_are_counted_before_they_are_built() -> None:
    bomb = b"\x0a\x00" * 300_000
    with pytest.raises(TooLarge, match="messages"):
        parse(bomb, as_json=False)
    nested = b"\x12\x00" * 300_000
    with pytest.raises(TooLarge):
        parse(b"\x0a" + _varint(len(nested)) + nested, as_json=False)
    body = payload().sum("litert.inferences", 1).body
    assert count_messages(body, limit=1_000) == 0
    assert count_messages(body * 3, limit=len(body)) > 10
    with pytest.raises(Malformed):
        count_messages(b"\x0a\xff" * 500, limit=10)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_json_with_hexadecimal_exemplars_and_unknown_members_says_the_same() -> None:
    document = {
        "resourceMetrics": [
            {
                "resource": {"attributes": [{"key": "device.id", "value": {"stringValue": "dev-1"}}]},
                "somethingNew": {"x": 1},
                "scopeMetrics": [
                    {
                        "metrics": [
                            {
                                "name": "litert.inferences",
                                "sum": {
                                    "aggregationTemporality": 1,
                                    "isMonotonic": True,
                                    "dataPoints": [
                                        {
                                            "asInt": "41",
                                            "timeUnixNano": str(int(NOW.timestamp() * 1e9)),
                                            "exemplars": [{"traceId": "5b8efff798038103d269b633813fc60c", "asInt": 1}],
                                        }
                                    ],
                                },
                            }
                        ]
                    }
                ],
            }
        ]
    }
    found = decode(parse(orjson.dumps(document), as_json=True), environment="demo", now=NOW)
    (sketch,) = found.sketches.values()
    assert sketch.total == 41
    assert found.reports[0].device_id == "dev-1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"resourceMetrics": 3}',
        b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": 5}]}]}]}',
        b'{"resourceMetrics": [{"scopeMetrics": "x"}]}',
        b'{"resourceMetrics": NaN}',
        b"\xff\xfe",
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"resourceMetrics":[{"resource":{"attributes":[{"key":"a","value":'
        + b'{"arrayValue":{"values":[' * 200
        + b"]}}" * 200
        + b"}]}}]}",
    ],
    ids=range(11),
)
def test_json_that_is_no_payload_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse(body, as_json=True)


def test_an_empty_request_is_a_success() -> None:
    assert decode(parse(b"", as_json=False), environment="demo", now=NOW).rejected == 0
    assert decode(parse(b"{}", as_json=True), environment="demo", now=NOW).rejected == 0


def test_fields_are_counted_as_well_as_messages() -> None:
    """Thirty million two-byte fields fit into a body; walking them all would take ten seconds of the interpreter."""
    with pytest.raises(TooLarge, match="fields"):
        parse(b"\x50\x01" * 32_000_000, as_json=False)
    sent = payload()
    sent.sum("litert.inferences", 1)
    unknown = b"\x50\x01" * (FIELDS_MOST - 100)
    assert walked_bytes(sent.body + unknown).accepted == 1


def walked_bytes(body: bytes) -> Decoded:
    return decode(parse(body, as_json=False), environment="demo", now=NOW)


def test_a_number_of_endless_length_is_no_number() -> None:
    with pytest.raises(IndexError):
        varint(b"\x80" * 100 + b"\x01", 0)
    with pytest.raises(Malformed):
        parse(b"\x50" + b"\x80" * 1_000_000 + b"\x01", as_json=False)
