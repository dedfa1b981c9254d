"""What dashboards read: 48 h of sketches of a small and of a very large fleet, and the figures made of them.

Everything is written and read in one transaction that is rolled back: the installation keeps nothing of it.
"""

import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.db import connection, transaction

from hawkops.core import charts, clock
from hawkops.core.charts import Chart, Steps
from monitoring.charts.boards import BOARDS
from monitoring.domain import panel
from monitoring.domain.copying import COLUMNS, RollupRow, binary
from monitoring.domain.criteria import Purpose
from monitoring.domain.metrics import CATALOGUE, MEASURED, Kind
from monitoring.domain.sketch import Sketch
from monitoring.domain.windows import CHOICES, Window, window
from monitoring.models import Series
from monitoring.selectors import telemetry
from monitoring.selectors.criteria import criteria, evaluate
from monitoring.services.telemetry import device_hours_sum
from monitoring.views.board_page import BoardPage

ENVIRONMENT, METRIC = "bench", "litert.prefill.throughput"
LINES, SERIES_PER_LINE = 6, 5
FLEETS = (100, 1_000_000)
REPORTS_PER_TEN_MINUTES = 3
TURNS = 15
QUANTILES = (0.5, 0.95, 0.99)
COPY = f"COPY monitoring_rolluppartial ({COLUMNS}) FROM STDIN (FORMAT BINARY)"


# devices' hours that the slowest criteria look back on
DEVICE_HOURS = 25
CLASSES = 5
FRESH = timedelta(minutes=15)

# as `otlp/hours.py` keeps them: the rows of an hour in which so many devices reported, one after the other
_FILL_HOUR = """
INSERT INTO monitoring_devicehour (environment, hour_at, device_id, device_class, simulated, variant, weight)
SELECT %(environment)s, %(hour_at)s, id, 'class-' || n %% %(classes)s, false,
       CASE n %% 2 WHEN 0 THEN 'on' ELSE 'off' END, weight
  FROM (SELECT n, 'bench-' || n AS id,
               CASE WHEN n < %(exact)s THEN 1
                    ELSE 2 ^ (1 + floor(ln((n - %(exact)s)::float / (2 * %(step)s) + 1) / ln(2))) END::int AS weight
          FROM generate_series(0, %(devices)s - 1) AS n) AS device
 WHERE weight = 1 OR ('x' || substr(md5(id), 1, 8))::bit(31)::bigint * weight < %(places)s
"""
_SAME_AGAIN = """
INSERT INTO monitoring_devicehour (environment, hour_at, device_id, device_class, simulated, variant, weight)
SELECT environment, hour_at - make_interval(hours => n), device_id, device_class, simulated, variant, weight
  FROM monitoring_devicehour, generate_series(%s, %s) AS n WHERE environment = %s AND hour_at = %s
"""


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
            f"p50/p95/p99 of {LINES * SERIES_PER_LINE} series over 48 h in {LINES} lines, {_spaced(devices)} devices: "
            f"median {medians[-1] * 1000:.0f} ms, best {min(seconds) * 1000:.0f} ms of {TURNS}"
        )
    bare = statistics.median(_bare_merge() for _ in range(TURNS))
    say(f"  the large fleet takes {medians[1] / medians[0]:.2f} × the small one")
    say(
        f"  one core merges the same rows as plain dictionaries in {bare * 1000:.0f} ms: {medians[0] / bare:.2f} × that"
    )
    _wholes_measure(say)
    drawing, size = _timed_charts()
    say(f"six charts of 3 lines and 300 points: {drawing * 1000:.2f} ms, {size / 1000:.1f} kB")


