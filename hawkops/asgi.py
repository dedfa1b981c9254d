"""The console: Django's pages in a thread pool, emergency pages in threads of their own, `/live` beside them."""

import asyncio
import re
from typing import Any, cast

from a2wsgi import WSGIMiddleware
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from hawkops.wsgi import application as django_pages  # configures Django before anything below needs it

# isort: split
from hawkops import exposition, readiness
from hawkops.core import metering
from hawkops.core.asgi import answer, answer_json, header
from hawkops.courier import Courier
from hawkops.kept_ready import EVERY_SECONDS, keep_ready
from hawkops.live import LiveStream
from hawkops.watch import Watch
from monitoring.services.alerts import evaluation_watch
from monitoring.services.pulses import pulse_note

EMERGENCY = re.compile(
    r"^/[a-z]+/emergency(/|$)|^/api/v1/[a-z]+/(kill|rollback|emergency/lockdown|backends/[a-z]+/disable)$"
)


PULSE_SECONDS = 15.0
EMERGENCY_THREADS = 4


class Console:
    """Dispatch by path. Slow pages can fill their pool and the emergency page still answers."""

    def __init__(self) -> None:
        self.pages: Any = WSGIMiddleware(cast(Any, django_pages), workers=8)
        self.emergency: Any = WSGIMiddleware(cast(Any, django_pages), workers=EMERGENCY_THREADS)
        # a kill must not wait for a connection that PostgreSQL has no room for
        self.ready = Watch(self._keep_ready, first_seconds=0.5, every_seconds=EVERY_SECONDS)
        self.live = LiveStream(settings.DATABASE_URL)
        # here, because nothing that evaluates alerts can tell that it has stopped
        self.watch = Watch(evaluation_watch)
        self.pulse = Watch(self._pulse, first_seconds=3.0, every_seconds=PULSE_SECONDS)
        # likewise: whoever is killed at night must be told of, broker or not
        self.courier = Courier(settings.DATABASE_URL)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] != "http":
            raise RuntimeError(f"The console speaks HTTP only, not {scope['type']}.")
        elif scope["path"] == "/live":
            if self._is_ours(header(scope, b"host")):
                await self.live(scope, receive, send)
            else:
                await answer(send, 400, b"This console has other names.\n", [(b"content-type", b"text/plain")])
        elif scope["path"] == "/healthz":  # it lives: nobody is asked
            await answer(send, 200, b"ok\n", [(b"content-type", b"text/plain; charset=utf-8")])
        elif scope["path"] == "/readyz":
            await self._ready(send)
        elif scope["path"] == "/metrics":
            await exposition.served(scope, send, metering.console, asyncio.to_thread)
        elif EMERGENCY.match(scope["path"]):
            await self.emergency(scope, receive, send)
        else:
            await self.pages(scope, receive, send)

    async def _ready(self, send: Any) -> None:
        """Say of each part whether it can do what it is for."""
        found = await readiness.asked()
        line = self.live.listener
        listener = readiness.listener(line.silent_seconds, connected=line.connected)
        status, says = readiness.whole([*found, listener])
        await answer_json(send, status, says, [(b"cache-control", b"no-store")])

    def _keep_ready(self) -> None:
        keep_ready(self.emergency.executor, EMERGENCY_THREADS)

    def _pulse(self) -> None:
        pulse_note("console listener", silent_seconds=self.live.listener.silent_seconds)
        pulse_note("courier", silent_seconds=self.courier.silent_seconds)

    def _is_ours(self, host: str) -> bool:
        """Say what Django says of every other request's host."""
        return validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS)

    def close_streams(self) -> None:
        """End every open stream; browsers come back by themselves."""
        self.live.close()

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.live.start()
                self.watch.start()
                self.pulse.start()
                self.ready.start()
                self.courier.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.ready.stop()
                await self.pulse.stop()
                await self.watch.stop()
                await asyncio.wait_for(self.courier.stop(), timeout=3)
                await asyncio.wait_for(self.live.stop(), timeout=3)
                await send({"type": "lifespan.shutdown.complete"})
                return


application = Console()
