"""A gateway that has lost PostgreSQL: it believes what it knows for its lease, and serves safe values afterwards."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from hawkops.accounts.services.credentials import device_key_create
from hawkops.history.actors import Actor
from rollout.selectors.census import census
from rollout.services.flags import flags_seed
from rollout.services.overrides import kill
from tests.rollout.conftest import free_port

pytestmark = pytest.mark.fresh_database
SYSTEM = Actor.system("test")
BULK = "/ofrep/v1/evaluate/flags"
LEASE_SECONDS = 8
# the real door with a lease that a test can wait for
GATEWAY = f"""
import sys
from hawkops.gateway import Gateway, settings
import uvicorn
door = Gateway(settings.DATABASE_URL, secret=settings.SECRET_KEY, lease_seconds={LEASE_SECONDS})
uvicorn.run(door, port=int(sys.argv[1]), log_level="warning")
"""


class Line:
    """A TCP line to PostgreSQL that can be cut: closed at both ends, or silent as when a cable is pulled."""

    def __init__(self, dsn: str) -> None:
        self._socket = f"{conninfo_to_dict(dsn)['host']}/.s.PGSQL.5432"
        self.port = free_port()
        self.dsn = make_conninfo(dsn, host="127.0.0.1", port=self.port)
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._closed = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._do(self._listen())

    def stop(self) -> None:
        self.cut(closed=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def cut(self, *, closed: bool) -> None:
        self._do(self._cut(closed))

    def mend(self) -> None:
        self._do(self._mend())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._flows.set()
        await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def _cut(self, closed: bool) -> None:
        self._flows.clear()
        self._closed = closed
        if closed:
            for writer in self._writers:
                writer.close()

    async def _mend(self) -> None:
        self._closed = False
        self._flows.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:
            writer.close()
            return
        await self._flows.wait()
        theirs, to_them = await asyncio.open_unix_connection(self._socket)
        both = {writer, to_them}
        self._writers |= both
        try:
            await asyncio.gather(self._carry(reader, to_them), self._carry(theirs, writer))
        finally:
            self._writers -= both
            for one in both:
                one.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@contextmanager
def gateway_behind(line: Line) -> Iterator[str]:
    """Run the gateway with its database behind the line."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", GATEWAY, str(port)],
        env={**os.environ, "DATABASE_URL": line_url(line)},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: healthy(url) == 200, seconds=30)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def line_url(line: Line) -> str:
    """The line's address as a URL, which settings want."""
    said = conninfo_to_dict(line.dsn)
    return f"postgresql://{said['user']}:{said['password']}@127.0.0.1:{line.port}/{said['dbname']}"


def healthy(url: str) -> int:
    """The health page's status; 0 while nobody listens."""
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code
    except httpx.TransportError:
        return 0


def wait_for(condition: Callable[[], bool], seconds: float = 40) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.1)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "silent"])
def test_gateway__cut_off_before_a_change__serves_safe_values_once_its_lease_is_over(
    closed: bool, _fresh_database: None
) -> None:
    flags_seed(actor=SYSTEM)
    _, key = device_key_create(environment="demo", name="test devices", actor=SYSTEM)
    line = Line(settings.DATABASE_URL)
    line.start()

    def ask(path: str = "") -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(url + BULK + path, json={"context": {"targetingKey": "device-1"}}, headers=headers)

    def said() -> dict[str, tuple[bool, str]]:
        return {flag["key"]: (flag["value"], flag["reason"]) for flag in ask().json()["flags"]}

    try:
        with gateway_behind(line) as url:
            assert said()["litert_enabled"] == (True, "STATIC")
            line.cut(closed=closed)
            # what the gateway now can't hear of
            kill(environment="demo", actor=SYSTEM, reason="")
            wait_for(lambda: ask().headers["hawkops-lease-seconds"] == "0")
            assert ask().headers["hawkops-revision"] == "1", "it never heard of the kill"
            assert said()["litert_enabled"] == (False, "DISABLED")
            assert said()["ai_fallback_to_cloud"] == (True, "DISABLED")
            alone = ask("/litert_enabled").json()
            assert (alone["value"], alone["reason"], alone["metadata"]["revision"]) == (False, "DISABLED", 1)
            assert {reason for _, reason in said().values()} == {"DISABLED"}
            assert healthy(url) == 503
            line.mend()
            wait_for(lambda: ask().headers["hawkops-revision"] == "2")
            assert said()["litert_enabled"] == (False, "DISABLED")
            assert int(ask().headers["hawkops-lease-seconds"]) > 0
            assert healthy(url) == 200
            wait_for(lambda: census("demo", 2).active == 1)
    finally:
        line.stop()
