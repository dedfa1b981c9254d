"""From a cumulative stream's last point and its next one to what happened in between.

A stream starts again when its start time moves forward or any of its numbers falls: then the new point is the increment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from monitoring.domain.sketch import Sketch

# A stream unknown to us that began longer ago may have been counted and forgotten: its first point is only a base line.
REMEMBERED_NS = 24 * 3600 * 10**9


@dataclass(frozen=True)
class Point:
    """A cumulative point: a plain sum, buckets between explicit bounds, or exponential buckets by index.

    `total` is None for a histogram that sends no sum.
    """

    start_ns: int
    at_ns: int
    total: float | None
    count: int = 0
    zeros: int = 0
    scale: int | None = None
    bounds: tuple[float, ...] | None = None
    positive: dict[int, int] = field(default_factory=dict)
    negative: dict[int, int] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[object, ...]:
        """What two points must share to be subtracted."""
        return (self.bounds, self.scale is None)

    def at_scale(self, scale: int) -> Point:
        """Return exponential buckets at a coarser scale; exact."""
        assert self.scale is not None
        shift = self.scale - scale
        if shift == 0:
            return self
        return Point(
            self.start_ns,
            self.at_ns,
            self.total,
            self.count,
            self.zeros,
            scale,
            None,
            _shifted(self.positive, shift),
            _shifted(self.negative, shift),
        )

    def sketch(self) -> Sketch:
        """Return its observations; a plain sum is one observation."""
        found = Sketch()
        if self.bounds is not None:
            counts = [self.positive.get(place, 0) for place in range(len(self.bounds) + 1)]
            found.add_explicit(bounds=self.bounds, counts=counts, total=self.total, low=None, high=None)
        elif self.scale is not None:
            found.add_exponential(
                scale=self.scale,
                zero_count=self.zeros,
                positive=_dense(self.positive),
                negative=_dense(self.negative),
                total=None if self.negative else self.total,
                low=None,
                high=None,
            )
        elif self.total:
            found.add(self.total)
        return found


def increment(before: Point | None, after: Point, *, now_ns: int) -> Point | None:
    """Return what happened since the last point; None when nothing is known to have happened."""
    if before is None:
        unknown = not 0 < after.start_ns < after.at_ns
        return None if unknown or now_ns - after.start_ns > REMEMBERED_NS else after
    if after.start_ns < before.start_ns or (after.start_ns == before.start_ns and after.at_ns <= before.at_ns):
        return None  # late or repeated: what it says was counted with the later one
    if after.start_ns > before.start_ns or after.shape != before.shape:
        return after
    if after.scale is not None and before.scale is not None:
        scale = min(after.scale, before.scale)
        before, after = before.at_scale(scale), after.at_scale(scale)
    positive, negative = _less(after.positive, before.positive), _less(after.negative, before.negative)
    zeros, count = after.zeros - before.zeros, after.count - before.count
    total = None if after.total is None or before.total is None else after.total - before.total
    plain_fell = after.scale is None and after.bounds is None and (total or 0) < 0
    if positive is None or negative is None or zeros < 0 or count < 0 or plain_fell:
        return after
    return Point(before.at_ns, after.at_ns, total, count, zeros, after.scale, after.bounds, positive, negative)


def _shifted(side: dict[int, int], shift: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for index, count in side.items():
        found[index >> shift] = found.get(index >> shift, 0) + count
    return found


def _less(after: dict[int, int], before: dict[int, int]) -> dict[int, int] | None:
    """Return the difference, without zeros; None when any count fell."""
    found = {}
    for index, count in after.items():
        if more := count - before.get(index, 0):
            found[index] = more
    if any(count < 0 for count in found.values()) or any(before[index] for index in before.keys() - after.keys()):
        return None
    return found


def _dense(side: dict[int, int]) -> tuple[int, list[int]]:
    if not side:
        return 0, []
    first, last = min(side), max(side)
    return first, [side.get(index, 0) for index in range(first, last + 1)]


def pack(point: Point) -> bytes:
    """Return the stored form."""
    fields = (
        point.start_ns,
        point.at_ns,
        point.total,
        point.count,
        point.zeros,
        point.scale,
        point.bounds,
        sorted(point.positive.items()),
        sorted(point.negative.items()),
    )
    return json.dumps(fields, separators=(",", ":")).encode()


def unpack(data: bytes) -> Point:
    """Read the stored form."""
    start, at, total, count, zeros, scale, bounds, positive, negative = json.loads(data)
    sides = (dict(side) for side in (positive, negative))
    return Point(start, at, total, count, zeros, scale, None if bounds is None else tuple(bounds), *sides)
