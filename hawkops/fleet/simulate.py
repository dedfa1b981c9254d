"""A simulated fleet in one process: many devices of several classes that obey flags and report; all marked simulated.

Each keeps its own flags, lease and revision like the real device. Only some hold an event stream, the others poll, so
that the number of connections stays bounded whatever the fleet's size. A device that is offline reaches nothing.
"""

import argparse
import asyncio
import contextlib
import math
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from hawkops.fleet.http import Answer, Client, HttpError
from hawkops.fleet.keeper import FlagKeeper
from hawkops.fleet.ofrep import FlagClient
from hawkops.fleet.orders import Orders
from hawkops.fleet.otlp import wall_clock
from hawkops.fleet.population import SimulatedDevice, population
from hawkops.fleet.scenarios import HEALTHY, Injection, Scenario, UnknownScenario, scenario

GATEWAY = "http://127.0.0.1:4318"
MOST_DEVICES = 100_000
MOST_STREAMS = 200
MOST_REQUESTS = 32
MOST_REPORTS_A_SECOND, MOST_LOOKS_A_SECOND = 50, 100  # of the whole fleet, so that it leaves a small host room
NEWS_SECONDS = 10.0
KEPT_REPORT_SECONDS = 60.0  # without a network there is no hurry
TRY_AGAIN = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


class WrongInput(ValueError):
    """The fleet can't be run as told; the message is a sentence for the person who told it."""


@dataclass(frozen=True)
class Settings:
    """The fleet's size and pace, and what goes wrong in it."""

    gateway: str
    key: str
    devices: int
    seed: int
    report_seconds: float
    poll_seconds: float
    streams: int
    scenario: Scenario = HEALTHY
    after_seconds: float = 0.0
    for_seconds: float | None = None
    steady: bool = False

    @classmethod
    def given(
        cls,
        *,
        gateway: str,
        key: str,
        devices: int | str,
        seed: int | str = 1,
        report_seconds: float | str | None = None,
        poll_seconds: float | str | None = None,
        streams: int | str = MOST_STREAMS,
        scenario_name: str = HEALTHY.name,
        after_seconds: float | str = 0.0,
        for_seconds: float | str | None = None,
        steady: bool = False,
    ) -> "Settings":
        """Make settings from what a person gave, numbers as texts too. Raises WrongInput."""
        many = _whole("--devices", devices)
        if not 1 <= many <= MOST_DEVICES:
            raise WrongInput(f"--devices must be 1 to {MOST_DEVICES}.")
        if not gateway.startswith(("http://", "https://")):
            raise WrongInput(f"The gateway's address must begin with http:// or https://, and {gateway!r} does not.")
        report, poll = _span("--report", report_seconds), _span("--poll", poll_seconds)
        after = _seconds("--after", after_seconds)
        if after < 0:
            raise WrongInput("--after must be 0 seconds or more.")
        try:
            chosen = scenario(scenario_name)
        except UnknownScenario as error:
            raise WrongInput(str(error)) from error
        return cls(
            gateway,
            key,
            many,
            _whole("--seed", seed),
            report_seconds=max(0.5, report or max(10.0, many / MOST_REPORTS_A_SECOND)),
            poll_seconds=max(1.0, poll or max(30.0, many / MOST_LOOKS_A_SECOND)),
            streams=max(0, min(_whole("--streams", streams), MOST_STREAMS)),
            scenario=chosen,
            after_seconds=after,
            for_seconds=_span("--for", for_seconds),
            steady=steady,
        )


