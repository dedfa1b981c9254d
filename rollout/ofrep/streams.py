"""The change stream: one open connection a device, told *that* its flags changed, never what."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import orjson

from rollout.domain.flags import Snapshot

KEEP_ALIVE_SECONDS = 20.0
QUEUE_EVENTS = 32


def change_event(revision: int) -> bytes:
    """Return the event that makes a client ask again; its id is the revision."""
    data = {"type": "refetchEvaluation", "lastModified": int(time.time())}
    return b"id: %d\nevent: message\ndata: %s\n\n" % (revision, orjson.dumps(data))


class Streams:
    """All open streams of this process, by environment."""

    def __init__(self) -> None:
        self._queues: dict[str, set[asyncio.Queue[bytes | None]]] = {}

    def push(self, snapshot: Snapshot) -> None:
        """Tell every stream of the environment. A client that can't keep up is dropped; it comes back and asks."""
        event = change_event(snapshot.revision)
        for queue in list(self._queues.get(snapshot.environment, ())):
            _put(queue, event)

    def close(self) -> None:
        """End every stream."""
        for queues in self._queues.values():
            for queue in list(queues):
                _put(queue, None)

    def count(self, environment: str) -> int:
        """Return how many streams are open."""
        return len(self._queues.get(environment, ()))

    async def serve(self, environment: str, first: bytes | None, receive: Any, send: Any, headers: Any) -> None:
        """Hold one stream open until either side ends it; `first` is sent at once."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_EVENTS)
        self._queues.setdefault(environment, set()).add(queue)
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            opening = b"retry: 1000\n\n" + (first or b"")
            await send({"type": "http.response.body", "body": opening, "more_body": True})
            await self._pump(queue, gone, send)
        except OSError:
            pass  # the device went away in the middle of a write
        finally:
            self._queues[environment].discard(queue)
            gone.cancel()

    async def _pump(self, queue: "asyncio.Queue[bytes | None]", gone: "asyncio.Task[None]", send: Any) -> None:
        getter = asyncio.create_task(queue.get())
        try:
            while True:
                done, _ = await asyncio.wait(
                    {getter, gone}, timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if gone in done:
                    return
                event: bytes | None = b": keep-alive\n\n"
                if getter in done:
                    event = getter.result()
                    getter = asyncio.create_task(queue.get())
                if event is None:
                    with suppress(OSError):
                        await send({"type": "http.response.body", "body": b""})
                    return
                await send({"type": "http.response.body", "body": event, "more_body": True})
        finally:
            getter.cancel()


def _put(queue: "asyncio.Queue[bytes | None]", event: bytes | None) -> None:
    try:
        queue.put_nowait(event)
    except asyncio.QueueFull:
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
