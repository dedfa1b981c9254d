"""A span of the simulated fleet's past, written into the environment demo in minutes: `manage.py fleet --span 48h`.

A door of this process's own, on the loopback address, takes what the fleet sends over OTLP/HTTP while the process's clock is
stepped along; the running installation's clock stays as it is. The door knows one key, made for this run, and its
environment is demo: no other environment can be written to.
"""

import asyncio
import contextlib
import re
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import uvicorn

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.fleet.http import Client, HttpError
from hawkops.fleet.orders import Orders
from hawkops.fleet.otlp import LOGS_PATH
from hawkops.fleet.population import population
from hawkops.fleet.scenarios import Injection
from hawkops.fleet.simulate import Settings, WrongInput
from hawkops.fleet.stepping import Sent, roll_out, stepped
from monitoring.otlp.door import TelemetryDoor

SPAN = re.compile(r"([1-9]\d{0,5})(s|m|h|d)")
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
MOST_SECONDS = 31 * 86_400
LEAST_STEP_SECONDS, MOST_STEP_SECONDS = 10.0, 3_600.0
NEWS_SECONDS = 10.0
AT_ONCE = 200


def seconds_of(text: str) -> float:
    """Read a span such as 48h or 7d. Raises WrongInput."""
    found = SPAN.fullmatch(text.strip())
    seconds = int(found[1]) * UNIT_SECONDS[found[2]] if found else 0
    if not 0 < seconds <= MOST_SECONDS:
        raise WrongInput(f"--span must be a span up to 31d, such as 48h or 7d, and {text!r} is none.")
    return float(seconds)


def step_of(text: str, span: float) -> float:
    """Read the seconds of a step. Raises WrongInput."""
    try:
        step = float(text)
    except ValueError:
        step = 0.0
    if not LEAST_STEP_SECONDS <= step <= min(MOST_STEP_SECONDS, span):
        raise WrongInput(f"--step must be 10 to 3600 seconds and no longer than the span, and {text!r} is not.")
    return step


@dataclass(frozen=True)
class _Key:
    environment: str = Environment.DEMO.value


class _Door:
    """The door with the lifespan that the gateway gives it."""

    def __init__(self, door: TelemetryDoor) -> None:
        self._door = door

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[..., Awaitable[None]],
    ) -> None:
        if scope["type"] != "lifespan":
            await self._door(scope, receive, send)
            return
        await receive()
        await self._door.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._door.stop()
        await send({"type": "lifespan.shutdown.complete"})


async def backfill(settings: Settings, *, dsn: str, span: float, step: float, say: Callable[[str], None]) -> int:
    """Write what a fleet did within a span that ends now; return how many exports were taken. Raises WrongInput."""
    token = secrets.token_urlsafe(24)
    door = TelemetryDoor(dsn=dsn, authenticate={token: _Key()}.get, on_report=lambda _: None)
    with socket.socket() as listening, contextlib.closing(Client(connections=16)) as http:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(_Door(door), lifespan="on", log_level="warning"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            while not server.started:
                if serving.done():
                    raise WrongInput("The door did not start; is the database reached?")
                await asyncio.sleep(0.01)
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            return await _live(settings, http, address, token, span=span, step=step, say=say)
        finally:
            clock.step_to(None)
            server.should_exit = True
            await serving


async def _live(
    settings: Settings, http: Client, address: str, token: str, *, span: float, step: float, say: Callable[[str], None]
) -> int:
    until = clock.now().timestamp()
    start = until - span
    injection = Injection(settings.scenario, start + settings.after_seconds)
    devices = population(settings.devices, seed=settings.seed, steady=settings.steady, injection=injection)
    flags = dict.fromkeys(settings.scenario.flags, True)
    roll_out(devices, replace(Orders(), **{"litert_enabled": True, "litert_adaptive_switching": True, **flags}))
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "gzip",
    }

    async def post(one: Sent) -> None:
        try:
            answer = await http.post(f"{address}{one.path}", one.payload, headers)
        except HttpError as error:
            raise WrongInput("The span was cut off: the door is gone. What was taken until then stays.") from error
        if answer.status != 200:
            raise WrongInput(
                f"The door answered {answer.status} to an export of {datetime.fromtimestamp(one.moment, UTC)}."
            )

    taken, said_at = 0, time.monotonic()
    for moment, exports in groupby(stepped(devices, start=start, step=step, until=until), key=lambda one: one.moment):
        clock.step_to(datetime.fromtimestamp(moment, UTC))
        for group in _groups(list(exports)):
            await asyncio.gather(*map(post, group))
            taken += len(group)
        if time.monotonic() - said_at > NEWS_SECONDS:
            said_at = time.monotonic()
            say(f"simulated: {(moment - start) / span:.0%} of the span, {taken} exports taken")
    return taken


def _groups(exports: list[Sent]) -> Iterator[list[Sent]]:
    """Yield exports that may be under way together; a device's crashes are counted before they are told."""
    for logs in (False, True):
        chosen = [one for one in exports if (one.path == LOGS_PATH) is logs]
        for begin in range(0, len(chosen), AT_ONCE):
            yield chosen[begin : begin + AT_ONCE]
