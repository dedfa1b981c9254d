"""The console: Django's pages in a thread pool, emergency pages in threads of their own, `/live` beside them."""

import asyncio
import re
from typing import Any, cast

from a2wsgi import WSGIMiddleware
from django.conf import settings

from hawkops.wsgi import application as django_pages  # configures Django before anything below needs it

# isort: split
from hawkops.courier import Courier
from hawkops.live import LiveStream
from hawkops.watch import Watch
from monitoring.services.alerts import evaluation_watch

EMERGENCY = re.compile(
    r"^/[a-z]+/emergency(/|$)|^/api/v1/[a-z]+/(kill|rollback|emergency/lockdown|backends/[a-z]+/disable)$"
)


class Console:
    """Dispatch by path. Slow pages can fill their pool and the emergency page still answers."""

    def __init__(self) -> None:
        self.pages: Any = WSGIMiddleware(cast(Any, django_pages), workers=8)
        self.emergency: Any = WSGIMiddleware(cast(Any, django_pages), workers=4)
        self.live = LiveStream(settings.DATABASE_URL)
        # here, because nothing that evaluates alerts can tell that it has stopped
        self.watch = Watch(evaluation_watch)
        # likewise: whoever is killed at night must be told of, broker or not
        self.courier = Courier(settings.DATABASE_URL)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] != "http":
            raise RuntimeError(f"The console speaks HTTP only, not {scope['type']}.")
        elif scope["path"] == "/live":
            await self.live(scope, receive, send)
        elif EMERGENCY.match(scope["path"]):
            await self.emergency(scope, receive, send)
        else:
            await self.pages(scope, receive, send)

    def close_streams(self) -> None:
        """End every open stream; browsers come back by themselves."""
        self.live.close()

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.live.start()
                self.watch.start()
                self.courier.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.watch.stop()
                await asyncio.wait_for(self.courier.stop(), timeout=3)
                await asyncio.wait_for(self.live.stop(), timeout=3)
                await send({"type": "lifespan.shutdown.complete"})
                return


application = Console()
