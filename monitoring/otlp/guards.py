"""When telemetry gives way: the disk is nearly full, the event loop lags, or a key sends more than its quota.

Flags and kills have doors of their own and are never asked here. Nothing is measured in a request; each guard looks at what
a task measured some seconds ago.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from hawkops.core.lines import answering
from hawkops.embedded.postgres import cluster_home

log = logging.getLogger(__name__)

SPACE_SECONDS = 5.0
LAG_SAMPLE_SECONDS = 0.25
# A quota may be overdrawn by a burst of so many seconds.
BURST_SECONDS = 10.0
KEYS_MOST = 10_000
LOCAL = ("", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Limits:
    """What an operator may set."""

    data: Path
    free_disk_percent: float = 10.0
    database_gigabytes: float = 0.0
    key_points_per_second: float = 500_000.0
    lag_seconds: float = 1.0


@dataclass(frozen=True)
class GiveWay:
    """An answer that sends a payload away for a while."""

    status: int
    message: str
    retry_seconds: int


@dataclass
class _Bucket:
    tokens: float
    at: float


class Guards:
    """Says of each payload whether it may come in."""

    def __init__(self, limits: Limits, dsn: str) -> None:
        self._limits = limits
        self._dsn = dsn
        self._buckets: dict[str, _Bucket] = {}
        self._space: GiveWay | None = None
        self._lag: GiveWay | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to measure."""
        self._tasks = [
            asyncio.create_task(self._watch_space(), name="guard-space"),
            asyncio.create_task(self._watch_lag(), name="guard-lag"),
        ]

    async def stop(self) -> None:
        """Measure no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def refusal(self, key: str) -> GiveWay | None:
        """Say why a payload must wait; None when it may come in."""
        refused = self._space or self._lag
        if refused is not None:
            return refused
        rate = self._limits.key_points_per_second
        if not rate:
            return None
        bucket, now = self._buckets.get(key), time.monotonic()
        if bucket is None:
            if len(self._buckets) >= KEYS_MOST:
                self._buckets.clear()
            self._buckets[key] = _Bucket(rate * BURST_SECONDS, now)
            return None
        bucket.tokens = min(rate * BURST_SECONDS, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens > 0:
            return None
        return GiveWay(
            429, f"The key has used its quota of {rate:,.0f} points a second.", max(1, int(-bucket.tokens / rate) + 1)
        )

    def spend(self, key: str, points: float) -> None:
        """Take what a payload held off its key's quota; what is overdrawn must be waited for."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.tokens -= max(1.0, points)

    async def _watch_space(self) -> None:
        while True:
            try:
                self._space = await self._no_space()
            except (OSError, psycopg.Error) as error:
                log.warning("telemetry.space_unknown: %s", error)
            await asyncio.sleep(SPACE_SECONDS)

    async def _no_space(self) -> GiveWay | None:
        least, most = self._limits.free_disk_percent, self._limits.database_gigabytes
        if least and self._is_local():
            free = await asyncio.to_thread(least_free_percent, self._limits.data)
            if free < least:
                return GiveWay(503, f"The disk has {free:.1f} % free, under {least:g} %. Come back later.", 60)
        if most:
            used = await self._database_size() / 1e9
            if used > most:
                said = f"The database holds {used:.3g} GB, above its quota of {most:g} GB. Come back later."
                return GiveWay(503, said, 60)
        return None

    def _is_local(self) -> bool:
        """Say whether PostgreSQL keeps its data on this machine; of another one's disk nothing is known here."""
        host = str(conninfo_to_dict(self._dsn).get("host") or "")
        return host in LOCAL or host.startswith("/")

    async def _database_size(self) -> float:
        async with await psycopg.AsyncConnection.connect(self._dsn, connect_timeout=3, autocommit=True) as line:
            with answering(line):
                row = await (await line.execute("SELECT pg_database_size(current_database())")).fetchone()
            return float(row[0]) if row else 0.0

    async def _watch_lag(self) -> None:
        before = 0.0
        while True:
            due = time.monotonic() + LAG_SAMPLE_SECONDS
            await asyncio.sleep(LAG_SAMPLE_SECONDS)
            late = time.monotonic() - due
            # two in a row: one may be a machine that slept
            lags = min(late, before) > self._limits.lag_seconds
            self._lag = GiveWay(429, f"The door lags by {late:.1f} s. Come back later.", 5) if lags else None
            before = late


def least_free_percent(data: Path) -> float:
    """Return how much is free where it is least: in the data folder, and where the embedded PostgreSQL keeps its own."""
    return min(free_percent(folder) for folder in (data, cluster_home(data)))


def free_percent(folder: Path) -> float:
    """Return how much of the disk that holds a folder is free; the folder may not be there yet."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    usage = shutil.disk_usage(there)
    return 100 * usage.free / (usage.free + usage.used)
