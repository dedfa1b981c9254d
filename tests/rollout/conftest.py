"""A real gateway process on a database of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from hawkops.accounts.services.credentials import device_key_create
from hawkops.history.actors import Actor
from rollout.services.flags import flags_seed

SYSTEM = Actor.system("test")


@dataclass
class Gateway:
    """Where it listens, and a key of `demo`."""

    url: str
    key: str
    process: "subprocess.Popen[bytes]"

    @property
    def auth(self) -> dict[str, str]:
        """The header a device sends."""
        return {"Authorization": f"Bearer {self.key}"}


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def gateway(request: pytest.FixtureRequest, _fresh_database: None) -> Iterator[Gateway]:
    """Start `hawkops.serve gateway` on the test's own database (mark the test `fresh_database`)."""
    assert request.node.get_closest_marker("fresh_database")
    flags_seed(actor=SYSTEM)
    _, key = device_key_create(environment="demo", name="test devices", actor=SYSTEM)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "hawkops.serve", "gateway", "--port", str(port)], env={**os.environ}
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                if httpx.get(f"{url}/healthz", timeout=1).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        else:
            pytest.fail("the gateway does not answer")
        yield Gateway(url, key, process)
    finally:
        process.terminate()
        process.wait(15)
