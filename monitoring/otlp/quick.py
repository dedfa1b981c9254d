"""The usual payload, read quickly: delta sums, gauges and exponential histograms at our scale with small counts.

A metric that holds anything else is written out again and walked by `decoding` with the stock classes, so that both say
the same of every payload; a payload that the slim schema can't read is given to the stock parser whole.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA as DELTA
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint, Metric

from monitoring.domain.metrics import CATALOGUE, REVISION, Kind
from monitoring.domain.sketch import BUCKETS, LARGEST, SCALE
from monitoring.domain.tally import lanes
from monitoring.otlp import slim
from monitoring.otlp.decoding import (
    BUCKET_COUNTS_MOST,
    COUNT_MOST,
    IDENTITIES,
    POINTS_MOST,
    RESOURCE_ATTRIBUTES,
    RESOURCES_MOST,
    Admits,
    Decoded,
    Device,
    Number,
    Point,
    Ref,
    Refused,
    SeriesKey,
    Walk,
    admit,
    admits_all,
    decode,
    device_that_says,
    text_of,
)
from monitoring.otlp.parsing import MESSAGES_MOST, count_messages, parse, varint

CACHED_MOST = 50_000
CACHED_BYTES = 2_048
SAID_MOST = 10_000
FIRST, LAST = BUCKETS.start, BUCKETS.stop
_Buckets = ExponentialHistogramDataPoint.Buckets
# dropped attributes beside the series
_Known = tuple[Ref, int]


class QuickDecoder:
    """Reads payloads; remembers devices, scopes and series by the bytes they came as."""

    def __init__(self, admits: Admits = admits_all) -> None:
        self.admits = admits
        self._devices: dict[bytes, Device] = {}
        # attributes of resources, other than those that name a device: name and text
        self._said: dict[bytes, tuple[str, str]] = {}
        self._scopes: set[bytes] = set()
        self._refs: dict[SeriesKey, Ref] = {}
        self._series: dict[tuple[str, Device | str, str, bool], dict[tuple[str | bytes, ...], _Known]] = {}
        self._series_cached = 0

    def decode(self, body: bytes, *, environment: str, now: datetime) -> Decoded:
        """Understand a payload in protobuf. Raises Malformed or TooLarge."""
        count_messages(body, limit=MESSAGES_MOST, descriptor=ExportMetricsServiceRequest.DESCRIPTOR)
        try:
            payload = slim.Request.FromString(body)
            if len(payload.resource_metrics) <= RESOURCES_MOST:
                return self._walk(payload, environment, now)
        except DecodeError:
            pass  # the stock parser has the last word on what is wrong
        return decode(parse(body, as_json=False), environment=environment, now=now, admits=self.admits)

    def _walk(self, payload: Any, environment: str, now: datetime) -> Decoded:
        whole = found = Decoded()
        resources = payload.resource_metrics[:]
        several = len(resources) > 1
        for resource_metrics in resources:
            device = self._device(resource_metrics.resource)
            admit(device, environment)
            if several:
                found = whole.part()
            walk = _QuickWalk(found, environment, device, now.timestamp(), resource_metrics.resource, self)
            for scoped in resource_metrics.scope_metrics[:]:
                walk.scope = scope = scoped.scope
                self._scope(scope)
                for metric in scoped.metrics[:]:
                    if not walk.quick(metric):
                        walk.metric(Metric.FromString(metric.SerializeToString()))
            if device.device_id:
                found.reports.append(walk.report())
            if several:
                whole.join(found)
        return whole

    def _device(self, resource: bytes) -> Device:
        device = self._devices.get(resource)
        if device is None:
            device = self._new_device(resource)
            if len(resource) <= CACHED_BYTES:
                if len(self._devices) >= CACHED_MOST:
                    self._devices.clear()
                self._devices[resource] = device
        return device

    def _new_device(self, resource: bytes) -> Device:
        """Return whose resource it is: of a device never seen before only what names it is new."""
        said: dict[str, str] = {}
        for pair in slim.Resource.FromString(resource).attributes[:]:
            known = self._said.get(pair)
            if known is None:
                attribute = KeyValue.FromString(pair)
                known = (attribute.key, text_of(attribute.value) if attribute.key in RESOURCE_ATTRIBUTES else "")
                if attribute.key not in IDENTITIES and len(pair) <= CACHED_BYTES:
                    if len(self._said) >= SAID_MOST:
                        self._said.clear()
                    self._said[pair] = known
            said[known[0]] = known[1]
        return device_that_says(said)

    def _scope(self, scope: bytes) -> None:
        """Nothing of a scope is kept; it is read once to know that the stock parser would take it."""
        if scope and scope not in self._scopes:
            InstrumentationScope.FromString(scope)
            if len(scope) <= CACHED_BYTES and len(self._scopes) < CACHED_MOST:
                self._scopes.add(scope)

    def series_of(self, environment: str, device: Device) -> dict[tuple[str | bytes, ...], _Known]:
        """Return the known series of devices like this one, by metric and attributes."""
        like = (environment, device.device_class, device.app_version, device.simulated)
        known = self._series.get(like)
        if known is None:
            if self._series_cached >= CACHED_MOST:
                self._forget()
            self._series_cached += 1
            known = self._series[like] = {}
        return known

    def remember(
        self, known: dict[tuple[str | bytes, ...], _Known], said: tuple[str | bytes, ...], key: SeriesKey, dropped: int
    ) -> _Known:
        """Return the series of these attributes, remembered while there is room."""
        ref = self._refs.get(key)
        if ref is None:
            if len(self._refs) >= CACHED_MOST:
                self._refs.clear()
            ref = self._refs[key] = Ref(key)
        found = (ref, dropped)
        if sum(map(len, said)) <= CACHED_BYTES:
            if self._series_cached >= CACHED_MOST:
                self._forget()
            self._series_cached += 1
            known[said] = found
        return found

    def _forget(self) -> None:
        for known in self._series.values():
            known.clear()
        self._series.clear()
        self._series_cached = 0


class _QuickWalk(Walk):
    """This is the hot path of the door: a payload of 20 points comes here 20 times.

    Repeated fields are copied by `[:]`: iterating over them costs four times as much.
    """

    def __init__(
        self,
        found: Decoded,
        environment: str,
        device: Device,
        arrived: float,
        resource: bytes,
        decoder: QuickDecoder,
    ) -> None:
        super().__init__(found, environment, device, arrived, resource, decoder.admits)
        self._decoder = decoder
        self._known = decoder.series_of(environment, device)
        self._buckets: dict[int, tuple[int, int]] = {}

    def quick(self, metric: Any) -> bool:
        """Take all points of a metric; or none, and say so, when any is unusual."""
        kind = metric.WhichOneof("data")
        name = metric.name
        if not _usual(name, metric.unit, kind):
            return False
        found = self.found
        if kind == "exponential_histogram":
            data = metric.exponential_histogram
            if data.aggregation_temporality != DELTA:
                return False
        elif kind == "sum":
            data = metric.sum
            if data.aggregation_temporality != DELTA or not data.is_monotonic:
                return False
        else:
            data = metric.gauge
        points = data.data_points[:]
        if found.accepted + len(points) > POINTS_MOST - (found.rejected if found.reasons else 0):
            return False  # let the other walk count what is too much
        if name == REVISION:
            return self._revision(points)
        if not (self._exponential(name, points) if kind == "exponential_histogram" else self._numbers(name, points)):
            return False
        found.accepted += len(points)
        return True

    def _numbers(self, name: str, points: list[Any]) -> bool:
        taken: list[Number] = []
        dropped = moved = 0
        for point in points:
            said = (name, *point.attributes[:])
            known = self._known.get(said) or self._learn(said)
            value = point.as_double or point.as_int
            if known is None or not 0 <= value <= LARGEST or point.flags:
                return False
            if not value and point.WhichOneof("value") is None:
                return False
            nanoseconds = point.time_unix_nano
            bucket, off = self._buckets.get(nanoseconds) or self._place(nanoseconds)
            ref, more = known
            dropped += more
            moved += off
            taken.append((ref, bucket, float(value)))
        self.found.numbers += taken
        self.found.dropped_attributes += dropped
        self.found.moved_to_arrival += moved
        return True

    def _exponential(self, name: str, points: list[Any]) -> bool:
        taken: list[Point] = []
        dropped = moved = 0
        for point in points:
            said = (name, *point.attributes[:])
            known = self._known.get(said) or self._learn(said)
            if known is None or point.scale != SCALE or point.flags or point.negative not in _NO_NEGATIVES:
                return False
            count, zeros = point.count, point.zero_count
            total, low, high = point.sum, point.min, point.max
            # what is absent reads as zero: only a point that says all three, and they agree, is usual; of nothing they say
            # nothing, whatever stands there
            if not (count and 0 < low <= high <= LARGEST and count * low * 0.999 <= total <= count * high * 1.001):
                return False
            offset, counts = _positive(point.positive)
            if zeros + sum(counts) != count or not counts.isascii() or len(counts) > BUCKET_COUNTS_MOST:
                return False
            if zeros and count > COUNT_MOST:
                return False
            if counts and not FIRST <= offset <= offset + len(counts) <= LAST:
                return False
            nanoseconds = point.time_unix_nano
            bucket, off = self._buckets.get(nanoseconds) or self._place(nanoseconds)
            ref, more = known
            dropped += more
            moved += off
            taken.append((ref, bucket, count, total, low, high, zeros, offset, lanes(counts)))
        self.found.points += taken
        self.found.dropped_attributes += dropped
        self.found.moved_to_arrival += moved
        return True

    def _revision(self, points: list[Any]) -> bool:
        revision = self.revision or 0
        for point in points:
            value = point.as_double or point.as_int
            if not 0 < value <= LARGEST or point.flags or len(point.attributes):
                return False
            revision = max(revision, int(value))
        if points:
            self.revision = revision
        self.found.accepted += len(points)
        return True

    def _learn(self, said: tuple[str | bytes, ...]) -> _Known | None:
        """Return the series of attributes never seen before; None when they can't be taken."""
        name, *pairs = said
        before = self.found.dropped_attributes
        try:
            key = self.key(str(name), [KeyValue.FromString(pair) for pair in pairs if isinstance(pair, bytes)])
        except Refused:
            return None
        finally:
            dropped, self.found.dropped_attributes = self.found.dropped_attributes - before, before
        return self._decoder.remember(self._known, said, key, dropped)

    def _place(self, nanoseconds: int) -> tuple[int, int]:
        """Return the time bucket, and 1 when it is that of the arrival because the device's clock is off."""
        before = self.found.moved_to_arrival
        bucket = self.bucket(nanoseconds)
        off, self.found.moved_to_arrival = self.found.moved_to_arrival - before, before
        self._buckets[nanoseconds] = found = (bucket, off)
        return found


