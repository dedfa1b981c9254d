"""The change stream: one open connection a device, told *that* its flags changed, never what.

An idle stream is one suspended request and nothing else: no task, timer or queue of its own.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any

import orjson

from rollout.domain.flags import Snapshot

KEEP_ALIVE_SECONDS = 20.0
KEEP_ALIVE = b": keep-alive\n\n"
# So many are written to before others get their turn.
PORTION = 500
LAST_WORD_SECONDS = 1.0


def change_event(revision: int) -> bytes:
    """Return the event that makes a client ask again; its id is the revision."""
    data = {"type": "refetchEvaluation", "lastModified": int(time.time())}
    return b"id: %d\nevent: message\ndata: %s\n\n" % (revision, orjson.dumps(data))


class _Stream:
    """One open stream."""

    __slots__ = ("dropped", "ended", "missed", "opened", "send", "task")

    def __init__(self, send: Any, task: "asyncio.Task[Any]") -> None:
        self.send = send
        self.task = task
        self.opened = False
        # what changed before it was open
        self.missed = b""
        self.ended = False
        self.dropped = False

    def write(self, data: bytes, *, more: bool = True) -> None:
        """Hand bytes to the server at once. A reader whose buffer is full can't keep up and is dropped."""
        if self.ended:
            return
        if not self.opened:
            self.missed = data or self.missed
            return
        self.ended = not more
        sending = self.send({"type": "http.response.body", "body": data, "more_body": more})
        try:
            sending.send(None)
        except (StopIteration, OSError):
            return
        # the server wants to wait for the reader
        sending.close()
        self.ended = self.dropped = True
        self.task.cancel()


class Streams:
    """All open streams of this process, by environment."""

    def __init__(self) -> None:
        self._open: dict[str, set[_Stream]] = {}
        self._alive: asyncio.Task[None] | None = None
        self._closed = False

    def push(self, snapshot: Snapshot) -> None:
        """Tell every stream of the environment. A client that can't keep up is dropped; it comes back and asks."""
        event = change_event(snapshot.revision)
        for stream in self._open.get(snapshot.environment, ()):
            stream.write(event)

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        for streams in self._open.values():
            for stream in streams:
                stream.write(b"", more=False)
        if self._alive is not None:
            self._alive.cancel()

    def count(self, environment: str) -> int:
        """Return how many streams are open."""
        return len(self._open.get(environment, ()))

    async def serve(self, environment: str, first: bytes | None, receive: Any, send: Any, headers: Any) -> None:
        """Hold one stream open until either side ends it; `first` is sent at once."""
        task = asyncio.current_task()
        assert task is not None
        stream = _Stream(send, task)
        streams = self._open.setdefault(environment, set())
        streams.add(stream)
        if self._alive is None or self._alive.done():
            self._alive = asyncio.create_task(self._keep_alive(), name="streams")
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            opening = b"retry: 1000\n\n" + (first or b"")
            await send({"type": "http.response.body", "body": opening, "more_body": True})
            stream.opened = True
            if stream.missed or self._closed:
                stream.write(stream.missed, more=not self._closed)
            while (await receive())["type"] != "http.disconnect":
                pass
        except OSError:
            pass  # the device went away in the middle of a write
        except asyncio.CancelledError:
            if not stream.dropped:
                raise
            task.uncancel()
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(send({"type": "http.response.body", "body": b""}), LAST_WORD_SECONDS)
        finally:
            streams.discard(stream)

    async def _keep_alive(self) -> None:
        """Say to all that they are still open, until there are none."""
        while any(self._open.values()):
            await asyncio.sleep(KEEP_ALIVE_SECONDS)
            for streams in self._open.values():
                everyone = list(streams)
                for start in range(0, len(everyone), PORTION):
                    for stream in everyone[start : start + PORTION]:
                        if stream in streams and stream.opened:
                            stream.write(KEEP_ALIVE)
                    await asyncio.sleep(0)
