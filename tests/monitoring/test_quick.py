"""The quick reading of a payload and the stock one say the same of every payload."""

import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from hawkops.bench.measures import payload as bench_payload
from hawkops.core.bounded import Malformed
from monitoring.domain.sketch import Sketch
from monitoring.otlp.decoding import Decoded, Ref, SeriesKey, Tallies, decode
from monitoring.otlp.parsing import parse
from monitoring.otlp.quick import QuickDecoder

NOW = datetime(2026, 11, 24, 12, 0, 7, tzinfo=UTC)
NOW_NS = int(NOW.timestamp() * 1e9)
DECODER = QuickDecoder()

texts = st.sampled_from(["cpu", "GPU", "npu", "abacus", "", "synthetic", "é\u0000x"])
names = st.sampled_from(
    [
        "litert.prefill.throughput",
        "gen_ai.client.operation.duration",
        "litert.inferences",
        "process.cpu.utilization",
        "hawkops.flags.revision",
        "business.orders",
        "made.up",
    ]
)
keys = st.sampled_from(
    ["litert.backend.requested", "litert.backend.actual", "gen_ai.request.model", "error.type", "user.id"]
)
values = st.one_of(
    st.builds(lambda text: AnyValue(string_value=text), texts),
    st.builds(lambda number: AnyValue(int_value=number), st.integers(-5, 5)),
)
attributes = st.lists(st.builds(lambda key, value: KeyValue(key=key, value=value), keys, values), max_size=4)
times = st.sampled_from([0, NOW_NS, NOW_NS - 40 * 10**9, NOW_NS - 10**15, NOW_NS + 10**12, 2**64 - 1])
floats = st.one_of(
    st.floats(0, 1e6), st.sampled_from([0.0, -1.0, math.inf, math.nan, 2.0**51, 1e-300]), st.floats(width=32)
)
temporality = st.sampled_from([1, 1, 1, 0, 2])


@st.composite
def number_points(draw: st.DrawFn, container: Any) -> None:
    for _ in range(draw(st.integers(0, 3))):
        point = container.add(time_unix_nano=draw(times), flags=draw(st.sampled_from([0, 0, 0, 1, 2])))
        point.attributes.extend(draw(attributes))
        which = draw(st.integers(0, 2))
        if which == 0:
            point.as_int = draw(st.integers(-3, 2**52))
        elif which == 1:
            point.as_double = draw(floats)


@st.composite
def exponential_points(draw: st.DrawFn, container: Any) -> None:
    for _ in range(draw(st.integers(0, 3))):
        point = container.add(time_unix_nano=draw(times), flags=draw(st.sampled_from([0, 0, 0, 1])))
        point.attributes.extend(draw(attributes))
        point.scale = draw(st.sampled_from([5, 5, 5, 5, 4, 7, -3]))
        counts = draw(st.lists(st.integers(0, 200), max_size=20))
        point.positive.offset = draw(st.integers(-50, 400))
        point.positive.bucket_counts.extend(counts)
        point.zero_count = draw(st.sampled_from([0, 0, 3, 2**32]))
        if draw(st.booleans()):
            point.negative.bucket_counts.extend(draw(st.sampled_from([[], [0], [1]])))
        point.count = sum(counts) + point.zero_count + draw(st.sampled_from([0, 0, 0, 1]))
        first = 2.0 ** min(60.0, (point.positive.offset + 0.5) * 2.0**-point.scale)
        if draw(st.booleans()):
            point.min, point.max, point.sum = first, first * 4, point.count * first * draw(st.sampled_from([1, 2, 99]))


@st.composite
def payloads(draw: st.DrawFn) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    for number in range(draw(st.integers(0, 2))):
        resource = request.resource_metrics.add()
        resource.resource.attributes.add(key="device.id").value.string_value = f"dev-{number}"
        resource.resource.attributes.extend(draw(attributes))
        scope = resource.scope_metrics.add()
        scope.scope.name = draw(texts)
        for _ in range(draw(st.integers(0, 4))):
            metric = scope.metrics.add(name=draw(names), unit=draw(st.sampled_from(["", "", "s", "ms"])))
            kind = draw(st.sampled_from(["gauge", "sum", "histogram", "exponential_histogram", "summary", ""]))
            if kind in ("sum", "exponential_histogram", "histogram"):
                getattr(metric, kind).aggregation_temporality = draw(temporality)
            if kind == "sum":
                metric.sum.is_monotonic = draw(st.sampled_from([True, True, False]))
            if kind in ("gauge", "sum"):
                draw(number_points(getattr(metric, kind).data_points))
            elif kind == "exponential_histogram":
                draw(exponential_points(metric.exponential_histogram.data_points))
            elif kind == "histogram":
                bounds = sorted(draw(st.sets(st.sampled_from([-(2.0**51), -5.0, -1.0, 0.0, 1.0, 5.0, 2.0**51]))))
                counts = draw(st.lists(st.integers(0, 3), min_size=len(bounds) + 1, max_size=len(bounds) + 1))
                point = metric.histogram.data_points.add(
                    count=sum(counts), explicit_bounds=bounds, bucket_counts=counts
                )
                point.time_unix_nano = draw(times)
                if draw(st.booleans()):
                    point.sum = draw(st.sampled_from([-3.0, 0.0, 4.0, 2.0**60]))
                if draw(st.booleans()):
                    point.min, point.max = draw(st.sampled_from([(-9.0, -0.5), (-1.0, 7.0), (0.5, 0.5), (3.0, 1.0)]))
            elif kind == "summary":
                metric.summary.data_points.add(count=1)
    return request


