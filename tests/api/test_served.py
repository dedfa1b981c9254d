"""The API through the console's own server: a large upload streams in, a kill answers, a stranger does not get far."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from hawkops.accounts.services.credentials import api_token_create
from hawkops.core.access import Scope
from hawkops.history.actors import Actor
from rollout.models import GroupMember
from rollout.services.flags import flags_seed
from rollout.services.groups import group_create
from tests.rollout.conftest import free_port

SYSTEM = Actor.system("test")

pytestmark = pytest.mark.fresh_database


@pytest.fixture
def console(_fresh_database: None) -> Iterator[str]:
    """Start `hawkops.serve console` on the test's own database."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "hawkops.serve", "console", "--port", str(port)], env={**os.environ}
    )
    try:
        for _ in range(300):
            try:
                if httpx.get(f"{url}/healthz", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        else:
            pytest.fail("the console does not answer")
        yield url
    finally:
        process.terminate()
        process.wait(15)


def test_console__upload_larger_than_a_form_and_kill__over_http(console: str) -> None:
    flags_seed(actor=SYSTEM)
    group = group_create(environment="demo", key="crew", title="Crew", actor=SYSTEM, reason="Pilot")
    scopes = [Scope.FLAGS_WRITE, Scope.KILL]
    _, secret = api_token_create(environment="demo", name="pipeline", scopes=scopes, actor=SYSTEM)
    client = httpx.Client(base_url=f"{console}/api/v1/demo", timeout=60)
    file = "".join(f"device-{number:09d}-{'x' * 180}\n" for number in range(15_000))
    assert len(file) > 2_700_000

    query: dict[str, str | int] = {"revision": group.revision, "reason": "Pilot"}
    assert client.put("/groups/crew/members.csv", params=query, content=file).status_code == 401
    client.headers["Authorization"] = f"Bearer {secret}"
    answer = client.put("/groups/crew/members.csv", params=query, content=file)
    assert (answer.status_code, answer.json()["changed"]) == (200, True)
    assert GroupMember.objects.filter(group=group).count() == 15_000

    assert client.post("/kill").json()["changed"] is True
    refused = client.get("/flags")
    assert (refused.status_code, list(refused.json())) == (403, ["error"])
