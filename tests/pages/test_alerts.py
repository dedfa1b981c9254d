"""The pages of alerts and criteria by plain forms, and Alertmanager's door."""

from typing import Any

import pytest
from django.test import Client

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.history.actors import Actor
from monitoring.models import Alert, Silence, StoredCriterion
from monitoring.services.criteria import criteria_seed
from monitoring.services.patterns import pattern_save

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
    assert (
        "NUL"
        in console.post(
            "/demo/silences", {"pattern": "f\x00", "span": "1h", "reason": "x"}, follow=True
        ).content.decode()
    )
    assert "Say for how long" in console.post("/demo/silences", {"pattern": "f"}, follow=True).content.decode()


@pytest.fixture
def hooked(client: Client, settings: Any) -> Alert:
    settings.ALERTMANAGER_TOKEN = "t" * 30
    body = {**BODY, "groupKey": "{}:{x}"}
    client.post(HOOK, body, content_type="application/json", headers={"Authorization": "Bearer " + "t" * 30})
    return Alert.objects.get()


def test_alerts__grouped_under_headings_with_their_worst(console: Client, hooked: Alert) -> None:
    page = console.get("/demo/alerts").content.decode()

    assert "Alertmanager {}:{x}</h2>" in page
    assert "1 of 1 needs you, worst info" in page
    assert "Nothing stands" in console.get("/production/alerts").content.decode()


def test_silence__shows_what_it_would_hide_before_it_is_saved(console: Client, hooked: Alert) -> None:
    form = {"pattern": "", "alertname": "High*", "severity": "info", "span": "4h", "reason": "Being moved"}
    page = console.post("/demo/alerts", {**form, "try": "1"})
    assert 'value="4h" checked' in page.content.decode()
    assert 'value="Being moved"' in page.content.decode()
    assert "Would hide 1 of 1 open alert: HighCPU" in page.content.decode().replace("\u202f", " ")
    rules = console.get("/demo/alerts", {"part": "trial", "pattern": "alert-*-throughput"}).content.decode()
    assert "it hides 3: CPU throughput, GPU throughput, NPU throughput." in rules.replace("\u202f", " ")
    missing = console.get("/demo/alerts", {"part": "trial", "pattern": "alert-memory:no-data"}).content.decode()
    assert "it hides 1: Memory of one device: no data." in missing
    part = console.get("/demo/alerts", {"part": "trial", "pattern": "*"}).content.decode()
    assert "hide an outage" in part
    assert "<html" not in part
    assert not Silence.objects.exists()
    silences = console.get("/demo/alerts?part=silences").content.decode()
    assert 'hx-get="?part=silences"' in silences
    assert "<form" not in silences


def test_alert__acknowledged_with_words_silenced_by_its_name_and_closed_with_a_reason(
    console: Client, hooked: Alert
) -> None:
    url = f"/demo/alerts/{hooked.pk}"
    page = console.get(url).content.decode()
    assert 'href="/demo/alerts?pattern=f#new-silence"' in page
    console.post(f"{url}/acknowledge", {"reason": "I look at it"})
    assert "I look at it" in console.get(url).content.decode()
    assert "Say why" in console.post(f"{url}/close", {"reason": " "}, follow=True).content.decode()
    console.post(f"{url}/close", {"reason": "The host is gone"})
    hooked.refresh_from_db()
    assert (hooked.state, hooked.closed_by) == ("resolved", "both")
    assert "The host is gone" in console.get(url).content.decode()
    assert "closed by both" in console.get("/demo/alerts").content.decode()


def test_alert__shows_its_own_entries_only(console: Client, hooked: Alert) -> None:
    now = hooked.since_at
    other = Alert.objects.create(
        pk=hooked.pk * 10, environment="demo", source="x", key="k", kind="breach", title="x", severity="info",
        state="firing", since_at=now, bad_at=now,
    )  # fmt: skip
    console.post(f"/demo/alerts/{other.pk}/acknowledge", {"reason": "Somebody else"})

    assert "Somebody else" not in console.get(f"/demo/alerts/{hooked.pk}").content.decode()
    assert "Somebody else" in console.get(f"/demo/alerts/{other.pk}").content.decode()


def test_alert__of_a_criterion__promises_its_detection_delay(console: Client) -> None:
    now = clock.now()
    made = Alert.objects.create(
        environment="demo", source="criterion", key="alert-latency", kind="breach", title="Inference latency",
        severity="warning", state="firing", since_at=now, bad_at=now, data_at=now, fired_at=now,
    )  # fmt: skip
    page = console.get(f"/demo/alerts/{made.pk}").content.decode().replace("\u202f", " ")

    assert "within 5 min 40 s of the breach" in page
    assert "after the newest data of the first bad look was measured" in page


def test_alert__of_suspicious_processing__says_what_is_counted(console: Client) -> None:
    now = clock.now()
    made = Alert.objects.create(
        environment="demo", source="criterion", key="security-suspicious", kind="breach", title="Suspicious",
        severity="warning", state="firing", action="security_review", since_at=now, bad_at=now,
    )  # fmt: skip
    url = f"/demo/alerts/{made.pk}"
    page = console.get(url).content.decode()
    assert "<b>To do by the runbook:</b> security review." in page
    assert "none is ticked" in page
    own = {
        "key": "thermal",
        "title": "Odd prompts",
        "expression": "ODD",
        "sources": ["device logs"],
        "suspicious": True,
    }
    pattern_save(document=own, actor=Actor.system("test"), reason="Seen")
    assert "Odd prompts</a>" in console.get(url).content.decode()


def test_criterion__replayed_then_saved_and_a_stale_form_is_refused(console: Client) -> None:
    url = "/demo/criteria/alert-latency"
    form = {"threshold": "4 s", "window": "5m", "samples": "40", "for": "", "severity": "critical", "revision": "1"}

    assert "Nothing is stored to replay" in console.post(url, {**form, "replay": "1"}).content.decode()
    assert console.post(url, form).status_code == 422
    assert console.post(url, {**form, "reason": "Users notice"}).status_code == 303
    row = StoredCriterion.objects.get(key="alert-latency")
    assert (row.document["threshold"], row.document["samples"], "for" in row.document) == ("4000 ms", 40, False)
    stale = console.post(url, {**form, "threshold": "3 s", "reason": "Users notice"})
    assert (stale.status_code, "changed meanwhile" in stale.content.decode()) == (422, True)
    for nonsense in ({"threshold": "4 kg"}, {"window": "x"}, {"samples": "x"}, {"revision": "x"}, {"severity": "odd"}):
        assert console.post(url, {**form, "reason": "x", **nonsense}).status_code == 422
    assert console.get("/demo/criteria/nothing").status_code == 404
