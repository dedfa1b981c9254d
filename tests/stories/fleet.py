"""Phones of demo on a story's clock: they ask for their flags and report, hour by hour, through the devices' own door.

The door is the gateway of the product in the story's own process, whose clock is stepped, and is called as its server
calls it. Few phones report; each export carries as many observations as an hour of a thousand users brings, which stands
in for that many exports.
"""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from math import ceil
from typing import Any

import orjson
from django.conf import settings

from hawkops.core import clock
from hawkops.fleet.otlp import LOGS_PATH, METRICS_PATH, Payload, crash_events
from hawkops.gateway import Gateway
from monitoring import tasks as monitoring
from monitoring.services import rollups
from rollout.selectors import census
from tests import apart

ENVIRONMENT, FLAG = "demo", "litert_enabled"
FLAGS_PATH = "/ofrep/v1/evaluate/flags"
SOC = "snapdragon-8-elite"
HOUR = timedelta(hours=1)
# who reports of those served on, and of those served off
REPORTING = 3
INFERENCES = 1_000
TRIES = 30


@dataclass
class Phone:
    """A phone with the app. `variant` is what it was told of LiteRT last, empty before it asked."""

    key: str
    api: int = 34
    memory_mb: int = 8_000
    variant: str = ""

    @property
    def context(self) -> dict[str, Any]:
        """What it says of itself when it asks."""
        return {
            "targetingKey": self.key,
            "device.soc": SOC,
            "os.api": self.api,
            "device.memory_mb": self.memory_mb,
            "hawkops.simulated": True,
        }

    def resource(self, version: str) -> dict[str, str | bool]:
        """What it says of itself when it reports."""
        return {"device.id": self.key, "device.soc": SOC, "service.version": version, "hawkops.simulated": True}


@dataclass(frozen=True)
class Health:
    """How LiteRT does for a while: so many phones are throttled, and this share of inferences fails."""

    throttled: int = 0
    failing: float = 0.0


WELL = Health()


