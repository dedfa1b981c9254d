"""LISTEN/NOTIFY: commit and announcement can't disagree. One listener per process, whoever wants to hear registers."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import psycopg
from django.db import connection

CHANNEL = "hawkops_live"
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
    ) -> None:
        self._dsn = dsn
        self._on_event = on_event
        self._on_connect = on_connect
        self._retry_seconds = retry_seconds
        self._task: asyncio.Task[None] | None = None
        self.connected = False

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
            async for notify in line.notifies():
                try:
                    event = json.loads(notify.payload)
                except ValueError:
                    log.warning("live.event_malformed")
                    continue
                if isinstance(event, dict):
                    self._on_event(event)
