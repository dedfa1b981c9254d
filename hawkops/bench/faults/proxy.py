"""A wire between a program and its server, TCP on one side and a socket on the other: slow, cut, or silent."""

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

PIECE = 65_536


class Way(StrEnum):
    """How the wire is."""

    OPEN = "open"
    # connections are reset and new ones are refused
    CUT = "cut"
    # nothing arrives and nobody says so
    SILENT = "silent"


class Wire:
    """A proxy in a thread of its own. Its port stays the same, whatever happens to it."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._delay_seconds = 0.0
        self._loop = asyncio.new_event_loop()
        self._flows: set[asyncio.StreamWriter] = set()
        self._kept: set[asyncio.Task[None] | None] = set()
        self._flowing = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.port = 0
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        started.wait(10)

    def be(self, way: Way, *, delay_seconds: float = 0.0, forgets: bool = False) -> None:
        """Change the wire; returns once it is so.

        One that forgets lets only new connections through: those that it had stay silent, as behind a firewall that
        was started again.
        """
        asyncio.run_coroutine_threadsafe(self._be(way, delay_seconds, forgets), self._loop).result(10)

    def end(self) -> None:
        """Cut it for good."""
        self.be(Way.CUT)
        asyncio.run_coroutine_threadsafe(self._forget(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._be(Way.OPEN, 0.0, False))
        started.set()
        self._loop.run_forever()

    async def _forget(self) -> None:
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _be(self, way: Way, delay_seconds: float, forgets: bool) -> None:
        self._delay_seconds = delay_seconds
        if forgets:
            self._flowing = asyncio.Event()
        if way is Way.SILENT:
            self._flowing.clear()
        else:
            self._flowing.set()
        if way is Way.CUT:
            if self._server is not None:
                self._server.close()
                self._server = None
            for writer in list(self._flows):
                # reset, not ended politely
                with suppress(OSError):
                    end = writer.get_extra_info("socket")
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        elif self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._flows.add(writer)
        # nobody else knows one that waits on what is forgotten
        self._kept.add(asyncio.current_task())
        other: asyncio.StreamWriter | None = None
        try:
            flowing = self._flowing
            await flowing.wait()
            onward, other = await asyncio.open_unix_connection(str(self._target))
            self._flows.add(other)
            await asyncio.gather(self._pump(flowing, reader, other), self._pump(flowing, onward, writer))
        except (OSError, asyncio.CancelledError):  # the streams' own callback does not expect the second
            pass
        finally:
            self._kept.discard(asyncio.current_task())
            for one in (writer, other):
                if one is not None:
                    self._flows.discard(one)
                    one.transport.abort()

    async def _pump(self, flowing: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(PIECE):
                await flowing.wait()
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                writer.write(piece)
                await writer.drain()
        finally:
            with suppress(OSError):
                writer.close()
