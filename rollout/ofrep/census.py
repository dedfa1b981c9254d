"""Recording the census: in memory as devices call, written in batches, merged by the greatest revision."""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg

from hawkops.core import clock
from hawkops.core.lines import answering
from hawkops.core.live import CHANNEL

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.25
ANNOUNCE_SECONDS = 0.5
# A device that only polls is written at most this often while nothing about it changes.
SEEN_SECONDS = 15.0
DEVICES_MOST = 200_000

UPSERT = """
INSERT INTO rollout_censusdevice AS c (environment, device_id, device_class, simulated, told_revision, obeyed_revision,
                                       attributes, obeyed_at, served_on, first_seen_at, last_seen_at)
SELECT u.e, u.d, u.c, u.s, u.t, u.o, u.a, CASE WHEN u.o > 0 THEN now.seen END, string_to_array(u.v, ','),
       now.seen, now.seen
  FROM json_to_recordset(%s::json)
       AS u(e text, d text, c text, s bool, t bigint, o bigint, v text, a jsonb),
       (SELECT %s::timestamptz AS seen) AS now
 ORDER BY u.e, u.d
ON CONFLICT (environment, device_id) DO UPDATE SET
  device_class = CASE WHEN excluded.device_class <> '' THEN excluded.device_class ELSE c.device_class END,
  attributes = CASE WHEN excluded.attributes <> '{}' THEN excluded.attributes ELSE c.attributes END,
  simulated = c.simulated OR excluded.simulated,
  told_revision = GREATEST(c.told_revision, excluded.told_revision),
  obeyed_revision = GREATEST(c.obeyed_revision, excluded.obeyed_revision),
  obeyed_at = CASE WHEN excluded.obeyed_revision > c.obeyed_revision THEN excluded.last_seen_at ELSE c.obeyed_at END,
  served_on = CASE WHEN excluded.told_revision >= c.told_revision AND excluded.told_revision > 0
                   THEN excluded.served_on ELSE c.served_on END,
  last_seen_at = GREATEST(c.last_seen_at, excluded.last_seen_at)
"""

# A device keeps the arm that it was exposed to first.
EXPOSE = """
INSERT INTO rollout_exposure (environment, experiment, device_id, arm, simulated, first_at)
SELECT u.e, u.x, u.d, u.a, u.s, %s
  FROM json_to_recordset(%s::json) AS u(e text, x text, d text, a text, s bool)
 ORDER BY u.e, u.x, u.d
ON CONFLICT (environment, experiment, device_id) DO NOTHING
"""


@dataclass(slots=True)
class _Device:
    device_class: str = ""
    simulated: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)
    told: int = 0
    obeyed: int = 0
    served: tuple[str, ...] | None = None
    # (A/B test, arm) that it was exposed to, and those of them that are written
    arms: tuple[tuple[str, str], ...] = ()
    exposed: tuple[tuple[str, str], ...] = ()
    seen: float = 0.0
    written: float = float("-inf")
    changed: bool = True