def _whole(name: str, value: int | str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise WrongInput(f"{name} must be a whole number, and {value!r} is none.") from error


def _seconds(name: str, value: float | str) -> float:
    try:
        seconds = float(value)
    except ValueError as error:
        raise WrongInput(f"{name} must be a number of seconds, and {value!r} is none.") from error
    if not math.isfinite(seconds):
        raise WrongInput(f"{name} must be a number of seconds, and {value!r} is none.")
    return seconds


def _span(name: str, value: float | str | None) -> float | None:
    if value is None:
        return None
    seconds = _seconds(name, value)
    if seconds <= 0:
        raise WrongInput(f"{name} must be more than 0 seconds.")
    return seconds


@dataclass
class Tally:
    """What the fleet as a whole did, for one line now and then."""

    reports: int = 0
    refused: int = 0


class Radio(Client):
    """A device's way out: the fleet's client while the device is online, nothing otherwise."""

    def __init__(self, http: Client, online: Callable[[], bool]) -> None:
        self._http, self._online = http, online

    async def post(self, address: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post and read the whole answer. Raises HttpError."""
        self._check()
        return await self._http.post(address, body, headers)

    async def lines(self, address: str, headers: Mapping[str, str], *, quiet_seconds: float) -> AsyncIterator[str]:
        """Yield a stream's lines until the device goes offline. Raises HttpError."""
        self._check()
        async for line in self._http.lines(address, headers, quiet_seconds=quiet_seconds):
            self._check()
            yield line

    def _check(self) -> None:
        if not self._online():
            raise HttpError("offline")


class ConnectedDevice:
    """One device of the fleet on the network."""

    def __init__(
        self, settings: Settings, device: SimulatedDevice, tally: Tally, *, http: Client, streaming: bool
    ) -> None:
        self.device = device
        self._settings, self._tally = settings, tally
        self._http = Radio(http, self.online)
        self._pauses = random.Random(f"pauses {device.usage.seed}")
        client = FlagClient(settings.gateway, settings.key, device.identity.context(), http=self._http)
        self.keeper = FlagKeeper(
            client,
            self._obey,
            say=_silent,
            streaming=streaming,
            poll_seconds=settings.poll_seconds,
            chance=self._pauses,
        )

    def online(self) -> bool:
        """Tell whether the device reaches the network now."""
        return self.device.usage.online(wall_clock())

    async def _obey(self, orders: Orders) -> str:
        self.device.obey(orders)
        return "obeyed"

    async def run(self) -> None:
        """Live: keep the flags, and report."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_flags())
            tasks.create_task(self._report())

    async def _keep_flags(self) -> None:
        await asyncio.sleep(self._pauses.uniform(0, self._settings.devices / MOST_LOOKS_A_SECOND))
        await self.keeper.run()

    async def _report(self) -> None:
        device, chance = self.device, self._pauses
        span = device.usage.report_seconds(self._settings.report_seconds)
        begins_at = wall_clock()
        await asyncio.sleep(span * chance.random())
        while True:
            ends_at = wall_clock()
            keeper = self.keeper  # whose lease ended has no revision, and obeys no variant any more
            device.variants = keeper.variants if keeper.revision is not None else {}
            device.revision = keeper.revision
            for export in device.report(begins_at=begins_at, ends_at=ends_at):
                device.outbox.put(export, at=ends_at)
            begins_at = ends_at
            hold_seconds = await self._send()
            if not self.online():
                hold_seconds = max(hold_seconds, KEPT_REPORT_SECONDS)
            await asyncio.sleep(max(hold_seconds, span * chance.uniform(0.9, 1.1)))

    async def _send(self) -> float:
        """Send what waits, oldest first; what can't be sent now is kept. Return the seconds to hold back."""
        headers = {
            "Authorization": f"Bearer {self._settings.key}",
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
        }
        address = self._settings.gateway.rstrip("/")
        failures = 0
        while (export := self.device.outbox.waiting(wall_clock())) is not None:
            try:
                answer = await self._http.post(f"{address}{export.path}", export.payload, headers)
            except HttpError:
                failures += 1
                if failures > 1 or not self.online():
                    return 0.0
                await asyncio.sleep(self._pauses.uniform(0.5, 2.0))
                continue
            if answer.status == HTTPStatus.OK:
                self._tally.reports += 1
                self.device.outbox.sent()
                continue
            after = answer.headers.get("retry-after", "")
            self._tally.refused += 1
            if answer.status not in TRY_AGAIN:
                self.device.outbox.sent()
            return float(after) if after.isdigit() else 0.0
        return 0.0


def _silent(words: str) -> None:
    """Say nothing: one line per device would drown the fleet's own."""


def fleet(settings: Settings, tally: Tally, *, http: Client, now: float) -> list[ConnectedDevice]:
    """Make the devices; the same seed gives the same fleet. The scenario begins `after_seconds` from now."""
    injection = Injection(settings.scenario, now + settings.after_seconds)
    devices = population(settings.devices, seed=settings.seed, steady=settings.steady, injection=injection)
    every = max(1, -(-settings.devices // max(1, settings.streams)))
    return [
        ConnectedDevice(settings, device, tally, http=http, streaming=settings.streams > 0 and number % every == 0)
        for number, device in enumerate(devices)
    ]


async def _news(devices: list[ConnectedDevice], tally: Tally) -> None:
    """Say how the fleet stands whenever that changed."""
    last = ""
    while True:
        await asyncio.sleep(NEWS_SECONDS)
        running = sum(one.device.orders.litert_enabled for one in devices)
        revisions = Counter(one.keeper.revision for one in devices)
        held = ", ".join(
            f"{number} at revision {revision}" if revision is not None else f"{number} without"
            for revision, number in revisions.most_common(3)
        )
        offline = sum(not one.online() for one in devices)
        away = f", {offline} offline" if offline else ""
        refused = f", {tally.refused} reports refused" if tally.refused else ""
        words = f"simulated: {running} of {len(devices)} run LiteRT; {held}{away}{refused}"
        if words != last:
            print(words, flush=True)
        last = words


async def run(settings: Settings) -> None:
    """Be the fleet until SIGTERM or SIGINT, or for as long as the settings say."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tally = Tally()
    with contextlib.closing(Client(connections=MOST_REQUESTS)) as http:
        devices = fleet(settings, tally, http=http, now=wall_clock())
        classes = Counter(one.device.identity.soc for one in devices)
        words = ", ".join(f"{number} {soc}" for soc, number in classes.most_common())
        print(f"simulated fleet: {words}; seed {settings.seed}, gateway {settings.gateway}", flush=True)
        if settings.scenario is not HEALTHY:
            begins = f"in {settings.after_seconds:.0f} s" if settings.after_seconds else "now"
            needed = f" Needs {' and '.join(settings.scenario.flags)}." if settings.scenario.flags else ""
            print(
                f"scenario {settings.scenario.name} begins {begins}: {settings.scenario.sentence}{needed}", flush=True
            )
        tasks = [asyncio.create_task(one.run()) for one in devices]
        tasks.append(asyncio.create_task(_news(devices, tally)))
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait(
            [*tasks, stopping], timeout=settings.for_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for task in [*tasks, stopping]:
            task.cancel()
        await asyncio.gather(*tasks, stopping, return_exceptions=True)
        for task in done - {stopping}:
            task.result()  # a device that ended by itself ended by an error: show it
    print("simulated fleet stopped", flush=True)


def main() -> int:
    """Run the fleet."""
    parser = argparse.ArgumentParser(description="Simulate a fleet of devices; everything is marked simulated.")
    parser.add_argument("--devices", required=True)
    parser.add_argument("--gateway", default=os.environ.get("HAWKOPS_GATEWAY", GATEWAY))
    parser.add_argument("--seed", default=1)
    parser.add_argument("--report", help="seconds between two reports of one device; 10, more if many")
    parser.add_argument("--poll", help="seconds between two looks without a stream; 30, more if many")
    parser.add_argument("--streams", default=MOST_STREAMS, help=f"streams to hold, at most {MOST_STREAMS}")
    parser.add_argument("--scenario", default=HEALTHY.name, metavar="NAME", help="what goes wrong; healthy: nothing")
    parser.add_argument("--after", default=0.0, metavar="SECONDS", help="until the scenario begins")
    parser.add_argument("--steady", action="store_true", help="no night, nobody offline or in the background")
    given = parser.parse_args()
    key = os.environ.get("HAWKOPS_DEVICE_KEY")
    if not key:
        parser.exit(2, "HAWKOPS_DEVICE_KEY is not set. Make a key with `manage.py device_key`, or start by `up`.\n")
    try:
        settings = Settings.given(
            gateway=given.gateway,
            key=key,
            devices=given.devices,
            seed=given.seed,
            report_seconds=given.report,
            poll_seconds=given.poll,
            streams=given.streams,
            scenario_name=given.scenario,
            after_seconds=given.after,
            steady=given.steady,
        )
    except WrongInput as error:
        parser.exit(2, f"{error}\n")
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
