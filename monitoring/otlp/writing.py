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
from monitoring.otlp.decoding import Decoded, SeriesKey

log = logging.getLogger(__name__)

GROUP_SECONDS = 0.02
GROUP_MOST = 2_000
QUEUE_MOST = 20_000
ANNOUNCE_SECONDS = 1.0
SERIES_MOST = 50_000

DIGESTS = """
INSERT INTO monitoring_payloaddigest (digest, seen_at) SELECT d, %s FROM unnest(%s::bytea[]) AS d ORDER BY d
ON CONFLICT DO NOTHING RETURNING digest
"""
SERIES_COLUMNS = "environment, metric, backend_requested, backend_actual, device_class, app_version, model, variant, outcome, simulated"
SERIES = f"""
WITH wanted AS (
  SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                       %s::text[], %s::bool[]) AS w({SERIES_COLUMNS})),
made AS (
  INSERT INTO monitoring_series ({SERIES_COLUMNS})
  SELECT * FROM wanted ORDER BY {SERIES_COLUMNS} ON CONFLICT DO NOTHING RETURNING id, {SERIES_COLUMNS})
SELECT id, {SERIES_COLUMNS} FROM made
UNION ALL
SELECT s.id, {", ".join("s." + c.strip() for c in SERIES_COLUMNS.split(","))} FROM monitoring_series s
  NATURAL JOIN wanted
"""  # noqa: S608 - constants only
COPY = "COPY monitoring_rolluppartial (series_id, bucket_at, count, total, squares, low, high, buckets) FROM STDIN"


class Overloaded(Exception):
    """More payloads wait than may; the device must come back later."""


class Unavailable(Exception):
    """The database did not take the group; nothing of it was counted."""


@dataclass(eq=False)
class _Waiting:
    digest: bytes
    environment: str
    decoded: Decoded
    done: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class GroupWriter:
    """Take decoded payloads, commit them in groups, then release whoever waits."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._series: dict[SeriesKey, int] = {}
        self._announced: dict[str, float] = {}
        self._owed: set[str] = set()
        self._line: psycopg.AsyncConnection[Any] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to commit."""
        self._task = asyncio.create_task(self._run(), name="group-writer")

    async def stop(self) -> None:
        """Commit what waits, then stop."""
        while self._waiting:
            await asyncio.sleep(0.01)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._disconnect()

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

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(GROUP_SECONDS)
            group, self._waiting = self._waiting[:GROUP_MOST], self._waiting[GROUP_MOST:]
            if not self._waiting:
                self._wake.clear()
            await self._commit_all(group)

    async def _commit_all(self, group: list[_Waiting]) -> None:
        """Commit a group; if the database refuses it, each payload alone, so that one can't fail the others."""
        try:
            await self._commit(group)
        except psycopg.OperationalError as error:
            await self._failed(group, error)
        except psycopg.Error as error:
            if len(group) == 1:
                await self._failed(group, error)
                return
            log.warning("telemetry.group_split", extra={"error": str(error)})
            for waiting in group:
                await self._commit_all([waiting])
        except OSError as error:
            await self._failed(group, error)

    async def _failed(self, group: list[_Waiting], error: Exception) -> None:
        log.warning("telemetry.unwritten", extra={"error": str(error), "payloads": len(group)})
        await self._disconnect()
        for waiting in group:
            if not waiting.done.done():
                waiting.done.set_exception(Unavailable())

    async def _connection(self) -> psycopg.AsyncConnection[Any]:
        if self._line is None or self._line.closed:
            self._line = await psycopg.AsyncConnection.connect(
                self._dsn,
                connect_timeout=3,
                options="-c statement_timeout=5000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=4000",
            )
            await self._line.set_autocommit(True)
        return self._line

    async def _disconnect(self) -> None:
        if self._line is not None:
            with suppress(psycopg.Error, OSError):
                await self._line.close()
            self._line = None

    async def _commit(self, group: list[_Waiting]) -> None:
        line = await self._connection()
        fresh_series: dict[SeriesKey, int] = {}
        async with line.transaction():
            new = await self._new(line, {waiting.digest for waiting in group})
            counted: set[bytes] = set()
            sketches: dict[tuple[SeriesKey, int], Sketch] = {}
            for waiting in group:
                if waiting.digest not in new or waiting.digest in counted:
                    continue
                counted.add(waiting.digest)
                for slot, sketch in waiting.decoded.sketches.items():
                    known = sketches.get(slot)
                    if known is None:
                        sketches[slot] = known = Sketch()
                    known.merge(sketch)
            missing = {key for key, _ in sketches if key not in self._series}
            if missing:
                fresh_series = await self._series_ids(line, sorted(missing, key=repr))
            if sketches:
                await self._copy(line, sketches, {**self._series, **fresh_series})
            await self._announce(line, {w.environment for w in group if w.digest in counted})
        self._series.update(fresh_series)
        for waiting in group:
            first = waiting.digest in counted
            counted.discard(waiting.digest)
            if not waiting.done.done():
                waiting.done.set_result(first)

    async def _new(self, line: psycopg.AsyncConnection[Any], digests: set[bytes]) -> set[bytes]:
        rows = await (await line.execute(DIGESTS, [clock.now(), sorted(digests)])).fetchall()
        return {bytes(row[0]) for row in rows}

    async def _series_ids(self, line: psycopg.AsyncConnection[Any], keys: list[SeriesKey]) -> dict[SeriesKey, int]:
        columns = [[getattr(key, name.strip()) for key in keys] for name in SERIES_COLUMNS.split(",")]
        found: dict[SeriesKey, int] = {}
        for _ in range(2):  # a series made by another process in between is seen the second time
            rows = await (await line.execute(SERIES, columns)).fetchall()
            found.update({SeriesKey(*row[1:]): row[0] for row in rows})
            if len(found) == len(keys):
                break
        return found

    async def _copy(
        self,
        line: psycopg.AsyncConnection[Any],
        sketches: dict[tuple[SeriesKey, int], Sketch],
        ids: dict[SeriesKey, int],
    ) -> None:
        async with line.cursor() as cursor, cursor.copy(COPY) as copy:
            for (key, bucket), sketch in sketches.items():
                await copy.write_row(
                    (
                        ids[key],
                        datetime.fromtimestamp(bucket, tz=UTC),
                        sketch.count,
                        sketch.total,
                        sketch.squares,
                        sketch.low,
                        sketch.high,
                        sketch.buckets_bytes(),
                    )
                )

    async def _announce(self, line: psycopg.AsyncConnection[Any], environments: set[str]) -> None:
        """Tell the pages, at most once a second for each environment; the rest is owed to the next group."""
        now = time.monotonic()
        for environment in environments:
            if now - self._announced.get(environment, float("-inf")) >= ANNOUNCE_SECONDS:
                self._announced[environment] = now
                payload = orjson.dumps({"topic": "telemetry", "environment": environment}).decode()
                await line.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
