"""The door behind a real HTTP server, on the test's own database."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn

from monitoring.otlp.decoding import DeviceReport
from monitoring.otlp.door import TelemetryDoor
from monitoring.otlp.guards import Limits

PROTOBUF, JSON = "application/x-protobuf", "application/json"


@dataclass(frozen=True)
class Key:
    environment: str
    name: str


# one for all: making a client costs more than the door's answer
CLIENT = httpx.Client(timeout=30)
KEYS = {"hk_demo_good": Key("demo", "demo"), "hk_production_good": Key("production", "production")}


@dataclass
class Running:
    """A running door."""

    url: str
    door: TelemetryDoor | None = None
    reports: list[DeviceReport] = field(default_factory=list)

    def post(
        self,
        body: bytes,
        *,
        path: str = "/v1/metrics",
        content_type: str = PROTOBUF,
        key: str = "hk_demo_good",
        **headers: str,
    ) -> httpx.Response:
        sent = {"content-type": content_type} | ({"authorization": f"Bearer {key}"} if key else {})
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        return CLIENT.post(f"{self.url}{path}", content=body, headers=sent)


class _App:
    """The door with the lifespan that the gateway gives it."""

    def __init__(self, door: TelemetryDoor) -> None:
        self.door = door

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self.door(scope, receive, send)
            return
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.door.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.door.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


@pytest.fixture
def door(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A real door on a port of its own; needs the marker `fresh_database`."""
    with serving(getattr(request, "param", None) or os.environ["DATABASE_URL"]) as found:
        yield found


@contextmanager
def serving(dsn: str, *, limits: Limits | None = None) -> Iterator[Running]:
    """Serve a door of its own."""
    found = Running("")
    metrics_door = TelemetryDoor(dsn=dsn, authenticate=KEYS.get, on_report=found.reports.append, limits=limits)
    found.door = metrics_door
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(_App(metrics_door), lifespan="on", log_level="warning", timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            pytest.fail("the door did not start")
        time.sleep(0.01)
    found.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    yield found
    server.should_exit = True
    thread.join(timeout=30)
    listening.close()
    assert not thread.is_alive(), "the door did not stop"
