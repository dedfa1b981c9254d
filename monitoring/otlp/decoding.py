"""From an OTLP payload to sketches: the closed list of dimensions, and a count of everything that was refused or dropped.

Everything is bounded before it is believed: messages before they are parsed, points, buckets, texts and values after.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import orjson
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_DELTA,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as MetricMessage
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from hawkops.core.bounded import Malformed, TooLarge
from hawkops.core.environments import Environment
from monitoring.domain.metrics import BUSINESS_PREFIX, CATALOGUE, REVISION, Kind, known
from monitoring.domain.sketch import LARGEST, Sketch
from monitoring.otlp import slim

BUCKET_SECONDS = 10
POINTS_MOST = 10_000
RESOURCES_MOST = 2_000
# A hostile body of 64 MiB could hold 32 million empty messages: 2 GB and ten seconds of parsing, all in one C call.
MESSAGES_MOST = 250_000
JSON_BYTES_MOST = 8 * 1024 * 1024
JSON_DEPTH_MOST = 64
BUCKET_COUNTS_MOST = 1_024
COUNT_MOST = 2**48
SCALES = range(-10, 21)
# A device's clock is believed within these; a point from further off counts at its arrival.
LATE = timedelta(minutes=5)
AHEAD = timedelta(seconds=5)
NO_VALUE = 1
REVISION_BYTES = REVISION.encode()
BACKENDS = frozenset(("cpu", "gpu", "npu", "cloud"))
RESOURCE_ATTRIBUTES = frozenset(
    (
        "device.id",
        "app.installation.id",
        "service.instance.id",
        "device.soc",
        "device.model.identifier",
        "service.version",
        "hawkops.simulated",
    )
)
# attribute of a point -> dimension
DIMENSIONS = {
    "litert.backend.requested": "requested",
    "litert.backend.actual": "actual",
    "gen_ai.request.model": "model",
    "feature_flag.result.variant": "variant",
    "outcome": "outcome",
    "error.type": "outcome",
    "pattern": "outcome",
}
TRUE = frozenset(("true", "1", "yes"))


class SeriesKey(NamedTuple):
    """The closed list of dimensions, in the order of the table's columns. An empty string means: not said."""

    environment: str
    metric: str
    backend_requested: str
    backend_actual: str
    device_class: str
    app_version: str
    model: str
    variant: str
    outcome: str
    simulated: bool


@dataclass(frozen=True)
class DeviceReport:
    """What the census wants to know of a payload."""

    environment: str
    device_id: str
    device_class: str
    simulated: bool
    revision: int | None


@dataclass
class Decoded:
    """One payload, understood: sketches by series and time bucket, what was rejected and why."""

    sketches: dict[tuple[SeriesKey, int], Sketch] = field(default_factory=dict)
    points: list[slim.Point] = field(default_factory=list)
    reports: list[DeviceReport] = field(default_factory=list)
    accepted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    dropped_attributes: int = 0
    moved_to_arrival: int = 0

    @property
    def holds_data(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.sketches or self.points)

    @property
    def rejected(self) -> int:
        """How many points were rejected."""
        return sum(self.reasons.values())

    @property
    def message(self) -> str:
        """Why points were rejected, most frequent first; empty when none was."""
        return "; ".join(f"{count} × {why}" for why, count in self.reasons.most_common(5))[:2_000]


class _Refused(Exception):
    """One point can't be taken; the message completes "<metric> …"."""


# --- the fast way ---


def understand(body: bytes, *, environment: str, now: datetime) -> Decoded:
    """Understand a payload in protobuf: the fast way when it is as it should be, else by the stock parser.

    Raises Malformed or TooLarge.
    """
    count_messages(body, limit=MESSAGES_MOST)
    return _plainly(body, environment, now) or decode(parse(body, as_json=False), environment=environment, now=now)


_resources = slim.Bounded()
_known = slim.Bounded()


