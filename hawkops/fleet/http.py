"""A small HTTP/1.1 client on asyncio: kept-alive connections, bounded in number, and lines of a stream.

Written because a simulated fleet on one core needs requests that cost a tenth of what a general client takes.
No redirects, no proxies, no compression of answers; bodies are bounded.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

MOST_BYTES = 8 * 1024 * 1024
LONGEST_HEAD = 65_536


class HttpError(Exception):
    """No usable answer came."""


@dataclass(frozen=True)
class Answer:
    """One answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body as JSON. Raises ValueError."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Place:
    """Where a connection goes."""

    secure: bool
    host: str
    port: int

    @classmethod
    def of(cls, address: str) -> tuple["Place", str, str]:
        """Take an address apart: the place, the Host header and the path with its query. Raises HttpError."""
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise HttpError(f"{parts.scheme or 'nothing'}:// can't be asked")
        secure = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(secure, parts.hostname, parts.port or (443 if secure else 80)), parts.netloc.rpartition("@")[2], path


@dataclass
class Connection:
    """One open connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, head: str, body: bytes = b"") -> None:
        """Write a request."""
        self.writer.write(head.encode("latin-1") + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read the status and the headers of an answer. Raises HttpError."""
        raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise HttpError("the answer is not HTTP")
        pairs = (line.partition(":") for line in lines if line)
        return int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}

    async def pieces(self, status: int, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
        """Read the body piece by piece. Raises HttpError."""
        if status in (204, 304):
            return
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield await self.reader.readexactly(_bounded(size))
                await self.reader.readexactly(2)
            while await self.reader.readuntil(b"\r\n") != b"\r\n":
                pass  # trailers
        elif "content-length" in headers:
            yield await self.reader.readexactly(_bounded(int(headers["content-length"])))
        else:
            while piece := await self.reader.read(65_536):
                yield piece

    def close(self) -> None:
        """Close without waiting."""
        with contextlib.suppress(RuntimeError):  # the loop is closing
            self.writer.close()


def _bounded(size: int) -> int:
    if not 0 <= size <= MOST_BYTES:
        raise HttpError(f"a body of {size} bytes is too large")
    return size


_BROKEN = (OSError, EOFError, asyncio.LimitOverrunError, ValueError, ssl.SSLError)


class Client:
    """Makes requests, at most `connections` at the same time. Streams are not counted: they last."""

    def __init__(self, *, connections: int = 8, timeout_seconds: float = 10.0) -> None:
        self._room = asyncio.Semaphore(connections)
        self._timeout_seconds = timeout_seconds
        self._idle: dict[Place, list[Connection]] = {}
        self._tls: ssl.SSLContext | None = None

    async def post(self, address: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post and read the whole answer. Raises HttpError."""
        place, host, path = Place.of(address)
        lines = {"Host": host, "Content-Length": str(len(body)), **headers}
        head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        return await self._answered(place, head, body)

    async def get(self, address: str) -> Answer:
        """Get a whole answer. Raises HttpError, also for one that is too large."""
        place, host, path = Place.of(address)
        return await self._answered(place, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n", b"")

    async def _answered(self, place: Place, head: str, body: bytes) -> Answer:
        async with self._room:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    return await self._exchange(place, head, body)
            except TimeoutError as error:
                raise HttpError(f"no answer within {self._timeout_seconds:.0f} s") from error
            except _BROKEN as error:
                raise HttpError(type(error).__name__) from error

    async def post_json(self, address: str, body: object, headers: Mapping[str, str] | None = None) -> Answer:
        """Post JSON and read the whole answer. Raises HttpError."""
        content = json.dumps(body, separators=(",", ":")).encode()
        return await self.post(address, content, {"Content-Type": "application/json", **(headers or {})})

    async def lines(self, address: str, headers: Mapping[str, str], *, quiet_seconds: float) -> AsyncIterator[str]:
        """Yield a stream's lines, first an empty one when it opened. Silence of `quiet_seconds` ends it by HttpError."""
        place, host, path = Place.of(address)
        pairs = {"Host": host, **headers}
        connection = None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                connection = await self._open(place)
                fields = "".join(f"{name}: {value}\r\n" for name, value in pairs.items())
                connection.send(f"GET {path} HTTP/1.1\r\n{fields}\r\n")
                status, answered = await connection.head()
            if status != 200:
                raise HttpError(f"the stream answers {status}")
            yield ""
            rest = b""
            pieces = connection.pieces(status, answered)
            while True:
                async with asyncio.timeout(quiet_seconds):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                *whole, rest = (rest + piece).split(b"\n")
                if len(rest) > LONGEST_HEAD:
                    raise HttpError("a line of the stream is too long")
                for line in whole:
                    yield line.rstrip(b"\r").decode(errors="replace")
        except TimeoutError as error:
            raise HttpError("the stream is silent") from error
        except _BROKEN as error:
            raise HttpError(type(error).__name__) from error
        finally:
            if connection is not None:
                connection.close()

    def close(self) -> None:
        """Close what is kept open."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def _exchange(self, place: Place, head: str, body: bytes) -> Answer:
        kept = self._idle.setdefault(place, [])
        while kept:
            connection = kept.pop()
            if connection.reader.at_eof() or connection.writer.is_closing():
                connection.close()
                continue
            try:
                return await self._ask(place, connection, head, body)
            except (ConnectionError, asyncio.IncompleteReadError):
                break  # the gateway closed it meanwhile: once more on a new one
        return await self._ask(place, await self._open(place), head, body)

    async def _ask(self, place: Place, connection: Connection, head: str, body: bytes) -> Answer:
        try:
            connection.send(head, body)
            status, headers = await connection.head()
            pieces: list[bytes] = []
            length = 0
            async for piece in connection.pieces(status, headers):
                pieces.append(piece)
                length = _bounded(length + len(piece))
        except BaseException:
            connection.close()
            raise
        ends = headers.get("connection", "").lower() == "close" or connection.reader.at_eof()
        if ends:
            connection.close()
        else:
            self._idle.setdefault(place, []).append(connection)
        return Answer(status, headers, b"".join(pieces))

    async def _open(self, place: Place) -> Connection:
        if place.secure and self._tls is None:
            self._tls = ssl.create_default_context()
        tls = self._tls if place.secure else None
        return Connection(*await asyncio.open_connection(place.host, place.port, ssl=tls, limit=LONGEST_HEAD))
