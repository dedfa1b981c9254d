"""From an OTLP metrics message to sketches: the closed list of dimensions, and a count of what was refused or dropped.

Everything is bounded before it is believed: points, buckets, texts and values here, bytes and messages in `parsing`.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE as CUMULATIVE
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA as DELTA
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as MetricMessage
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from hawkops.core.bounded import Malformed
from hawkops.core.environments import Environment
from monitoring.domain import cumulative, panel
from monitoring.domain.cardinality import BUSINESS_MOST
from monitoring.domain.metrics import BUSINESS_PREFIX, CATALOGUE, REVISION, Kind, known
from monitoring.domain.sketch import LARGEST, Sketch, Unreadable, coarse
from monitoring.domain.tally import Tally
from monitoring.otlp.rows import Line, Note

BUCKET_SECONDS = 10
POINTS_MOST = 10_000
RESOURCES_MOST = 2_000
BUCKET_COUNTS_MOST = 1_024
COUNT_MOST = 2**32
# finer ones shift down exactly, but no double tells their buckets apart; coarser ones are wider than a double's range
SCALES = range(-10, 53)
# A device's clock is believed within these; a point from further off counts at its arrival.
LATE = timedelta(minutes=5)
AHEAD = timedelta(seconds=5)
NO_VALUE = 1
TOO_COARSE = "has explicit bounds too coarse to tell its percentiles; use exponential histograms"
BACKENDS = frozenset(("cpu", "gpu", "npu", "cloud"))
# what names a device, most telling first
IDENTITIES = ("device.id", "app.installation.id", "service.instance.id")
RESOURCE_ATTRIBUTES = frozenset(
    (
        *IDENTITIES,
        "device.soc",
        "device.model.identifier",
        "service.version",
        "hawkops.simulated",
    )
)
# what tells cumulative streams of devices apart, beside their points; processes that still share it differ by their start
SENDERS = frozenset(
    (
        "device.id",
        "app.installation.id",
        "service.namespace",
        "service.name",
        "service.instance.id",
        "service.version",
        "process.pid",
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
    # burst or sustained: the first 60 s of work, or a warm device
    "litert.load": "outcome",
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


class DeviceReport(NamedTuple):
    """What the census wants to know of a payload."""

    environment: str
    device_id: str
    device_class: str
    simulated: bool
    revision: int | None
    # of `litert_enabled`, as its points say; ("",) when none says
    variants: tuple[str, ...] = ("",)


class Ref:
    """A series key that is found by identity: comparing ten texts for every point would cost more than the point."""

    __slots__ = ("key", "panel", "variant")

    def __init__(self, key: SeriesKey) -> None:
        self.key = key
        self.variant = key.variant
        # how the panel names what a device observed; None when it does not keep it
        self.panel = panel_names(key)


# metric, actual backend, variant and outcome
PanelNames = tuple[str, str, str, str]


def panel_names(key: SeriesKey) -> PanelNames | None:
    """Return what the panel keeps an observation under; None for what it does not keep."""
    if not panel.keeps(key.metric):
        return None
    return _same((key.metric, key.backend_actual, key.variant, key.outcome))


@lru_cache(maxsize=4_096)
def _same(names: PanelNames) -> PanelNames:
    """Return one and the same tuple for equal names: identical keys of a dictionary are found without a comparison."""
    return names


# adds a point to a sketch and says what its author should know, if anything
Read = Callable[[Sketch, Any, str], str | None]
Number = tuple[Ref, int, float]
# series, time bucket; count, total, low, high, zeros, offset and lanes of its positive buckets
Point = tuple[Ref, int, int, float, float, float, int, int, int]
Tallies = dict[tuple[Ref | SeriesKey, int], Tally]


class CumulativePoint(NamedTuple):
    """A point whose increment depends on the stream's last one, which the database knows."""

    stream: bytes
    device_id: str
    key: SeriesKey
    bucket: int
    point: cumulative.Point


