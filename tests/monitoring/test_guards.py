"""Telemetry gives way: to a full disk, to a lagging loop, to a key's quota, to slow bodies; and says when to come back."""

import asyncio
import os
import socket
import time
from pathlib import Path

import httpx
import pytest

from hawkops.accounts.services.credentials import device_key_create
from hawkops.embedded.postgres import SYSTEM_FOLDER
from hawkops.history.actors import Actor
from monitoring.models import DoorTotal, RollupPartial
from monitoring.otlp.guards import Guards, Limits, free_percent, least_free_percent
from rollout.services.flags import flags_seed
from tests import apart
from tests.monitoring.conftest import JSON, Running, serving
from tests.monitoring.payloads import Payload
from tests.monitoring.test_killed import gateway

HERE = Path(__file__).parent


def refused(door: Running) -> tuple[int, int, str]:
    """Send until the guard has looked, and return what it said."""
    for step in range(100):
        answer = door.post(Payload(at=time.time() - step).sum("litert.inferences", 1).body)
        if answer.status_code != 200:
            return answer.status_code, int(answer.headers["retry-after"]), answer.text
        time.sleep(0.02)
    raise AssertionError("nothing was refused")


@pytest.mark.fresh_database
def test_a_disk_nearly_full_sends_telemetry_away(monkeypatch: pytest.MonkeyPatch) -> None:
    whatever_is_free = Limits(HERE, free_disk_percent=100.0)
    with serving(os.environ["DATABASE_URL"], limits=whatever_is_free) as door:
        status, seconds, said = refused(door)
    assert (status, seconds) == (503, 60)
    assert "free" in said
    assert DoorTotal.objects.filter(reason__startswith="503").exists()


@pytest.mark.fresh_database
def test_flags_answer_while_telemetry_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real gateway, told by its settings that any disk is too full."""
    monkeypatch.setenv("TELEMETRY_FREE_DISK_PERCENT", "100")
    flags_seed(actor=Actor.system("test"))
    _, key = device_key_create(environment="demo", name="test", actor=Actor.system("test"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    headers = {"authorization": f"Bearer {key}"}
    with gateway(port), httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as client:
        for _ in range(200):
            answer = client.post("/v1/metrics", content=b"{}", headers={"content-type": JSON})
            if answer.status_code != 200:
                break
            time.sleep(0.02)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "60"
        flags = client.post("/ofrep/v1/evaluate/flags", json={"context": {"targetingKey": "d"}})
        assert flags.status_code == 200
        assert flags.json()["flags"]


@pytest.mark.fresh_database
def test_a_database_above_its_quota_sends_telemetry_away() -> None:
    with serving(os.environ["DATABASE_URL"], limits=Limits(HERE, 0, database_gigabytes=0.001)) as door:
        status, _, said = refused(door)
    assert status == 503
    assert "quota of 0.001 GB" in said


def test_of_a_database_elsewhere_this_disk_says_nothing() -> None:
    async def look(dsn: str) -> bool:
        guards = Guards(Limits(HERE, free_disk_percent=100.0), dsn)
        return await guards._no_space() is not None

    assert apart.run(look("postgresql://u@/db?host=/run/pg"))
    assert not apart.run(look("postgresql://u@db.example/db"))


def test_a_folder_that_is_not_there_yet_counts_as_its_parent() -> None:
    assert free_percent(HERE / "not" / "there") == pytest.approx(free_percent(HERE), abs=1)


@pytest.mark.fresh_database
def test_a_key_above_its_quota_waits_and_comes_in_again() -> None:
    with serving(os.environ["DATABASE_URL"], limits=Limits(HERE, 0, key_points_per_second=1)) as door:
        body = Payload()
        for _ in range(11):
            body.sum("litert.inferences", 1)
        assert door.post(body.body).status_code == 200  # overdrawn by one
        answer = door.post(Payload().sum("litert.inferences", 2).body)
        assert answer.status_code == 429
        time.sleep(int(answer.headers["retry-after"]) + 0.1)
        assert door.post(Payload().sum("litert.inferences", 3).body).status_code == 200
    assert sum(row.total for row in RollupPartial.objects.all()) == 14
    assert DoorTotal.objects.get(reason__startswith="429").payloads == 1


def test_a_loop_that_lags_sends_away_until_it_is_fast_again() -> None:
    async def story() -> list[bool]:
        guards = Guards(Limits(HERE, 0, lag_seconds=0.2), "postgresql://u@db.example/db")
        guards.start()
        said = []
        try:
            await asyncio.sleep(0.1)
            said.append(guards.refusal("k") is not None)
            for _ in range(20):
                time.sleep(0.7)  # what a large body in the loop would do
                await asyncio.sleep(0)
                if guards.refusal("k") is not None:
                    break
            said.append(guards.refusal("k") is not None)
            for _ in range(20):
                await asyncio.sleep(0.1)
                if guards.refusal("k") is None:
                    break
            said.append(guards.refusal("k") is not None)
        finally:
            await guards.stop()
        return said

    assert apart.run(story()) == [False, True, False]


def test_least_free__postgresql_has_a_disk_of_its_own__counts_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "postgres.home").write_text("abc")
    looked: list[Path] = []

    def free(folder: Path) -> float:
        looked.append(folder)
        return 4.0 if folder == SYSTEM_FOLDER / "abc" else 60.0

    monkeypatch.setattr("monitoring.otlp.guards.free_percent", free)
    assert least_free_percent(tmp_path) == 4.0
    assert looked == [tmp_path, SYSTEM_FOLDER / "abc"]
    (tmp_path / "postgres.home").unlink()
    assert least_free_percent(tmp_path) == 60.0
    assert looked[-1] == tmp_path / "postgres"
