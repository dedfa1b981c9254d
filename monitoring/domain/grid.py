"""Merging many stored sketches at once: a window of rows becomes one matrix, steps of time by buckets.

Columns lie in the order of values: negative buckets from the largest magnitude down, zero, positive buckets. So a
quantile of every step is one cumulated sum and one comparison.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from monitoring.domain.sketch import BUCKETS, Sketch, bucket_middle

# series, start of the bucket in seconds since 1970, count, total, squares, low, high, buckets
Row = tuple[int, int, int, float, float, float, float, bytes]
_ONE_RUN = struct.Struct("<BQHiHB")
# Rows are padded to the width of the whole line; beyond this many columns padding costs more than it saves.
WIDE = 512
_NONE = b"\0\0"
_TYPES = {width: np.dtype(f"<u{width}") for width in (1, 2, 4, 8)}
_ZERO = len(BUCKETS)
_FIRST = _ZERO + 1 - BUCKETS.start
_LAST_NEGATIVE = _ZERO - 1 + BUCKETS.start
_MIDDLES = [bucket_middle(index) for index in BUCKETS]
_VALUES = np.array([*(-value for value in reversed(_MIDDLES)), 0.0, *_MIDDLES])


class Observed(Protocol):
    """What can be read from observations, however they were added up."""

    count: int
    total: float
    squares: float
    low: float
    high: float

    @property
    def mean(self) -> float | None:
        """The mean; None without observations."""

    def quantile(self, q: float) -> float | None:
        """Return the value that a share `q` of observations does not exceed; None without observations."""


class Distribution:
    """Merged observations, only to be read."""

    __slots__ = ("_base", "_cumulated", "count", "high", "low", "squares", "total")

    def __init__(self, summary: Sequence[float] = (0, 0.0, 0.0, math.inf, -math.inf)) -> None:
        count, self.total, self.squares, self.low, self.high = map(float, summary)
        self.count = int(count)
        self._base = 0
        self._cumulated: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, summary: Sequence[float], base: int, counts: NDArray[np.int64]) -> Distribution:
        """Return the distribution with these counts from column `base` on."""
        made = cls(summary)
        made._base, made._cumulated = base, np.cumsum(counts)
        return made

    @property
    def mean(self) -> float | None:
        """The mean; None without observations."""
        return self.total / self.count if self.count else None

    def quantile(self, q: float) -> float | None:
        """Return the value that a share `q` (0 to 1) of observations does not exceed; None without observations.

        Between two observations the one further from the median counts, so that no guarantee is flattered.
        """
        if self._cumulated is None or not self._cumulated.size or not self._cumulated[-1]:
            return None
        rank = _rank(int(self._cumulated[-1]), q)
        place = int(np.searchsorted(self._cumulated, rank, side="right"))
        return min(max(float(_VALUES[self._base + place]), self.low), self.high)


class Grid:
    """Rows by step. Add them all, then read."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._rows: list[tuple[int, int, float, float, float, float, bytes | None]] = []
        self._summed: NDArray[np.float64] | None = None
        self._counted: NDArray[np.int64] | None = None
        self._cumulated: NDArray[np.int64] | None = None
        self._first = 0

    def add(
        self, step: int, count: int, total: float, squares: float, low: float, high: float, buckets: bytes | None
    ) -> None:
        """Add a stored row; without buckets it has no percentiles."""
        self._rows.append((step, count, total, squares, low, high, buckets))

    def _sums(self) -> NDArray[np.float64]:
        """Return count, total, squares, low and high of each step."""
        if self._summed is None:
            rows = np.array([row[:6] for row in self._rows], dtype=np.float64).reshape(-1, 6)
            step = rows[:, 0].astype(np.int64)
            sums = np.empty((self.steps, 5))
            for place in range(3):
                sums[:, place] = np.bincount(step, weights=rows[:, place + 1], minlength=self.steps)
            sums[:, 3], sums[:, 4] = math.inf, -math.inf
            np.minimum.at(sums[:, 3], step, rows[:, 4])
            np.maximum.at(sums[:, 4], step, rows[:, 5])
            self._summed = sums
        return self._summed

    def _counts(self) -> NDArray[np.int64]:
        """Return the matrix of counts, from column `_first` on. Raises NotASketch."""
        if self._counted is None:
            self._counted = self._build()
        return self._counted

    def _build(self) -> NDArray[np.int64]:
        # by width of a count: rows of one run, which most are: step, first column, end, bytes
        plain: dict[int, list[tuple[int, int, int, bytes]]] = {}
        others: list[tuple[int, int, int, NDArray[Any]]] = []
        unpack, size = _ONE_RUN.unpack_from, _ONE_RUN.size
        for row in self._rows:
            buckets = row[6]
            if buckets is None:
                continue
            try:
                version, zeros, many, start, length, width = unpack(buckets)
            except struct.error:
                version, zeros, many, start, length, width = 0, 0, 0, 0, 0, 0
            end = size + length * width
            if version == many == 1 and not zeros and width in _TYPES and buckets[end:] == _NONE:
                begin = start + _FIRST
                plain.setdefault(width, []).append((row[0], begin, begin + length, buckets[size:end]))
            else:
                others += [(row[0], *run) for run in _runs(buckets)]
        spans = [(run[1], run[2]) for runs in plain.values() for run in runs] + [(run[1], run[2]) for run in others]
        first = min((span[0] for span in spans), default=0)
        across = max((span[1] for span in spans), default=0) - first
        matrix = np.zeros((self.steps, across), dtype=np.int64)
        self._first = first
        for width, runs in plain.items():
            if across > WIDE:
                others += [(step, begin, end, np.frombuffer(data, _TYPES[width])) for step, begin, end, data in runs]
                continue
            runs.sort(key=itemgetter(0))
            full = across * width
            padded = b"".join(
                [(bytes((begin - first) * width) + data).ljust(full, b"\0") for _, begin, _, data in runs]
            )
            counts = np.frombuffer(padded, _TYPES[width]).reshape(-1, across).astype(np.int64)
            steps, starts = np.unique(np.array([run[0] for run in runs]), return_index=True)
            matrix[steps] += np.add.reduceat(counts, starts, axis=0)
        for step, begin, end, some in others:
            matrix[step, begin - first : end - first] += some
        return matrix

    @property
    def filled(self) -> list[int]:
        """The steps with data, oldest first."""
        return sorted({row[0] for row in self._rows})

    def quantiles(self, q: float) -> list[float | None]:
        """Return a quantile of each step; None where there is no data."""
        counts, sums = self._counts(), self._sums()
        if not counts.shape[1]:
            return [None] * self.steps
        if self._cumulated is None:
            self._cumulated = np.cumsum(counts, axis=1)
        placed = self._cumulated[:, -1]
        ranks = np.ceil(q * (placed - 1)) if q > 0.5 else np.floor(q * (placed - 1))
        places = (self._cumulated > ranks[:, None]).argmax(axis=1)
        values = np.clip(_VALUES[self._first + places], sums[:, 3], sums[:, 4])
        return _none_where(values, placed == 0)

    def counts(self) -> list[int]:
        """Return how many observations each step has."""
        return [int(count) for count in self._sums()[:, 0]]

    def totals(self) -> list[float | None]:
        """Return the sum of each step; None where there is no data."""
        return self._summary(1)

    def highs(self) -> list[float | None]:
        """Return the highest value of each step; None where there is no data."""
        return self._summary(4)

    def means(self) -> list[float | None]:
        """Return the mean of each step; None where there is no data."""
        sums = self._sums()
        empty = sums[:, 0] == 0
        return _none_where(sums[:, 1] / np.where(empty, 1.0, sums[:, 0]), empty)

    def _summary(self, place: int) -> list[float | None]:
        sums = self._sums()
        return _none_where(sums[:, place], sums[:, 0] == 0)

    def merged(self, steps: Iterable[int] | None = None) -> Distribution:
        """Return some steps added up; all when none are named."""
        counts, sums = self._counts(), self._sums()
        chosen: Any = slice(None) if steps is None else sorted(steps)
        part = sums[chosen]
        if not part.shape[0]:
            return Distribution()
        summary = (*part[:, :3].sum(axis=0), part[:, 3].min(), part[:, 4].max())
        return Distribution.of(summary, self._first, counts[chosen].sum(axis=0))


def _runs(buckets: bytes) -> list[tuple[int, int, NDArray[Any]]]:
    """Return buckets of any shape as runs: first column, end, counts. Raises NotASketch."""
    sketch = Sketch()
    sketch.merge_bytes(buckets)
    found = [(_ZERO, sketch.zeros)] if sketch.zeros else []
    found += [(_LAST_NEGATIVE - index, count) for index, count in sketch.negative.items()]
    found += [(_FIRST + index, count) for index, count in sketch.positive.items()]
    return [(column, column + 1, np.array([count])) for column, count in found]


def _rank(placed: int, q: float) -> int:
    return math.ceil(q * (placed - 1)) if q > 0.5 else math.floor(q * (placed - 1))


def _none_where(values: NDArray[np.float64], empty: NDArray[np.bool_]) -> list[float | None]:
    return [None if gone else value for value, gone in zip(values.tolist(), empty.tolist(), strict=True)]
