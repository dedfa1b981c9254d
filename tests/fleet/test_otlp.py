"""Payloads of simulated devices: histograms whose buckets hold their values, as the SDK's own mapping puts them."""

import gzip

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.logarithm_mapping import LogarithmMapping

from hawkops.fleet.otlp import DELTA, Payload, bucket_index


def read(payload: Payload) -> ExportMetricsServiceRequest:
    return ExportMetricsServiceRequest.FromString(gzip.decompress(payload.compressed()))


@given(st.floats(1e-6, 1e12))
def test_bucket__any_value__is_where_the_sdk_puts_it(value: float) -> None:
    assert abs(bucket_index(value) - LogarithmMapping(5).map_to_index(value)) <= (1 if value in _BOUNDS else 0)


_BOUNDS = {2.0 ** (index / 32) for index in range(-700, 1300)}


def test_payload__values__are_counted_once() -> None:
    payload = Payload({"device.id": "sim-1", "hawkops.simulated": True}, begins_at=10.0, ends_at=20.0)
    payload.histogram(
        "litert.decode.throughput", "{token}/s", [40.0, 41.0, 80.0, 0.0], {"litert.backend.actual": "cpu"}
    )
    payload.histogram("litert.prefill.throughput", "{token}/s", [], {})
    payload.count("litert.inferences", "{inference}", 3, {})
    payload.count("litert.backend.switches", "{switch}", 0, {})
    payload.gauge("hawkops.flags.revision", "", 7, {})
    resource = read(payload).resource_metrics[0]
    assert {pair.key for pair in resource.resource.attributes} == {"device.id", "hawkops.simulated"}
    histogram, counter, gauge = resource.scope_metrics[0].metrics
    point = histogram.exponential_histogram.data_points[0]
    assert (point.count, point.zero_count, point.sum, point.min, point.max) == (4, 1, 161.0, 0.0, 80.0)
    assert sum(point.positive.bucket_counts) == 3
    assert point.positive.bucket_counts[0] > 0
    assert point.positive.bucket_counts[-1] > 0
    assert histogram.exponential_histogram.aggregation_temporality == DELTA
    assert (counter.name, counter.sum.data_points[0].as_int, counter.sum.is_monotonic) == ("litert.inferences", 3, True)
    assert (gauge.name, gauge.gauge.data_points[0].as_int) == ("hawkops.flags.revision", 7)
