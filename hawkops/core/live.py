"""LISTEN/NOTIFY: commit and announcement can't disagree. One listener per process, whoever wants to hear registers."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import psycopg
from django.db import connection

from hawkops.core.lines import HEARS_SECONDS, answering

CHANNEL = "hawkops_live"
# A line says something to itself so often. One that no longer hears it is dead or cut.
PULSE, PULSE_SECONDS, DEAF_SECONDS = "pulse", 15.0, 40.0
log = logging.getLogger(__name__)


def announce(topic: str, environment: str, **fields: Any) -> None:
    """Tell every process that something changed, when (and only if) the present transaction commits."""
    payload = json.dumps({"topic": topic, "environment": environment, **fields}, separators=(",", ":"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])


class Listener:
    """Hold one connection that LISTENs, and hand each event (a dict with `topic` and `environment`) to `on_event`.

    After every (re)connect `on_connect` runs: whatever was announced while the line was down is lost, so look again.
    """

    def __init__(
        self,
        dsn: str,
        *,
        on_event: Callable[[dict[str, Any]], None],
        on_connect: Callable[[], Awaitable[None]] | None = None,
        retry_seconds: float = 0.5,
        pulse_seconds: float = PULSE_SECONDS,
        deaf_seconds: float = DEAF_SECONDS,
    ) -> None:
        self._dsn = dsn
        self._on_event = on_event
        self._on_connect = on_connect
        self._retry_seconds = retry_seconds
        self._task: asyncio.Task[None] | None = None
        self._pulse_seconds = pulse_seconds
        self._deaf_seconds = deaf_seconds
        self._heard: float | None = None
        self._deaf_since: float | None = None
        self.connected = False

    @property
    def silent_seconds(self) -> float | None:
        """How long ago something was heard last; None where nothing ever was.

        Through a transaction pooler a line hears itself and nobody else: that counts from when it was found.
        """
        heard = self._heard if self._deaf_since is None else self._deaf_since
        return None if heard is None else time.monotonic() - heard

    def start(self) -> None:
        """Begin listening in the background."""
        self._task = asyncio.create_task(self._run(), name="listener")

    async def stop(self) -> None:
        """End the background task."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                log.warning("live.listener_lost", extra={"error": str(error)})
            self.connected = False
            await asyncio.sleep(self._retry_seconds)

    async def _listen(self) -> None:
        line = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True, connect_timeout=5)
        async with line:
            await line.execute(f"LISTEN {CHANNEL}")
            self.connected = True
            if self._on_connect is not None:
                await self._on_connect()
            await self._hear_another(line)
            own = json.dumps({"topic": PULSE, "of": id(self)})
            began = heard = time.monotonic()
            while True:
                with answering(line):
                    await line.execute("SELECT pg_notify(%s, %s)", [CHANNEL, own])
                async for notify in line.notifies(timeout=self._pulse_seconds):
                    heard = self._heard = time.monotonic()
                    self._take(notify.payload)
                if time.monotonic() - max(began, heard) > self._deaf_seconds:
                    raise OSError("the line does not hear what is announced: is a transaction pooler in between?")

    async def _hear_another(self, line: psycopg.AsyncConnection[Any]) -> None:
        """Find out whether this line hears what another says. Where none can be had just now, nothing is known."""
        said = json.dumps({"topic": PULSE, "of": id(self), "by": "another"})
        try:
            async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True, connect_timeout=5) as another:
                await another.execute("SELECT pg_notify(%s, %s)", [CHANNEL, said])
        except psycopg.Error:
            return
        until = time.monotonic() + HEARS_SECONDS
        while (left := until - time.monotonic()) > 0:
            async for notify in line.notifies(timeout=left, stop_after=1):
                self._take(notify.payload)
                if notify.payload == said:
                    self._heard, self._deaf_since = time.monotonic(), None
                    return
        if self._deaf_since is None:
            self._deaf_since = time.monotonic()
            log.error("live.listener_deaf", extra={"advice": "Give DATABASE_URL a direct connection, not a pooler's."})

    def _take(self, payload: str) -> None:
        try:
            event = json.loads(payload)
        except ValueError:
            log.warning("live.event_malformed")
            return
        if isinstance(event, dict) and event.get("topic") != PULSE:
            self._on_event(event)
