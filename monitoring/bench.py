"""Payloads for measuring the door: each one different, so that none is taken for a repeat, and cheap to make."""

import itertools
import time
from collections.abc import Callable

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA

from monitoring.domain import metrics
from monitoring.domain.metrics import CATALOGUE, Kind

DEVICE = "bench-000000000000"
BACKENDS = ("cpu", "gpu", "npu")
BUCKETS = 12


def _said(**attributes: str) -> list[KeyValue]:
    return [
        KeyValue(key=key.replace("__", "."), value=AnyValue(string_value=value)) for key, value in attributes.items()
    ]


def otlp_payload(points: int = 20, *, device: str = DEVICE) -> bytes:
    """Build one payload of a simulated device as the SDK would: counters and exponential histograms, delta."""
    request = ExportMetricsServiceRequest()
    resource_metrics = request.resource_metrics.add()
    resource_metrics.resource.attributes.extend(_said(device__id=device, device__soc="bench", service__version="1.0.0"))
    resource_metrics.resource.attributes.append(KeyValue(key="hawkops.simulated", value=AnyValue(bool_value=True)))
    scope = resource_metrics.scope_metrics.add()
    scope.scope.name = "hawkops.bench"
    now = time.time_ns()
    names = [metrics.PREFILL, metrics.DECODE, metrics.OPERATION, metrics.MEMORY, metrics.INFERENCES]
    for number in range(points):
        known = CATALOGUE[names[number % len(names)]]
        backend = BACKENDS[number // len(names) % len(BACKENDS)]
        attributes = _said(
            litert__backend__requested=backend,
            litert__backend__actual=backend,
            gen_ai__request__model=f"bench-{number // (len(names) * len(BACKENDS))}",
        )
        metric = scope.metrics.add()
        metric.name, metric.unit = known.name, known.wire_unit
        if known.kind is Kind.COUNTER:
            metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
            metric.sum.is_monotonic = True
            metric.sum.data_points.add(attributes=attributes, time_unix_nano=now, as_int=3)
            continue
        metric.exponential_histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
        point = metric.exponential_histogram.data_points.add(
            attributes=attributes, start_time_unix_nano=now - 10**10, time_unix_nano=now, scale=5, count=2 * BUCKETS
        )
        point.positive.offset = 240
        point.positive.bucket_counts.extend([2] * BUCKETS)
        point.sum = 2 * sum(2.0 ** ((240 + step + 0.5) / 32) for step in range(BUCKETS))
    return request.SerializeToString()


def otlp_payloads(points: int = 20) -> Callable[[], bytes]:
    """Return a function that gives a new payload at each call: the same bytes with another device in them."""
    template = otlp_payload(points)
    at = template.index(DEVICE.encode())
    before, after = template[:at], template[at + len(DEVICE) :]
    numbers = itertools.count(time.time_ns() % 10**9 * 1_000)

    def mint() -> bytes:
        return before + b"bench-%012d" % (next(numbers) % 10**12) + after

    return mint
