"""Group commit: many payloads, one transaction, then all their answers. What was acknowledged is on disk."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg

from hawkops.core import clock
from hawkops.core.live import CHANNEL
from monitoring.domain.sketch import Sketch
from monitoring.otlp import slim
from monitoring.otlp.decoding import BUCKET_SECONDS, Decoded, DeviceReport, SeriesKey

log = logging.getLogger(__name__)

# A group waits this long for company, and for as long as the one before it takes: under load groups grow by themselves.
GROUP_SECONDS = 0.004
# While one connection waits for the disk, the next group is on its way over the other.
CONNECTIONS = 2
GROUP_MOST = 2_000
QUEUE_MOST = 4_000
ANNOUNCE_SECONDS = 1.0
# Beyond this many series in an environment new ones lose class, version, model and variant, visibly.
SERIES_MOST = 5_000
OTHER = "other"
STOP_SECONDS = 5.0

DIGESTS = """
INSERT INTO monitoring_payloaddigest (digest, seen_at) SELECT d, %s FROM unnest(%s::bytea[]) AS d ORDER BY d
ON CONFLICT DO NOTHING RETURNING digest
"""
COLUMNS = SeriesKey._fields
NAMES = ", ".join(COLUMNS)
TYPES = ", ".join("%s::bool[]" if name == "simulated" else "%s::text[]" for name in COLUMNS)
WANTED = f"SELECT * FROM unnest({TYPES}) AS w({NAMES})"  # noqa: S608 - constants only
MAKE_SERIES = f"INSERT INTO monitoring_series ({NAMES}) {WANTED} ORDER BY {NAMES} ON CONFLICT DO NOTHING"
FIND_SERIES = f"SELECT id, {NAMES} FROM monitoring_series NATURAL JOIN ({WANTED}) AS wanted"  # noqa: S608
COUNT_SERIES = "SELECT environment, count(*) FROM monitoring_series GROUP BY environment"
DEVICES = """
INSERT INTO monitoring_devicehour (environment, hour_at, device_id, device_class, simulated)
SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::bool[]) ORDER BY 1, 2, 3
ON CONFLICT DO NOTHING
"""
COPY = """
COPY monitoring_rolluppartial (series_id, bucket_at, width_seconds, count, total, squares, low, high, buckets)
FROM STDIN (FORMAT BINARY)
"""
COPY_TYPES = ("int8", "timestamptz", "int2", "int8", "float8", "float8", "float8", "float8", "bytea")


class Overloaded(Exception):
    """More payloads wait than may; the device must come back later."""


class Unavailable(Exception):
    """The database did not take the group; nothing of it was counted."""


class _Line:
    """A connection of the writer, made again when it is lost."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def connected(self) -> psycopg.AsyncConnection[Any]:
        """Return the connection, connecting first when there is none."""
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._dsn,
                connect_timeout=3,
                autocommit=True,
                application_name="hawkops-telemetry",
                options="-c statement_timeout=5000 -c lock_timeout=4000 -c idle_in_transaction_session_timeout=4000",
            )
        return self._connection

    async def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            with suppress(psycopg.Error, OSError):
                await self._connection.close()
            self._connection = None


