"""The doors of other programs: with the right token or signature, and nonsense inside."""

import hashlib
import hmac
import json
import os
from random import Random
from typing import Any

import pytest
from django.test import Client

from hawkops.core.access import Role
from hawkops.history.actors import Actor
from incidents.domain.routing import Topic
from incidents.services.channels import Rules, channel_create
from monitoring.domain.criteria import Severity
from tests.fuzz.test_devices import spoilt
from tests.fuzz.trying import MORE, tried

pytestmark = pytest.mark.django_db
SECRET = "s" * 32
ALERT = {
    "version": "4",
    "groupKey": "gpu",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "x", "severity": "critical"},
            "annotations": {"summary": "y"},
            "startsAt": "2026-12-01T02:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "https://prometheus.example/graph",
            "fingerprint": "f",
        }
    ],
}
PAGE = {
    "event": {
        "id": "1",
        "event_type": "incident.acknowledged",
        "occurred_at": "2026-12-01T02:00:00Z",
        "agent": {"summary": "Ana"},
        "data": {"incident_key": "hawkops:demo:alerts:other", "id": "Q1"},
    }
}
RUN = {"script": "scripts/test-cpu-performance.sh", "arguments": {}, "dry_run": False, "times": 1}
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**30,
    1.5,
    "",
    "\x00",
    "\ud800",
    "x" * 5_000,
    "9999-12-31T23:59:59-15:59",
    "0413-04-15T13:47:00+19:33",
    [],
    {},
    [[]],
    {"a": {"b": "c"}},
)


def twisted(value: Any, dice: Random) -> Any:
    """The same document with one value of another kind, or missing."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        name = dice.choice(sorted(value))
        if dice.random() < 0.1:
            return {one: two for one, two in value.items() if one != name}
        return {**value, name: twisted(value[name], dice)}
    if isinstance(value, list) and value and dice.random() < 0.85:
        return [twisted(value[0], dice), *value[1:]]
    return dice.choice(ODD)


def test_machines__nonsense_inside__is_refused_with_a_sentence_and_changes_nothing(
    person: Any, client_as: Any, settings: Any
) -> None:
    settings.ALERTMANAGER_TOKEN = SECRET
    actor, rules = Actor.system("test"), Rules([*Topic], [*Severity])
    shared: dict[str, Any] = {"environment": "demo", "kind": "pagerduty", "rules": rules, "actor": actor}
    channel, _ = channel_create(name="pager", address="k" * 32, signing_secret=SECRET, **shared)
    stranger = Client(raise_request_exception=False)
    operator = client_as(person("somebody", Role.OPERATOR))
    operator.raise_request_exception = False
    dice = Random(os.urandom(8).hex() if MORE else "machines")

    def send(number: int) -> Any:
        document = (ALERT, PAGE, RUN)[number % 3]
        body = json.dumps(twisted(document, dice)).encode() if dice.random() < 0.8 else json.dumps(document).encode()
        body = spoilt(body, dice) if dice.random() < 0.2 else body
        if number % 3 == 0:
            headers = {"Authorization": f"Bearer {SECRET}"}
            return stranger.generic("POST", "/demo/alerts/alertmanager", body, "application/json", headers=headers)
        if number % 3 == 1:
            signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
            url, headers = (
                f"/demo/notifications/channels/{channel.pk}/pagerduty",
                {"X-PagerDuty-Signature": f"v1={signature}"},
            )
            return stranger.generic("POST", url, body, "application/json", headers=headers)
        return operator.generic("POST", "/demo/api/runs", body, "application/json")

    taken = 0
    for number in range(120 * max(MORE, 1)):
        found = tried(lambda: send(number))  # noqa: B023 - called at once
        taken += found.answer.status_code < 300
        assert found.answer.status_code < 500, (number % 3, found.answer.content[:300])
        assert found.answer.status_code < 400 or not found.changed, (number % 3, found.changed)
    assert taken > 10