def summed(found: Decoded) -> dict[tuple[SeriesKey, int], Sketch]:
    tallies: Tallies = {}
    found.add_to(tallies)
    sketches: dict[tuple[SeriesKey, int], Sketch] = {}
    for (slot, bucket), tally in tallies.items():
        key = slot.key if isinstance(slot, Ref) else slot
        sketches.setdefault((key, bucket), Sketch()).merge(tally.sketch())
    return sketches


def said(found: Decoded) -> dict[str, object]:
    return {
        "sketches": {
            slot: (
                one.count,
                pytest.approx(one.total),
                pytest.approx(one.squares),
                one.low,
                one.high,
                one.zeros,
                one.positive,
                one.negative,
            )
            for slot, one in summed(found).items()
        },
        "reports": found.reports,
        "accepted": found.accepted,
        "reasons": Counter(found.reasons),
        "hints": Counter(found.hints),
        "dropped": found.dropped_attributes,
        "moved": found.moved_to_arrival,
    }


def nothing_with_a_range() -> ExportMetricsServiceRequest:
    """A point that counts nothing and yet names the least and the most."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="device.id").value.string_value = "dev-0"
    metric = resource.scope_metrics.add().metrics.add(name="litert.prefill.throughput")
    metric.exponential_histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    point = metric.exponential_histogram.data_points.add(scale=5)
    point.min, point.max, point.sum = 1.0, 4.0, 0.0
    return request


@settings(max_examples=300, deadline=None)
@given(payloads())
@example(nothing_with_a_range())
def test_quick_and_stock_agree(request: ExportMetricsServiceRequest) -> None:
    body = request.SerializeToString()
    stock = decode(parse(body, as_json=False), environment="demo", now=NOW)
    for _ in range(2):  # the second time everything is in the caches
        assert said(DECODER.decode(body, environment="demo", now=NOW)) == said(stock)


@settings(max_examples=200, deadline=None)
@given(payloads())
@example(nothing_with_a_range())
def test_json_and_protobuf_agree(request: ExportMetricsServiceRequest) -> None:
    document = MessageToDict(request, use_integers_for_enums=True)
    from_json = decode(parse(orjson.dumps(document), as_json=True), environment="demo", now=NOW)
    assert said(DECODER.decode(request.SerializeToString(), environment="demo", now=NOW)) == said(from_json)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 2_000))
def test_bytes_that_are_no_payload_are_malformed_to_both(noise: bytes, at: int) -> None:
    whole = bench_payload(0)
    body = whole[: at % len(whole)] + noise + whole[at % len(whole) :]
    outcomes = []
    reads: tuple[Callable[[], Decoded], ...] = (
        lambda: decode(parse(body, as_json=False), environment="demo", now=NOW),
        lambda: DECODER.decode(body, environment="demo", now=NOW),
    )
    for read in reads:
        try:
            outcomes.append(said(read()))
        except Malformed:
            outcomes.append({"malformed": True})
    if outcomes[0] != {"malformed": True}:
        assert outcomes[1] == outcomes[0]


def test_the_usual_payload_is_read_quickly() -> None:
    found = DECODER.decode(bench_payload(3), environment="demo", now=datetime.now(tz=UTC))
    assert (len(found.points), len(found.numbers), len(found.sketches)) == (10, 10, 0)


DEVICE_KEYS = ("device.id", "service.instance.id", "device.soc", "service.version", "hawkops.simulated", "host.name")
DEVICE_TEXTS = ("", "a", "A14", "true", "7", "é\u0000x")


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(DEVICE_KEYS),
                st.one_of(
                    st.builds(lambda text: AnyValue(string_value=text), st.sampled_from(DEVICE_TEXTS)),
                    st.builds(lambda truth: AnyValue(bool_value=truth), st.booleans()),
                    st.just(AnyValue()),
                ),
            ),
            max_size=6,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_both_say_the_same_of_who_sent_it(devices: list[list[tuple[str, AnyValue]]]) -> None:
    request = ExportMetricsServiceRequest()
    for said_of_it in devices:
        resource = request.resource_metrics.add()
        resource.resource.attributes.extend(KeyValue(key=key, value=value) for key, value in said_of_it)
        resource.scope_metrics.add().metrics.add(name="app.sessions").gauge.data_points.add(as_int=1)
    stock = decode(request, environment="demo", now=NOW)
    for _ in range(2):  # read, then remembered
        quick = DECODER.decode(request.SerializeToString(), environment="demo", now=NOW)
        assert quick.reports == stock.reports
        assert summed(quick).keys() == summed(stock).keys()


def test_a_reference_of_a_resource_that_is_no_text_is_refused_as_by_the_stock_parser() -> None:
    # resource_metrics { resource { entity_refs { type: "\xff" } } }
    body = b"\x0a\x07\x0a\x05\x1a\x03\x12\x01\xff"
    with pytest.raises(Malformed):
        parse(body, as_json=False)
    with pytest.raises(Malformed):
        DECODER.decode(body, environment="demo", now=NOW)
