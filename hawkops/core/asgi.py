"""Small pieces of HTTP for bare ASGI doors: bounded bodies, JSON answers, headers by name."""

import asyncio
import re
import time
from contextlib import suppress
from typing import Any

import orjson

from hawkops.core.bounded import TooLarge

Headers = list[tuple[bytes, bytes]]
JSON = (b"content-type", b"application/json")
CORS: Headers = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"ETag, Retry-After, HawkOps-Revision, HawkOps-Lease-Seconds"),
]
PREFLIGHT: Headers = [
    *CORS,
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, content-type, if-none-match, x-api-key, last-event-id"),
    (b"access-control-max-age", b"86400"),
]


def header(scope: dict[str, Any], name: bytes) -> str:
    """Return a request header as text; empty when absent."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def headers_of(scope: dict[str, Any]) -> dict[bytes, bytes]:
    """Return all request headers, for a door that asks for many; of several of one name the first."""
    return dict(reversed(scope["headers"]))


def bearer(scope: dict[str, Any]) -> str:
    """Return the presented key: `Authorization: Bearer …` or `X-API-Key`."""
    return bearer_of(headers_of(scope))


def bearer_of(headers: dict[bytes, bytes]) -> str:
    """Return the key that headers present."""
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get(b"x-api-key", b"").decode("latin-1").strip()


async def read_body(
    scope: dict[str, Any], receive: Any, *, limit_bytes: int, headers: dict[bytes, bytes] | None = None
) -> bytes:
    """Read the body, refusing it as soon as it is known to be too large; `headers` spare it looking for its length."""
    declared = header(scope, b"content-length") if headers is None else headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise TooLarge(f"The body has {int(declared)} bytes; this door takes {limit_bytes}.")
    parts: list[bytes] = []
    total = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client went away")
        part = message.get("body", b"")
        total += len(part)
        if total > limit_bytes:
            raise TooLarge(f"The body has more than {limit_bytes} bytes.")
        if not message.get("more_body"):
            return b"".join((*parts, part)) if parts else bytes(part)
        parts.append(part)


class PatientReader:
    """Reads bodies, each within a time: one look at all of them a second costs less than a timer for each."""

    def __init__(self, *, seconds: float) -> None:
        self.seconds = seconds
        # who reads, and until when; oldest first
        self._until: dict[asyncio.Task[Any], float] = {}
        self._watch: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._loop = asyncio.get_running_loop()
        self._watch = asyncio.create_task(self._run(), name="slow-bodies")

    async def stop(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch

    async def read(self, scope: dict[str, Any], receive: Any, *, limit_bytes: int) -> bytes:
        """Read a body as `read_body` does. Raises TimeoutError when it does not arrive in time."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._until[task] = time.monotonic() + self.seconds
        try:
            return await read_body(scope, receive, limit_bytes=limit_bytes)
        except asyncio.CancelledError:
            if task in self._until:
                raise
            task.uncancel()
            raise TimeoutError from None
        finally:
            self._until.pop(task, None)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            for task in [one for one, until in self._until.items() if until <= now]:
                del self._until[task]
                task.cancel()


async def answer(send: Any, status: int, body: bytes, headers: Headers) -> None:
    """Send one whole answer."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def answer_json(send: Any, status: int, value: Any, headers: Headers | None = None) -> None:
    """Send a value as JSON."""
    await answer(send, status, orjson.dumps(value), [JSON, *(headers or [])])


ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


def matches(if_none_match: str, etag: str) -> bool:
    """Compare weakly, as a list: proxies turn a strong tag into a weak one."""
    return if_none_match.strip() == "*" or etag in ENTITY_TAG.findall(if_none_match)
