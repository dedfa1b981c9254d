"""The fast way through a payload and the stock parser say the same, whatever a device sends."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from hawkops.bench.measures import payload
from hawkops.core.bounded import Malformed
from monitoring.domain.sketch import Sketch
from monitoring.otlp import decoding, slim
from monitoring.otlp.decoding import Decoded

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND = 1_000_000_000


def summed(found: Decoded) -> dict[Any, Sketch]:
    """All of a payload as sketches, however it was understood."""
    tallies: dict[Any, slim.Tally] = {}
    for point in found.points:
        tallies.setdefault(point[0], slim.Tally()).add(point)
    assert not (tallies and found.sketches)
    return {slot: tally.sketch() for slot, tally in tallies.items()} or found.sketches


def both(body: bytes, environment: str = "demo") -> tuple[Decoded | str, Decoded | str]:
    """What the fast way and the stock parser make of a body; a refusal as its words."""

    def tried(understand: Any) -> Decoded | str:
        try:
            found: Decoded = understand()
        except Malformed as error:
            return error.message
        return found

    return (
        tried(lambda: decoding.understand(body, environment=environment, now=NOW)),
        tried(lambda: decoding.decode(decoding.parse(body, as_json=False), environment=environment, now=NOW)),
    )


def agree(fast: Decoded | str, stock: Decoded | str) -> None:
    if isinstance(fast, str) or isinstance(stock, str):
        assert fast == stock
        return
    assert (fast.accepted, fast.reasons, fast.dropped_attributes, fast.moved_to_arrival, fast.reports) == (
        stock.accepted,
        stock.reasons,
        stock.dropped_attributes,
        stock.moved_to_arrival,
        stock.reports,
    )
    ours, theirs = summed(fast), summed(stock)
    assert ours.keys() == theirs.keys()
    for slot, mine in ours.items():
        other = theirs[slot]
        assert (mine.count, mine.zeros, mine.low, mine.high) == (other.count, other.zeros, other.low, other.high)
        assert (mine.positive, mine.negative) == (other.positive, other.negative)
        assert mine.total == pytest.approx(other.total)
        assert mine.squares == pytest.approx(other.squares)


texts = st.sampled_from(["cpu", "gpu", "npu", "cloud", "tpu", "CPU", "", "a model", "x" * 300, "\x00"])
attributes = st.dictionaries(
    st.sampled_from(
        ["litert.backend.actual", "litert.backend.requested", "gen_ai.request.model", "outcome", "error.type", "other"]
    ),
    texts | st.integers(-3, 3) | st.booleans(),
    max_size=4,
)
temporalities: Any = st.sampled_from([0, 1, 1, 1, 2])
names = st.sampled_from(
    [
        "litert.prefill.throughput",
        "litert.inferences",
        "app.sessions",
        "device.thermal.status",
        "business.x",
        "odd",
        "hawkops.flags.revision",
    ]
)
devices = st.fixed_dictionaries(
    {}, optional={"device.id": texts, "device.soc": texts, "hawkops.simulated": st.booleans()}
)
moments = st.sampled_from([0, -4, -10, -299, -301, 3, 6, 10**6])
values = st.floats(allow_nan=True, allow_infinity=True) | st.integers(0, 100).map(float)


def pairs(said: dict[str, Any]) -> list[KeyValue]:
    found = []
    for key, value in said.items():
        kind = {str: "string_value", bool: "bool_value", int: "int_value"}[type(value)]
        found.append(KeyValue(key=key, value=AnyValue(**{kind: value})))
    return found


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    request = ExportMetricsServiceRequest()

    for _ in range(draw(st.integers(1, 2))):
        resource = request.resource_metrics.add()
        said = draw(
            st.fixed_dictionaries(
                {}, optional={"device.id": texts, "device.soc": texts, "hawkops.simulated": st.booleans()}
            )
        )
        resource.resource.attributes.extend(pairs(said))
        scope = resource.scope_metrics.add()
        for _ in range(draw(st.integers(0, 3))):
            name = draw(names)
            metric = scope.metrics.add(name=name, unit=draw(st.sampled_from(["", "{token}/s", "{inference}", "s"])))
            at = int(NOW.timestamp() * SECOND) + draw(moments) * SECOND
            kind = draw(st.sampled_from(["sum", "gauge", "exponential_histogram", "histogram"]))
            if kind in ("sum", "gauge"):
                holder = getattr(metric, kind)
                if kind == "sum":
                    holder.is_monotonic = draw(st.booleans())
                    holder.aggregation_temporality = draw(temporalities)
                point = holder.data_points.add(time_unix_nano=at, flags=draw(st.sampled_from([0, 0, 1])))
                if draw(st.booleans()):
                    point.as_int = draw(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9))
                elif draw(st.booleans()):
                    point.as_double = draw(values)
            elif kind == "histogram":
                metric.histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
                explicit = metric.histogram.data_points.add(time_unix_nano=at, count=3, sum=6)
                explicit.explicit_bounds.extend([1.0, 5.0])
                explicit.bucket_counts.extend([1, 1, 1])
                point = explicit
            else:
                metric.exponential_histogram.aggregation_temporality = draw(temporalities)
                counts = draw(st.lists(st.integers(0, 3) | st.sampled_from([127, 128, 300, 2**40]), max_size=12))
                zeros = draw(st.integers(0, 2))
                scale = draw(st.integers(-11, 21) | st.just(5))
                point = metric.exponential_histogram.data_points.add(time_unix_nano=at, scale=scale, zero_count=zeros)
                point.count = sum(counts) + zeros + draw(st.sampled_from([0, 0, 0, 1]))
                point.positive.offset = int(draw(st.integers(-50, 300) | st.integers(-(2**31), 2**31 - 1)))
                point.positive.bucket_counts.extend(counts)
                if draw(st.booleans()):
                    point.negative.bucket_counts.append(draw(st.sampled_from([0, 0, 1])))
                middle = draw(values)
                if draw(st.booleans()):
                    point.sum = middle * (point.count if draw(st.booleans()) else 1)
                if draw(st.booleans()):
                    point.min = middle
                if draw(st.booleans()):
                    point.max = middle * draw(st.sampled_from([1, 1, 2, 0.5]))
            point.attributes.extend(pairs(draw(attributes)))
    return request.SerializeToString()


@settings(max_examples=600, deadline=None)
@given(bodies(), st.sampled_from(["demo", "production"]))
@example(payload(7), "demo")
@example(b"", "demo")
@example(b"\xff\xff", "demo")
@example(b"\x0a\x02\x0a\x05", "demo")
def test_both_ways__say_the_same(body: bytes, environment: str) -> None:
    agree(*both(body, environment))


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200)
    | st.builds(
        lambda b, at, x: b[:at] + x + b[at:],
        st.just(payload(1)),
        st.integers(0, 3700),
        st.binary(min_size=1, max_size=3),
    )
)
def test_both_ways__on_spoiled_bytes__say_the_same(body: bytes) -> None:
    agree(*both(body))


def test_fast_way__takes_what_our_own_snippets_send() -> None:
    found = decoding.understand(payload(3), environment="demo", now=datetime.now(UTC))

    assert (len(found.points), len(found.sketches), found.accepted) == (20, 0, 20)


def test_fast_way__many_devices__keeps_its_caches_bounded() -> None:
    body = payload(0)
    for number in range(300):
        decoding.understand(
            body.replace(b"device-00000000", b"device-%08d" % number), environment="demo", now=datetime.now(UTC)
        )

    assert len(decoding._known) <= slim.CACHE_MOST
    assert len(decoding._resources) <= slim.CACHE_MOST
