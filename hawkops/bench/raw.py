"""`python -m hawkops.bench.raw PORT`: what asyncio alone needs to tell many connections that something changed.

It hears the same announcement of PostgreSQL (DATABASE_URL) as the gateway, and writes the same bytes at once, from a
loop of the same kind: no HTTP, keys, flags or reload.
"""

import asyncio
import os
import sys
from typing import Any, ClassVar

import uvloop

from hawkops.core.live import Listener
from rollout.ofrep.streams import change_event

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LONGEST_SECONDS = 300.0


def chunk(data: bytes) -> bytes:
    """Return bytes as HTTP/1.1 writes a part of an answer of unknown length."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class _Connection(asyncio.Protocol):
    everyone: ClassVar[set[Any]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(HEAD + chunk(b"retry: 1000\n\n"))
        self.everyone.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.everyone.discard(self._transport)


def _tell(event: dict[str, Any]) -> None:
    if event.get("topic") == "history":
        data = chunk(change_event(1))
        for transport in _Connection.everyone:
            transport.write(data)


async def _serve(port: int) -> None:
    Listener(os.environ["DATABASE_URL"], on_event=_tell).start()
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port, backlog=2048)
    async with server:
        await asyncio.sleep(LONGEST_SECONDS)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
