"""The live stream: one SSE connection a browser, checked against session and roles, cut when either changes."""

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.db import close_old_connections
from django.http import HttpRequest

from hawkops.accounts.models import User
from hawkops.core.environments import Environment
from hawkops.core.live import Listener

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 15.0
# Said aloud, not as an SSE comment: the page must be able to tell a quiet stream from a dead one.
STILL = b'data: {"topic":"still"}\n\n'
RECHECK_SECONDS = 30.0
QUEUE_EVENTS = 256
# After these facts a person may see more or less than before.
RIGHTS_VERBS = ("role.", "person.", "session.")


@dataclass(eq=False)
class _Viewer:
    session_key: str
    environments: frozenset[str]
    queue: "asyncio.Queue[bytes | None]" = field(default_factory=lambda: asyncio.Queue(QUEUE_EVENTS))

    def push(self, data: bytes | None) -> None:
        """Queue an event. None, or a reader too slow to keep up, ends the stream; the browser reconnects."""
        try:
            self.queue.put_nowait(data)
        except asyncio.QueueFull:
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait(None)


def _allowed(session_key: str) -> frozenset[str]:
    """Return the environments the session's person may see; empty when the session has ended."""
    close_old_connections()
    request = HttpRequest()
    request.session = SessionStore(session_key)
    user = get_user(request)
    if not isinstance(user, User) or not user.is_active:
        return frozenset()
    return frozenset(e.value for e in Environment if user.roles_in(e.value))


class LiveStream:
    """A bare ASGI application over one LISTEN connection. A live event says *that* something changed, never what."""

    def __init__(self, dsn: str) -> None:
        self._viewers: set[_Viewer] = set()
        self.listener = Listener(dsn, on_event=self._on_event, on_connect=self._on_connect)

    def start(self) -> None:
        """Begin to listen."""
        self.listener.start()

    async def stop(self) -> None:
        """Stop listening and end every stream."""
        self.close()
        await self.listener.stop()

    def close(self) -> None:
        """End every stream."""
        for viewer in list(self._viewers):
            viewer.push(None)

    async def _on_connect(self) -> None:
        for viewer in list(self._viewers):
            viewer.push(b'data: {"topic":"resync"}\n\n')

    def _on_event(self, event: dict[str, Any]) -> None:
        environment = event.get("environment", "")
        data = b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
        rights = event.get("topic") == "history" and str(event.get("verb", "")).startswith(RIGHTS_VERBS)
        for viewer in list(self._viewers):
            if rights:
                viewer.push(b"recheck")
            if not environment or environment in viewer.environments:
                viewer.push(data)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        key = _session_key(scope)
        environments = await sync_to_async(_allowed)(key) if key else frozenset()
        if scope["method"] != "GET" or not environments:
            status = 405 if scope["method"] != "GET" else 401
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"Sign in to follow live changes.\n"})
            return
        viewer = _Viewer(key, environments)
        self._viewers.add(viewer)
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [
                        (b"content-type", b"text/event-stream"),
                        (b"cache-control", b"no-store"),
                        (b"x-accel-buffering", b"no"),
                        (b"x-content-type-options", b"nosniff"),
                        (b"cross-origin-resource-policy", b"same-origin"),
                    ],
                }
            )
            await self._stream(viewer, gone, send)
        except OSError:
            log.debug("live.viewer_lost")
        finally:
            self._viewers.discard(viewer)
            gone.cancel()

    async def _stream(self, viewer: _Viewer, gone: "asyncio.Task[None]", send: Any) -> None:
        loop = asyncio.get_running_loop()
        checked = loop.time()
        await send({"type": "http.response.body", "body": b"retry: 2000\n\n", "more_body": True})
        while not gone.done():
            getter = asyncio.create_task(viewer.queue.get())
            done, _ = await asyncio.wait(
                {getter, gone}, timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if getter not in done:
                getter.cancel()
                data: bytes | None = STILL
            else:
                data = getter.result()
            if data is None or gone in done:
                break
            if data == b"recheck" or loop.time() - checked > RECHECK_SECONDS:
                checked = loop.time()
                viewer.environments = await sync_to_async(_allowed)(viewer.session_key)
                if not viewer.environments:
                    break
                if data == b"recheck":
                    continue
            await send({"type": "http.response.body", "body": data, "more_body": True})
        if not gone.done():
            with suppress(OSError):
                await send({"type": "http.response.body", "body": b""})


def _session_key(scope: dict[str, Any]) -> str:
    for name, value in scope["headers"]:
        if name == b"cookie":
            cookies = SimpleCookie()
            try:
                cookies.load(value.decode("latin-1"))
            except CookieError:
                return ""
            found = cookies.get(settings.SESSION_COOKIE_NAME)
            return found.value if found else ""
    return ""


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