def _wholes_measure(say: Callable[[str], None]) -> None:
    """Time what somebody waits for as a whole: all alert criteria, and a dashboard."""
    looks: dict[str, Callable[[str], None]] = {"all alert criteria": _evaluate, "one whole board over 48 h": _draw}
    environments = {f"bench-{devices}": devices for devices in FLEETS}
    times: dict[tuple[str, str], list[float]] = {}
    rows: dict[str, int] = {}
    try:
        with transaction.atomic():
            for environment, devices in environments.items():
                rows[environment] = _fill_whole(environment, devices)
            for _ in range(TURNS):
                for name, look in looks.items():
                    for environment in environments:
                        started = time.perf_counter()
                        look(environment)
                        times.setdefault((name, environment), []).append(time.perf_counter() - started)
            raise _Undo
    except _Undo:
        pass
    for name in looks:
        medians = []
        for environment, devices in environments.items():
            seconds = times[name, environment]
            medians.append(statistics.median(seconds))
            say(
                f"{name}, {_spaced(devices)} devices in each of {DEVICE_HOURS} h ({_spaced(rows[environment])} rows): "
                f"median {medians[-1] * 1000:.0f} ms, best {min(seconds) * 1000:.0f} ms of {TURNS}"
            )
        say(f"  the large fleet takes {medians[1] / medians[0]:.2f} × the small one")


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")


def _evaluate(environment: str) -> None:
    found = evaluate(environment, criteria(purposes=(Purpose.ALERT, Purpose.SECURITY)))
    if sum(one.reading.value is not None for one in found) < len(found) // 2:
        raise AssertionError("most criteria found nothing to read")


def _draw(environment: str) -> None:
    page = BoardPage(environment, BOARDS["litert"], window="48h", devices="", cohort="", until="")
    if not (page.tiles and page.figures()):
        raise AssertionError("the board was empty")


def _fill_whole(environment: str, devices: int) -> int:
    """Write a fleet's hours and what its series hold; return how many rows of devices' hours there are."""
    chance = random.Random(1)  # noqa: S311 - shapes, not secrets
    now = clock.now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    said: dict[str, Any] = {
        "environment": environment,
        "hour_at": hour,
        "devices": devices,
        "classes": CLASSES,
        "exact": panel.HOUR_EXACT_MOST,
        "step": panel.HOUR_STEP,
        "places": panel.PLACES,
    }
    names = {name for name, metric in CATALOGUE.items() if name not in MEASURED and metric.kind is not Kind.GAUGE}
    series = Series.objects.bulk_create(
        Series(
            environment=environment,
            metric=name,
            backend_actual="cpu",
            device_class=f"class-{number}",
            variant=("on", "off")[number % 2],
        )
        for name in sorted(names)
        for number in range(CLASSES)
    )
    shapes = [_sketch(chance, devices) for _ in range(40)]
    wide = window(next(one for one in CHOICES if one.key == "48h"), now)
    rows = [_row(one.pk, start, chance.choice(shapes)) for one in series for start in wide.starts() if start <= now]
    first = now.replace(second=0, microsecond=0) - FRESH
    rows += [
        _row(one.pk, first + step * timedelta(seconds=10), chance.choice(shapes), width=10)
        for one in series
        for step in range(FRESH // timedelta(seconds=10))
    ]
    with connection.cursor() as cursor:
        # only what is read is held to the console's limit
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(_FILL_HOUR, said)
        for hours in range(1, DEVICE_HOURS):
            cursor.execute(_SAME_AGAIN, [hours, hours, environment, hour])
        with cursor.copy(COPY) as copy:
            copy.write(binary(rows))
        device_hours_sum(now=now, environments=[environment])
        cursor.execute("ANALYZE monitoring_rolluppartial")
        cursor.execute("ANALYZE monitoring_devicehour")
        cursor.execute("SELECT count(*) FROM monitoring_devicehour WHERE environment = %s", [environment])
        many = int(cursor.fetchone()[0])
        cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
    return many


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


def _row(series_id: int, start: datetime, one: Sketch, width: int = 600) -> RollupRow:
    bucket = int(start.timestamp())
    return series_id, bucket, width, one.count, one.total, one.squares, one.low, one.high, one.buckets_bytes()


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
