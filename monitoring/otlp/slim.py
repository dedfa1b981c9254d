"""The fast way through a payload: OTLP's own field numbers, declared so that whatever repeats can be looked up whole.

Resource, attributes and packed bucket counts stay bytes; the same few byte strings come again and again and are understood
once. It takes only what our own snippets and the stock SDKs send when all is well (delta, no negatives, scale 5 to 20);
for anything else `understood` returns None and the stock parser decides. Both must agree, and a test says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from monitoring.domain.sketch import LARGEST, SCALE, SMALLEST, Sketch, bucket_index, bucket_middle

_T = descriptor_pb2.FieldDescriptorProto
CACHE_MOST = 50_000
BUCKETS_MOST = 320
LOWEST, HIGHEST = bucket_index(SMALLEST), bucket_index(LARGEST)
FINER_MOST = 15
REVISION_UNITS = (b"", b"1")
DELTA = 1
COUNT_MOST = 2**48


def _schema() -> type[Any]:
    """Build the message classes. A field that isn't declared here is skipped by the parser, as protobuf demands."""
    file = descriptor_pb2.FileDescriptorProto(
        name="hawkops/slim_metrics.proto", package="hawkops.slim", syntax="proto2"
    )

    def message(name: str, *fields: tuple[str, int, int, str, bool]) -> None:
        made = file.message_type.add(name=name)
        for field, number, kind, of, repeated in fields:
            made.field.add(
                name=field,
                number=number,
                type=kind,
                type_name=f".hawkops.slim.{of}" if of else None,
                label=_T.LABEL_REPEATED if repeated else _T.LABEL_OPTIONAL,
                oneof_index=0 if field in ("as_double", "as_int") else None,
            )
        if name == "Number":
            made.oneof_decl.add(name="value")

    message("Buckets", ("offset", 1, _T.TYPE_SINT32, "", False), ("counts", 2, _T.TYPE_BYTES, "", False))
    message(
        "Number",
        ("attributes", 7, _T.TYPE_BYTES, "", True),
        ("time", 3, _T.TYPE_FIXED64, "", False),
        ("as_double", 4, _T.TYPE_DOUBLE, "", False),
        ("as_int", 6, _T.TYPE_SFIXED64, "", False),
        ("flags", 8, _T.TYPE_UINT32, "", False),
    )
    message(
        "Histogram",
        ("attributes", 1, _T.TYPE_BYTES, "", True),
        ("time", 3, _T.TYPE_FIXED64, "", False),
        ("count", 4, _T.TYPE_FIXED64, "", False),
        ("sum", 5, _T.TYPE_DOUBLE, "", False),
        ("scale", 6, _T.TYPE_SINT32, "", False),
        ("zeros", 7, _T.TYPE_FIXED64, "", False),
        ("positive", 8, _T.TYPE_MESSAGE, "Buckets", False),
        ("negative", 9, _T.TYPE_MESSAGE, "Buckets", False),
        ("flags", 10, _T.TYPE_UINT32, "", False),
        ("min", 12, _T.TYPE_DOUBLE, "", False),
        ("max", 13, _T.TYPE_DOUBLE, "", False),
    )
    message("Gauge", ("points", 1, _T.TYPE_MESSAGE, "Number", True))
    message(
        "Sum",
        ("points", 1, _T.TYPE_MESSAGE, "Number", True),
        ("temporality", 2, _T.TYPE_INT32, "", False),
        ("monotonic", 3, _T.TYPE_BOOL, "", False),
    )
    message(
        "Exponential",
        ("points", 1, _T.TYPE_MESSAGE, "Histogram", True),
        ("temporality", 2, _T.TYPE_INT32, "", False),
    )
    message(
        "Metric",
        ("name", 1, _T.TYPE_BYTES, "", False),
        ("unit", 3, _T.TYPE_BYTES, "", False),
        ("gauge", 5, _T.TYPE_MESSAGE, "Gauge", False),
        ("sum", 7, _T.TYPE_MESSAGE, "Sum", False),
        ("explicit", 9, _T.TYPE_BYTES, "", False),
        ("exponential", 10, _T.TYPE_MESSAGE, "Exponential", False),
        ("summary", 11, _T.TYPE_BYTES, "", False),
    )
    message("Scope", ("metrics", 2, _T.TYPE_MESSAGE, "Metric", True))
    message("Resource", ("resource", 1, _T.TYPE_BYTES, "", False), ("scopes", 2, _T.TYPE_MESSAGE, "Scope", True))
    message("Request", ("resources", 1, _T.TYPE_MESSAGE, "Resource", True))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found: type[Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName("hawkops.slim.Request"))
    return found


