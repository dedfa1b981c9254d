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
from functools import lru_cache
from operator import mul

SCALE = 5
_PER_OCTAVE = 1 << SCALE
BASE: float = 2.0 ** (1 / _PER_OCTAVE)
# The estimate inside a bucket (lo, hi] is 2·lo·hi / (lo + hi): the same relative distance to both ends.
RELATIVE_ERROR = (BASE - 1) / (BASE + 1)
# Smaller values count as zero and larger ones are refused at the door: that bounds a sketch to 2 560 buckets.
SMALLEST, LARGEST = 2.0**-30, 2.0**50
_HEAD = struct.Struct("<BQ")
_RUN = struct.Struct("<iHB")
# A gap this short is written as zeros: rows of one run are the ones that merge fast.
GAP_MOST = 64
_WIDTHS = ((0xFF, "B"), (0xFFFF, "H"), (0xFFFF_FFFF, "I"), (0xFFFF_FFFF_FFFF_FFFF, "Q"))
_CODES = {"B": 1, "H": 2, "I": 4, "Q": 8}
_BY_WIDTH = {width: code for code, width in _CODES.items()}


class NotASketch(ValueError):
    """The stored bytes do not describe a sketch."""


def bucket_index(value: float) -> int:
    """Return the bucket of a positive value; exact for powers of two."""
    mantissa, exponent = math.frexp(value)
    if mantissa == 0.5:
        return ((exponent - 1) << SCALE) - 1
    return math.ceil(math.log2(value) * _PER_OCTAVE) - 1


