"""What dashboards read: 48 h of sketches of a small and of a very large fleet, and the figures made of them.

Everything is written and read in one transaction that is rolled back: the installation keeps nothing of it.
"""

import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import orjson
from django.db import connection, transaction

from hawkops.core import charts, clock
from hawkops.core.charts import Chart, Steps
from monitoring.domain.copying import COLUMNS, RollupRow, binary
from monitoring.domain.sketch import Sketch
from monitoring.domain.windows import CHOICES, Window, window
from monitoring.models import Series
from monitoring.selectors import telemetry

ENVIRONMENT, METRIC = "bench", "litert.prefill.throughput"
LINES, SERIES_PER_LINE = 6, 5
FLEETS = (100, 1_000_000)
REPORTS_PER_TEN_MINUTES = 3
TURNS = 15
QUANTILES = (0.5, 0.95, 0.99)
COPY = f"COPY monitoring_rolluppartial ({COLUMNS}) FROM STDIN (FORMAT BINARY)"


class _Undo(Exception):
    """Ends the transaction without keeping anything."""


def queries_measure(say: Callable[[str], None]) -> None:
    """Time p50, p95 and p99 of 30 series over 48 h, and six charts."""
    view = window(next(one for one in CHOICES if one.key == "48h"), clock.now())
    medians = []
    for devices in FLEETS:
        seconds = _timed_reads(view, devices)
        medians.append(statistics.median(seconds))
        say(
            f"p50/p95/p99 of {LINES * SERIES_PER_LINE} series over 48 h in {LINES} lines, {devices:,} devices: "
            f"median {medians[-1] * 1000:.0f} ms, best {min(seconds) * 1000:.0f} ms of {TURNS}".replace(",", "\u202f")
        )
    bare = statistics.median(_bare_merge() for _ in range(TURNS))
    say(f"  the large fleet takes {medians[1] / medians[0]:.2f} × the small one")
    say(
        f"  one core merges the same rows as plain dictionaries in {bare * 1000:.0f} ms: {medians[0] / bare:.2f} × that"
    )
    drawing, size = _timed_charts()
    say(f"six charts of 3 lines and 300 points: {drawing * 1000:.2f} ms, {size / 1000:.1f} kB")


def _timed_reads(view: Window, devices: int) -> list[float]:
    found: list[float] = []
    try:
        with transaction.atomic():
            _fill(view, devices)
            for _ in range(TURNS):
                started = time.perf_counter()
                lines = telemetry.lines(
                    environment=ENVIRONMENT, names=(METRIC,), window=view, group=lambda series: series.app_version
                )
                read = [line.grid.quantiles(q) for line in lines.values() for q in QUANTILES]
                found.append(time.perf_counter() - started)
                filled = sum(value is not None for values in read for value in values)
                if filled < LINES * len(QUANTILES) * (view.steps - 1):
                    raise AssertionError(f"only {filled} points were read")
            raise _Undo
    except _Undo:
        return found


def _fill(view: Window, devices: int) -> None:
    chance = random.Random(1)  # noqa: S311 - shapes, not secrets
    series = Series.objects.bulk_create(
        Series(environment=ENVIRONMENT, metric=METRIC, app_version=f"line-{number % LINES}", model=f"model-{number}")
        for number in range(LINES * SERIES_PER_LINE)
    )
    shapes = [_sketch(chance, devices) for _ in range(40)]
    rows = [
        _row(one.pk, start, chance.choice(shapes)) for one in series for start in view.starts() if start <= clock.now()
    ]
    with connection.cursor() as cursor:
        with cursor.copy(COPY) as copy:
            copy.write(binary(rows))
        cursor.execute("ANALYZE monitoring_rolluppartial")


def _sketch(chance: random.Random, devices: int) -> Sketch:
    """Make what a series holds of ten minutes: counts as a fleet of that size reports them."""
    sketch = Sketch()
    share = max(1, devices * REPORTS_PER_TEN_MINUTES // (LINES * SERIES_PER_LINE * 1_000))
    for _ in range(min(1_000, devices * REPORTS_PER_TEN_MINUTES)):
        sketch.add(chance.lognormvariate(7.0, 0.4), share)
    return sketch


def _row(series_id: int, start: datetime, one: Sketch) -> RollupRow:
    bucket = int(start.timestamp())
    return series_id, bucket, 600, one.count, one.total, one.squares, one.low, one.high, one.buckets_bytes()


def _bare_merge() -> float:
    chance = random.Random(1)  # noqa: S311 - shapes, not secrets
    shapes = [_sketch(chance, FLEETS[0]) for _ in range(40)]
    rows = [chance.choice(shapes).positive for _ in range(LINES * SERIES_PER_LINE * 288)]
    started = time.perf_counter()
    for begin in range(0, len(rows), SERIES_PER_LINE):
        merged: dict[int, int] = {}
        for row in rows[begin : begin + SERIES_PER_LINE]:
            for index, count in row.items():
                merged[index] = merged.get(index, 0) + count
    return time.perf_counter() - started


def _timed_charts() -> tuple[float, int]:
    chance = random.Random(2)  # noqa: S311 - shapes, not secrets
    since = datetime(2026, 1, 1, tzinfo=UTC)
    steps = Steps(since, timedelta(minutes=10))
    lines = [[round(chance.lognormvariate(7.0, 0.2)) for _ in range(300)] for _ in range(3)]
    until = since + timedelta(hours=50)
    times = []
    for _ in range(TURNS):
        started = time.perf_counter()
        figures = {
            f"chart-{number}": charts.figure(
                Chart(
                    sentence="Prefill",
                    unit="tok/s",
                    traces=[charts.line(steps, y, name=f"line {place}") for place, y in enumerate(lines)],
                    since=since,
                    until=until,
                )
            )
            for number in range(6)
        }
        body = orjson.dumps(figures)
        times.append(time.perf_counter() - started)
    return statistics.median(times), len(body)