@lru_cache(maxsize=4_096)
def _usual(name: str, unit: str, kind: str | None) -> bool:
    """Say whether points of this kind can be taken for a metric of the catalogue without asking further."""
    metric = CATALOGUE.get(name)
    if metric is None or (unit and unit != metric.wire_unit):
        return False
    if name == REVISION:
        return kind == "gauge"
    if metric.kind is Kind.COUNTER:
        return kind == "sum"
    return kind == "gauge" or kind == ("exponential_histogram" if metric.kind is Kind.DISTRIBUTION else "sum")


# absent, empty, and the single zero that the Python SDK writes
_NO_NEGATIVES = (b"", b"\x12\x00", b"\x12\x01\x00")
_UNREADABLE = (0, b"\x80")


def _positive(data: bytes) -> tuple[int, bytes]:
    """Return offset and counts, one byte each, of buckets as every serialiser writes them; else what can't add up."""
    if not data:
        return 0, b""
    at = offset = 0
    try:
        if data[0] == 0x08:
            zigzag, at = data[1], 2
            if zigzag >= 0x80:
                zigzag, at = (zigzag & 0x7F | data[2] << 7, 3) if data[2] < 0x80 else varint(data, 1)
            offset = (zigzag >> 1) ^ -(zigzag & 1)
        if data[at] == 0x12:
            length, at = data[at + 1], at + 2
            if length >= 0x80:
                length, at = varint(data, at - 1)
            if at + length == len(data):
                return offset, data[at:]
    except IndexError:
        pass
    return _UNREADABLE