@dataclass(slots=True)
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
        if abs(value) < SMALLEST:
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
        """Merge an OTLP exponential histogram point.

        Scales above ours merge exactly; below, the middle of each bucket counts, of its part within low and high.
        """
        offset, counts = positive
        end = offset + len(counts)
        if (
            scale == SCALE
            and total is not None
            and not self.count
            and not negative[1]
            and _LOWEST <= offset <= end <= _END
        ):
            # what our own snippets send: nothing to shift, nothing to merge with
            self.zeros = zero_count
            self.positive = {index: count for index, count in enumerate(counts, offset) if count}
            squares = sum(map(mul, counts, _SQUARES[offset - _LOWEST : end - _LOWEST]))
            self._merge_summary(zero_count + sum(counts), total, squares, low, high)
            return
        added = zero_count
        estimate = squares = 0.0
        self.zeros += zero_count
        for (offset, counts), side, sign in ((positive, self.positive, 1), (negative, self.negative, -1)):
            if not counts:
                continue
            for index, count in _rescaled(scale, offset, counts, low=low, high=high, sign=sign).items():
                added += count
                if index < _LOWEST:
                    self.zeros += count
                    continue
                side[index] = side.get(index, 0) + count
                middle = _MIDDLES[index - _LOWEST] if index <= _HIGHEST else bucket_middle(index)
                squares += middle * middle * count
                if total is None:
                    estimate += sign * middle * count
        self._merge_summary(added, estimate if total is None else total, squares, low, high)

    def add_explicit(
        self,
        *,
        bounds: Sequence[float],
        counts: Sequence[int],
        total: float | None,
        low: float | None,
        high: float | None,
        floor: float = -LARGEST,
    ) -> None:
        """Merge an explicit histogram point; inside its bucket a value is placed so that all of them agree with the sum.

        No value lies below `floor`. The error is that of the bounds, not 1.1 %. Raises Unreadable when nothing bounds them.
        """
        spans = _spans(bounds, counts, total, low, high, floor)
        added = sum(counts)
        estimate = squares = 0.0
        position = _position(spans, total)
        shape = _shape(position)
        for left, right, count in spans:
            many = min(count, SPREAD_MOST, _width(left, right))
            for step in range(many):
                share = (step + 1) * count // many - step * count // many
                place = shape[(2 * step + 1) * SPREAD_MOST // (2 * many)] if many > 1 else position
                value = left + (right - left) * place
                self._place(value, share)
                estimate += value * share
                squares += value * value * share
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

    def merge_row(
        self, count: int, total: float, squares: float, low: float, high: float, buckets: bytes | memoryview
    ) -> None:
        """Add a stored row. Raises NotASketch."""
        self.count += count
        self.total += total
        self.squares += squares
        self.low = min(self.low, low)
        self.high = max(self.high, high)
        self.merge_bytes(bytes(buckets))

    def quantile(self, q: float) -> float | None:
        """Return the value that a share `q` (0 to 1) of observations does not exceed; None without observations.

        Between two observations the one further from the median counts, so that no guarantee is flattered.
        """
        placed = self.zeros + sum(self.positive.values()) + sum(self.negative.values())
        if not placed:
            return None
        rank = math.ceil(q * (placed - 1)) if q > 0.5 else math.floor(q * (placed - 1))
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
        """Add buckets written by `buckets_bytes`. Raises NotASketch for anything else."""
        try:
            self._merge_bytes(data)
        except (struct.error, KeyError, ValueError) as error:
            raise NotASketch("The stored sketch can't be read.") from error

    def _merge_bytes(self, data: bytes) -> None:
        version, zeros = _HEAD.unpack_from(data)
        if version != 1:
            raise NotASketch(f"sketch version {version} is not understood")
        self.zeros += zeros
        at = _HEAD.size
        for side in (self.positive, self.negative):
            (runs,) = struct.unpack_from("<H", data, at)
            at += 2
            for _ in range(runs):
                start, length, width = _RUN.unpack_from(data, at)
                at += _RUN.size
                counts = array(_BY_WIDTH[width])
                counts.frombytes(data[at : at + width * length])
                if len(counts) != length:
                    raise NotASketch("the sketch has lost bytes")
                at += width * length
                for index, count in enumerate(counts, start):
                    if count:
                        side[index] = side.get(index, 0) + count


def bucket_middle(index: int) -> float:
    """Return the value whose relative distance to both ends of the bucket is the same."""
    low = math.pow(2.0, index / _PER_OCTAVE)
    return 2 * low * BASE / (1 + BASE)


_LOWEST, _HIGHEST = bucket_index(SMALLEST), bucket_index(LARGEST)
_END = _HIGHEST + 1
_MIDDLES = [bucket_middle(index) for index in range(_LOWEST, _END)]
_SQUARES = [middle * middle for middle in _MIDDLES]
# the buckets that a sketch may hold
BUCKETS = range(_LOWEST, _END)


def bucket_square(index: int) -> float:
    """Return the square of the middle of one of BUCKETS."""
    return _SQUARES[index - _LOWEST]


def _rescaled(
    scale: int, offset: int, counts: Sequence[int], *, low: float | None, high: float | None, sign: int
) -> dict[int, int]:
    """Return counts at our scale: finer buckets shift down exactly, of a coarser one its middle counts."""
    found: dict[int, int] = {}
    if scale >= SCALE:
        for place, count in enumerate(counts, offset):
            if count:
                found[place >> (scale - SCALE)] = found.get(place >> (scale - SCALE), 0) + count
        return found
    wide = 1 << (SCALE - scale)
    first, last = _LOWEST - 1, _HIGHEST
    if sign > 0 and low is not None and low >= SMALLEST:
        first = max(first, bucket_index(low))
    if sign > 0 and high is not None and high >= SMALLEST:
        last = min(last, bucket_index(high))
    for place, count in enumerate(counts, offset):
        if count:
            begin = min(max(place * wide, first), last)
            middle = (begin + max(min((place + 1) * wide - 1, last), begin)) // 2
            found[middle] = found.get(middle, 0) + count
    return found


# left and right edge, observations between them
Span = tuple[float, float, int]
# so many different values stand for a bucket of an explicit histogram, however many it holds
SPREAD_MOST = 64
# A bucket that is wider than this says little about where its values lie.
COARSE_RATIO = 2.6


class Unreadable(ValueError):
    """A histogram from which no percentile can be read; the message completes "<metric> …"."""


def coarse(
    bounds: Sequence[float],
    counts: Sequence[int],
    total: float | None,
    low: float | None,
    high: float | None,
    floor: float,
) -> bool:
    """Say whether most values of an explicit histogram lie in buckets too wide to tell percentiles. Raises Unreadable."""
    spans = _spans(bounds, counts, total, low, high, floor)
    unclear = sum(count for left, right, count in spans if right > 0 and right > max(left, SMALLEST) * COARSE_RATIO)
    return 2 * unclear > sum(counts)


def _spans(
    bounds: Sequence[float],
    counts: Sequence[int],
    total: float | None,
    low: float | None,
    high: float | None,
    floor: float,
) -> list[Span]:
    """Return the occupied buckets with both edges; an open one ends at min or max, else where the sum demands it."""
    last = len(counts) - 1
    if not any(counts):
        return []
    if not last and (low is None or high is None):
        raise Unreadable("has one bucket for everything and not both min and max, so no percentile can be read from it")
    # without a min from zero on, or from twice as far below zero as the first bound is
    begin = low if low is not None else max(-LARGEST, min(0.0, 2 * bounds[0]))
    spans = []
    for position, count in enumerate(counts):
        if not count:
            continue
        left = bounds[position - 1] if position else begin
        if position < last:
            right = bounds[position]
        elif high is not None:
            right = high
        elif left > 0 or total is not None:
            right = min(LARGEST, max(left, 2 * left))
        else:
            raise Unreadable("has values above its last bound and neither max nor sum, so no percentile can be read")
        left = max(left, floor) if low is None else max(left, min(low, right), floor)
        right = max(left, right if high is None else min(right, high))
        spans.append((left, right, count))
    if spans and total is not None and high is None and counts[last]:
        left, right, count = spans[-1]
        mean = (total - sum(edge * many for _, edge, many in spans[:-1])) / count
        spans[-1] = (left, min(LARGEST, max(right, 2 * mean - left)), count)
    return spans


def _position(spans: list[Span], total: float | None) -> float:
    """Return where in their buckets values lie on average for the sum to be right: 0 at the left edges, 1 at the right."""
    width = sum((right - left) * count for left, right, count in spans)
    if total is None or width <= 0:
        return 0.5
    return min(1.0, max(0.0, (total - sum(left * count for left, _, count in spans)) / width))


def _width(left: float, right: float) -> int:
    """Return how many of our buckets a span reaches over; at least one."""
    if left >= SMALLEST:
        return bucket_index(right) - bucket_index(left) + 1
    if right <= -SMALLEST:
        return bucket_index(-left) - bucket_index(-right) + 1
    return SPREAD_MOST if right > left else 1


def _shape(position: float) -> tuple[float, ...]:
    """Return places between 0 and 1 whose mean is `position`."""
    return _shape_of(float(f"{position:.3g}"))


@lru_cache(maxsize=1_024)
def _shape_of(mean: float) -> tuple[float, ...]:
    """Return quantiles of the density with that mean that claims nothing else: an exponential one, cut off at 0 and 1.

    Jaynes, "Information theory and statistical mechanics" (1957): the distribution of greatest entropy for a known mean.
    """
    if mean > 0.5:
        return tuple(1 - place for place in reversed(_shape_of(float(f"{1 - mean:.3g}"))))
    places = [(step + 0.5) / SPREAD_MOST for step in range(SPREAD_MOST)]
    if mean >= 0.499:
        return tuple(places)
    if mean <= 0:
        return (0.0,) * SPREAD_MOST
    # the rate whose mean it is, by halving: 1/r − 1/(e^r − 1) falls with r
    least, most = 0.0, 2 / mean
    for _ in range(60):
        rate = (least + most) / 2
        found = 1 / rate - (1 / math.expm1(rate) if rate < 700 else 0.0)
        least, most = (rate, most) if found > mean else (least, rate)
    whole = -math.expm1(-rate)
    return tuple(-math.log1p(-place * whole) / rate for place in places)


def _runs(side: dict[int, int]) -> bytes:
    """Encode runs of buckets, each count in as few bytes as the run's largest needs; a short gap costs less than a run."""
    runs: list[tuple[int, list[int]]] = []
    for index in sorted(side):
        gap = index - runs[-1][0] - len(runs[-1][1]) if runs else GAP_MOST + 1
        if gap <= GAP_MOST:
            runs[-1][1].extend([0] * gap)
            runs[-1][1].append(side[index])
        else:
            runs.append((index, [side[index]]))
    parts = [struct.pack("<H", len(runs))]
    for start, counts in runs:
        largest = max(counts)
        code = next(code for limit, code in _WIDTHS if largest <= limit)
        parts.append(_RUN.pack(start, len(counts), _CODES[code]) + array(code, counts).tobytes())
    return b"".join(parts)


def merged(sketches: Iterable[Sketch]) -> Sketch:
    """Return the sum of sketches."""
    whole = Sketch()
    for sketch in sketches:
        whole.merge(sketch)
    return whole