@dataclass
class Fleet:
    """All phones, and the device key that they carry."""

    key: str
    version: str
    phones: list[Phone]

    def ask(self, phones: Sequence[Phone] = (), *, confirm: bool = False) -> None:
        """Let every phone ask for its flags, as it does several times an hour, or some phones.

        Whoever confirms asks again with what it holds, as the reference client does, which proves that it obeys.
        """

        async def story() -> None:
            async with gateway() as door:
                for phone in phones or self.phones:
                    body = orjson.dumps({"context": phone.context})
                    _, said, etag = await call(door, FLAGS_PATH, self.key, body)
                    flags = {flag["key"]: flag for flag in orjson.loads(said)["flags"]}
                    phone.variant = str(flags[FLAG]["variant"])
                    if confirm:
                        status, _, _ = await call(door, FLAGS_PATH, self.key, body, holds=etag)
                        assert status == HTTPStatus.NOT_MODIFIED

        apart.run(story())
        assert census.active_count(ENVIRONMENT) >= len(self.phones)

    def served(self, variant: str) -> list[Phone]:
        """Return the phones that were told a variant."""
        return [phone for phone in self.phones if phone.variant == variant]

    def crash(self, phone: Phone) -> None:
        """Let a phone tell of a crash that was provoked in it."""
        said = {"exception.type": "Provoked", "feature_flag.result.variant": phone.variant}
        body = crash_events(phone.resource(self.version), [clock.now().timestamp()], said)

        async def story() -> None:
            async with gateway() as door:
                await call(door, LOGS_PATH, self.key, body)

        apart.run(story())

    def hours_of_telemetry(
        self,
        hours: float,
        *,
        health: Health = WELL,
        lab: Sequence[Phone] = (),
        beside: Sequence[Phone] = (),
        every: timedelta = HOUR,
    ) -> None:
        """Step the clock hour by hour, or as often as said; each time phones of both sides report what that brought.

        `lab` are phones of the test bench, which report in place of those served on and name no variant; `beside` are
        phones that report as well, on either side. At the end what beat's sweepers do with telemetry is done, and the
        whole fleet has asked for its flags within the hour.
        """
        begins, span = clock.now(), timedelta(hours=hours)
        moments = [begins + every * (number + 1) for number in range(ceil(span / every) - 1)]

        async def story() -> None:
            # the last export goes to a gateway of its own, which writes down everybody's contact anew
            for part in (moments, [begins + span]):
                async with gateway() as door:
                    snapshot = door.store.snapshot(ENVIRONMENT)
                    assert snapshot is not None
                    for moment in part:
                        clock.step_to(moment)
                        bodies = self._bodies(snapshot.revision, health, lab, beside)
                        await asyncio.gather(*(call(door, METRICS_PATH, self.key, body) for body in bodies))

        apart.run(story())
        monitoring.panel_merge()
        rollups.rollups_move_up()
        rollups.partitions_keep()
        self.ask()

    def _bodies(self, revision: int, health: Health, lab: Sequence[Phone], beside: Sequence[Phone]) -> Iterable[bytes]:
        on = lab or self.served("on")[:REPORTING]
        for place, phone in enumerate(on):
            throttled = place < health.throttled
            yield self._export(phone, revision, local=True, throttled=throttled, failing=health.failing)
        for phone in self.served("off")[-REPORTING:]:
            yield self._export(phone, revision, local=False)
        for phone in beside:
            local = phone.variant == "on"
            yield self._export(phone, revision, local=local, failing=health.failing if local else 0.0)

    def _export(
        self, phone: Phone, revision: int, *, local: bool, throttled: bool = False, failing: float = 0.0
    ) -> bytes:
        """Build what one phone reports of an hour: LiteRT on its CPU, or cloud AI where it is off."""
        ends = clock.now().timestamp()
        out = Payload(phone.resource(self.version), begins_at=ends - HOUR.total_seconds(), ends_at=ends)
        arm = {"feature_flag.result.variant": phone.variant} if phone.variant else {}
        backend = "cpu" if local else "cloud"
        run = {"litert.backend.requested": backend, "litert.backend.actual": backend, **arm}
        # most of an hour's values are alike; their spread is what a median or a 5th percentile can be read from
        spread = [1 + step / 100 for step in range(-10, 10)] * 2
        failed = round(INFERENCES * failing)
        out.count("litert.inferences", "{inference}", INFERENCES - failed, run)
        out.count("litert.inferences", "{inference}", failed, {**run, "error.type": "timeout"})
        out.histogram("gen_ai.client.operation.duration", "s", [(0.7 if local else 2.8) * x for x in spread], run)
        # the cloud's answers come over HTTP as well, and some of what fails leaves a task undone
        out.histogram("http.client.request.duration", "s", [(0.3 if local else 1.2) * x for x in spread], arm)
        if local:
            prefill = 150 if throttled else 310
            out.histogram("litert.prefill.throughput", "{token}/s", [prefill * x for x in spread], run)
            out.histogram("litert.decode.throughput", "{token}/s", [40 * x for x in spread], run)
            out.histogram("litert.memory.usage", "By", [1.2e9 * x for x in spread], run)
            out.histogram("litert.memory.peak", "By", [1.5e9 * x for x in spread], run)
            # to the cloud and back
            out.count("litert.backend.switches", "{switch}", 1, run)
            out.histogram("litert.backend.switch.duration", "s", [0.2], run)
        out.count("app.tasks.started", "{task}", 60, arm)
        out.count("app.tasks.completed", "{task}", 60 - round(60 * failing), arm)
        out.count("app.sessions", "{session}", 40, arm)
        out.histogram("app.session.duration", "s", [240 * x for x in spread[:8]], arm)
        out.count("app.support_tickets", "{ticket}", 10, arm)
        out.count("app.engagement.events", "{event}", 66 if local else 60, arm)
        out.histogram("app.user.satisfaction", "1", [4.5 if local else 4.2, 4.9 if local else 4.6] * 4, arm)
        out.histogram("business.value", "", [1.2 if local else 1.0] * 8, arm)
        # warmer in every second hour, with LiteRT and without
        warm = int(ends // HOUR.total_seconds()) % 2
        out.gauge("process.cpu.utilization", "1", 0.04 + 0.02 * warm, arm)
        out.gauge("device.battery.drain", "1", 0.02 + 0.01 * warm, arm)
        out.gauge("device.thermal.status", "1", warm, arm)
        out.gauge("device.storage.free", "By", 40e9 - 1e8 * warm, arm)
        out.gauge("hawkops.flags.revision", "1", revision, {})
        return out.compressed()


@asynccontextmanager
async def gateway() -> AsyncIterator[Gateway]:
    """Give a gateway of this process. A fresh one each time: it remembers by the real clock whom it wrote down."""
    door = Gateway(settings.DATABASE_URL, secret=settings.SECRET_KEY)
    await door.store.start()
    await door.metrics.start()
    door.census.start()
    try:
        yield door
    finally:  # however long a busy machine takes: what was noted is written
        for part in (door.metrics, door.census, door.store):
            await part.stop()


async def call(
    door: Callable[..., Awaitable[None]], path: str, key: str, body: bytes, *, holds: bytes = b""
) -> tuple[int, bytes, bytes]:
    """POST to a door as its server does, and give the answer's status, body and ETag; it must be 200, or 304.

    A door that lags on a busy machine says so, and is asked again, as devices do. `holds` is the ETag of what is held.
    """
    for _ in range(TRIES):
        status, answer, etag = await _call(door, path, key, body, holds)
        if status != HTTPStatus.TOO_MANY_REQUESTS:
            break
        await asyncio.sleep(1)
    assert status in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED), answer
    return status, answer, etag


async def _call(
    door: Callable[..., Awaitable[None]], path: str, key: str, body: bytes, holds: bytes
) -> tuple[int, bytes, bytes]:
    packed = body[:2] == gzip.compress(b"")[:2]
    headers = [
        (b"authorization", f"Bearer {key}".encode()),
        (b"content-type", b"application/x-protobuf" if packed else b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *([(b"content-encoding", b"gzip")] if packed else []),
        *([(b"if-none-match", holds)] if holds else []),
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    await door(scope, receive, send)
    etag = next((value for name, value in sent[0]["headers"] if name.lower() == b"etag"), b"")
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent), etag
