"""Channels and the on-call plan by the API, as whoever keeps them in a repository uses it."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.accounts.services.credentials import api_token_create
from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.history.models import HistoryEntry
from incidents.models import Channel
from incidents.services.oncall import oncall_seed
from incidents.services.sending import send_due
from tests.incidents.conftest import SYSTEM
from tests.incidents.conftest import sink as sink
from tests.incidents.sinks import Sink

pytestmark = pytest.mark.django_db
Ask = Callable[..., Any]


@pytest.fixture
def ask() -> Ask:
    """Call the API with a token that may read and plan."""
    _, secret = api_token_create(
        environment="demo", name="plans", scopes=[Scope.READ, Scope.ONCALL_WRITE], actor=SYSTEM
    )

    def call(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        said = json.dumps(body) if body is not None else ""
        headers = {"Authorization": f"Bearer {secret}"}
        return Client().generic(method, f"/api/v1/demo/{path}", said, "application/json", headers=headers)

    return call


def test_channel__made_tested_changed_archived__with_receipts_and_without_its_address(ask: Ask, sink: Sink) -> None:
    address = f"{sink.url}/services/T000/B000/s3cretpath"
    wanted = {"name": "#ops", "kind": "slack", "address": address, "topics": ["incidents"], "severities": ["critical"]}
    made = ask("POST", "channels", wanted)
    assert made.status_code == 201, made.content
    pk = made.json()["channel"]
    assert "s3cretpath" not in made.content.decode()
    assert made.json()["tested_at"] is None
    assert ask("POST", f"channels/{pk}/test").status_code == 202
    send_due()
    (told,) = ask("GET", "deliveries").json()["deliveries"]
    assert (told["state"], [one["status"] for one in told["receipts"]]) == ("sent", [200])
    changed = ask("POST", f"channels/{pk}/change", {"paused": True}).json()
    assert (changed["paused"], changed["name"], changed["topics"]) == (True, "#ops", ["incidents"])
    assert changed["tested_at"] is not None
    assert ask("POST", f"channels/{pk}/change", {"topics": []}).status_code == 400
    assert ask("DELETE", f"channels/{pk}").status_code == 204
    assert ask("GET", "channels").json() == {"channels": []}
    assert "s3cretpath" not in json.dumps(list(HistoryEntry.objects.values_list("after_text", flat=True)))


def test_webhook__signing_secret__is_shown_once(ask: Ask, sink: Sink) -> None:
    wanted = {"name": "hook", "kind": "webhook", "address": sink.url, "topics": ["incidents"], "severities": ["info"]}
    assert ask("POST", "channels", wanted).json()["signing_secret"].startswith("whsec_")
    assert "whsec_" not in ask("GET", "channels").content.decode()
    assert ask("POST", "channels", wanted).status_code == 409
    assert Channel.objects.count() == 1


def test_oncall__rotation_override_and_gaps(ask: Ask, person: Callable[..., Any]) -> None:
    oncall_seed(actor=SYSTEM)
    person("ana", Role.OPERATOR)
    person("ben", Role.OPERATOR)
    person("eve", Role.VIEWER)
    today = clock.now().date()
    turns = {
        "people": ["ana", "ben"],
        "begins_on": today.isoformat(),
        "handover": "00:00",
        "length_days": 7,
        "zone": "UTC",
        "revision": 0,
    }
    assert ask("PUT", "oncall/rotation", {**turns, "people": ["nobody"]}).status_code == 400
    assert "eve can't be on call" in ask("PUT", "oncall/rotation", {**turns, "people": ["eve"]}).json()["error"]
    said = ask("PUT", "oncall/rotation", turns).json()
    assert (said["person"], said["next"], said["rotation"]["revision"]) == ("ana", "ben", 1)
    assert said["without_channel"] == ["ana", "ben"]
    assert ask("PUT", "oncall/rotation", turns).status_code == 409
    span = {"starts_at": clock.now().isoformat(), "ends_at": (clock.now() + timedelta(hours=8)).isoformat()}
    assert ask("POST", "oncall/overrides", {"person": "ben", **span, "ends_at": "2026-12-24T18:00"}).status_code == 400
    taken = ask("POST", "oncall/overrides", {"person": "ben", **span, "reason": "A wedding"})
    assert taken.status_code == 201
    said = ask("GET", "oncall").json()
    assert (said["person"], said["turns"][0]["instead_of"]) == ("ben", "ana")
    assert ask("DELETE", f"oncall/overrides/{taken.json()['override']}").status_code == 204
    assert ask("DELETE", f"oncall/overrides/{taken.json()['override']}").status_code == 409
    said = ask("GET", "oncall").json()
    assert (said["person"], said["gaps"], said["overrides"]) == ("ana", [], [])
    lead = next(row for row in said["contacts"] if row["role"] == "team_lead")
    assert lead["primary"] == ""
