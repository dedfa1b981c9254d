"""Adding up the stored rows of one bucket of one series. A row that can't be true is left out and named, so that it
spoils no other and stops nothing."""

from collections.abc import Iterable
from dataclasses import dataclass

from monitoring.domain.sketch import NotASketch, Sketch

# No fleet observes so much in an hour; and 2^14 such rows, counts and buckets alike, still add up within 63 bits.
COUNT_MOST = 2**48
# What COUNT_MOST of the largest values squared come to is far below.
SUM_MOST = 2.0**200


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as it stands in a tier; `bucket` is its start in seconds since 1970."""

    key: int
    series_id: int
    bucket: int
    count: int
    total: float
    squares: float
    low: float
    high: float
    buckets: bytes


# row id -> what is wrong with it
Flaws = dict[int, str]


def merged(rows: Iterable[StoredRow]) -> tuple[Sketch, Flaws]:
    """Return the sum of the rows that can be true, and why others were left out."""
    flaws: Flaws = {}
    sound = []
    for row in rows:
        if why := _summary_flaw(row):
            flaws[row.key] = why
        else:
            sound.append(row)
    try:
        return _sum(sound), flaws
    except NotASketch:
        # at least one has buckets that can't be true: now each is read alone, which costs more
        flaws |= {row.key: why for row in sound if (why := _buckets_flaw(row))}
        return _sum([row for row in sound if row.key not in flaws]), flaws


def _sum(rows: list[StoredRow]) -> Sketch:
    """Return the sum. Raises NotASketch, also when the buckets hold more than as many sound rows could."""
    sketch = Sketch()
    for row in rows:
        sketch.merge_row(row.count, row.total, row.squares, row.low, row.high, row.buckets)
    if _placed(sketch) > COUNT_MOST * len(rows):
        raise NotASketch("the buckets hold more than anybody observed")
    return sketch


def _summary_flaw(row: StoredRow) -> str:
    if not 0 < row.count <= COUNT_MOST:
        return f"count {row.count}"
    # written so that what is not a number fails too
    if not (abs(row.total) <= SUM_MOST and abs(row.squares) <= SUM_MOST):
        return f"total {row.total}, squares {row.squares}"
    if not -SUM_MOST <= row.low <= row.high <= SUM_MOST:
        return f"values from {row.low} to {row.high}"
    return ""


def _buckets_flaw(row: StoredRow) -> str:
    sketch = Sketch()
    try:
        sketch.merge_bytes(row.buckets)
    except NotASketch as error:
        return str(error)
    placed = _placed(sketch)
    return f"buckets with {placed} observations" if placed > COUNT_MOST else ""


def _placed(sketch: Sketch) -> int:
    return sketch.zeros + sum(sketch.positive.values()) + sum(sketch.negative.values())
