"""The devices' door: bare ASGI in a process of its own. No Django middleware, session or ORM in a request."""

import asyncio
import os
from contextlib import suppress
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hawkops.settings")
django.setup()

# isort: split
from django.conf import settings

from hawkops.core.asgi import answer, answer_json
from monitoring.otlp.door import TelemetryDoor
from rollout.ofrep.census import CensusRecorder
from rollout.ofrep.door import OfrepDoor
from rollout.ofrep.store import LEASE_SECONDS, SnapshotStore
from rollout.ofrep.streams import Streams

PLAIN = [(b"content-type", b"text/plain; charset=utf-8")]


class Gateway:
    """Flags under `/ofrep/v1/`, telemetry under `/v1/`, and nothing else."""

    def __init__(self, dsn: str, *, secret: str, lease_seconds: int = LEASE_SECONDS) -> None:
        self.streams = Streams()
        self.store = SnapshotStore(dsn, secret=secret, on_change=self.streams.push, lease_seconds=lease_seconds)
        self.census = CensusRecorder(dsn)
        self.flags = OfrepDoor(self.store, self.census, self.streams)
        self.metrics = TelemetryDoor(dsn=dsn, authenticate=self.store.key, on_report=self._on_report)

    def close_streams(self) -> None:
        """End every open stream; devices come back to whoever listens next."""
        self.streams.close()

    def _on_report(self, report: Any) -> None:
        """A telemetry payload is a contact too, and its revision gauge proves what the device obeys."""
        snapshot = self.store.snapshot(report.environment)
        revision = min(report.revision or 0, snapshot.revision if snapshot else 0)
        self.census.note(
            report.environment,
            report.device_id,
            device_class=report.device_class,
            simulated=report.simulated,
            obeyed=revision,
        )

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"The gateway speaks HTTP only, not {scope['type']}.")
        path = scope["path"].replace("//", "/")
        if path.startswith("/ofrep/"):
            await self.flags(scope, receive, send)
        elif path.startswith("/v1/"):
            await self.metrics(scope, receive, send)
        elif path == "/healthz":
            lease = self.store.lease_seconds()
            await answer(
                send, 200 if lease else 503, b"ok\n" if lease else b"no database: serving safe values\n", PLAIN
            )
        else:
            await answer_json(
                send, 404, {"errorDetails": "Devices find flags under /ofrep/v1 and telemetry under /v1."}
            )

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.store.start()
                    await self.metrics.start()
                except Exception as error:  # noqa: BLE001 - whatever it is, the server must say it and end
                    await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
                    return
                self.census.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self.streams.close()
                for part in (self.metrics, self.census, self.store):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(part.stop(), timeout=3)
                await send({"type": "lifespan.shutdown.complete"})
                return


application = Gateway(settings.DATABASE_URL, secret=settings.SECRET_KEY)
