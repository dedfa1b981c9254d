"""Builds OTLP payloads for simulated devices without an SDK for each: delta sums, exponential histograms, crash events."""

import gzip
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, ExponentialHistogramDataPoint, Metric

SCALE = 5  # bucket bounds are powers of 2^(1/32): relative error of at most 1.1 %
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
METRICS_PATH, LOGS_PATH = "/v1/metrics", "/v1/logs"
CRASH_EVENT = "device.crash"  # as opentelemetry-android names it
Attributes = Mapping[str, str | bool]


def bucket_index(value: float, scale: int = SCALE) -> int:
    """Return the bucket of a positive value: index i holds (base^i, base^(i+1)]."""
    return math.ceil(math.log2(value) * (1 << scale)) - 1


def pairs(attributes: Attributes) -> list[KeyValue]:
    """Turn attributes into OTLP's pairs."""
    return [
        KeyValue(key=key, value=AnyValue(bool_value=value) if isinstance(value, bool) else AnyValue(string_value=value))
        for key, value in attributes.items()
    ]


def _fill(point: ExponentialHistogramDataPoint, values: Sequence[float]) -> None:
    point.count, point.sum, point.scale = len(values), math.fsum(values), SCALE
    point.min, point.max = min(values), max(values)
    counts = Counter(bucket_index(value) for value in values if value > 0)
    point.zero_count = len(values) - counts.total()
    if counts:
        first, last = min(counts), max(counts)
        point.positive.offset = first
        point.positive.bucket_counts.extend(counts.get(index, 0) for index in range(first, last + 1))


class Recorder(Protocol):
    """Who is told what a device observed: a payload for the wire, or whoever adds it up on the spot."""

    def histogram(self, name: str, unit: str, values: Sequence[float], attributes: Attributes) -> None:
        """Take values; none adds nothing."""
        ...

    def count(self, name: str, unit: str, number: int, attributes: Attributes) -> None:
        """Take what a counter grew by; zero adds nothing."""
        ...

    def gauge(self, name: str, unit: str, value: int | float, attributes: Attributes) -> None:
        """Take a value of now."""
        ...


class Payload:
    """One export of one device over one span of time."""

    def __init__(self, resource: Attributes, *, begins_at: float, ends_at: float) -> None:
        self._request = ExportMetricsServiceRequest()
        described = self._request.resource_metrics.add()
        described.resource.attributes.extend(pairs(resource))
        self._scope = described.scope_metrics.add()
        self._scope.scope.name = "hawkops.fleet.simulate"
        self._times = {"start_time_unix_nano": int(begins_at * 1e9), "time_unix_nano": int(ends_at * 1e9)}
        self._metrics: dict[str, Metric] = {}

    def _metric(self, name: str, unit: str) -> Metric:
        if name not in self._metrics:
            self._metrics[name] = self._scope.metrics.add()
            self._metrics[name].name, self._metrics[name].unit = name, unit
        return self._metrics[name]

    def histogram(self, name: str, unit: str, values: Sequence[float], attributes: Attributes) -> None:
        """Add values; none adds nothing."""
        if not values:
            return
        histogram = self._metric(name, unit).exponential_histogram
        histogram.aggregation_temporality = DELTA
        point = histogram.data_points.add(**self._times)
        point.attributes.extend(pairs(attributes))
        _fill(point, values)

    def count(self, name: str, unit: str, number: int, attributes: Attributes) -> None:
        """Add to a counter; zero adds nothing."""
        if not number:
            return
        total = self._metric(name, unit).sum
        total.aggregation_temporality, total.is_monotonic = DELTA, True
        point = total.data_points.add(**self._times)
        point.attributes.extend(pairs(attributes))
        point.as_int = number

    def gauge(self, name: str, unit: str, value: int | float, attributes: Attributes) -> None:
        """Add a value of now."""
        point = self._metric(name, unit).gauge.data_points.add(time_unix_nano=self._times["time_unix_nano"])
        point.attributes.extend(pairs(attributes))
        if isinstance(value, int):
            point.as_int = value
        else:
            point.as_double = value

    def compressed(self) -> bytes:
        """Serialise for the wire."""
        return _compressed(self._request)


def crash_events(resource: Attributes, moments: Iterable[float], attributes: Attributes) -> bytes:
    """Build an export of crash events, one for each moment, in seconds since 1970."""
    request = ExportLogsServiceRequest()
    described = request.resource_logs.add()
    described.resource.attributes.extend(pairs(resource))
    scope = described.scope_logs.add()
    scope.scope.name = "io.opentelemetry.crash"
    for moment in moments:
        record = scope.log_records.add(time_unix_nano=int(moment * 1e9), event_name=CRASH_EVENT)
        record.attributes.extend(pairs(attributes))
    return _compressed(request)


def _compressed(request: ExportMetricsServiceRequest | ExportLogsServiceRequest) -> bytes:
    return gzip.compress(request.SerializeToString(), compresslevel=1, mtime=0)


def wall_clock() -> float:
    """Read seconds since 1970."""
    return time.time()