class CensusRecorder:
    """One process's share of the census. Losing its memory loses nothing: devices confirm again."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._devices: dict[tuple[str, str], _Device] = {}
        self._dirty: set[tuple[str, str]] = set()
        self._announced: dict[str, float] = {}
        self._owed: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._line: psycopg.AsyncConnection[Any] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="census")

    async def stop(self) -> None:
        """Write what is left and stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(psycopg.Error, OSError):
            await self._flush()
        if self._line is not None:
            with suppress(psycopg.Error, OSError):
                await self._line.close()

    def note(
        self,
        environment: str,
        device_id: str,
        *,
        device_class: str = "",
        simulated: bool = False,
        attributes: Mapping[str, Any] | None = None,
        told: int = 0,
        obeyed: int = 0,
        served_on: tuple[str, ...] | None = None,
        arms: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Note a contact: told revision R, or obeying R, or just alive (both 0). `arms` are (A/B test, arm)."""
        key = (environment, device_id)
        device = self._devices.get(key)
        if device is None:
            if len(self._devices) >= DEVICES_MOST or "\x00" in device_id:
                return
            device = self._devices[key] = _Device()
        if told > device.told:
            device.told, device.changed = told, True
        if obeyed > device.obeyed:
            device.obeyed, device.changed = obeyed, True
        if served_on is not None and served_on is not device.served and served_on != device.served:
            device.served, device.changed = served_on, True
        if arms and arms is not device.arms and (new := tuple(one for one in arms if one not in device.arms)):
            device.arms, device.changed = (device.arms + new if device.arms else arms), True
        if device_class and device_class != device.device_class:
            device.device_class, device.changed = device_class, True
        if attributes and attributes is not device.attributes and attributes != device.attributes:
            device.attributes, device.changed = attributes, True
        if simulated and not device.simulated:
            device.simulated, device.changed = True, True
        device.seen = time.monotonic()
        if device.changed or device.seen - device.written > SEEN_SECONDS:
            self._dirty.add(key)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self._flush()
            except (psycopg.Error, OSError) as error:
                log.warning("census.unwritten", extra={"error": str(error)})
                if self._line is not None:
                    with suppress(psycopg.Error, OSError):
                        await self._line.close()
                    self._line = None
                await asyncio.sleep(1)

    async def _flush(self) -> None:
        batch, self._dirty = list(self._dirty)[:5000], set(list(self._dirty)[5000:])
        if not batch and not self._owed:
            return
        try:
            await self._write(batch)
        except BaseException:
            self._dirty.update(batch)
            raise

    async def _write(self, batch: list[tuple[str, str]]) -> None:
        if self._line is None or self._line.closed:
            self._line = await psycopg.AsyncConnection.connect(
                self._dsn, autocommit=True, connect_timeout=3, options="-c statement_timeout=5000"
            )
        rows = [(key, self._devices[key]) for key in batch]
        changed = {key[0] for key, device in rows if device.changed} | self._owed
        for _, device in rows:
            device.changed = False
        now = time.monotonic()
        announce = [name for name in changed if now - self._announced.get(name, 0) >= ANNOUNCE_SECONDS]
        self._owed = changed.difference(announce)
        exposed = [(key, device, device.arms) for key, device in rows if device.arms != device.exposed]
        with answering(self._line):
            await self._put(self._line, rows, exposed, announce)
        for name in announce:
            self._announced[name] = now
        for _, device in rows:
            device.written = now
        for _, device, arms in exposed:
            device.exposed = arms

    async def _put(
        self,
        line: psycopg.AsyncConnection[Any],
        rows: list[tuple[tuple[str, str], _Device]],
        exposed: list[tuple[tuple[str, str], _Device, tuple[tuple[str, str], ...]]],
        announce: list[str],
    ) -> None:
        async with line.transaction():
            if rows:
                await line.execute(UPSERT, [_document(rows), clock.now()])
            if exposed:
                await line.execute(EXPOSE, [clock.now(), _exposures(exposed)])
            for name in announce:
                payload = orjson.dumps({"topic": "census", "environment": name}).decode()
                await line.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])


def _document(rows: list[tuple[tuple[str, str], _Device]]) -> str:
    """Return a batch as one JSON text: arrays of each column cost the loop several times as much to write down."""
    return orjson.dumps(
        [
            {
                "e": environment,
                "d": device_id,
                "c": device.device_class,
                "s": device.simulated,
                "t": device.told,
                "o": device.obeyed,
                "v": ",".join(device.served or ()),
                "a": device.attributes,
            }
            for (environment, device_id), device in rows
        ]
    ).decode()


def _exposures(rows: list[tuple[tuple[str, str], _Device, tuple[tuple[str, str], ...]]]) -> str:
    """Return who was exposed to which arm, what is written already left out."""
    return orjson.dumps(
        [
            {"e": environment, "x": experiment, "d": device_id, "a": arm, "s": device.simulated}
            for (environment, device_id), device, arms in rows
            for experiment, arm in arms
            if (experiment, arm) not in device.exposed
        ]
    ).decode()