Request = _schema()


# A point as a bare tuple, because each payload makes twenty: its slot (series, ten seconds), its value or sum, and of
# a histogram the bytes that are its counts, their offset, by how many powers of two they are finer than ours, zeros, count,
# min and max. A plain value has None for counts.
Slot = tuple[Any, int]
Point = tuple[Slot, float, bytes | None, int, int, int, int, float, float]


class Tally:
    """Points of one series in one bucket of time, added up as they come; a sketch is made of them once."""

    __slots__ = ("buckets", "count", "exact", "high", "low", "squares", "total", "zeros")

    def __init__(self) -> None:
        self.count = self.zeros = 0
        self.total = self.squares = 0.0
        self.low, self.high = math.inf, -math.inf
        self.exact: dict[int, int] = {}
        self.buckets: dict[int, int] = {}

    def add(self, point: Point) -> None:
        """Add one point."""
        _, value, counts, index, shift, zeros, many, low, high = point
        self.count += many
        self.total += value
        if counts is None:
            self.squares += value * value
            if value < SMALLEST:
                self.zeros += 1
            else:
                index = _index(value)
                self.exact[index] = self.exact.get(index, 0) + 1
        else:
            self.zeros += zeros
            buckets = self.buckets
            for one in counts:
                if one:
                    place = index >> shift
                    buckets[place] = buckets.get(place, 0) + one
                index += 1
        if low < self.low:
            self.low = low
        if high > self.high:
            self.high = high

    def sketch(self) -> Sketch:
        """Return all of it; the squares of what came in buckets are those of the buckets' middles."""
        squares = self.squares
        for index, many in self.buckets.items():
            middle = bucket_middle(index)
            squares += middle * middle * many
        for index, many in self.exact.items():
            self.buckets[index] = self.buckets.get(index, 0) + many
        return Sketch(
            count=self.count,
            total=self.total,
            squares=squares,
            low=self.low,
            high=self.high,
            zeros=self.zeros,
            positive=self.buckets,
        )


@lru_cache(maxsize=4_096)
def _index(value: float) -> int:
    return bucket_index(value)


class Bounded(dict[Any, Any]):
    """A cache that forgets everything when it is full: what repeats is soon back."""

    def keep(self, key: Any, value: Any) -> Any:
        """Remember and return a value."""
        if len(self) >= CACHE_MOST:
            self.clear()
        self[key] = value
        return value


class NotPlain(Exception):
    """Something needs the stock parser."""


@dataclass
class Resource:
    """What a resource is understood as: the device, and the series of its dimensions by a point's own bytes."""

    device: Any
    known: Bounded


