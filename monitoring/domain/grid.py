"""Merging many stored sketches at once: a window of rows becomes one matrix, steps of time by buckets.

Columns lie in the order of values: negative buckets from the largest magnitude down, zero, positive buckets. So a
quantile of every step is one cumulated sum and one comparison.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from monitoring.domain.sketch import BUCKETS, Sketch, bucket_middle

# What a row says beside its buckets, as PostgreSQL's send functions write it: FACTS_SQL of the selectors.
FACTS = np.dtype(
    [
        ("start", ">i8"),
        ("count", ">i8"),
        ("total", ">f8"),
        ("squares", ">f8"),
        ("low", ">f8"),
        ("high", ">f8"),
        ("length", ">i4"),
    ]
)
SUMMARY = ("count", "total", "squares", "low", "high")
# a sketch of one run of positive buckets, as most are: this head, the counts, no negative run
_ONE_RUN = np.dtype(
    [("version", "u1"), ("zeros", "<u8"), ("runs", "<u2"), ("start", "<i4"), ("length", "<u2"), ("width", "u1")]
)
_NO_NEGATIVES = 2
_WIDTHS = (1, 2, 4, 8)
_ZERO = len(BUCKETS)
_FIRST = _ZERO + 1 - BUCKETS.start
_LAST_NEGATIVE = _ZERO - 1 + BUCKETS.start
_MIDDLES = [bucket_middle(index) for index in BUCKETS]
_VALUES = np.array([*(-value for value in reversed(_MIDDLES)), 0.0, *_MIDDLES])


class Rows(NamedTuple):
    """Stored rows of one series, column by column: in no order."""

    # start of each bucket in seconds since 1970
    starts: NDArray[np.int64]
    # a line for each of SUMMARY
    summary: NDArray[np.float64]
    # bytes of each row's buckets, which stand one after another
    lengths: NDArray[np.int64]
    buckets: bytes

    @classmethod
    def packed(cls, facts: bytes, buckets: bytes) -> Rows:
        """Return the rows that FACTS of each, and the buckets of each, describe."""
        found = np.frombuffer(facts, FACTS)
        summary = np.array([found[name] for name in SUMMARY], dtype=np.float64)
        return cls(found["start"].astype(np.int64), summary, found["length"].astype(np.int64), buckets)

    @classmethod
    def of(cls, rows: Iterable[tuple[int, Sketch]]) -> Rows:
        """Return sketches, each with the start of its bucket, as rows."""
        facts, buckets = [], []
        for start, one in rows:
            data = one.buckets_bytes()
            facts.append((start, one.count, one.total, one.squares, one.low, one.high, len(data)))
            buckets.append(data)
        return cls.packed(np.array(facts, FACTS).tobytes(), b"".join(buckets))

    def sketches(self) -> Iterator[tuple[int, Sketch]]:
        """Yield each row as a sketch with the start of its bucket. Raises NotASketch."""
        at = 0
        for start, (count, *others), length in zip(
            self.starts.tolist(), self.summary.T.tolist(), self.lengths.tolist(), strict=True
        ):
            sketch = Sketch(int(count), *others)
            sketch.merge_bytes(self.buckets[at : at + length])
            at += length
            yield start, sketch


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

    @classmethod
    def of_columns(cls, summary: Sequence[float], columns: Sequence[tuple[int, int]]) -> Distribution:
        """Return the distribution that `columns` described. Raises ValueError for columns that there are none of."""
        if not columns:
            return cls(summary)
        first, last = min(columns)[0], max(columns)[0]
        if not 0 <= first <= last < len(_VALUES) or any(count < 0 for _, count in columns):
            raise ValueError("These are no columns of a distribution.")
        counts = np.zeros(last - first + 1, np.int64)
        for column, count in columns:
            counts[column - first] += count
        return cls.of(summary, first, counts)

    def columns(self) -> list[tuple[int, int]]:
        """Return how many observations each column holds, in the order of their values; the empty ones are left out."""
        if self._cumulated is None:
            return []
        counts = np.diff(self._cumulated, prepend=0)
        return [(self._base + int(place), int(counts[place])) for place in np.flatnonzero(counts)]

    @property
    def placed(self) -> int:
        """How many observations have a place by their value."""
        return int(self._cumulated[-1]) if self._cumulated is not None and self._cumulated.size else 0

    def ranked(self, rank: int) -> float:
        """Return the value with so many before it in order, from 0 to less than `placed`: its column's middle."""
        assert self._cumulated is not None
        place = int(np.searchsorted(self._cumulated, rank, side="right"))
        return min(max(float(_VALUES[self._base + place]), self.low), self.high)

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
        return self.ranked(_rank(int(self._cumulated[-1]), q))


