"""The pages of alerts and criteria by plain forms, and Alertmanager's door."""

from typing import Any

import pytest
from django.test import Client

from hawkops.core.access import Role
from hawkops.history.actors import Actor
from monitoring.models import Alert, Silence, StoredCriterion
from monitoring.services.criteria import criteria_seed

pytestmark = pytest.mark.django_db
HOOK = "/demo/alerts/alertmanager"
BODY = {"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "HighCPU"}, "fingerprint": "f"}]}


@pytest.fixture
def console(person: Any, client_as: Any) -> Client:
    criteria_seed(actor=Actor.system("test"))
    return client_as(person("both", Role.OPERATOR, Role.RELEASER))  # type: ignore[no-any-return]


def test_alertmanager__only_with_its_token(client: Client, settings: Any) -> None:
    settings.ALERTMANAGER_TOKEN = ""
    assert client.post(HOOK, BODY, content_type="application/json").status_code == 404
    settings.ALERTMANAGER_TOKEN = "t" * 30
    assert client.post(HOOK, BODY, content_type="application/json").status_code == 401
    right = {"Authorization": "Bearer " + "t" * 30}
    assert client.post(HOOK, BODY, content_type="application/json", headers=right).json() == {"moved": 1}
    for body in (b"{", b"[" * 100_000, b'{"version": "4"}', b"\xff"):
        assert client.post(HOOK, body, content_type="application/json", headers=right).status_code == 400
    assert client.post(HOOK, b" " * 1_000_001, content_type="application/json", headers=right).status_code == 413
    assert client.post("/moon/alerts/alertmanager", BODY, content_type="application/json").status_code == 404
    assert Alert.objects.count() == 1


def test_alert__acknowledged_and_silenced_by_plain_forms(console: Client, client: Client, settings: Any) -> None:
    settings.ALERTMANAGER_TOKEN = "t" * 30
    client.post(HOOK, BODY, content_type="application/json", headers={"Authorization": "Bearer " + "t" * 30})
    page = console.get("/demo/alerts").content.decode()
    assert "1 alert fires in demo" in page
    assert "HighCPU" in console.get("/demo/").content.decode()

    pk = Alert.objects.get().pk
    console.post(f"/demo/alerts/{pk}/acknowledge")
    assert "Nothing needs you in demo" in console.get("/demo/alerts").content.decode()
    console.post("/demo/silences", {"pattern": "f", "span": "1h", "reason": "Known"})
    assert "1 alert now" in console.get("/demo/alerts").content.decode()
    console.post(f"/demo/silences/{Silence.objects.get().pk}/end")
    assert "Nothing is silenced" in console.get("/demo/alerts").content.decode()
    assert "Say for how long" in console.post("/demo/silences", {"pattern": "f"}, follow=True).content.decode()


def test_criterion__replayed_then_saved_and_a_stale_form_is_refused(console: Client) -> None:
    url = "/demo/criteria/alert-latency"
    form = {"threshold": "4 s", "window": "5m", "samples": "40", "for": "", "severity": "critical", "revision": "1"}

    assert "Nothing is stored to replay" in console.get(url, {**form, "replay": "1"}).content.decode()
    assert console.post(url, form).status_code == 422
    assert console.post(url, {**form, "reason": "Users notice"}).status_code == 303
    row = StoredCriterion.objects.get(key="alert-latency")
    assert (row.document["threshold"], row.document["samples"], "for" in row.document) == ("4000 ms", 40, False)
    stale = console.post(url, {**form, "threshold": "3 s", "reason": "Users notice"})
    assert (stale.status_code, "changed meanwhile" in stale.content.decode()) == (422, True)
    for nonsense in ({"threshold": "4 kg"}, {"window": "x"}, {"samples": "x"}, {"revision": "x"}, {"severity": "odd"}):
        assert console.post(url, {**form, "reason": "x", **nonsense}).status_code == 422
    assert console.get("/demo/criteria/nothing").status_code == 404
