"""From an OTLP payload to sketches: the closed list of dimensions, and a count of everything that was dropped."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from hawkops.core.bounded import Malformed, json_loads
from hawkops.core.environments import Environment
from monitoring.domain.metrics import known
from monitoring.domain.sketch import Sketch

BUCKET_SECONDS = 10
POINTS_MOST = 10_000
BUCKET_COUNTS_MOST = 1_024
SCALES = range(-10, 21)
LATE = timedelta(hours=1)
AHEAD = timedelta(seconds=60)
CUMULATIVE = 2
NO_VALUE = 1
REVISION = "hawkops.flags.revision"
BACKENDS = frozenset(("cpu", "gpu", "npu", "cloud"))
DEVICE_ID = ("device.id", "app.installation.id", "service.instance.id")
DEVICE_CLASS = ("device.soc", "device.model.identifier")
# attribute of a point -> dimension
OUTCOMES = ("outcome", "error.type", "pattern")


@dataclass(frozen=True)
class SeriesKey:
    """The closed list of dimensions, in the order of the table's columns."""

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
    reports: list[DeviceReport] = field(default_factory=list)
    accepted: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    dropped_attributes: int = 0

    def reject(self, why: str) -> None:
        """Count a rejected point."""
        self.rejected += 1
        self.reasons[why] = self.reasons.get(why, 0) + 1

    @property
    def message(self) -> str:
        """Why points were rejected, most frequent first; empty when none was."""
        ordered = sorted(self.reasons.items(), key=lambda item: -item[1])
        return "; ".join(f"{count} × {why}" for why, count in ordered[:5])


def parse(body: bytes, *, as_json: bool) -> ExportMetricsServiceRequest:
    """Parse the bytes of a payload. Raises Malformed."""
    try:
        if not as_json:
            return ExportMetricsServiceRequest.FromString(body)
        document = json_loads(body, max_depth=64)
        if not isinstance(document, dict):
            raise Malformed("An OTLP payload in JSON is an object.")
        _without_exemplars(document)
        return json_format.ParseDict(document, ExportMetricsServiceRequest(), ignore_unknown_fields=True)
    except (DecodeError, json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed(f"The body is not an OTLP metrics payload: {str(error)[:200]}") from error


def _without_exemplars(node: Any) -> None:
    """Drop exemplars: their ids are hexadecimal in OTLP's JSON and base64 in protobuf's, and they count already."""
    if isinstance(node, dict):
        node.pop("exemplars", None)
        for value in node.values():
            _without_exemplars(value)
    elif isinstance(node, list):
        for value in node:
            _without_exemplars(value)


def decode(payload: ExportMetricsServiceRequest, *, environment: str, now: datetime) -> Decoded:
    """Walk a payload. Raises Malformed when it must be refused as a whole."""
    found = Decoded()
    for resource_metrics in payload.resource_metrics:
        resource = {attribute.key: _text(attribute.value) for attribute in resource_metrics.resource.attributes}
        simulated = resource.get("hawkops.simulated", "") == "true"
        if simulated and environment == Environment.PRODUCTION:
            raise Malformed("Simulated devices are not accepted with a production key. Use a key of demo or staging.")
        device_class = _first(resource, DEVICE_CLASS)[:80]
        device_id = _first(resource, DEVICE_ID)[:200]
        base = (environment, device_class, resource.get("service.version", "")[:40], simulated)
        revision: int | None = None
        for scope in resource_metrics.scope_metrics:
            for metric in scope.metrics:
                if found.accepted + found.rejected > POINTS_MOST:
                    raise Malformed(f"The payload has more than {POINTS_MOST} points; send smaller ones.")
                revision = _metric(found, metric, base, now) or revision
        if device_id:
            found.reports.append(DeviceReport(environment, device_id, device_class, simulated, revision))
    return found


def _metric(found: Decoded, metric: Any, base: tuple[str, str, str, bool], now: datetime) -> int | None:
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind) if kind else None
    points = data.data_points if data is not None else ()
    if not known(metric.name):
        for _ in points:
            found.reject(f"unknown metric {metric.name[:60]!r}")
        return None
    if kind == "summary":
        for _ in points:
            found.reject("summaries can't be merged; send histograms")
        return None
    if kind != "gauge" and getattr(data, "aggregation_temporality", 0) == CUMULATIVE:
        for _ in points:
            found.reject("cumulative temporality; set OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta")
        return None
    revision: int | None = None
    for point in points:
        if point.flags & NO_VALUE:
            found.accepted += 1
            continue
        if metric.name == REVISION:
            found.accepted += 1
            number = _number(point)
            if number is not None and 0 <= number < 2**62:
                revision = int(number)
            continue
        _point(found, metric.name, kind, point, base, now)
    return revision


