"""The devices' door for flags, over real HTTP: the protocol, its stock clients, and everything bad they may send."""

import gzip
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import Reason

from hawkops.accounts.models import DeviceKey
from hawkops.accounts.services.credentials import device_key_revoke
from hawkops.history.actors import Actor
from hawkops.history.models import Head
from rollout.domain.targeting import Rule, constraint
from rollout.models import Flag, TargetGroup
from rollout.selectors.census import attributes as census_attributes
from rollout.selectors.census import census, reach
from rollout.selectors.flags import revision
from rollout.services.flags import flag_percentage_set, flag_rules_set
from rollout.services.groups import group_members_set, groups_seed
from rollout.services.overrides import kill, reenable
from rollout.services.own_flags import flag_archive, flag_create
from rollout.services.values import flag_values_set
from tests.rollout.conftest import Gateway

pytestmark = pytest.mark.fresh_database
ONCALL = Actor("person:1", "oncall-1")
BULK = "/ofrep/v1/evaluate/flags"
CLIENTS = Path(__file__).resolve().parents[1] / "clients"


def bulk(gateway: Gateway, device: str = "device-1", etag: str = "", **more: Any) -> httpx.Response:
    """Ask for all flags as a device does."""
    headers = {**gateway.auth, **({"If-None-Match": etag} if etag else {}), **more.pop("headers", {})}
    context = {"targetingKey": device, "device.soc": "snapdragon-8-gen3", **more}
    return httpx.post(gateway.url + BULK, json={"context": context}, headers=headers)


def wait_for(condition: Any, seconds: float = 10) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def test_bulk__told_then_confirmed__is_what_the_census_says(gateway: Gateway) -> None:
    first = bulk(gateway)
    assert first.status_code == 200
    assert first.headers["hawkops-revision"] == "1"
    assert 890 <= int(first.headers["hawkops-lease-seconds"]) <= 900
    assert {flag["key"] for flag in first.json()["flags"]} >= {"litert_enabled", "ai_fallback_to_cloud"}
    assert first.json()["eventStreams"][0]["endpoint"]["requestUri"].startswith("/ofrep/v1/stream?token=")
    wait_for(lambda: census("demo", 1).pending == 1)
    assert reach("demo", "litert_enabled") == 1

    weak = bulk(gateway, etag=f'"other", W/{first.headers["etag"]}')
    assert (weak.status_code, weak.content) == (304, b"")
    assert weak.headers["hawkops-revision"] == "1"
    wait_for(lambda: census("demo", 1).obeyed == 1)

    kill(environment="demo", actor=ONCALL, reason="")
    wait_for(lambda: bulk(gateway, etag=first.headers["etag"]).status_code == 200)
    wait_for(lambda: census("demo", 2).pending == 1)
    wait_for(lambda: reach("demo", "litert_enabled") == 0)
    assert bulk(gateway, etag=bulk(gateway).headers["etag"]).status_code == 304
    wait_for(lambda: census("demo", 2).obeyed == 1)


def test_bulk__etag__covers_the_answer_and_not_the_revision(gateway: Gateway) -> None:
    before = bulk(gateway).headers["etag"]
    # nobody's answer changes: the override says what the percentage said already
    kill(environment="staging", actor=ONCALL, reason="")
    assert bulk(gateway).headers["etag"] == before
    flag_percentage_set(environment="demo", key="litert_enabled", percent=50, actor=ONCALL, reason="half")
    wait_for(lambda: bulk(gateway).headers["hawkops-revision"] == "2")
    answers = {bulk(gateway, f"device-{n}").json()["flags"][0]["value"] for n in range(20)}
    assert answers == {True, False}


