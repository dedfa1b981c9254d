"""An answer written down before is the same over the wire as ASGI's own two messages, on every kind of connection."""

import asyncio
import gc
import re
from typing import Any

import pytest
import uvicorn

from hawkops.core.asgi import read_body
from hawkops.core.whole import Whole
from tests import apart

SAME = [(b"content-type", b"application/json"), (b"etag", b'"x"')]
ANSWERS = {"/whole": Whole(200, SAME, b'{"a": 1}'), "/none": Whole(304, SAME)}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer directly under a path, and in ASGI's messages under `/plain` and the same path."""
    await read_body(scope, receive, limit_bytes=100)
    path = scope["path"]
    whole = ANSWERS[path.removeprefix("/plain")]
    if path.startswith("/plain") or not whole.sent(send):
        await whole.send_by(send)


async def wrapped(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The same behind a middleware."""

    async def through(message: Any) -> None:
        await send(message)

    await app(scope, receive, through)


async def served(talk: Any, application: Any) -> Any:
    """Serve for as long as `talk(reader, writer)` takes."""
    config = uvicorn.Config(
        application,
        port=0,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="error",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(10):
                return await talk(reader, writer)
        finally:
            writer.close()
    finally:
        server.should_exit = True
        await task


def said(talk: Any, application: Any = app) -> Any:
    """Run a talk in a loop of its own."""
    return apart.run(served(talk, application))


def request(path: str, *lines: str, version: str = "1.1") -> bytes:
    """A small POST."""
    return "\r\n".join([f"POST {path} HTTP/{version}", "Host: x", "Content-Length: 2", *lines, "", "{}"]).encode()


async def one(reader: asyncio.StreamReader) -> bytes:
    """Read one answer; the moment is cut out."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    body = await reader.readexactly(int(length[1])) if length else b""
    assert head.count(b"\r\ndate: ") == 1
    return re.sub(rb"date: [^\r]*", b"date: now", head) + body


@pytest.mark.parametrize("path", sorted(ANSWERS))
@pytest.mark.parametrize("lines", [(), ("Connection: close",), ("Expect: 100-continue",)])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_whole__any_connection__is_what_two_messages_say(path: str, lines: tuple[str, ...], version: str) -> None:
    def both(prefix: str) -> bytes:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
            writer.write(request(prefix + path, *lines, version=version))
            if "Expect: 100-continue" in lines:
                assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            answer = await one(reader)
            if "Connection: close" in lines or version == "1.0":
                assert await reader.read() == b""
            else:  # the connection goes on
                writer.write(request(prefix + path))
                assert await one(reader) == answer
            return answer

        found: bytes = said(talk)
        return found

    assert both("") == both("/plain")


def test_whole__behind_a_middleware__is_sent_through_it() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[bytes]:
        writer.write(request("/whole") + request("/plain/whole"))
        return [await one(reader) for _ in range(2)]

    first, second = said(talk, wrapped)
    assert first == second


def test_whole__pipelined__answers_in_order() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[bytes]:
        writer.write(request("/whole") + request("/plain/none") + request("/none") + request("/plain/whole"))
        return [(await one(reader))[9:12] for _ in range(4)]

    assert said(talk) == [b"200", b"304", b"304", b"200"]


def test_whole__many_requests__leave_nothing_to_the_garbage_collector() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        async def ask(times: int) -> None:
            for _ in range(times):
                writer.write(request("/whole"))
                await one(reader)

        await ask(5)
        gc.collect()
        gc.disable()
        try:
            await ask(100)
            return gc.collect()
        finally:
            gc.enable()

    assert said(talk) < 100


def test_whole__header_of_two_lines__is_refused() -> None:
    with pytest.raises(ValueError, match="more than one line"):
        Whole(200, [(b"x", b"a\r\nset-cookie: b")])
