"""What was understood and dropped of a payload, for the device's author: looked into now and then, never each time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    Metric,
)

from monitoring.domain.conformance import Shape
from monitoring.otlp.decoding import DIMENSIONS, IDENTITIES, RESOURCE_ATTRIBUTES, Decoded, device_of
from monitoring.otlp.logs import ATTRIBUTES, VARIANT
from monitoring.otlp.rows import Note

DEVICE_SECONDS = 10.0
# for all devices together: payloads with something refused and payloads without each have as many
PER_SECOND = 20
DEVICES_MOST = 20_000
NAMES_MOST = 30
SHAPES_MOST = 60
PAYLOAD_BYTES = 512 * 1024
TEMPORALITIES = {AGGREGATION_TEMPORALITY_DELTA: "delta", AGGREGATION_TEMPORALITY_CUMULATIVE: "cumulative"}
# what SDKs add by themselves and nobody has to look for
QUIET = ("telemetry.", "os.", "process.", "host.", "device.", "android.", "service.")


class Notes:
    """Decides which payloads are looked into, and looks."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, str], float] = {}
        self._second = 0
        self._spent: Counter[bool] = Counter()

    def take(self, decoded: Decoded, signal: str, message: Callable[[], Any], *, now: datetime) -> None:
        """Add a note on each of the payload's devices that is due; `message` is called once for the parsed payload."""
        moment = time.monotonic()
        if not decoded.reasons and int(moment) == self._second and self._spent[False] >= PER_SECOND:
            return  # the usual payload of a busy fleet
        parts = decoded.parts or (decoded,)
        resources: dict[tuple[str, str, str], list[int]] = {}
        for place, part in enumerate(parts):
            for report in part.reports:
                resources.setdefault((report.environment, report.device_id, signal), []).append(place)
        payload = None
        for name, places in resources.items():
            own = [parts[place] for place in places]
            trouble = any(part.reasons for part in own)
            if not trouble and moment - self._last.get(name, float("-inf")) < DEVICE_SECONDS:
                continue
            if not self._room(int(moment), trouble=trouble):
                continue
            if len(self._last) >= DEVICES_MOST:
                self._last.clear()
            self._last[name] = moment
            payload = message() if payload is None else payload
            details = (_metrics if isinstance(payload, ExportMetricsServiceRequest) else _logs)(payload, places)
            decoded.notes.append(_note(name, own, details, now))

    def _room(self, second: int, *, trouble: bool) -> bool:
        if second != self._second:
            self._second = second
            self._spent.clear()
        self._spent[trouble] += 1
        return self._spent[trouble] <= PER_SECOND


def _note(name: tuple[str, str, str], own: Sequence[Decoded], details: dict[str, Any], now: datetime) -> Note:
    reasons: Counter[str] = sum((part.reasons for part in own), Counter())
    hints = Counter(hint for part in own for hint in part.hints)
    details["reasons"] = [[_word(why, 300), count] for why, count in reasons.most_common(NAMES_MOST)]
    details["hints"] = [[_word(hint, 300), count] for hint, count in hints.most_common(NAMES_MOST)]
    details["moved_to_arrival"] = sum(part.moved_to_arrival for part in own)
    report = own[-1].reports[-1]
    accepted, rejected = sum(part.accepted for part in own), reasons.total()
    return Note(*name, now, report.device_class, report.simulated, accepted, rejected, details)


def _metrics(payload: ExportMetricsServiceRequest, places: Sequence[int]) -> dict[str, Any]:
    names: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    shapes: list[list[Any]] = []
    identified_by = ""
    for resource_metrics in (payload.resource_metrics[place] for place in places):
        resource = resource_metrics.resource.attributes
        _drop(dropped, (pair.key for pair in resource if pair.key not in RESOURCE_ATTRIBUTES), quiet=True)
        for scope in resource_metrics.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                points = getattr(metric, kind).data_points if kind else []
                names[_word(metric.name)] += len(points)
                if len(shapes) < SHAPES_MOST:
                    shapes.append(list(_shape(metric, kind or "", points)))
                for point in points:
                    _drop(dropped, (pair.key for pair in point.attributes if pair.key not in DIMENSIONS))
                    taken.update(pair.key for pair in point.attributes if pair.key in DIMENSIONS)
        device = device_of(resource)
        identified_by = _identified_by(resource)
    return {
        "names": names.most_common(NAMES_MOST),
        "dropped": dropped.most_common(NAMES_MOST),
        "app_version": device.app_version,
        "identified_by": identified_by,
        "taken": taken.most_common(),
        "shapes": shapes,
    }


def _shape(metric: Metric, kind: str, points: Sequence[Any]) -> Shape:
    """Return how a metric came, for whoever grades the client."""
    data: Any = getattr(metric, kind) if kind else None
    level = kind in ("", "gauge", "summary") or (kind == "sum" and not metric.sum.is_monotonic)
    temporality = "" if level else TEMPORALITIES.get(data.aggregation_temporality, "not said")
    scale = min((point.scale for point in points), default=None) if kind == "exponential_histogram" else None
    return Shape(_word(metric.name), kind, temporality, _word(metric.unit, 20), scale, len(points))


def _identified_by(resource: Iterable[KeyValue]) -> str:
    """Return which attribute names the device; empty when none does."""
    said = {pair.key for pair in resource if pair.value.string_value}
    return next((name for name in IDENTITIES if name in said), "")


def _logs(payload: ExportLogsServiceRequest, places: Sequence[int]) -> dict[str, Any]:
    names: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for resource_logs in (payload.resource_logs[place] for place in places):
        resource = resource_logs.resource.attributes
        _drop(dropped, (pair.key for pair in resource if pair.key not in RESOURCE_ATTRIBUTES | {VARIANT}), quiet=True)
        for scope in resource_logs.scope_logs:
            for record in scope.log_records:
                names[_word(record.event_name) or "log record"] += 1
                _drop(dropped, (pair.key for pair in record.attributes if pair.key not in ATTRIBUTES))
        device = device_of(resource)
    return {
        "names": names.most_common(NAMES_MOST),
        "dropped": dropped.most_common(NAMES_MOST),
        "app_version": device.app_version,
    }


def _drop(dropped: Counter[str], names: Iterable[str], *, quiet: bool = False) -> None:
    for name in names:
        if not (quiet and name.startswith(QUIET)) and (len(dropped) < 1_000 or name in dropped):
            dropped[_word(name)] += 1


def _word(text: str, most: int = 100) -> str:
    return "".join(c for c in text[:most] if c.isprintable())
