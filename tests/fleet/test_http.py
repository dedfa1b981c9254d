"""The small HTTP client: answers of every framing, kept connections, and what it refuses."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hawkops.fleet.http import Answer, Client, HttpError
from tests import apart

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def exchange(*answers: bytes, requests: int = 1, **options: float) -> tuple[list[Answer], int]:
    """Send requests to a server that answers with these bytes, one answer per request, and count its connections."""

    async def story() -> tuple[list[Answer], int]:
        waiting, connections = list(answers), 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            try:
                while waiting:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    await reader.readexactly(length)
                    writer.write(waiting.pop(0))
                    await writer.drain()
            except asyncio.IncompleteReadError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = Client(**options)  # type: ignore[arg-type]
        try:
            address = f"http://127.0.0.1:{port}/path?x=1"
            return [await client.post_json(address, {"a": 1}) for _ in range(requests)], connections
        finally:
            client.close()
            server.close()

    return apart.run(story())


def test_post__content_length__keeps_the_connection() -> None:
    answer = b"HTTP/1.1 200 OK\r\nETag: x\r\nContent-Length: 2\r\n\r\n{}"
    answers, connections = exchange(answer, answer, answer, requests=3)
    assert [(found.status, found.headers["etag"], found.json()) for found in answers] == [(200, "x", {})] * 3
    assert connections == 1


def test_post__chunked__is_joined() -> None:
    (answer,), _ = exchange(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n"
    )
    assert answer.body == b"abcde"


def test_post__304_with_a_length__has_no_body() -> None:
    (answer,), _ = exchange(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n")
    assert (answer.status, answer.body) == (304, b"")


def test_post__until_the_end__is_read_whole() -> None:
    (answer,), _ = exchange(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    assert answer.body == b"all of it"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
def test_post__broken_answer__is_an_error(answer: bytes) -> None:
    with pytest.raises(HttpError):
        exchange(answer)


def test_post__nobody_listens__is_an_error() -> None:
    with pytest.raises(HttpError):
        apart.run(Client().post_json("http://127.0.0.1:9/", {}))
    with pytest.raises(HttpError):
        apart.run(Client().post_json("file:///etc/passwd", {}))


def test_post__no_answer_in_time__is_an_error() -> None:
    async def story() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        client = Client(timeout_seconds=0.2)
        with pytest.raises(HttpError, match="no answer within"):
            await client.post_json(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {})
        server.close()

    apart.run(story())
