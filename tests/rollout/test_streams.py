"""Open streams as the server sees them: told at once, kept alive, dropped when they can't keep up, ended."""

import asyncio
from typing import Any

import pytest

from rollout.domain.flags import Snapshot
from rollout.ofrep import streams as module
from rollout.ofrep.streams import KEEP_ALIVE, Streams
from tests import apart


class Reader:
    """What a server does for one client: takes what is sent, or waits while the client's buffer is full."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.ended = False
        self.full = False
        self._gone = asyncio.Event()

    async def send(self, message: dict[str, Any]) -> None:
        if self.full:
            await asyncio.Event().wait()
        if message["type"] == "http.response.body":
            self.heard.append(message["body"])
            if not message.get("more_body"):
                self.ended = True
                self._gone.set()

    async def receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def leave(self) -> None:
        self._gone.set()


async def opened(streams: Streams, reader: Reader) -> "asyncio.Task[None]":
    """Open a stream of `demo`."""
    task = asyncio.create_task(streams.serve("demo", None, reader.receive, reader.send, []))
    await asyncio.sleep(0)
    assert reader.heard == [b"retry: 1000\n\n"]
    return task


def test_push__a_reader_that_cant_keep_up__is_dropped_and_the_others_are_told() -> None:
    async def story() -> None:
        streams, quick, slow = Streams(), Reader(), Reader()
        tasks = [await opened(streams, quick), await opened(streams, slow)]
        slow.full = True
        streams.push(Snapshot("demo", 7))
        streams.push(Snapshot("staging", 9))
        assert [b"id: 7\n" in event for event in quick.heard[1:]] == [True]
        slow.full = False
        await asyncio.wait_for(tasks[1], 5)
        assert slow.ended
        assert streams.count("demo") == 1
        quick.leave()
        await asyncio.wait_for(tasks[0], 5)
        assert streams.count("demo") == 0

    apart.run(story())


def test_push__while_a_stream_opens__is_not_lost() -> None:
    async def story() -> None:
        streams, reader = Streams(), Reader()

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                streams.push(Snapshot("demo", 7))
            await reader.send(message)

        task = asyncio.create_task(streams.serve("demo", None, reader.receive, send, []))
        await asyncio.sleep(0)
        assert b"id: 7\n" in reader.heard[1]
        reader.leave()
        await asyncio.wait_for(task, 5)

    apart.run(story())


def test_serve__still__is_said_to_all_by_one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_ALIVE_SECONDS", 0.05)

    async def story() -> None:
        streams, readers = Streams(), [Reader() for _ in range(20)]
        tasks = [await opened(streams, reader) for reader in readers]
        # a request each, the one task for all, and this one
        assert len(asyncio.all_tasks()) == len(readers) + 2
        for _ in range(200):
            await asyncio.sleep(0.05)
            if all(KEEP_ALIVE in reader.heard for reader in readers):
                break
        assert all(reader.heard[1] == KEEP_ALIVE for reader in readers)
        streams.close()
        streams.push(Snapshot("demo", 8))
        await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert all(reader.ended and reader.heard[-1] == b"" for reader in readers)

    apart.run(story())