def _point(found: Decoded, name: str, kind: str, point: Any, base: tuple[str, str, str, bool], now: datetime) -> None:
    environment, device_class, version, simulated = base
    attributes = {attribute.key: _text(attribute.value) for attribute in point.attributes}
    requested = attributes.pop("litert.backend.requested", "")
    actual = attributes.pop("litert.backend.actual", "")
    model = attributes.pop("gen_ai.request.model", "")[:80]
    variant = attributes.pop("feature_flag.result.variant", "")[:40]
    outcome = next((attributes.pop(key)[:40] for key in OUTCOMES if key in attributes), "")
    found.dropped_attributes += len(attributes)
    if (requested and requested not in BACKENDS) or (actual and actual not in BACKENDS):
        found.reject("a backend is cpu, gpu, npu or cloud")
        return
    key = SeriesKey(environment, name, requested, actual, device_class, version, model, variant, outcome, simulated)
    slot = (key, _bucket(point.time_unix_nano, now))
    sketch = found.sketches.get(slot) or Sketch()
    why = _accumulate(sketch, kind, point)
    if why:
        found.reject(why)
        return
    found.accepted += 1
    if sketch.count:
        found.sketches[slot] = sketch


def _accumulate(sketch: Sketch, kind: str, point: Any) -> str:
    """Add a point; return why not, or an empty string. Nothing is added when it is refused."""
    if kind in ("gauge", "sum"):
        value = _number(point)
        if value is None or not math.isfinite(value):
            return "not a finite number"
        if kind == "sum" and value < 0:
            return "a delta of a counter can't be negative"
        sketch.add(value)
        return ""
    total = point.sum if point.HasField("sum") else None
    low = point.min if point.HasField("min") else None
    high = point.max if point.HasField("max") else None
    if any(value is not None and not math.isfinite(value) for value in (total, low, high)):
        return "sum, min or max is not a finite number"
    if kind == "histogram":
        return _explicit(sketch, point, total, low, high)
    positive, negative = point.positive, point.negative
    if len(positive.bucket_counts) + len(negative.bucket_counts) > BUCKET_COUNTS_MOST:
        return f"more than {BUCKET_COUNTS_MOST} buckets"
    if point.scale not in SCALES:
        return f"scale {point.scale} is outside {SCALES.start} to {SCALES.stop - 1}"
    if point.zero_count + sum(positive.bucket_counts) + sum(negative.bucket_counts) != point.count:
        return "count differs from the sum of its buckets"
    step = 2.0**-point.scale
    for side in (positive, negative):
        if side.bucket_counts and not (
            side.offset * step > -1000 and (side.offset + len(side.bucket_counts)) * step < 1000
        ):
            return "bucket boundaries overflow"
    sketch.add_exponential(
        scale=point.scale,
        zero_count=point.zero_count,
        positive=(positive.offset, positive.bucket_counts),
        negative=(negative.offset, negative.bucket_counts),
        total=total,
        low=low if point.count else None,
        high=high if point.count else None,
    )
    return ""


def _explicit(sketch: Sketch, point: Any, total: float | None, low: float | None, high: float | None) -> str:
    bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
    if len(counts) > BUCKET_COUNTS_MOST:
        return f"more than {BUCKET_COUNTS_MOST} buckets"
    if not counts:
        return "a histogram without buckets has no percentiles"
    if len(counts) != len(bounds) + 1 or sum(counts) != point.count:
        return "bucket counts don't match bounds or count"
    if any(not math.isfinite(b) for b in bounds) or any(a >= b for a, b in pairwise(bounds)):
        return "bounds must be finite and ascending"
    sketch.add_explicit(bounds=bounds, counts=counts, total=total, low=low, high=high)
    return ""


def _number(point: Any) -> float | None:
    which = point.WhichOneof("value")
    return None if which is None else float(getattr(point, which))


def _bucket(nanoseconds: int, now: datetime) -> int:
    """Return the ten-second bucket (seconds since 1970); a clock too far off is replaced by the time of arrival."""
    arrived = now.timestamp()
    at = nanoseconds / 1e9
    if not arrived - LATE.total_seconds() <= at <= arrived + AHEAD.total_seconds():
        at = arrived
    return int(at) // BUCKET_SECONDS * BUCKET_SECONDS


def _text(value: Any) -> str:
    """Return an attribute's value as text; devices send numbers and booleans too."""
    which = value.WhichOneof("value")
    if which == "string_value":
        return str(value.string_value).replace("\x00", "")
    if which == "bool_value":
        return "true" if value.bool_value else "false"
    if which in ("int_value", "double_value"):
        return str(getattr(value, which))
    return ""


def _first(resource: dict[str, str], names: tuple[str, ...]) -> str:
    return next((resource[name] for name in names if resource.get(name)), "")
