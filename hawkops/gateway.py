"""The devices' door: bare ASGI in a process of its own. No Django middleware, session or ORM in a request."""

import asyncio
import os
import time
from contextlib import suppress
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hawkops.settings")
django.setup()

# isort: split
from django.conf import settings

from hawkops import exposition, readiness
from hawkops.core import metering
from hawkops.core.asgi import answer, answer_json
from hawkops.watch import Watch
from monitoring.otlp.door import TelemetryDoor
from monitoring.services.pulses import pulse_note
from rollout.ofrep.answers import STREAM
from rollout.ofrep.census import CensusRecorder
from rollout.ofrep.door import BULK, OfrepDoor
from rollout.ofrep.store import LEASE_SECONDS, SnapshotStore
from rollout.ofrep.streams import Streams

# what is counted by name; everything else is one
ROUTES = {BULK: "flags", "/v1/metrics": "metrics", "/v1/logs": "logs"}
PULSE_SECONDS = 15.0
PLAIN = [(b"content-type", b"text/plain; charset=utf-8")]


class Gateway:
    """Flags under `/ofrep/v1/`, telemetry under `/v1/`, and nothing else."""

    def __init__(self, dsn: str, *, secret: str, lease_seconds: int = LEASE_SECONDS) -> None:
        self.streams = Streams()
        self.store = SnapshotStore(dsn, secret=secret, on_change=self.streams.push, lease_seconds=lease_seconds)
        self.census = CensusRecorder(dsn)
        self.flags = OfrepDoor(self.store, self.census, self.streams)
        self.metrics = TelemetryDoor(dsn=dsn, authenticate=self.store.key, on_report=self._on_report)

        self.pulse = Watch(self._pulse, first_seconds=3.0, every_seconds=PULSE_SECONDS)

    def _pulse(self) -> None:
        pulse_note("gateway listener", silent_seconds=self.store.listener.silent_seconds)

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
        if path == STREAM:  # open for hours: nothing to time
            await self.flags(scope, receive, send)
            return
        began = time.perf_counter()
        if path == BULK:
            # by the server's own `send`, which writes an answer in one piece; the door leaves its status here
            await self.flags(scope, receive, send)
            status = scope.get("hawkops.status", "refused")
        else:
            status = await self._answered(path, scope, receive, send)
        metering.gateway.note_alone(ROUTES.get(path, "other"), status, time.perf_counter() - began)

    async def _answered(self, path: str, scope: dict[str, Any], receive: Any, send: Any) -> object:
        """Answer and return the status; "none" where the client went away before."""
        status: object = "none"

        async def noting(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        if path.startswith("/ofrep/"):
            await self.flags(scope, receive, noting)
        elif path.startswith("/v1/"):
            await self.metrics(scope, receive, noting)
        elif path == "/healthz":  # it lives: nobody is asked
            await answer(noting, 200, b"ok\n", PLAIN)
        elif path == "/readyz":
            await self._ready(noting)
        elif path == "/metrics":
            await exposition.served(scope, noting, metering.gateway, asyncio.to_thread)
        else:
            await answer_json(
                noting, 404, {"errorDetails": "Devices find flags under /ofrep/v1 and telemetry under /v1."}
            )
        return status

    async def _ready(self, send: Any) -> None:
        """Say of each part whether it can do what it is for. Flags are served for a while without the database."""
        lease = self.store.lease_seconds()
        flags = (
            readiness.Part("flags", readiness.OK, f"confirmed, for {lease} s more")
            if lease
            else readiness.Part("flags", readiness.DOWN, "no database for too long: serving safe values")
        )
        # while the lease runs, a database that is away is no reason to send devices elsewhere
        found = [
            readiness.Part(
                one.name, readiness.DEGRADED if lease and one.state == readiness.DOWN else one.state, one.says
            )
            for one in await readiness.asked()
        ]
        line = self.store.listener
        listener = readiness.listener(line.silent_seconds, connected=line.connected)
        status, says = readiness.whole([flags, *found, listener])
        await answer_json(send, status, says, [(b"cache-control", b"no-store")])

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
                self.pulse.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self.streams.close()
                await self.pulse.stop()
                for part in (self.metrics, self.census, self.store):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(part.stop(), timeout=3)
                await send({"type": "lifespan.shutdown.complete"})
                return


application = Gateway(settings.DATABASE_URL, secret=settings.SECRET_KEY)