def test_values__changed_made_and_archived__are_answered_in_their_type_or_not_at_all(gateway: Gateway) -> None:
    made = {"words": 40, "tone": ["plain", None, True, 1.5]}
    flag_create(
        key="prompt.style",
        title="Prompt style",
        explanation="Short answers.",
        kind="json",
        on={},
        off=made,
        safe_variant="off",
        schema=None,
        actor=ONCALL,
        reason="x",
    )

    def served() -> dict[str, Any]:
        return {flag["key"]: flag["value"] for flag in bulk(gateway).json()["flags"]}

    wait_for(lambda: "prompt.style" in served())
    assert served()["prompt.style"] == made
    first = bulk(gateway).headers["etag"]
    key = "litert_switch_cooldown_ms"
    common: dict[str, Any] = {"environment": "demo", "actor": ONCALL, "reason": "x"}
    stands = Flag.objects.get(environment="demo", key=key)
    flag_values_set(key=key, on=9e3, off=1, schema=None, expected_revision=stands.revision, **common)
    wait_for(lambda: served()[key] == 9_000)
    assert isinstance(served()[key], int)
    assert bulk(gateway, etag=first).status_code == 200
    own = Flag.objects.get(environment="demo", key="prompt.style")
    flag_archive(key=own.key, expected_revision=own.revision, **common)
    wait_for(lambda: "prompt.style" not in served())
    asked = {"context": {"targetingKey": "device-1"}}
    single = httpx.post(f"{gateway.url}{BULK}/prompt.style", json=asked, headers=gateway.auth)
    assert (single.status_code, single.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")


def test_bulk__rules_groups_and_pins__decide_by_what_a_device_says(gateway: Gateway) -> None:
    groups_seed(actor=ONCALL)
    friends = TargetGroup.objects.get(environment="demo", key="beta_testers")
    given: dict[str, Any] = {"environment": "demo", "actor": ONCALL, "reason": "x"}
    group_members_set(key=friends.key, members=["device-2"], expected_revision=friends.revision, **given)
    flag = Flag.objects.get(environment="demo", key="litert_enabled")
    old = constraint("device.gpu.driver", "is below", "512")
    rules = [Rule("off", constraints=(old,)), Rule("on", group="beta_testers")]
    flag_rules_set(key=flag.key, rules=rules, pinned={"device-3": "on"}, expected_revision=flag.revision, **given)
    flag_percentage_set(key=flag.key, percent=0, **given)
    now = revision("demo")

    def served(device: str, driver: str) -> tuple[bool, str]:
        answer = bulk(gateway, device, **{"device.gpu.driver": driver}).json()["flags"][0]
        return answer["value"], answer["reason"]

    wait_for(lambda: bulk(gateway).headers["hawkops-revision"] == str(now))
    assert served("device-1", "512.8") == (False, "STATIC")
    assert served("device-2", "512.8") == (True, "TARGETING_MATCH")
    assert served("device-2", "508.7") == (False, "TARGETING_MATCH")
    assert served("device-3", "508.7") == (True, "TARGETING_MATCH")
    wait_for(lambda: census_attributes("demo", "device-2").get("device.gpu.driver") == "508.7")
    friends.refresh_from_db()
    group_members_set(key=friends.key, members=[], expected_revision=friends.revision, **given)
    wait_for(lambda: served("device-2", "512.8") == (False, "STATIC"))


def test_bulk__android_client__gets_only_members_it_can_decode(gateway: Gateway) -> None:
    answer = bulk(gateway, headers={"User-Agent": "ktor-client"}).json()
    assert set(answer) == {"flags"}
    assert all(set(flag) <= {"key", "value", "variant", "reason", "metadata"} for flag in answer["flags"])


def test_single__every_member_a_strict_client_reads__is_there(gateway: Gateway) -> None:
    answer = httpx.post(
        f"{gateway.url}//ofrep/v1/evaluate/flags/litert_switching_threshold",
        json={"context": {"targetingKey": "d"}},
        headers={"X-API-Key": gateway.key},
    )
    assert answer.status_code == 200
    assert '"value":0.3' in answer.text
    assert set(answer.json()) == {"key", "value", "variant", "reason", "metadata"}
    missing = httpx.post(f"{gateway.url}{BULK}/no/such", json={"context": {}}, headers=gateway.auth)
    assert missing.status_code == 404
    assert missing.json() == {
        "key": "no/such",
        "errorCode": "FLAG_NOT_FOUND",
        "errorDetails": missing.json()["errorDetails"],
        "metadata": {},
    }
    empty = httpx.post(f"{gateway.url}{BULK}/", json={"context": {}}, headers=gateway.auth)
    assert (empty.status_code, empty.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")


BAD: list[tuple[str, bytes, dict[str, str], int]] = [
    ("malformed", b"{", {}, 400),
    ("not an object", b"[1]", {}, 400),
    ("NaN", b'{"context": {"targetingKey": "a", "x": NaN}}', {}, 400),
    ("bad UTF-8", b'{"context": "\xff"}', {}, 400),
    ("deep", b"[" * 30_000 + b"]" * 30_000, {}, 400),
    ("context is null", b'{"context": null}', {}, 400),
    ("key is a number", b'{"context": {"targetingKey": 5}}', {}, 400),
    ("key is half a character", b'{"context": {"targetingKey": "\\ud800"}}', {}, 400),
    ("attribute is half a character", b'{"context": {"targetingKey": "a", "device.soc": "\\ud800"}}', {}, 400),
    ("key too long", json.dumps({"context": {"targetingKey": "x" * 300}}).encode(), {}, 400),
    ("wrong type", b"{}", {"Content-Type": "text/xml"}, 415),
    ("compressed", gzip.compress(b"{}"), {"Content-Encoding": "gzip"}, 400),
    ("too large", b'{"context": {"a": "' + b"x" * 100_000 + b'"}}', {}, 413),
]


@pytest.mark.parametrize("key", ["", "/litert_enabled"])
def test_bad_input__gets_the_protocols_own_error_and_changes_nothing(gateway: Gateway, key: str) -> None:
    seq = Head.objects.get().seq
    for name, body, headers, status in BAD:
        answer = httpx.post(
            gateway.url + BULK + key,
            content=body,
            headers={**gateway.auth, "Content-Type": "application/json", **headers},
        )
        assert answer.status_code == status, (name, answer.text)
        assert {"errorCode", "errorDetails", "metadata"} <= set(answer.json()), name
    with httpx.Client() as client:
        unknown = client.post(gateway.url + BULK + key, json={}, headers={"Authorization": "Bearer hk_demo_wrong"})
    assert (unknown.status_code, unknown.json()["metadata"]) == (401, {})
    assert Head.objects.get().seq == seq
    assert census("demo", 1).active == 0


def test_key__revoked__is_refused_within_a_moment(gateway: Gateway) -> None:
    assert bulk(gateway).status_code == 200
    device_key_revoke(key=DeviceKey.objects.get(environment="demo"), actor=ONCALL)
    wait_for(lambda: bulk(gateway).status_code == 401, seconds=5)


def test_stream__change__is_pushed_and_a_current_client_is_left_in_peace(gateway: Gateway) -> None:
    path = bulk(gateway).json()["eventStreams"][0]["endpoint"]["requestUri"]
    with httpx.stream("GET", gateway.url + path, headers={"Last-Event-ID": "1"}, timeout=10) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        lines = stream.iter_lines()
        assert next(lines) == "retry: 1000"
        started = time.monotonic()
        kill(environment="demo", actor=ONCALL, reason="")
        seen = [next(lines) for _ in range(4)]
    assert time.monotonic() - started < 5
    assert "id: 2" in seen
    assert json.loads(next(line for line in seen if line.startswith("data: "))[6:])["type"] == "refetchEvaluation"
    with httpx.stream("GET", gateway.url + path, timeout=10) as stream:
        lines = stream.iter_lines()
        assert [next(lines) for _ in range(3)][2] == "id: 2", "a client that can't prove what it holds asks again"
    assert httpx.get(f"{gateway.url}/ofrep/v1/stream?token=wrong").status_code == 401


def test_stock_client__python_openfeature__works_unchanged(gateway: Gateway) -> None:
    provider = OFREPProvider(gateway.url, headers_factory=lambda: gateway.auth)
    api.set_provider(provider)
    client = api.get_client()
    device = EvaluationContext(targeting_key="stock-python-device", attributes={"device.soc": "tensor-g4"})
    enabled = client.get_boolean_details("litert_enabled", False, device)
    assert (enabled.value, enabled.variant, enabled.reason) == (True, "on", Reason.STATIC)
    assert client.get_float_value("litert_switching_threshold", -1.0, device) == 0.3
    assert client.get_integer_value("litert_max_concurrent_inferences", -1, device) == 4
    assert client.get_boolean_details("nope", True, device).error_code == "FLAG_NOT_FOUND"
    kill(environment="demo", actor=ONCALL, reason="")
    wait_for(lambda: client.get_boolean_value("litert_enabled", True, device) is False)
    wait_for(lambda: census("demo", revision("demo")).obeyed == 1)


def test_stock_client__web_provider__hears_a_kill_over_its_stream(gateway: Gateway, tmp_path: Path) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.fail("The stock web client needs Node 20: install nodejs and npm.", pytrace=False)
    for name in ("package.json", "web.mjs"):
        shutil.copy(CLIENTS / name, tmp_path / name)
    installed = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert installed.returncode == 0, installed.stderr
    client = subprocess.Popen(
        [node, "web.mjs", gateway.url, gateway.key, "20"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert client.stdout is not None
        ready = json.loads(client.stdout.readline())
        assert ready == {
            "event": "ready",
            "litert": True,
            "variant": "on",
            "reason": "STATIC",
            "threshold": 0.3,
            "fallback": True,
        }
        time.sleep(0.5)
        kill(environment="demo", actor=ONCALL, reason="")
        heard = json.loads(client.stdout.readline())
        while heard["litert"]:
            heard = json.loads(client.stdout.readline())
        assert (heard["litert"], heard["variant"], heard["fallback"]) == (False, "off", True)
        reenable(environment="demo", keys=["litert_enabled"], actor=ONCALL, reason="Fixed")
        assert json.loads(client.stdout.readline())["litert"] is True
    finally:
        client.kill()
        client.wait()
