"""A simulated fleet in one process: many devices of several classes that obey flags and report; all marked simulated.

Each keeps its own flags, lease and revision like the real device. Only some hold an event stream, the others poll, so
that the number of connections stays bounded whatever the fleet's size.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass
from http import HTTPStatus

from hawkops.fleet.classes import APP_VERSIONS, CLASSES, Body, Sample
from hawkops.fleet.http import Client, HttpError
from hawkops.fleet.identity import Identity
from hawkops.fleet.keeper import FlagKeeper
from hawkops.fleet.ofrep import FlagClient, clock
from hawkops.fleet.orders import SAFE, Orders
from hawkops.fleet.otlp import Payload, wall_clock

MOST_STREAMS = 200
MOST_REQUESTS = 32
MOST_REPORTS_A_SECOND, MOST_LOOKS_A_SECOND = 50, 100  # of the whole fleet, so that it leaves a small host room
NEWS_SECONDS = 10.0
INFERENCES_PER_REPORT = 3


@dataclass(frozen=True)
class Settings:
    """The fleet's size and pace."""

    gateway: str
    key: str
    devices: int
    seed: int
    report_seconds: float
    poll_seconds: float
    streams: int


@dataclass
class Tally:
    """What the fleet as a whole did, for one line now and then."""

    reports: int = 0
    refused: int = 0


class SimulatedDevice:
    """One device of the fleet."""

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        body: Body,
        tally: Tally,
        *,
        http: Client,
        streaming: bool,
    ) -> None:
        self.identity, self.body = identity, body
        self.orders: Orders = SAFE
        self._settings, self._tally, self._http = settings, tally, http
        self._switches = 0
        client = FlagClient(settings.gateway, settings.key, identity.context(), http=http)
        self.keeper = FlagKeeper(
            client,
            self._obey,
            say=_silent,
            streaming=streaming,
            poll_seconds=settings.poll_seconds,
            chance=body.chance,
        )

    async def _obey(self, orders: Orders) -> str:
        changed_backend = self.orders.litert_enabled and orders.backend_requested != self.orders.backend_requested
        self._switches += changed_backend and orders.litert_enabled
        self.orders = orders
        return "obeyed"

    async def run(self) -> None:
        """Live: keep the flags, and report."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_flags())
            tasks.create_task(self._report())

    async def _keep_flags(self) -> None:
        await asyncio.sleep(self.body.chance.uniform(0, self._settings.devices / MOST_LOOKS_A_SECOND))
        await self.keeper.run()

    async def _report(self) -> None:
        span = self._settings.report_seconds
        begins_at = wall_clock()
        await asyncio.sleep(span * self.body.chance.random())
        while True:
            ends_at = wall_clock()
            payload = self.payload(self._samples(), begins_at=begins_at, ends_at=ends_at)
            begins_at = ends_at
            hold_seconds = await self._send(payload)
            await asyncio.sleep(max(hold_seconds, span * self.body.chance.uniform(0.9, 1.1)))

    def _samples(self) -> list[Sample]:
        """Simulate what the device did since its last report."""
        orders, requested = self.orders, self.orders.backend_requested
        if orders.litert_enabled:
            samples = [self.body.infer(requested, now=clock()) for _ in range(INFERENCES_PER_REPORT)]
            failed = [sample for sample in samples if sample.error]
            rescued = [self.body.ask_cloud(requested) for _ in failed] if orders.ai_fallback_to_cloud else []
            if orders.litert_adaptive_switching and self.body.chance.random() < 0.004:
                self._switches += 1
            return samples + rescued
        if orders.ai_fallback_to_cloud:
            return [self.body.ask_cloud(requested) for _ in range(INFERENCES_PER_REPORT)]
        return []

    def payload(self, samples: list[Sample], *, begins_at: float, ends_at: float) -> bytes:
        """Build one export."""
        payload = Payload(self.identity.resource(), begins_at=begins_at, ends_at=ends_at)
        groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for sample in samples:
            groups[sample.requested, sample.actual].append(sample)
        for (requested, actual), group in groups.items():
            attributes = {
                "litert.backend.requested": requested,
                "litert.backend.actual": actual,
                "gen_ai.request.model": self.body.device_class.ai_model,
                "feature_flag.result.variant": self.keeper.variants.get("litert_enabled", "safe"),
            }
            done = [sample for sample in group if not sample.error]
            payload.count("litert.inferences", "{inference}", len(done), attributes)
            errors = Counter(sample.error for sample in group if sample.error)
            for error, number in errors.items():
                payload.count("litert.inferences", "{inference}", number, {**attributes, "error.type": error})
            seconds = [sample.seconds for sample in done]
            payload.histogram("gen_ai.client.operation.duration", "s", seconds, attributes)
            if actual == "cloud":
                payload.histogram("litert.fallback.duration", "s", seconds, attributes)
                continue
            first = [sample.first_token_seconds for sample in done]
            memory = [sample.memory_bytes for sample in done]
            payload.histogram("gen_ai.server.time_to_first_token", "s", first, attributes)
            payload.histogram("litert.prefill.throughput", "{token}/s", [s.prefill for s in done], attributes)
            payload.histogram("litert.decode.throughput", "{token}/s", [s.decode for s in done], attributes)
            payload.histogram("litert.memory.usage", "By", memory, attributes)
            payload.histogram("litert.memory.peak", "By", memory, attributes)
            payload.count("litert.backend.switches", "{switch}", self._switches, attributes)
            if self._switches:
                times = [self.body.chance.uniform(0.08, 0.3) for _ in range(self._switches)]
                payload.histogram("litert.backend.switch.duration", "s", times, attributes)
                self._switches = 0
        tasks = sum(1 for sample in samples if not sample.error)
        payload.count("app.tasks.started", "{task}", tasks, {})
        payload.count("app.tasks.completed", "{task}", tasks, {})
        if self.keeper.revision is not None:
            payload.gauge("hawkops.flags.revision", "", self.keeper.revision)
        return payload.compressed()

    async def _send(self, payload: bytes) -> float:
        """Send one export, once more when the gateway was not reached; return the seconds it asks to hold back."""
        headers = {
            "Authorization": f"Bearer {self._settings.key}",
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
        }
        for _ in range(2):
            try:
                answer = await self._http.post(f"{self._settings.gateway.rstrip('/')}/v1/metrics", payload, headers)
            except HttpError:
                await asyncio.sleep(self.body.chance.uniform(0.5, 2.0))
                continue
            if answer.status == HTTPStatus.OK:
                self._tally.reports += 1
                return 0.0
            after = answer.headers.get("retry-after", "")
            self._tally.refused += 1
            return float(after) if after.isdigit() else 0.0
        self._tally.refused += 1
        return 0.0


def _silent(words: str) -> None:
    """Say nothing: one line per device would drown the fleet's own."""