@dataclass(slots=True)
class Decoded:
    """One payload, understood: observations by series and time bucket, what was rejected and why."""

    sketches: dict[tuple[SeriesKey, int], Sketch] = field(default_factory=dict)
    numbers: list[Number] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    reports: list[DeviceReport] = field(default_factory=list)
    accepted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    # what was taken, but could be sent better
    hints: list[str] = field(default_factory=list)
    signal: str = "metrics"
    dropped_attributes: int = 0
    moved_to_arrival: int = 0
    cumulative: list[CumulativePoint] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    crashes: list[tuple[SeriesKey, int]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    # of a payload with several resources: what each of them said, so that each device's own values can be told
    parts: list[Decoded] | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing of it is to be stored, not even why it was rejected."""
        return not (
            self.sketches or self.numbers or self.points or self.cumulative or self.lines or self.notes or self.reasons
        )

    @property
    def rejected(self) -> int:
        """How many points were rejected."""
        return sum(self.reasons.values())

    @property
    def message(self) -> str:
        """Why points were rejected, most frequent first; empty when none was."""
        said = [f"{count} × {why}" for why, count in self.reasons.most_common(5)]
        if (more := len(self.reasons) - len(said)) > 0:
            said.append(f"and {more} more reason{'s' if more > 1 else ''}")
        return "; ".join(said)[:2_000]

    def of_device(self) -> list[tuple[str | float, ...]]:
        """Return what the panel keeps of it: names, hours since 1970, count, total, low and high.

        Added up here over what the panel does not keep apart, so that little is written for each payload.
        """
        hours: dict[int, dict[PanelNames, list[float]]] = {}
        here: dict[PanelNames, list[float]] = {}
        latest = -1
        for ref, bucket, value in self.numbers:
            names = ref.panel
            if names is None:
                continue
            if bucket != latest:
                latest, here = bucket, hours.setdefault(bucket // 3600, {})
            one = here.get(names)
            if one is None:
                here[names] = [1, value, value, value]
                continue
            one[0] += 1
            one[1] += value
            if value < one[2]:
                one[2] = value
            elif value > one[3]:
                one[3] = value
        for ref, bucket, count, total, low, high, *_ in self.points:
            names = ref.panel
            if names is None or not count:
                continue
            if bucket != latest:
                latest, here = bucket, hours.setdefault(bucket // 3600, {})
            one = here.get(names)
            if one is None:
                here[names] = [count, total, low, high]
            else:
                _observe(one, count, total, low, high)
        for (key, bucket), sketch in self.sketches.items():
            names = panel_names(key)
            if names is not None and sketch.count:
                one = hours.setdefault(bucket // 3600, {}).setdefault(names, [0, 0.0, math.inf, -math.inf])
                _observe(one, sketch.count, sketch.total, sketch.low, sketch.high)
        return [(*names, hour, *one) for hour, observed in hours.items() for names, one in observed.items()]

    def part(self) -> Decoded:
        """Return what the next one of several resources is read into; it counts on, as the bound on points is for all."""
        return Decoded(signal=self.signal, accepted=self.accepted + self.rejected)

    def join(self, part: Decoded) -> None:
        """Add what one of several resources said, and keep it beside the whole."""
        part.accepted -= self.accepted + self.rejected
        if self.parts is None:
            self.parts = []
        self.parts.append(part)
        for slot, sketch in part.sketches.items():
            self.sketches.setdefault(slot, Sketch()).merge(sketch)
        for mine, theirs in (
            (self.numbers, part.numbers),
            (self.points, part.points),
            (self.reports, part.reports),
            (self.cumulative, part.cumulative),
            (self.lines, part.lines),
            (self.crashes, part.crashes),
            (self.hints, part.hints),
        ):
            mine.extend(theirs)  # type: ignore[arg-type]
        self.accepted += part.accepted
        self.reasons.update(part.reasons)
        self.dropped_attributes += part.dropped_attributes
        self.moved_to_arrival += part.moved_to_arrival

    def add_to(self, tallies: Tallies) -> None:
        """Add every observation to the tally of its slot."""
        for ref, bucket, value in self.numbers:
            slot = (ref, bucket)
            tally = tallies.get(slot)
            if tally is None:
                tally = tallies[slot] = Tally()
            tally.add_value(value)
        for ref, bucket, count, total, low, high, zeros, offset, lanes in self.points:
            slot = (ref, bucket)
            tally = tallies.get(slot)
            if tally is None:
                tally = tallies[slot] = Tally()
            tally.add_point(count, total, low, high, zeros, offset, lanes)
        for key_slot, sketch in self.sketches.items():
            tallies.setdefault(key_slot, Tally()).sketches.append(sketch)


def _observe(one: list[float], count: int, total: float, low: float, high: float) -> None:
    one[0] += count
    one[1] += total
    if low < one[2]:
        one[2] = low
    if high > one[3]:
        one[3] = high


class Refused(Exception):
    """One point can't be taken; the message completes "<metric> …"."""


@dataclass(frozen=True)
class Device:
    """Who sent a resource, as its attributes say."""

    device_id: str
    device_class: str
    app_version: str
    simulated: bool


# environment, business metric -> whether there is room for it
Admits = Callable[[str, str], bool]


def admits_all(_environment: str, _name: str) -> bool:
    """Take every business metric."""
    return True


def decode(
    payload: ExportMetricsServiceRequest, *, environment: str, now: datetime, admits: Admits = admits_all
) -> Decoded:
    """Walk a payload; `now` is its arrival. Raises Malformed when it must be refused as a whole."""
    if len(payload.resource_metrics) > RESOURCES_MOST:
        raise Malformed(f"The payload has more than {RESOURCES_MOST} resources; send smaller ones.")
    whole = Decoded()
    several = len(payload.resource_metrics) > 1
    for resource_metrics in payload.resource_metrics:
        device = device_of(resource_metrics.resource.attributes)
        admit(device, environment)
        found = whole.part() if several else whole
        walk = Walk(found, environment, device, now.timestamp(), resource_metrics.resource, admits)
        for scope in resource_metrics.scope_metrics:
            walk.scope = scope.scope
            for metric in scope.metrics[:]:
                walk.metric(metric)
        if device.device_id:
            found.reports.append(walk.report())
        if several:
            whole.join(found)
    return whole


def admit(device: Device, environment: str) -> None:
    """Raise Malformed when a device may not report with a key of the environment."""
    if device.simulated and environment == Environment.PRODUCTION:
        raise Malformed("Simulated devices are not accepted with a production key. Use a key of demo or staging.")


def device_of(pairs: Iterable[KeyValue]) -> Device:
    """Return who sent it, by the resource's attributes."""
    return device_that_says({pair.key: text_of(pair.value) for pair in pairs if pair.key in RESOURCE_ATTRIBUTES})


def device_that_says(said: Mapping[str, str]) -> Device:
    """Return who says that of itself, among the attributes that are looked at."""
    return Device(
        device_id=(said.get("device.id") or said.get("app.installation.id") or said.get("service.instance.id") or "")[
            :200
        ],
        device_class=(said.get("device.soc") or said.get("device.model.identifier") or "unknown")[:80],
        app_version=said.get("service.version", "")[:40],
        simulated=said.get("hawkops.simulated", "").lower() in TRUE,
    )


class Walk:
    """The points of one resource, of any kind."""

    def __init__(
        self,
        found: Decoded,
        environment: str,
        device: Device,
        arrived: float,
        resource: Resource | bytes,
        admits: Admits = admits_all,
    ) -> None:
        self.found = found
        self._admits = admits
        self.scope: InstrumentationScope | bytes = b""
        self._resource = resource
        self._sender = b""
        self.environment = environment
        self.device = device
        self.revision: int | None = None
        # what was walked said these; what was read quickly stands in the numbers and points from here on
        self._variants: set[str] = set()
        self._first_number, self._first_point = len(found.numbers), len(found.points)
        self._now_bucket = int(arrived) // BUCKET_SECONDS * BUCKET_SECONDS
        self._earliest = int((arrived - LATE.total_seconds()) * 1e9)
        self._latest = int((arrived + AHEAD.total_seconds()) * 1e9)

    def report(self) -> DeviceReport:
        """Return what the census wants to know of the resource, once it is walked."""
        found, device = self.found, self.device
        said = {point[0].variant for point in found.points[self._first_point :]}
        said.update([number[0].variant for number in found.numbers[self._first_number :]])
        said |= self._variants
        if len(said) > 1:
            said.discard("")  # sessions have no variant, on whichever side their device is
        variants = tuple(sorted(said)) or ("",)
        return DeviceReport(
            self.environment, device.device_id, device.device_class, device.simulated, self.revision, variants
        )

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
        if not why and name.startswith(BUSINESS_PREFIX) and not self._admits(self.environment, name):
            why = f"{self.environment} has {BUSINESS_MOST} business metrics already, which is the most"
        if why:
            if len(points):
                found.reasons[f"{name[:80]}: {why}"] += len(points)
            return
        read = _READERS[kind]
        grows = _grows(message, kind)
        for point in points[:]:
            try:
                if not point.flags & NO_VALUE:
                    if name == REVISION:
                        self.revision = max(self.revision or 0, int(_number(point)))
                    elif grows:
                        self._take_cumulative(name, kind, point, read)
                    else:
                        self._take(name, point, read)
                found.accepted += 1
            except Refused as error:
                found.reasons[f"{name} {error}"] += 1

    def _take(self, name: str, point: Any, read: Read) -> None:
        sketch = Sketch()
        self._hint(name, read(sketch, point, name))
        if not sketch.count:
            return
        slot = (self.key(name, point.attributes), self.bucket(point.time_unix_nano))
        self._variants.add(slot[0].variant)
        sketches = self.found.sketches
        known_sketch = sketches.get(slot)
        if known_sketch is None:
            sketches[slot] = sketch
        else:
            known_sketch.merge(sketch)

    def _take_cumulative(self, name: str, kind: str, point: Any, read: Read) -> None:
        self._hint(name, read(Sketch(), point, name))  # refuses what can't be taken
        one = _cumulative_point(kind, point)
        try:
            one.sketch()
        except Unreadable as error:  # extremes since the start say little about what was added
            raise Refused(f"{error}; min and max of cumulative points don't help") from None
        key = self.key(name, point.attributes)
        self._variants.add(key.variant)
        self.found.cumulative.append(
            CumulativePoint(
                self._stream(name, kind, point.attributes),
                self.device.device_id,
                key,
                self.bucket(point.time_unix_nano),
                one,
            )
        )

    def _hint(self, name: str, hint: str | None) -> None:
        if hint:
            self.found.hints.append(f"{name} {hint}")

    def _stream(self, name: str, kind: str, pairs: Iterable[KeyValue]) -> bytes:
        """Return what identifies a stream: environment, sender, scope, metric, its kind, and attributes in any order.

        Every attribute of a point counts, also one that is no dimension: the client keeps a sum for each set of them. Of
        a device's resource only what names it and its process does: what a collector adds on the way may change.
        """
        if not self._sender:
            resource = self._resource if isinstance(self._resource, Resource) else Resource.FromString(self._resource)
            named = [pair for pair in resource.attributes if pair.key in SENDERS] if self.device.device_id else None
            self._sender = b"".join(
                (self.environment.encode(), b"\0", *_sorted(resource.attributes if named is None else named))
            )
        scope = (
            self.scope if isinstance(self.scope, InstrumentationScope) else InstrumentationScope.FromString(self.scope)
        )
        parts = (
            self._sender,
            scope.name.encode(),
            scope.version.encode(),
            b"".join(_sorted(scope.attributes)),
            name.encode(),
            kind.encode(),
            b"".join(_sorted(pairs)),
        )
        return hashlib.sha256(b"\0".join(parts)).digest()[:16]

    def key(self, name: str, pairs: Iterable[KeyValue]) -> SeriesKey:
        """Return the series of a point. Raises Refused."""
        requested = actual = model = variant = outcome = ""
        for pair in pairs:
            dimension = DIMENSIONS.get(pair.key)
            if dimension is None:
                self.found.dropped_attributes += 1
                continue
            value = pair.value
            text = _clean(value.string_value) or text_of(value)
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
            raise Refused("names a backend other than cpu, gpu, npu or cloud")
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

    def bucket(self, nanoseconds: int) -> int:
        """Return the ten-second bucket (seconds since 1970)."""
        if not self._earliest <= nanoseconds <= self._latest:
            self.found.moved_to_arrival += 1
            return self._now_bucket
        return min(self._now_bucket, nanoseconds // 1_000_000_000 // BUCKET_SECONDS * BUCKET_SECONDS)


def _unfit(message: MetricMessage, name: str, kind: str) -> str:
    """Say why no point of a metric can be taken; empty when they can."""
    metric = CATALOGUE.get(name)
    if metric is None and not (known(name) and name.isprintable()):
        return "not in the catalogue of metrics"
    if kind == "summary":
        return "summaries can't be merged; send a histogram"
    level = kind == "gauge" or (kind == "sum" and not message.sum.is_monotonic)
    if not level and getattr(message, kind).aggregation_temporality not in (DELTA, CUMULATIVE):
        return "says neither delta nor cumulative"
    if metric is None:
        return ""
    unit = message.unit
    if unit and unit != metric.wire_unit:
        return f"came in {unit[:20]!r}, its unit is {metric.wire_unit!r}"
    if name == REVISION and kind not in ("gauge", "sum"):
        return "is one number; send a gauge"
    if metric.kind is Kind.COUNTER and (kind != "sum" or level):
        return "is a counter; send a monotonic sum"
    if metric.kind is Kind.DISTRIBUTION and kind == "sum":
        return "is a distribution; send a histogram"
    return ""


def _grows(message: MetricMessage, kind: str) -> bool:
    """Say whether points are cumulative, so that only their increments count."""
    if kind == "gauge" or (kind == "sum" and not message.sum.is_monotonic):
        return False
    return bool(getattr(message, kind).aggregation_temporality == CUMULATIVE)


def _cumulative_point(kind: str, point: Any) -> cumulative.Point:
    start, at = point.start_time_unix_nano, point.time_unix_nano
    if kind == "sum":
        return cumulative.Point(start, at, _number(point))
    total = point.sum if point.HasField("sum") else None
    if kind == "histogram":
        counts = {place: count for place, count in enumerate(point.bucket_counts[:]) if count}
        bounds = tuple(point.explicit_bounds[:])
        return cumulative.Point(start, at, total, point.count, bounds=bounds, positive=counts)
    positive, negative = (
        {index: count for index, count in enumerate(side.bucket_counts[:], side.offset) if count}
        for side in (point.positive, point.negative)
    )
    return cumulative.Point(
        start,
        at,
        total,
        point.count,
        zeros=point.zero_count,
        scale=point.scale,
        positive=positive,
        negative=negative,
    )


def _sorted(pairs: Iterable[KeyValue]) -> list[bytes]:
    return sorted(pair.SerializeToString(deterministic=True) for pair in pairs)


def _plain(sketch: Sketch, point: NumberDataPoint, name: str) -> None:
    value = _number(point)
    if value < 0 and not name.startswith(BUSINESS_PREFIX):
        raise Refused("is negative")
    sketch.add(value)


def _number(point: NumberDataPoint) -> float:
    which = point.WhichOneof("value")
    if which is None:
        raise Refused("carries no value")
    value = float(point.as_int) if which == "as_int" else point.as_double
    if not math.isfinite(value):
        raise Refused("is not a finite number")
    if abs(value) > LARGEST:
        raise Refused("is beyond 2^50")
    return value


_Histogram = HistogramDataPoint | ExponentialHistogramDataPoint


def _summary(point: _Histogram, count: int, *, signed: bool = False) -> tuple[float | None, float | None, float | None]:
    """Return sum, min and max after checking that they agree with each other; with negative values there is no sum."""
    total = point.sum if point.HasField("sum") else None
    low = point.min if count and point.HasField("min") else None
    high = point.max if count and point.HasField("max") else None
    for value in (total, low, high):
        # one comparison for negative, infinite and not a number
        if value is not None and not (-LARGEST if signed else 0) <= value < math.inf:
            raise Refused("has a sum, min or max that is negative or not a finite number")
    if high is not None:
        if high > LARGEST:
            raise Refused("is beyond 2^50")
        if low is not None and low > high:
            raise Refused("has a min above its max")
    if total is not None and abs(total) > count * LARGEST * 1.001:
        raise Refused("has a sum that contradicts its count, min and max")
    if signed:
        return total, low, high
    if high is not None and total is not None and total > count * high * 1.001 + 1e-9:
        raise Refused("has a sum that contradicts its count, min and max")
    if low is not None and total is not None and total < count * low * 0.999 - 1e-9:
        raise Refused("has a sum that contradicts its count, min and max")
    return total, low, high


def _exponential(sketch: Sketch, point: ExponentialHistogramDataPoint, name: str) -> None:
    positive, scale, count = point.positive, point.scale, point.count
    counts, offset = list(positive.bucket_counts), positive.offset
    if len(counts) > BUCKET_COUNTS_MOST:
        raise Refused(f"has more than {BUCKET_COUNTS_MOST} buckets")
    if not SCALES.start <= scale < SCALES.stop:
        raise Refused(f"has scale {scale}; {SCALES.start} to {SCALES.stop - 1} are understood")
    below = list(point.negative.bucket_counts) if point.HasField("negative") else []
    signed = any(below)
    if signed and not name.startswith(BUSINESS_PREFIX):
        raise Refused("has negative values")
    if len(below) > BUCKET_COUNTS_MOST:
        raise Refused(f"has more than {BUCKET_COUNTS_MOST} buckets")
    zero_count = point.zero_count
    if count > COUNT_MOST or zero_count + sum(counts) + sum(below) != count:
        raise Refused("has a count that differs from the sum of its buckets")
    total, low, high = _summary(point, count, signed=signed)
    step = 2.0**-scale
    for side, first in ((counts, offset), (below, point.negative.offset)):
        # a coarse bucket may reach beyond what can be stored as long as its values, bounded by min and max, don't
        if any(side) and not (first * step > -1_100 and (first + len(side) - 1) * step < 50):
            raise Refused("has buckets beyond 2^50")
        if any(side) and (first + len(side)) * step >= 51 and high is None:
            raise Refused("has buckets beyond 2^50 and no max")
    sketch.add_exponential(
        scale=scale,
        zero_count=zero_count,
        positive=(offset, counts),
        negative=(point.negative.offset, below) if signed else (0, ()),
        total=total,
        low=low,
        high=high,
    )


def _explicit(sketch: Sketch, point: HistogramDataPoint, name: str) -> str:
    bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
    if len(counts) > BUCKET_COUNTS_MOST:
        raise Refused(f"has more than {BUCKET_COUNTS_MOST} buckets")
    if not counts and point.count == 0:
        return ""
    if not counts:
        raise Refused("has no buckets, so no percentile can be read from it")
    if len(counts) != len(bounds) + 1 or sum(counts) != point.count or point.count > COUNT_MOST:
        raise Refused("has bucket counts that don't match its bounds or its count")
    if any(not math.isfinite(bound) for bound in bounds) or any(a >= b for a, b in pairwise(bounds)):
        raise Refused("has bounds that are not finite and ascending")
    mine = name.startswith(BUSINESS_PREFIX)
    below = any(bound < 0 and count for bound, count in zip(bounds, counts, strict=False))
    if below and not mine:
        raise Refused("has negative values")
    signed = mine and (below or (point.HasField("min") and point.min < 0))
    total, low, high = _summary(point, point.count, signed=signed)
    if any(abs(bound) > LARGEST for bound, count in zip(bounds, counts[1:], strict=True) if count):
        raise Refused("has buckets beyond 2^50")
    ends = [bound for bound, count in zip(bounds, counts, strict=False) if count]
    if any(bound < -LARGEST or (bound > LARGEST and high is None) for bound in ends):
        raise Refused("has buckets beyond 2^50 and no max")
    try:
        floor = -LARGEST if mine else 0.0
        sketch.add_explicit(bounds=bounds, counts=counts, total=total, low=low, high=high, floor=floor)
        return TOO_COARSE if coarse(bounds, counts, total, low, high, floor) else ""
    except Unreadable as error:
        raise Refused(str(error)) from None


_READERS: dict[str, Read] = {
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


def text_of(value: AnyValue) -> str:
    """Return an attribute's value as text; devices send numbers and booleans too."""
    which = value.WhichOneof("value")
    if which == "string_value":
        return _clean(value.string_value)
    if which == "bool_value":
        return "true" if value.bool_value else "false"
    if which in ("int_value", "double_value"):
        return str(getattr(value, which))
    return ""
