"""OTLP payloads for tests."""

import math
import time
from collections.abc import Mapping, Sequence

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA, Metric

DEVICE = {"device.id": "dev-1", "device.soc": "synthetic-host", "service.version": "2.4.0"}
ON_CPU = {"litert.backend.requested": "gpu", "litert.backend.actual": "cpu", "gen_ai.request.model": "synthetic"}


def pairs(said: Mapping[str, object]) -> list[KeyValue]:
    return [
        KeyValue(
            key=key,
            value=AnyValue(bool_value=value) if isinstance(value, bool) else AnyValue(string_value=str(value)),
        )
        for key, value in said.items()
    ]


class Payload:
    """One resource with some metrics, built point by point."""

    def __init__(self, resource: Mapping[str, object] = DEVICE, *, at: float | None = None) -> None:
        self.message = ExportMetricsServiceRequest()
        self.nanoseconds = int((time.time() if at is None else at) * 1e9)
        resource_metrics = self.message.resource_metrics.add()
        resource_metrics.resource.attributes.extend(pairs(resource))
        self.scope = resource_metrics.scope_metrics.add()

    @property
    def body(self) -> bytes:
        return self.message.SerializeToString()

    def metric(self, name: str, unit: str = "") -> Metric:
        metric = self.scope.metrics.add()
        metric.name, metric.unit = name, unit
        return metric

    def exponential(
        self,
        name: str,
        values: Sequence[float],
        attributes: Mapping[str, object] = ON_CPU,
        *,
        scale: int = 5,
        unit: str = "",
        temporality: int = AGGREGATION_TEMPORALITY_DELTA,
    ) -> "Payload":
        metric = self.metric(name, unit)
        metric.exponential_histogram.aggregation_temporality = temporality  # type: ignore[assignment]
        point = metric.exponential_histogram.data_points.add()
        point.attributes.extend(pairs(attributes))
        point.time_unix_nano = self.nanoseconds
        point.scale, point.count, point.sum = scale, len(values), sum(values)
        point.min, point.max = min(values), max(values)
        indexes = [math.ceil(math.log2(value) * 2**scale) - 1 for value in values]
        point.positive.offset = min(indexes)
        counts = [0] * (max(indexes) - min(indexes) + 1)
        for index in indexes:
            counts[index - min(indexes)] += 1
        point.positive.bucket_counts.extend(counts)
        return self

    def sum(
        self,
        name: str,
        value: float,
        attributes: Mapping[str, object] = ON_CPU,
        *,
        temporality: int = AGGREGATION_TEMPORALITY_DELTA,
        monotonic: bool = True,
    ) -> "Payload":
        metric = self.metric(name)
        metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
        metric.sum.is_monotonic = monotonic
        point = metric.sum.data_points.add()
        point.attributes.extend(pairs(attributes))
        point.time_unix_nano, point.as_double = self.nanoseconds, value
        return self

    def gauge(self, name: str, value: float, attributes: Mapping[str, object] | None = None) -> "Payload":
        point = self.metric(name).gauge.data_points.add()
        point.attributes.extend(pairs(attributes or {}))
        point.time_unix_nano, point.as_double = self.nanoseconds, value
        return self
