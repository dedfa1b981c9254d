"""What those who look after the processes ask: the console's `/healthz`, `/readyz` and `/metrics`, as it serves them."""

import asyncio
from typing import Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hawkops import asgi
from tests import apart

pytestmark = pytest.mark.fresh_database


def asked(path: str, *, headers: dict[str, str] | None = None, started: bool = True) -> httpx.Response:
    """Ask a console of its own, its listener running or not yet."""

    async def ask() -> httpx.Response:
        console = asgi.Console()
        if started:
            console.live.start()
            while not console.live.listener.connected:
                await asyncio.sleep(0.01)
        transport = httpx.ASGITransport(cast(Any, console), client=("192.0.2.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.get(path, headers=headers)
        if started:
            await console.live.stop()
        return answer

    found: httpx.Response = apart.run(ask())
    return found


def test_healthz__anybody__it_lives() -> None:
    answer = asked("/healthz", started=False)
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_readyz__everything_there__says_so_of_each_part() -> None:
    answer = asked("/readyz")
    assert answer.status_code == 200
    assert answer.json()["state"] == "ok"
    assert set(answer.json()["parts"]) == {"database", "migrations", "broker", "listener"}


def test_readyz__broker_away_or_listener_not_there__is_degraded_and_still_in_service(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = asked("/readyz", started=False)
    assert answer.status_code == 200 and answer.json()["state"] == "degraded"
    parts = answer.json()["parts"]
    assert parts["broker"]["state"] == parts["listener"]["state"] == "degraded"
    assert "ConnectionError" in parts["broker"]["says"] and parts["database"]["state"] == "ok"


def test_readyz__a_migration_missing__is_out_of_service_and_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hawkops.readiness._migrated", False)
    monkeypatch.setattr("hawkops.readiness.unapplied", lambda: ["rollout 0099_next"])
    answer = asked("/readyz", started=False)
    assert answer.status_code == 503 and answer.json()["state"] == "down"
    assert "rollout 0099_next" in answer.json()["parts"]["migrations"]["says"]


def test_metrics__only_with_its_token__in_prometheus_own_form(settings: Any) -> None:
    settings.METRICS_TOKEN = "m" * 30
    assert asked("/metrics", started=False).status_code == 401
    assert asked("/metrics", started=False, headers={"Authorization": "Bearer wrong"}).status_code == 401
    answer = asked("/metrics", started=False, headers={"Authorization": f"Bearer {'m' * 30}"})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    found = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert found["hawkops_database_up"].samples[0].value == 1
    signs = {sample.labels["vital"] for sample in found["hawkops_vital_verdict"].samples}
    assert {"history_heartbeat", "broker", "checkpoint", "console_listener"} <= signs