@dataclass(eq=False)
class _Waiting:
    digest: bytes
    environment: str
    decoded: Decoded
    done: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class GroupWriter:
    """Take decoded payloads, commit them in groups, then release whoever waits."""

    def __init__(self, dsn: str) -> None:
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._series: dict[SeriesKey, int] = {}
        self._series_counts: dict[str, int] | None = None
        self._hour = 0
        self._devices: set[tuple[str, str]] = set()
        self._announced: dict[str, float] = {}
        self._owed: set[str] = set()
        self._lines = [_Line(dsn) for _ in range(CONNECTIONS)]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to commit."""
        self._tasks = [asyncio.create_task(self._run(line), name="group-writer") for line in self._lines]

    async def stop(self) -> None:
        """Commit what waits, then stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                while self._waiting:
                    await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in self._lines:
            await line.close()

    async def write(self, digest: bytes, environment: str, decoded: Decoded) -> bool:
        """Return once the payload is committed: True when it counted, False when it had been counted before.

        Raises Overloaded or Unavailable; then nothing was counted.
        """
        if len(self._waiting) >= QUEUE_MOST:
            raise Overloaded
        waiting = _Waiting(digest, environment, decoded)
        self._waiting.append(waiting)
        self._wake.set()
        return await waiting.done

    async def _run(self, line: _Line) -> None:
        first = line is self._lines[0]
        while True:
            if self._owed and first:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), timeout=ANNOUNCE_SECONDS)
            else:
                await self._wake.wait()
            if not self._waiting:
                if first:
                    await self._announce_owed(line)
                self._wake.clear()
                continue
            await asyncio.sleep(GROUP_SECONDS)
            group, self._waiting = self._waiting[:GROUP_MOST], self._waiting[GROUP_MOST:]
            if not self._waiting:
                self._wake.clear()
            if not group:
                continue  # the other connection has taken it
            try:
                await self._commit_all(line, group)
            except asyncio.CancelledError:
                self._fail(group)
                raise
            if self._owed and not first:
                self._wake.set()  # the first tells the pages what is owed

    async def _commit_all(self, line: _Line, group: list[_Waiting], *, again: bool = True) -> None:
        """Commit a group; if the database refuses it, each payload alone, so that one can't fail the others."""
        try:
            await self._commit(await line.connected(), group)
        except (psycopg.OperationalError, OSError) as error:
            # A connection that died while idle says so only now. Digests make a second try harmless.
            await line.close()
            if again:
                await self._commit_all(line, group, again=False)
                return
            log.warning("telemetry.unwritten: %s (%d payloads)", error, len(group))
            self._fail(group)
        except psycopg.Error as error:
            log.warning("telemetry.group_refused: %s (%d payloads)", error, len(group))
            self._series.clear()  # a series may have been removed behind our back
            if len(group) == 1 and not again:
                self._fail(group)
                return
            for waiting in group:
                await self._commit_all(line, [waiting], again=False)

    def _fail(self, group: list[_Waiting]) -> None:
        for waiting in group:
            if not waiting.done.done():
                waiting.done.set_exception(Unavailable())

    async def _commit(self, line: psycopg.AsyncConnection[Any], group: list[_Waiting]) -> None:
        keys = {key for waiting in group for key, _ in waiting.decoded.sketches}
        keys.update(point[0][0] for waiting in group for point in waiting.decoded.points)
        series = await self._series_ids(line, keys)
        hour = int(clock.now().timestamp()) // 3600 * 3600
        if hour != self._hour:
            self._hour, self._devices = hour, set()
        counted: set[bytes] = set()
        announced: set[str] = set()
        async with line.transaction():
            new = await self._new(line, {waiting.digest for waiting in group})
            sketches: dict[tuple[int, int], Sketch] = {}
            tallies: dict[tuple[SeriesKey, int], slim.Tally] = {}
            reports: dict[tuple[str, str], DeviceReport] = {}
            first: list[_Waiting] = []
            for waiting in group:
                if waiting.digest not in new or waiting.digest in counted:
                    continue
                counted.add(waiting.digest)
                first.append(waiting)
                for (key, bucket), sketch in waiting.decoded.sketches.items():
                    slot = (series[key], bucket)
                    known = sketches.get(slot)
                    if known is None:
                        sketches[slot] = known = Sketch()
                    known.merge(sketch)
                for point in waiting.decoded.points:
                    tally = tallies.get(point[0])
                    if tally is None:
                        tally = tallies[point[0]] = slim.Tally()
                    tally.add(point)
                for report in waiting.decoded.reports:
                    reports[report.environment, report.device_id] = report
            for (key, bucket), tally in tallies.items():
                slot = (series[key], bucket)
                known = sketches.get(slot)
                if known is None:
                    sketches[slot] = tally.sketch()
                else:
                    known.merge(tally.sketch())
            unseen = [report for seen, report in reports.items() if seen not in self._devices]
            if unseen:
                await self._note_devices(line, unseen)
            if sketches:
                await self._copy(line, sketches)
            announced = await self._announce(line, {waiting.environment for waiting in first})
        # committed: only now is any of it true
        self._devices.update((report.environment, report.device_id) for report in unseen)
        self._announced.update(dict.fromkeys(announced, time.monotonic()))
        self._owed -= announced
        self._owed |= {waiting.environment for waiting in first} - announced
        counted_first = {id(waiting) for waiting in first}
        for waiting in group:
            if not waiting.done.done():
                waiting.done.set_result(id(waiting) in counted_first)

    async def _new(self, line: psycopg.AsyncConnection[Any], digests: set[bytes]) -> set[bytes]:
        rows = await (await line.execute(DIGESTS, [clock.now(), sorted(digests)])).fetchall()
        return {bytes(row[0]) for row in rows}

    async def _series_ids(self, line: psycopg.AsyncConnection[Any], keys: set[SeriesKey]) -> dict[SeriesKey, int]:
        """Return the ids of all keys, making what is missing in a transaction of its own."""
        missing = sorted(key for key in keys if key not in self._series)
        if missing:
            if self._series_counts is None:
                rows = await (await line.execute(COUNT_SERIES)).fetchall()
                self._series_counts = dict(rows)
            wanted = {key: key for key in missing}
            found = await self._find(line, missing)
            for key in missing:
                if key in found:
                    continue
                if self._series_counts.get(key.environment, 0) >= SERIES_MOST:
                    wanted[key] = key._replace(device_class=OTHER, app_version=OTHER, model=OTHER, variant=OTHER)
                else:
                    self._series_counts[key.environment] = self._series_counts.get(key.environment, 0) + 1
            make = sorted(set(wanted.values()) - set(found))
            if make:
                await line.execute(MAKE_SERIES, _columns(make))
                found.update(await self._find(line, make))
            for key in missing:
                self._series[key] = found[wanted[key]]
        return self._series

    async def _find(self, line: psycopg.AsyncConnection[Any], keys: list[SeriesKey]) -> dict[SeriesKey, int]:
        rows = await (await line.execute(FIND_SERIES, _columns(keys))).fetchall()
        return {SeriesKey(*row[1:]): row[0] for row in rows}

    async def _note_devices(self, line: psycopg.AsyncConnection[Any], reports: list[DeviceReport]) -> None:
        hour = datetime.fromtimestamp(self._hour, tz=UTC)
        await line.execute(
            DEVICES,
            [
                [report.environment for report in reports],
                [hour] * len(reports),
                [report.device_id for report in reports],
                [report.device_class for report in reports],
                [report.simulated for report in reports],
            ],
        )

    async def _copy(self, line: psycopg.AsyncConnection[Any], sketches: dict[tuple[int, int], Sketch]) -> None:
        async with line.cursor() as cursor, cursor.copy(COPY) as copy:
            copy.set_types(COPY_TYPES)
            for (series_id, bucket), sketch in sketches.items():
                await copy.write_row(
                    (
                        series_id,
                        datetime.fromtimestamp(bucket, tz=UTC),
                        BUCKET_SECONDS,
                        sketch.count,
                        sketch.total,
                        sketch.squares,
                        sketch.low,
                        sketch.high,
                        sketch.buckets_bytes(),
                    )
                )

    async def _announce(self, line: psycopg.AsyncConnection[Any], environments: set[str]) -> set[str]:
        """Tell the pages, at most once a second for each environment; what is left over is owed."""
        now = time.monotonic()
        due = {e for e in environments if now - self._announced.get(e, float("-inf")) >= ANNOUNCE_SECONDS}
        for environment in due:
            payload = orjson.dumps({"topic": "telemetry", "environment": environment}).decode()
            await line.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
        return due

    async def _announce_owed(self, line: _Line) -> None:
        """Tell the pages of the last group too, though nothing came after it."""
        try:
            due = await self._announce(await line.connected(), set(self._owed))
        except (psycopg.Error, OSError) as error:
            log.warning("telemetry.announce_failed: %s", error)
            await line.close()
            self._owed.clear()
            return
        self._announced.update(dict.fromkeys(due, time.monotonic()))
        self._owed -= due


def _columns(keys: list[SeriesKey]) -> list[list[Any]]:
    return [[getattr(key, name) for key in keys] for name in COLUMNS]