def _plainly(body: bytes, environment: str, now: datetime) -> Decoded | None:
    """Understand a payload that is as it should be; None for any other."""
    arrived = now.timestamp()
    now_bucket = int(arrived) // BUCKET_SECONDS * BUCKET_SECONDS
    earliest, latest = int((arrived - LATE.total_seconds()) * 1e9), int((arrived + AHEAD.total_seconds()) * 1e9)

    def bucket(nanoseconds: int) -> int:
        if not earliest <= nanoseconds <= latest:
            raise slim.NotPlain
        return min(now_bucket, nanoseconds // 1_000_000_000 // BUCKET_SECONDS * BUCKET_SECONDS)

    walk = slim.Walk(
        resource=lambda resource: _plain_resource(environment, resource),
        series=lambda whose, *point: _plain_series(environment, whose.device, *point),
        bucket=bucket,
        revision=REVISION_BYTES,
        most=POINTS_MOST,
    )
    if not walk.walk(body) or len(walk.devices) > RESOURCES_MOST:
        return None
    found = Decoded(points=walk.points, accepted=len(walk.points), dropped_attributes=walk.dropped)
    for device, revision in walk.devices:
        found.accepted += revision is not None
        if device.device_id:
            found.reports.append(
                DeviceReport(environment, device.device_id, device.device_class, device.simulated, revision)
            )
    return found


def _plain_resource(environment: str, resource: bytes) -> slim.Resource:
    found = _resources.get((environment, resource))
    if found is None:
        device = _device(Resource.FromString(resource).attributes)
        if device.simulated and environment == Environment.PRODUCTION:
            raise slim.NotPlain  # refused in the stock parser's words
        dimensions = (environment, device.device_class, device.app_version, device.simulated)
        known_here = _known.get(dimensions)
        if known_here is None:
            known_here = _known.keep(dimensions, slim.Bounded())
        found = _resources.keep((environment, resource), slim.Resource(device, known_here))
    return found  # type: ignore[no-any-return]


def _plain_series(
    environment: str, device: _Device, name: bytes, unit: bytes, kind: str, attributes: tuple[bytes, ...]
) -> tuple[SeriesKey, int]:
    """Return the key of a point's dimensions and how many attributes it drops. Raises NotPlain for what isn't plain."""
    metric = CATALOGUE.get(name.decode(errors="replace"))
    if metric is None or (unit and unit != metric.wire_unit.encode()):
        raise slim.NotPlain
    if (kind == "sum") != (metric.kind is Kind.COUNTER):
        raise slim.NotPlain
    found = Decoded()
    try:
        key = _Walk(found, environment, device, 0.0).key(metric.name, map(KeyValue.FromString, attributes))
    except _Refused:
        raise slim.NotPlain from None
    return key, found.dropped_attributes


# --- bytes to message -------------------------------------------------------------------------------------------------


def parse(body: bytes, *, as_json: bool) -> ExportMetricsServiceRequest:
    """Parse the bytes of a payload. Raises Malformed or TooLarge."""
    if as_json:
        return _parse_json(body)
    count_messages(body, limit=MESSAGES_MOST)
    try:
        return ExportMetricsServiceRequest.FromString(body)
    except DecodeError:
        raise Malformed("The body is not an ExportMetricsServiceRequest in protobuf.") from None


def _parse_json(body: bytes) -> ExportMetricsServiceRequest:
    if len(body) > JSON_BYTES_MOST:
        raise TooLarge(f"A payload in JSON may have {JSON_BYTES_MOST} bytes; send smaller ones, or protobuf.")
    try:
        document = orjson.loads(body)
        if not isinstance(document, dict):
            raise Malformed("An OTLP payload in JSON is an object with resourceMetrics.")
        _prepare(document)
        return json_format.ParseDict(
            document, ExportMetricsServiceRequest(), ignore_unknown_fields=True, max_recursion_depth=JSON_DEPTH_MOST
        )
    except (json_format.ParseError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise Malformed(f"The body is not an OTLP metrics payload in JSON: {str(error)[:200]}") from None


def _prepare(document: dict[str, Any]) -> None:
    """Bound the number of objects, and drop exemplars: their ids are hexadecimal here and base64 in protobuf's JSON."""
    waiting: list[Any] = [document]
    seen = 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen > MESSAGES_MOST:
            raise TooLarge(f"The payload has more than {MESSAGES_MOST} objects; send smaller ones.")
        if isinstance(node, dict):
            node.pop("exemplars", None)
            waiting.extend(value for value in node.values() if isinstance(value, dict | list))
        else:
            waiting.extend(value for value in node if isinstance(value, dict | list))


_Nested = dict[int, "_Nested"]


def _nested(descriptor: Descriptor, known_tables: dict[str, _Nested]) -> _Nested:
    """Return, for each field of a message that holds messages, the same table of those."""
    table = known_tables.get(descriptor.full_name)
    if table is None:
        table = known_tables[descriptor.full_name] = {}
        for number, part in descriptor.fields_by_number.items():
            if part.message_type is not None:
                table[number] = _nested(part.message_type, known_tables)
    return table


_REQUEST = _nested(ExportMetricsServiceRequest.DESCRIPTOR, {})


def count_messages(body: bytes, *, limit: int) -> int:
    """Count the nested messages of a payload without parsing it. Raises TooLarge past `limit`, Malformed for bad bytes."""
    if len(body) // 2 <= limit:
        return 0  # an empty message takes two bytes: there can't be more
    seen = 0
    waiting: list[tuple[int, int, _Nested]] = [(0, len(body), _REQUEST)]
    try:
        while waiting:
            at, end, table = waiting.pop()
            while at < end:
                tag, at = _varint(body, at)
                wire = tag & 7
                if wire == 2:
                    length, at = _varint(body, at)
                    inner = table.get(tag >> 3)
                    if inner is not None:
                        seen += 1
                        if seen > limit:
                            raise TooLarge(f"The payload holds more than {limit} messages; send smaller ones.")
                        waiting.append((at, at + length, inner))
                    at += length
                elif wire == 0:
                    _, at = _varint(body, at)
                else:
                    at += {1: 8, 5: 4}[wire]
            if at != end:
                raise IndexError
    except (IndexError, KeyError):
        raise Malformed("The body is not an ExportMetricsServiceRequest in protobuf.") from None
    return seen


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


# --- message to sketches ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Device:
    device_id: str
    device_class: str
    app_version: str
    simulated: bool


def decode(payload: ExportMetricsServiceRequest, *, environment: str, now: datetime) -> Decoded:
    """Walk a payload; `now` is its arrival. Raises Malformed when it must be refused as a whole."""
    if len(payload.resource_metrics) > RESOURCES_MOST:
        raise Malformed(f"The payload has more than {RESOURCES_MOST} resources; send smaller ones.")
    found = Decoded()
    for resource_metrics in payload.resource_metrics:
        device = _device(resource_metrics.resource.attributes)
        if device.simulated and environment == Environment.PRODUCTION:
            raise Malformed("Simulated devices are not accepted with a production key. Use a key of demo or staging.")
        walk = _Walk(found, environment, device, now.timestamp())
        for scope in resource_metrics.scope_metrics:
            for metric in scope.metrics:
                walk.metric(metric)
        if device.device_id:
            found.reports.append(
                DeviceReport(environment, device.device_id, device.device_class, device.simulated, walk.revision)
            )
    return found


def _device(pairs: Iterable[KeyValue]) -> _Device:
    said = {pair.key: _text(pair.value) for pair in pairs if pair.key in RESOURCE_ATTRIBUTES}
    return _Device(
        device_id=(said.get("device.id") or said.get("app.installation.id") or said.get("service.instance.id") or "")[
            :200
        ],
        device_class=(said.get("device.soc") or said.get("device.model.identifier") or "unknown")[:80],
        app_version=said.get("service.version", "")[:40],
        simulated=said.get("hawkops.simulated", "").lower() in TRUE,
    )


class _Walk:
    """The points of one resource. This is the hot path of the door: a payload of 20 points comes here 20 times."""

    def __init__(self, found: Decoded, environment: str, device: _Device, arrived: float) -> None:
        self.found = found
        self.environment = environment
        self.device = device
        self.revision: int | None = None
        self._now_bucket = int(arrived) // BUCKET_SECONDS * BUCKET_SECONDS
        self._earliest = int((arrived - LATE.total_seconds()) * 1e9)
        self._latest = int((arrived + AHEAD.total_seconds()) * 1e9)

    def metric(self, message: MetricMessage) -> None:
        """Take one metric's points, or count why not."""
        found = self.found
        kind = message.WhichOneof("data")
        if kind is None:
            return
        name = message.name
        points = getattr(message, kind).data_points
        room = POINTS_MOST - found.accepted - found.rejected
        if len(points) > room:
            found.reasons[f"point beyond {POINTS_MOST} in one payload"] += len(points) - max(0, room)
            points = points[: max(0, room)]
        why = _unfit(message, name, kind)
        if why:
            if len(points):
                found.reasons[f"{name[:80]}: {why}"] += len(points)
            return
        read = _READERS[kind]
        for point in points:
            try:
                if not point.flags & NO_VALUE:
                    if name == REVISION:
                        self.revision = max(self.revision or 0, int(_number(point)))
                    else:
                        self._take(name, point, read)
                found.accepted += 1
            except _Refused as error:
                found.reasons[f"{name} {error}"] += 1

    def _take(self, name: str, point: Any, read: Callable[[Sketch, Any, str], None]) -> None:
        sketch = Sketch()
        read(sketch, point, name)
        if not sketch.count:
            return
        slot = (self.key(name, point.attributes), self._bucket(point.time_unix_nano))
        sketches = self.found.sketches
        known_sketch = sketches.get(slot)
        if known_sketch is None:
            sketches[slot] = sketch
        else:
            known_sketch.merge(sketch)

    def key(self, name: str, pairs: Iterable[KeyValue]) -> SeriesKey:
        """Return the series that a point's attributes belong to; what is not in the closed list is dropped and counted."""
        requested = actual = model = variant = outcome = ""
        for pair in pairs:
            dimension = DIMENSIONS.get(pair.key)
            if dimension is None:
                self.found.dropped_attributes += 1
                continue
            value = pair.value
            text = _clean(value.string_value) or _text(value)
            if dimension == "actual":
                actual = text.lower()
            elif dimension == "requested":
                requested = text.lower()
            elif dimension == "model":
                model = text[:80]
            elif dimension == "variant":
                variant = text[:40]
            else:
                outcome = text[:40]
        if (requested and requested not in BACKENDS) or (actual and actual not in BACKENDS):
            raise _Refused("names a backend other than cpu, gpu, npu or cloud")
        device = self.device
        return SeriesKey(
            self.environment,
            name,
            requested,
            actual,
            device.device_class,
            device.app_version,
            model,
            variant,
            outcome,
            device.simulated,
        )

    def _bucket(self, nanoseconds: int) -> int:
        """Return the ten-second bucket (seconds since 1970)."""
        if not self._earliest <= nanoseconds <= self._latest:
            self.found.moved_to_arrival += 1
            return self._now_bucket
        return min(self._now_bucket, nanoseconds // 1_000_000_000 // BUCKET_SECONDS * BUCKET_SECONDS)


def _unfit(message: MetricMessage, name: str, kind: str) -> str:
    """Say why no point of a metric can be taken; empty when they can."""
    metric = CATALOGUE.get(name)
    if metric is None and not known(name):
        return "not in the catalogue of metrics"
    if kind == "summary":
        return "summaries can't be merged; send a histogram"
    level = kind == "gauge" or (kind == "sum" and not message.sum.is_monotonic)
    if not level and getattr(message, kind).aggregation_temporality != AGGREGATION_TEMPORALITY_DELTA:
        return "cumulative; set OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta on the device"
    if metric is None:
        return ""
    unit = message.unit
    if unit and unit != metric.wire_unit:
        return f"came in {unit[:20]!r}, its unit is {metric.wire_unit!r}"
    if name == REVISION and kind != "gauge":
        return "is a gauge; send a gauge"
    if metric.kind is Kind.COUNTER and kind != "sum":
        return "is a counter; send a delta sum"
    if metric.kind is Kind.DISTRIBUTION and kind == "sum":
        return "is a distribution; send a histogram"
    return ""


def _plain(sketch: Sketch, point: NumberDataPoint, name: str) -> None:
    value = _number(point)
    if value < 0 and not name.startswith(BUSINESS_PREFIX):
        raise _Refused("is negative")
    sketch.add(value)


def _number(point: NumberDataPoint) -> float:
    which = point.WhichOneof("value")
    if which is None:
        raise _Refused("carries no value")
    value = float(point.as_int) if which == "as_int" else point.as_double
    if not math.isfinite(value):
        raise _Refused("is not a finite number")
    if abs(value) > LARGEST:
        raise _Refused("is beyond 2^50")
    return value


_Histogram = HistogramDataPoint | ExponentialHistogramDataPoint


def _summary(point: _Histogram, count: int) -> tuple[float | None, float | None, float | None]:
    """Return sum, min and max after checking that they agree with each other."""
    total = point.sum if point.HasField("sum") else None
    low = point.min if count and point.HasField("min") else None
    high = point.max if count and point.HasField("max") else None
    for value in (total, low, high):
        # one comparison for negative, infinite and not a number
        if value is not None and not 0 <= value < math.inf:
            raise _Refused("has a sum, min or max that is negative or not a finite number")
    if high is not None:
        if high > LARGEST:
            raise _Refused("is beyond 2^50")
        if low is not None and low > high:
            raise _Refused("has a min above its max")
        if total is not None and total > count * high * 1.001 + 1e-9:
            raise _Refused("has a sum that contradicts its count, min and max")
    if low is not None and total is not None and total < count * low * 0.999 - 1e-9:
        raise _Refused("has a sum that contradicts its count, min and max")
    return total, low, high


def _exponential(sketch: Sketch, point: ExponentialHistogramDataPoint, name: str) -> None:
    positive, scale, count = point.positive, point.scale, point.count
    counts, offset = list(positive.bucket_counts), positive.offset
    if len(counts) > BUCKET_COUNTS_MOST:
        raise _Refused(f"has more than {BUCKET_COUNTS_MOST} buckets")
    if scale not in SCALES:
        raise _Refused(f"has scale {scale}; {SCALES.start} to {SCALES.stop - 1} are understood")
    if point.HasField("negative") and any(point.negative.bucket_counts):
        raise _Refused("has negative values")
    zero_count = point.zero_count
    if count > COUNT_MOST or zero_count + sum(counts) != count:
        raise _Refused("has a count that differs from the sum of its buckets")
    total, low, high = _summary(point, count)
    step = 2.0**-scale
    if counts and not (offset * step > -1_000 and (offset + len(counts)) * step < 51) and any(counts):
        raise _Refused("has buckets beyond 2^50")
    sketch.add_exponential(
        scale=scale,
        zero_count=zero_count,
        positive=(offset, counts),
        negative=(0, ()),
        total=total,
        low=low,
        high=high,
    )


def _explicit(sketch: Sketch, point: HistogramDataPoint, name: str) -> None:
    bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
    if len(counts) > BUCKET_COUNTS_MOST:
        raise _Refused(f"has more than {BUCKET_COUNTS_MOST} buckets")
    if not counts and point.count == 0:
        return
    if not counts:
        raise _Refused("has no buckets, so no percentile can be read from it")
    if len(counts) != len(bounds) + 1 or sum(counts) != point.count or point.count > COUNT_MOST:
        raise _Refused("has bucket counts that don't match its bounds or its count")
    if any(not math.isfinite(bound) for bound in bounds) or any(a >= b for a, b in pairwise(bounds)):
        raise _Refused("has bounds that are not finite and ascending")
    total, low, high = _summary(point, point.count)
    if any(bound < 0 and count for bound, count in zip(bounds, counts, strict=False)):
        raise _Refused("has negative values")
    if any(bound > LARGEST for bound, count in zip(bounds, counts[1:], strict=True) if count):
        raise _Refused("has buckets beyond 2^50")
    sketch.add_explicit(bounds=bounds, counts=counts, total=total, low=low, high=high)


_READERS: dict[str, Callable[[Sketch, Any, str], None]] = {
    "gauge": _plain,
    "sum": _plain,
    "histogram": _explicit,
    "exponential_histogram": _exponential,
}


@lru_cache(maxsize=4_096)
def _clean(text: str) -> str:
    """Return the text without what can't be printed, bounded; the same few texts come again and again."""
    text = text[:200]
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())


def _text(value: AnyValue) -> str:
    """Return an attribute's value as text; devices send numbers and booleans too."""
    which = value.WhichOneof("value")
    if which == "string_value":
        return _clean(value.string_value)
    if which == "bool_value":
        return "true" if value.bool_value else "false"
    if which in ("int_value", "double_value"):
        return str(getattr(value, which))
    return ""