class Walk:
    """The points of one payload. `resource`, `series` and `bucket` understand what is new; each may raise NotPlain."""

    def __init__(
        self,
        *,
        resource: Callable[[bytes], Resource],
        series: Callable[[Resource, bytes, bytes, str, tuple[bytes, ...]], tuple[Any, int]],
        bucket: Callable[[int], int],
        revision: bytes,
        most: int,
    ) -> None:
        self.points: list[Point] = []
        self.devices: list[tuple[Any, int | None]] = []
        self.dropped = 0
        self._resource = resource
        self._series = series
        self._bucket = bucket
        self._revision = revision
        self._most = most
        self._moments: dict[int, int] = {}

    def walk(self, body: bytes) -> bool:
        """Take all points of a payload; False when the stock parser must decide, and then nothing here counts."""
        try:
            for message in Request.FromString(body).resources:
                whose = self._resource(message.resource)
                reported: int | None = None
                for scope in message.scopes:
                    for metric in scope.metrics:
                        if metric.HasField("exponential"):
                            self._histograms(metric, whose)
                        elif metric.name == self._revision:
                            reported = self._reported(metric, reported)
                        else:
                            self._numbers(metric, whose)
                        if len(self.points) > self._most:
                            return False
                self.devices.append((whose.device, reported))
        except (NotPlain, DecodeError):
            return False
        return True

    def _reported(self, metric: Any, reported: int | None) -> int | None:
        if not metric.HasField("gauge") or metric.unit not in REVISION_UNITS:
            raise NotPlain
        for point in metric.gauge.points:
            if not point.HasField("as_int") or point.flags or point.as_int < 0:
                raise NotPlain
            reported = max(reported or 0, point.as_int)
        return reported

    def _slot(self, whose: Resource, name: bytes, unit: bytes, kind: str, point: Any) -> Slot:
        attributes = tuple(point.attributes)
        key = (name, unit, kind, attributes)
        found = whose.known.get(key)
        if found is None:
            found = whose.known.keep(key, self._series(whose, name, unit, kind, attributes))
        self.dropped += found[1]
        moment = point.time
        bucket = self._moments.get(moment)
        if bucket is None:
            bucket = self._moments[moment] = self._bucket(moment)
        return found[0], bucket

    def _numbers(self, metric: Any, whose: Resource) -> None:
        if metric.HasField("sum"):
            holder, kind = metric.sum, "sum"
            if holder.temporality != DELTA or not holder.monotonic:
                raise NotPlain
        elif metric.HasField("gauge"):
            holder, kind = metric.gauge, "gauge"
        else:
            raise NotPlain
        name, unit = metric.name, metric.unit
        for point in holder.points:
            which = point.WhichOneof("value")
            if point.flags or which is None:
                raise NotPlain
            value = point.as_double if which == "as_double" else float(point.as_int)
            if not 0 <= value <= LARGEST:
                raise NotPlain
            slot = self._slot(whose, name, unit, kind, point)
            self.points.append((slot, value, None, 0, 0, 0, 1, value, value))

    def _histograms(self, metric: Any, whose: Resource) -> None:
        holder = metric.exponential
        if holder.temporality != DELTA:
            raise NotPlain
        name, unit = metric.name, metric.unit
        for point in holder.points:
            positive = point.positive
            counts, offset, many, zeros = positive.counts, positive.offset, point.count, point.zeros
            low, high, total, shift = point.min, point.max, point.sum, point.scale - SCALE
            if (
                point.flags
                or not 0 <= shift <= FINER_MOST
                # every count below 128 is one byte of a packed varint: then the bytes are the counts
                or not counts.isascii()
                or zeros + sum(counts) != many
                or not 0 < many <= COUNT_MOST
                # what is absent reads as 0
                or not ((low or point.HasField("min")) and (high or point.HasField("max")))
                or not (total or point.HasField("sum"))
                or not 0 <= low <= high <= LARGEST
                or not many * low * 0.999 - 1e-9 <= total <= many * high * 1.001 + 1e-9
                or len(counts) > BUCKETS_MOST
                or not LOWEST <= offset >> shift <= (offset + len(counts)) >> shift <= HIGHEST
                or (point.HasField("negative") and any(point.negative.counts))
            ):
                raise NotPlain
            slot = self._slot(whose, name, unit, "exponential_histogram", point)
            self.points.append((slot, total, counts, offset, shift, zeros, many, low, high))