def fleet(settings: Settings, tally: Tally, *, http: Client) -> list[SimulatedDevice]:
    """Make the devices; the same seed gives the same fleet."""
    chance = random.Random(settings.seed)
    shares = [device_class.share for device_class in CLASSES]
    every = max(1, -(-settings.devices // max(1, settings.streams)))
    devices = []
    for number in range(settings.devices):
        device_class = chance.choices(CLASSES, shares)[0]
        identity = Identity(
            f"sim-{uuid.UUID(int=chance.getrandbits(128)).hex[:16]}",
            device_class.soc,
            chance.choice(device_class.models),
            chance.choice(APP_VERSIONS),
            simulated=True,
        )
        body = Body.born(device_class, random.Random(chance.getrandbits(64)))
        streaming = settings.streams > 0 and number % every == 0
        devices.append(SimulatedDevice(settings, identity, body, tally, http=http, streaming=streaming))
    return devices


async def _news(devices: list[SimulatedDevice], tally: Tally) -> None:
    """Say how the fleet stands whenever that changed."""
    last = ""
    while True:
        await asyncio.sleep(NEWS_SECONDS)
        running = sum(device.orders.litert_enabled for device in devices)
        revisions = Counter(device.keeper.revision for device in devices)
        held = ", ".join(
            f"{number} at revision {revision}" if revision is not None else f"{number} without"
            for revision, number in revisions.most_common(3)
        )
        refused = f", {tally.refused} reports refused" if tally.refused else ""
        words = f"simulated: {running} of {len(devices)} run LiteRT; {held}{refused}"
        if words != last:
            print(words, flush=True)
        last = words


async def run(settings: Settings) -> None:
    """Be the fleet until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tally = Tally()
    with contextlib.closing(Client(connections=MOST_REQUESTS)) as http:
        devices = fleet(settings, tally, http=http)
        classes = Counter(device.identity.soc for device in devices)
        words = ", ".join(f"{number} {soc}" for soc, number in classes.most_common())
        print(f"simulated fleet: {words}; seed {settings.seed}, gateway {settings.gateway}", flush=True)
        tasks = [asyncio.create_task(device.run()) for device in devices]
        tasks.append(asyncio.create_task(_news(devices, tally)))
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in [*tasks, stopping]:
            task.cancel()
        await asyncio.gather(*tasks, stopping, return_exceptions=True)
        for task in done - {stopping}:
            task.result()  # a device that ended by itself ended by an error: show it
    print("simulated fleet stopped", flush=True)


def main() -> int:
    """Run the fleet."""
    parser = argparse.ArgumentParser(description="Simulate a fleet of devices; everything is marked simulated.")
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--gateway", default=os.environ.get("HAWKOPS_GATEWAY", "http://127.0.0.1:4318"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=float, help="seconds between two reports of one device; 10, more if many")
    parser.add_argument("--poll", type=float, help="seconds between two looks without a stream; 30, more if many")
    parser.add_argument("--streams", type=int, default=MOST_STREAMS, help=f"streams to hold, at most {MOST_STREAMS}")
    given = parser.parse_args()
    key = os.environ.get("HAWKOPS_DEVICE_KEY")
    if not key:
        parser.exit(2, "HAWKOPS_DEVICE_KEY is not set. Make a key with `manage.py device_key`, or start by `up`.\n")
    if given.devices < 1:
        parser.exit(2, "--devices must be 1 or more.\n")
    streams = max(0, min(given.streams, MOST_STREAMS))
    report_seconds = max(0.5, given.report or max(10.0, given.devices / MOST_REPORTS_A_SECOND))
    poll_seconds = max(1.0, given.poll or max(30.0, given.devices / MOST_LOOKS_A_SECOND))
    settings = Settings(given.gateway, key, given.devices, given.seed, report_seconds, poll_seconds, streams)
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
