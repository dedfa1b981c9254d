"""Mergeable distributions: logarithmic buckets of base 2^(1/32), the OTLP exponential histogram at scale 5.

Bucket i holds (base^i, base^(i+1)]; a quantile is answered with the bucket's middle, so its relative error is at most
(base − 1) / (base + 1) = 1.1 %. Merging adds counts: exact over any window and cohort.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

SCALE = 5
_PER_OCTAVE = 1 << SCALE
BASE = 2.0 ** (1 / _PER_OCTAVE)
_HEAD = struct.Struct("<BQ")
_RUN = struct.Struct("<iI")


def bucket_index(value: float) -> int:
    """Return the bucket of a positive value; exact for powers of two."""
    mantissa, exponent = math.frexp(value)
    if mantissa == 0.5:
        return ((exponent - 1) << SCALE) - 1
    return math.ceil(math.log2(value) * _PER_OCTAVE) - 1


@dataclass
class Sketch:
    """Counts by bucket, of positive and of negative values, and zeros; with count, sum and extremes."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    zeros: int = 0
    positive: dict[int, int] = field(default_factory=dict)
    negative: dict[int, int] = field(default_factory=dict)

    def add(self, value: float, count: int = 1) -> None:
        """Add `count` observations of one finite value."""
        self.count += count
        self.total += value * count
        self.squares += value * value * count
        self.low = min(self.low, value)
        self.high = max(self.high, value)
        self._place(value, count)

    def _place(self, value: float, count: int) -> None:
        if value == 0:
            self.zeros += count
            return
        side = self.positive if value > 0 else self.negative
        index = bucket_index(abs(value))
        side[index] = side.get(index, 0) + count

    def add_exponential(
        self,
        *,
        scale: int,
        zero_count: int,
        positive: tuple[int, Sequence[int]],
        negative: tuple[int, Sequence[int]],
        total: float | None,
        low: float | None,
        high: float | None,
    ) -> None:
        """Merge an OTLP exponential histogram point. Scales above ours merge exactly; below, each bucket's middle counts."""
        added = zero_count
        estimate = squares = 0.0
        self.zeros += zero_count
        for (offset, counts), side, sign in ((positive, self.positive, 1), (negative, self.negative, -1)):
            for position, count in enumerate(counts):
                if not count:
                    continue
                index = offset + position
                if scale >= SCALE:
                    index >>= scale - SCALE
                    middle = bucket_middle(index)
                else:
                    middle = 2.0 ** ((index + 0.5) * 2.0**-scale)
                    index = bucket_index(middle)
                side[index] = side.get(index, 0) + count
                added += count
                estimate += sign * middle * count
                squares += middle * middle * count
        self._merge_summary(added, estimate if total is None else total, squares, low, high)

    def add_explicit(
        self,
        *,
        bounds: Sequence[float],
        counts: Sequence[int],
        total: float | None,
        low: float | None,
        high: float | None,
    ) -> None:
        """Merge an explicit histogram point: each bucket counts at its middle, the outer ones at their bound."""
        added = 0
        estimate = squares = 0.0
        for position, count in enumerate(counts):
            if not count:
                continue
            left = bounds[position - 1] if position else (low if low is not None else bounds[0] if bounds else 0.0)
            right = bounds[position] if position < len(bounds) else (high if high is not None else left)
            middle = math.sqrt(left * right) if left > 0 and right > 0 else (left + right) / 2
            self._place(middle, count)
            added += count
            estimate += middle * count
            squares += middle * middle * count
        self._merge_summary(added, estimate if total is None else total, squares, low, high)

    def _merge_summary(self, added: int, total: float, squares: float, low: float | None, high: float | None) -> None:
        if not added:
            return
        self.count += added
        self.total += total
        self.squares += squares
        if low is None or high is None:
            found_low, found_high = self._extremes()
            low = found_low if low is None else low
            high = found_high if high is None else high
        self.low = min(self.low, low)
        self.high = max(self.high, high)

    def _extremes(self) -> tuple[float, float]:
        low = (
            -(BASE ** (max(self.negative) + 1)) if self.negative else 0.0 if self.zeros else BASE ** min(self.positive)
        )
        high = (
            BASE ** (max(self.positive) + 1) if self.positive else 0.0 if self.zeros else -(BASE ** min(self.negative))
        )
        return low, high

    def merge(self, other: Sketch) -> None:
        """Add another sketch to this one."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)
        self.zeros += other.zeros
        for mine, theirs in ((self.positive, other.positive), (self.negative, other.negative)):
            for index, count in theirs.items():
                mine[index] = mine.get(index, 0) + count

    def quantile(self, q: float) -> float | None:
        """Return the value that a share `q` (0 to 1) of observations does not exceed; None without observations."""
        placed = self.zeros + sum(self.positive.values()) + sum(self.negative.values())
        if not placed:
            return None
        rank = q * (placed - 1)
        seen = 0
        for index in sorted(self.negative, reverse=True):
            seen += self.negative[index]
            if seen > rank:
                return self._clamped(-bucket_middle(index))
        seen += self.zeros
        if seen > rank:
            return self._clamped(0.0)
        for index in sorted(self.positive):
            seen += self.positive[index]
            if seen > rank:
                return self._clamped(bucket_middle(index))
        return self.high

    def _clamped(self, value: float) -> float:
        return min(max(value, self.low), self.high)

    @property
    def mean(self) -> float | None:
        """The mean; None without observations."""
        return self.total / self.count if self.count else None

    def buckets_bytes(self) -> bytes:
        """Return the buckets as runs of consecutive counts (the summary travels in columns of its own)."""
        parts = [_HEAD.pack(1, self.zeros)]
        for side in (self.positive, self.negative):
            parts.append(_runs(side))
        return b"".join(parts)

    def merge_bytes(self, data: bytes) -> None:
        """Add buckets written by `buckets_bytes`. Raises ValueError for a form it does not know."""
        version, zeros = _HEAD.unpack_from(data)
        if version != 1:
            raise ValueError(f"sketch version {version} is not understood")
        self.zeros += zeros
        at = _HEAD.size
        for side in (self.positive, self.negative):
            (runs,) = struct.unpack_from("<H", data, at)
            at += 2
            for _ in range(runs):
                start, length = _RUN.unpack_from(data, at)
                at += _RUN.size
                counts = array("Q")
                counts.frombytes(data[at : at + 8 * length])
                at += 8 * length
                for position, count in enumerate(counts):
                    side[start + position] = side.get(start + position, 0) + count


def bucket_middle(index: int) -> float:
    """Return the value whose relative distance to both ends of the bucket is the same."""
    return 2 * BASE**index * BASE / (1 + BASE)


def _runs(side: dict[int, int]) -> bytes:
    runs: list[tuple[int, array[int]]] = []
    for index in sorted(side):
        if runs and index == runs[-1][0] + len(runs[-1][1]):
            runs[-1][1].append(side[index])
        else:
            runs.append((index, array("Q", [side[index]])))
    return struct.pack("<H", len(runs)) + b"".join(_RUN.pack(start, len(c)) + c.tobytes() for start, c in runs)


def merged(sketches: Iterable[Sketch]) -> Sketch:
    """Return the sum of sketches."""
    whole = Sketch()
    for sketch in sketches:
        whole.merge(sketch)
    return whole
