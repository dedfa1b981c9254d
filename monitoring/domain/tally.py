"""Adding up many points of one series in one bucket of time, before they become one sketch.

The exponential buckets of a point are one large integer with a lane of 32 bits for each bucket: adding a point is one
shift and one addition, however many buckets it has.
"""

from __future__ import annotations

import math
import sys
from array import array

from monitoring.domain.sketch import Sketch, bucket_square

LANE_BITS = 32
# A point's counts stay below 2^7, so this many points can't fill a lane.
POINTS_MOST = 1 << (LANE_BITS - 7)


def lanes(counts: bytes) -> int:
    """Return counts below 128 as one integer, a lane for each, the first one lowest."""
    wide = bytearray(4 * len(counts))
    wide[::4] = counts
    return int.from_bytes(wide, "little")


class Tally:
    """A sum of values, of exponential points at our scale, and of sketches."""

    __slots__ = ("base", "count", "high", "lanes", "low", "sketches", "total", "values", "zeros")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.low = math.inf
        self.high = -math.inf
        self.zeros = 0
        self.base = 0
        self.lanes = 0
        self.values: dict[float, int] = {}
        self.sketches: list[Sketch] = []

    def add_value(self, value: float) -> None:
        """Add one observation."""
        self.values[value] = self.values.get(value, 0) + 1

    def add_point(
        self, count: int, total: float, low: float, high: float, zeros: int, offset: int, point_lanes: int
    ) -> None:
        """Add an exponential point at our scale, its positive buckets as `lanes` from bucket `offset` on."""
        if point_lanes:
            if not self.lanes:
                self.base = offset
            elif offset < self.base:
                self.lanes <<= (self.base - offset) * LANE_BITS
                self.base = offset
            self.lanes += point_lanes << (offset - self.base) * LANE_BITS
        self.count += count
        self.total += total
        self.zeros += zeros
        if low < self.low:
            self.low = low
        if high > self.high:
            self.high = high

    def sketch(self) -> Sketch:
        """Return everything added so far."""
        found = Sketch(count=self.count, total=self.total, low=self.low, high=self.high, zeros=self.zeros)
        if self.lanes:
            size = -(-self.lanes.bit_length() // LANE_BITS)
            counts = array("I", self.lanes.to_bytes(4 * size, "little"))
            if sys.byteorder == "big":
                counts.byteswap()
            found.positive = {index: count for index, count in enumerate(counts, self.base) if count}
            found.squares = sum(bucket_square(index) * count for index, count in found.positive.items())
        for value, count in self.values.items():
            found.add(value, count)
        for sketch in self.sketches:
            found.merge(sketch)
        return found
