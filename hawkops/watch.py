"""A look that needs neither Celery nor beat, taken again and again by the process that holds it."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from django.db import connections

log = logging.getLogger(__name__)

# Whoever has just started gives the others time to start as well.
FIRST_SECONDS = 60.0
EVERY_SECONDS = 10.0


class Watch:
    """Run `look` in a thread, on a connection of its own that ends with it; one that fails is tried again."""

    def __init__(
        self,
        look: Callable[[], object],
        *,
        first_seconds: float = FIRST_SECONDS,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._look = look
        self._first_seconds = first_seconds
        self._every_seconds = every_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._run(), name="watch")

    async def stop(self) -> None:
        """End; a look under way ends by itself."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        await asyncio.sleep(self._first_seconds)
        while True:
            try:
                await asyncio.to_thread(self._once)
            except Exception:
                log.exception("watch.look_failed")
            await asyncio.sleep(self._every_seconds)

    def _once(self) -> None:
        try:
            self._look()
        finally:
            connections.close_all()
