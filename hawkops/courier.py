"""Reads the history, opens incidents, escalates, and sends what is due as soon as something is committed.

Needs neither Celery nor the broker.
Woken by PostgreSQL's notifications, and every few seconds anyway. Several consoles may each have one: a channel is served by
one sender at a time.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from django.db import connections

from hawkops.core.live import Listener
from incidents.services.dispatching import dispatch_all
from incidents.services.escalations import escalate
from incidents.services.following import incidents_follow
from incidents.services.kill_clock import clocks_follow
from incidents.services.sending import send_due

log = logging.getLogger(__name__)
EVERY_SECONDS = 5.0
# one that does not answer must not keep the others waiting
SENDERS = 4
# a burst of entries is read at once
GATHER_SECONDS = 0.05
TOPICS = ("history", "notifications")
# in this order: what an incident brings is dispatched in the same round
ROUND: tuple[Callable[[], object], ...] = (incidents_follow, dispatch_all, escalate, clocks_follow)


class Courier:
    """One loop that follows and dispatches, and up to SENDERS threads that send."""

    def __init__(self, dsn: str, *, every_seconds: float = EVERY_SECONDS) -> None:
        self._listener = Listener(dsn, on_event=self._on_event, on_connect=self._on_connect)
        self._every_seconds = every_seconds
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[bool]] = set()
        self._ended: float | None = None
        # its own: senders that hang must not take the threads of anything else
        self._pool = ThreadPoolExecutor(SENDERS + 1, thread_name_prefix="courier")

    @property
    def silent_seconds(self) -> float | None:
        """How long ago a round ended in which nothing failed; None before the first."""
        return None if self._ended is None else time.monotonic() - self._ended

    def start(self) -> None:
        """Begin."""
        self._listener.start()
        self._task = asyncio.create_task(self._run(), name="courier")

    async def stop(self) -> None:
        """End; what is being sent ends by itself, and is sent again when it does not."""
        await self._listener.stop()
        for task in (self._task, *self._sending):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _on_event(self, event: dict[str, Any]) -> None:
        if event.get("topic") in TOPICS:
            self._wake.set()

    async def _on_connect(self) -> None:
        self._wake.set()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._every_seconds)
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            if all([await self._threaded(work) for work in ROUND]):
                self._ended = time.monotonic()
            for _ in range(SENDERS - len(self._sending)):
                task = asyncio.create_task(self._threaded(send_due))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def _threaded(self, work: Callable[[], object]) -> bool:
        """Do it and say whether it was done."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, _once, work)
        except Exception:
            log.exception("courier.failed", extra={"work": work.__name__})
            return False
        return True


def _once(work: Callable[[], object]) -> None:
    try:
        work()
    finally:
        connections.close_all()
