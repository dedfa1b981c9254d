"""From a cumulative stream's last points and its next one to what happened in between.

A stream consists of runs, each named by its start time; within a run numbers only grow, so points are put in order by
their values and not by a clock that may be wrong. The last runs are remembered side by side: the last point of a run may
arrive after the first one of the next.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from monitoring.domain.sketch import LARGEST, Sketch

# A stream unknown to us that began longer ago may have been counted and forgotten: its first point is only a base line.
REMEMBERED_NS = 24 * 3600 * 10**9
# A run pushed out by so many others is no longer known; its next point is then only a base line.
RUNS_MOST = 3
UNKNOWN_START = "is the first one of a run without a start before it, so only a base line"
ANCIENT = "is the first one of a run that began more than 24 h ago and was not known, so only a base line"
OLDER = "is the first one of a run that began before another one already known, so only a base line"
FELL = "is below the last one of its run: late, repeated, or started again without a new start"
OTHER_BOUNDS = "has other bounds than the last one of its run, so only a base line"


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

    def sketch(self, *, signed: bool = True) -> Sketch:
        """Return its observations, none below zero unless `signed`; a plain sum is one observation. Raises Unreadable."""
        found = Sketch()
        if self.bounds is not None:
            counts = [self.positive.get(place, 0) for place in range(len(self.bounds) + 1)]
            floor = -LARGEST if signed else 0.0
            found.add_explicit(bounds=self.bounds, counts=counts, total=self.total, low=None, high=None, floor=floor)
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


@dataclass(frozen=True)
class Stream:
    """The last point of each run that is remembered, latest used last; and the newest start seen, never in the future."""

    runs: tuple[Point, ...] = ()
    newest_ns: int = 0

    def moved(self, point: Point, *, now_ns: int) -> Stream:
        """Return the stream after a point. A time in the future is kept as now: a clock ahead will be set right."""
        kept = replace(point, at_ns=min(point.at_ns, now_ns))
        others = tuple(run for run in self.runs if run.start_ns != point.start_ns)
        return Stream((*others, kept)[-RUNS_MOST:], max(self.newest_ns, min(point.start_ns, now_ns)))


@dataclass(frozen=True)
class Step:
    """What a point added, None when nothing; the stream after it; and why it was not counted, if that loses anything."""

    grown: Point | None
    stream: Stream
    why: str = ""


def follow(stream: Stream, point: Point, *, now_ns: int) -> Step:
    """Take the next point of a stream, in whatever order points arrive."""
    last = next((run for run in stream.runs if run.start_ns == point.start_ns), None)
    moved = stream.moved(point, now_ns=now_ns)
    if last is None:
        why = _not_whole(stream, point, now_ns=now_ns)
        return Step(None if why else point, moved, why)
    if point.shape != last.shape:
        return Step(None, moved, OTHER_BOUNDS)
    grown = _difference(last, point)
    if grown is not None:
        return Step(grown if grown != _nothing(grown) else None, moved)
    if not point.start_ns and point.at_ns > last.at_ns:
        return Step(point, moved)  # without start times a fall is the only sign of a new run
    return Step(None, stream, FELL)


def _not_whole(stream: Stream, first: Point, *, now_ns: int) -> str:
    """Say why the first point of a run can't count whole; empty when it does."""
    if not 0 < first.start_ns < first.at_ns:
        return UNKNOWN_START
    if not stream.runs:
        return ANCIENT if now_ns - first.start_ns > REMEMBERED_NS else ""
    return "" if first.start_ns > min(stream.newest_ns, now_ns) else OLDER


def _nothing(point: Point) -> Point:
    return Point(point.start_ns, point.at_ns, None if point.total is None else 0.0, 0, 0, point.scale, point.bounds)


def _difference(before: Point, after: Point) -> Point | None:
    """Return what happened between two points of a run; None when any number fell."""
    if after.scale is not None and before.scale is not None:
        scale = min(after.scale, before.scale)
        before, after = before.at_scale(scale), after.at_scale(scale)
    positive, negative = _less(after.positive, before.positive), _less(after.negative, before.negative)
    zeros, count = after.zeros - before.zeros, after.count - before.count
    total = None if after.total is None or before.total is None else after.total - before.total
    plain_fell = after.scale is None and after.bounds is None and (total or 0) < 0
    if positive is None or negative is None or zeros < 0 or count < 0 or plain_fell:
        return None
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


def pack(stream: Stream) -> bytes:
    """Return the stored form."""
    runs = [
        (
            run.start_ns,
            run.at_ns,
            run.total,
            run.count,
            run.zeros,
            run.scale,
            run.bounds,
            sorted(run.positive.items()),
            sorted(run.negative.items()),
        )
        for run in stream.runs
    ]
    return json.dumps([stream.newest_ns, runs], separators=(",", ":")).encode()


def unpack(data: bytes) -> Stream:
    """Read the stored form; also that of one point, as it was stored before runs were told apart."""
    if not data:
        return Stream()
    stored = json.loads(data)
    if len(stored) == 2:
        newest, runs = stored
        return Stream(tuple(_run(fields) for fields in runs), newest)
    last = _run(stored)
    return Stream((last,), last.start_ns)


def _run(fields: list[Any]) -> Point:
    start, at, total, count, zeros, scale, bounds, positive, negative = fields
    sides = (dict(side) for side in (positive, negative))
    return Point(start, at, total, count, zeros, scale, None if bounds is None else tuple(bounds), *sides)