class Grid:
    """Rows by step. Add them all, then read."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._placed: list[NDArray[np.int64]] = []
        self._rows: list[Rows] = []
        self._summed: NDArray[np.float64] | None = None
        self._counted: NDArray[np.int64] | None = None
        self._cumulated: NDArray[np.int64] | None = None
        self._first = 0

    def add(self, steps: NDArray[np.int64], rows: Rows) -> None:
        """Add stored rows, each to its step."""
        self._placed.append(steps)
        self._rows.append(rows)

    def _steps(self) -> NDArray[np.int64]:
        return np.concatenate(self._placed) if self._placed else np.zeros(0, np.int64)

    def _sums(self) -> NDArray[np.float64]:
        """Return count, total, squares, low and high of each step."""
        if self._summed is None:
            step = self._steps()
            summary = np.concatenate([rows.summary for rows in self._rows], axis=1) if self._rows else np.zeros((5, 0))
            sums = np.empty((self.steps, 5))
            for place in range(3):
                sums[:, place] = np.bincount(step, weights=summary[place], minlength=self.steps)
            sums[:, 3], sums[:, 4] = math.inf, -math.inf
            np.minimum.at(sums[:, 3], step, summary[3])
            np.maximum.at(sums[:, 4], step, summary[4])
            self._summed = sums
        return self._summed

    def _counts(self) -> NDArray[np.int64]:
        """Return the matrix of counts, from column `_first` on. Raises NotASketch."""
        if self._counted is None:
            self._counted = self._build()
        return self._counted

    def _build(self) -> NDArray[np.int64]:
        step = self._steps()
        if not step.size:
            return np.zeros((self.steps, 0), dtype=np.int64)
        data = np.frombuffer(b"".join([rows.buckets for rows in self._rows]), np.uint8)
        lengths = np.concatenate([rows.lengths for rows in self._rows])
        offsets = np.cumsum(lengths) - lengths
        plain, heads = _one_run(data, offsets, lengths)
        begins = heads["start"].astype(np.int64) + _FIRST
        sizes = heads["length"].astype(np.int64)
        others = [
            (int(step[row]), *run)
            for row in np.flatnonzero(~plain)
            for run in _runs(data[offsets[row] : offsets[row] + lengths[row]].tobytes())
        ]
        first = min([int(begins[plain].min(initial=len(_VALUES))), *(run[1] for run in others)])
        end = max([int((begins + sizes)[plain].max(initial=0)), *(run[2] for run in others)])
        across = max(0, end - first)
        matrix = np.zeros((self.steps, across), dtype=np.int64)
        self._first = first
        for width in _WIDTHS:
            rows = np.flatnonzero(plain & (heads["width"] == width))
            if not rows.size:
                continue
            size = sizes[rows]
            inside = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
            places = np.repeat(step[rows] * across + begins[rows] - first, size) + inside
            source = np.repeat(offsets[rows] + _ONE_RUN.itemsize, size) + inside * width
            counts = data[source[:, None] + np.arange(width)].view(f"<u{width}")[:, 0] if width > 1 else data[source]
            np.add.at(matrix.reshape(-1), places, counts.astype(np.int64))
        for row, begin, end, some in others:
            matrix[row, begin - first : end - first] += some
        return matrix

    @property
    def filled(self) -> list[int]:
        """The steps with data, oldest first."""
        return [int(step) for step in np.unique(self._steps())]

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

    def amounts(self) -> list[float]:
        """Return the sum of each step; 0 where there is no data."""
        return [float(total) for total in self._sums()[:, 1]]

    def packed(self) -> Grid:
        """Return the same steps without the rows they were added up from."""
        return self._made(self._sums(), self._counts(), self._first)

    def plus(self, other: Grid) -> Grid:
        """Return both added up, step by step: what is too much to read at once is added part by part."""
        mine, others = self._counts(), other._counts()
        sums, more = self._sums(), other._sums()
        added = np.empty_like(sums)
        added[:, :3] = sums[:, :3] + more[:, :3]
        added[:, 3] = np.minimum(sums[:, 3], more[:, 3])
        added[:, 4] = np.maximum(sums[:, 4], more[:, 4])
        wide = [
            (grid._first, grid._first + counts.shape[1], counts) for grid, counts in ((self, mine), (other, others))
        ]
        wide = [one for one in wide if one[2].shape[1]]
        first = min((begin for begin, _, _ in wide), default=0)
        counts = np.zeros((self.steps, max((end for _, end, _ in wide), default=first) - first), dtype=np.int64)
        for begin, end, some in wide:
            counts[:, begin - first : end - first] += some
        return self._made(added, counts, first)

    def trailing(self, width: int) -> Grid:
        """Return a grid whose every step holds what fell into the `width` steps that end with it."""
        if width == 1:
            return self
        sums = self._sums()
        within = np.empty_like(sums)
        within[:, :3] = _windows(sums[:, :3], width)
        # a difference of sums may leave a rest where there is nothing
        within[within[:, 0] == 0, :3] = 0.0
        within[:, 3], within[:, 4] = sums[:, 3], sums[:, 4]
        for shift in range(1, min(width, self.steps)):
            np.minimum(within[shift:, 3], sums[:-shift, 3], out=within[shift:, 3])
            np.maximum(within[shift:, 4], sums[:-shift, 4], out=within[shift:, 4])
        return self._made(within, _windows(self._counts(), width), self._first)

    def _made(self, sums: NDArray[np.float64], counts: NDArray[np.int64], first: int) -> Grid:
        made = Grid(self.steps)
        made._summed, made._counted, made._first = sums, counts, first
        made._placed = [np.flatnonzero(sums[:, 0])]
        return made

    def merged(self, steps: Iterable[int] | None = None) -> Distribution:
        """Return some steps added up; all when none are named."""
        counts, sums = self._counts(), self._sums()
        chosen: Any = slice(None) if steps is None else sorted(steps)
        part = sums[chosen]
        if not part.shape[0]:
            return Distribution()
        summary = (*part[:, :3].sum(axis=0), part[:, 3].min(), part[:, 4].max())
        return Distribution.of(summary, self._first, counts[chosen].sum(axis=0))


def _one_run(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Say of each row whether it is one run of positive buckets and nothing else, and return the heads of all.

    The head of a row that is not is meaningless.
    """
    size = _ONE_RUN.itemsize
    long = lengths >= size + _NO_NEGATIVES
    heads = np.zeros(lengths.size, _ONE_RUN)
    heads[long] = data[offsets[long][:, None] + np.arange(size)].view(_ONE_RUN)[:, 0]
    plain = long & (heads["version"] == 1) & (heads["zeros"] == 0) & (heads["runs"] == 1)
    plain &= np.isin(heads["width"], _WIDTHS)
    plain &= lengths == size + heads["length"].astype(np.int64) * heads["width"] + _NO_NEGATIVES
    ends = (offsets + lengths)[plain]
    plain[plain] = (data[ends - 1] == 0) & (data[ends - 2] == 0)
    return plain, heads


def _runs(buckets: bytes) -> list[tuple[int, int, NDArray[Any]]]:
    """Return buckets of any shape as runs: first column, end, counts. Raises NotASketch."""
    sketch = Sketch()
    sketch.merge_bytes(buckets)
    found = [(_ZERO, sketch.zeros)] if sketch.zeros else []
    found += [(_LAST_NEGATIVE - index, count) for index, count in sketch.negative.items()]
    found += [(_FIRST + index, count) for index, count in sketch.positive.items()]
    return [(column, column + 1, np.array([count])) for column, count in found]


def _windows(values: NDArray[Any], width: int) -> NDArray[Any]:
    """Return, for each row, the sum of the `width` rows that end with it."""
    sums = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    begins = np.maximum(np.arange(1, len(sums)) - width, 0)
    return np.asarray(sums[1:] - sums[begins])


def _rank(placed: int, q: float) -> int:
    return math.ceil(q * (placed - 1)) if q > 0.5 else math.floor(q * (placed - 1))


def _none_where(values: NDArray[np.float64], empty: NDArray[np.bool_]) -> list[float | None]:
    return [None if gone else value for value, gone in zip(values.tolist(), empty.tolist(), strict=True)]
