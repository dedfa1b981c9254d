"""Pages of notifications, the acknowledging link, and PagerDuty's webhook."""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.history.models import Head, HistoryEntry
from incidents.models import Channel, Delivery, HeardEvent, Route
from incidents.services import channels as services
from incidents.services.acknowledging import Acknowledged, acknowledged
from incidents.services.dispatching import dispatch_all
from incidents.services.sending import send_due
from monitoring.models import Alert
from tests.incidents.conftest import SYSTEM, MakeChannel
from tests.incidents.sinks import Mail, Sink
from tests.incidents.test_sending import fire

pytestmark = pytest.mark.django_db
ClientAs = Callable[[object], Client]
HERE = "/staging/notifications"
THREAD = "hawkops:staging:alerts:am:gpu"
FORM = {"topics": ["incidents", "security"], "severities": ["critical"]}


def entries(since: int) -> list[HistoryEntry]:
    """What was recorded after an entry."""
    return list(HistoryEntry.objects.filter(seq__gt=since).order_by("seq"))


def test_page__no_channel__says_so_and_what_to_do(administrator: User, viewer: User, client_as: ClientAs) -> None:
    services.routes_seed(actor=SYSTEM)
    page = client_as(administrator).get(HERE).content.decode()
    assert "Nobody is told anything in staging" in page
    assert "Add a channel" in page
    assert page.count("nobody</span>") == 4, "each topic is heard by nobody"
    assert "Somebody with the role admin adds one" in client_as(viewer).get(HERE).content.decode()


def test_page__add_test_and_read_the_receipt(administrator: User, client_as: ClientAs, sink: Sink) -> None:
    client, seq = client_as(administrator), Head.objects.get().seq
    secret = f"{sink.url}/services/s3cret"
    made = client.post(f"{HERE}/create", {"kind": "slack", "name": "#incidents", "address": secret, **FORM})
    assert made.status_code == 303
    page = client.get(made["Location"]).content.decode()
    assert "#incidents: untested" in page
    channel = Channel.objects.get()
    assert (channel.topics, channel.severities) == (["incidents", "security"], ["critical"])
    assert client.post(f"{made['Location']}/test").status_code == 303
    assert send_due() == 1
    page = client.get(made["Location"]).content.decode()
    assert "#incidents: reached" in page
    assert "200 ok" in page
    assert "attempt 1" in page
    for path in (HERE, made["Location"], f"{HERE}/deliveries/{Delivery.objects.get().pk}"):
        assert "s3cret" not in client.get(path).content.decode(), path
    assert [entry.verb for entry in entries(seq)] == ["channel.created", "channel.tested"]
    assert "s3cret" not in "".join(f"{entry.after_text}" for entry in entries(seq))
    part = client.get(f"{HERE}?part=channels").content.decode()
    assert part.startswith('<div id="channels"')
    assert "1 channel reached in staging" in part


@pytest.mark.parametrize(
    "given,words",
    [
        ({"address": "https://127.0.0.1/x"}, "private network"),
        ({"address": "ftp://x"}, "no web address"),
        ({"name": " "}, "has a name"),
        ({"name": "n" * 81}, "has a name"),
        ({"topics": []}, "at least one topic"),
        ({"topics": ["weather"]}, "no topic"),
        ({"severities": ["dreadful"]}, "no severity"),
        ({"kind": "pigeon"}, "no kind"),
        ({"person": "nobody"}, "nobody called"),
        ({"kind": "webhook", "signing_secret": "short"}, "signing secret"),
    ],
)
def test_page__unfit_form__comes_back_with_its_reason(
    administrator: User, client_as: ClientAs, given: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OUTBOUND_PRIVATE", raising=False)
    seq = Head.objects.get().seq
    form = {"kind": "email", "name": "#x", "address": "a@example.com", **FORM, **given}
    if "address" in given or given.get("kind") == "webhook":
        form = {**form, "kind": given.get("kind", "slack")}
    if given.get("kind") == "webhook":
        monkeypatch.setenv("OUTBOUND_PRIVATE", "1")
        form["address"] = "http://127.0.0.1/x"
    answer = client_as(administrator).post(f"{HERE}/create", form)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert (Channel.objects.count(), Head.objects.get().seq) == (0, seq)


def test_page__signing_secret__is_shown_once(administrator: User, client_as: ClientAs, sink: Sink) -> None:
    client = client_as(administrator)
    made = client.post(f"{HERE}/create", {"kind": "webhook", "name": "hook", "address": sink.url, **FORM})
    assert "whsec_" in client.get(made["Location"]).content.decode()
    assert "whsec_" not in client.get(made["Location"]).content.decode()


def test_page__own_channel__its_person_changes_what_it_takes_and_nothing_else(
    make: MakeChannel, person: Callable[..., User], client_as: ClientAs
) -> None:
    somebody, other = person("somebody", Role.VIEWER), person("other", Role.OPERATOR)
    channel = make("email", person=somebody)
    url = f"{HERE}/channels/{channel.pk}"
    sealed = channel.address
    form = {**FORM, "name": "mine", "address": "evil@example.com"}
    assert client_as(other).post(f"{url}/change", form).status_code == 403
    assert client_as(somebody).post(f"{url}/change", form).status_code == 303
    channel.refresh_from_db()
    assert (channel.name, channel.address, channel.topics) == ("#email", sealed, ["incidents", "security"])
    assert client_as(somebody).post(f"{url}/archive", {"reason": "x"}).status_code == 403
    assert client_as(other).get(f"/production/notifications/channels/{channel.pk}").status_code == 404


def test_page__refused_delivery__stands_first_and_can_be_tried_again(
    make: MakeChannel, sink: Sink, operator: User, client_as: ClientAs
) -> None:
    make("slack")
    sink.answer((404, "no_service"))
    fire("one")
    dispatch_all()
    send_due()
    client = client_as(operator)
    page = client.get(HERE).content.decode()
    assert "1 of 1 channels can" in page.replace("&#x27;", "'")
    assert "404 no_service" in page
    refused = Delivery.objects.get(thread=THREAD)
    url = f"{HERE}/deliveries/{refused.pk}"
    assert "Try again" in client.get(url).content.decode()
    sink.answer((200, "ok"))
    assert client.post(f"{url}/retry").status_code == 303
    send_due()
    page = client.get(url).content.decode()
    assert "Attempt 2: accepted, answered 200" in page
    assert "Attempt 1: refused, answered 404" in page


def test_routes__page__replaces_the_table(
    make: MakeChannel, mail: Mail, administrator: User, person: Callable[..., User], client_as: ClientAs
) -> None:
    make("email")
    client = client_as(administrator)
    assert client.get(f"{HERE}/routes").status_code == 200
    columns: dict[str, list[str]] = {
        "verb": ["flag.*", "", "alert.*"],
        "about": ["", "", "security"],
        "of_severity": ["", "", "critical"],
        "topic": ["engineering", "", ""],
        "severity": ["warning", "", ""],
    }
    bad = client.post(f"{HERE}/routes/save", {**columns, "topic": ["weather", "", ""]})
    assert (bad.status_code, "weather" in bad.content.decode()) == (422, True)
    assert client.post(f"{HERE}/routes/save", columns).status_code == 303
    assert [str(row) for row in Route.objects.all()] == ["1 flag.* engineering", "2 alert.* "]
    local = person("local", Role.ADMIN, environment="staging")
    assert client_as(local).post(f"{HERE}/routes/save", columns).status_code == 403


# ---- acknowledging ----


def test_acknowledge__link__shows_and_only_the_press_takes(
    make: MakeChannel,
    sink: Sink,
    operator: User,
    viewer: User,
    client_as: ClientAs,
    django_capture_on_commit_callbacks: Any,
) -> None:
    make("slack")
    heard: list[Acknowledged] = []
    acknowledged.subscribe(heard.append)
    fire("one", "two")
    dispatch_all()
    send_due()
    asked = sink.got[0].body.decode().partition("/staging/notifications/acknowledge?thread=")[2].partition("|")[0]
    url = f"{HERE}/acknowledge?thread={asked}"
    client, seq = client_as(operator), Head.objects.get().seq
    page = client.get(url).content.decode()
    assert "2 alerts need somebody in staging" in page
    assert Head.objects.get().seq == seq, "looking takes nothing"
    assert client_as(viewer).post(f"{HERE}/acknowledge/press", {"thread": THREAD}).status_code == 403
    assert Client().post(f"{HERE}/acknowledge/press", {"thread": THREAD}).status_code == 302
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(f"{HERE}/acknowledge/press", {"thread": THREAD, "reason": "mine"}).status_code == 303
    assert [(one.thread, one.actor.label, one.through, one.count) for one in heard] == [(THREAD, "operator", "page", 2)]
    assert {alert.acknowledged_by for alert in Alert.objects.all()} == {"operator"}
    assert [entry.verb for entry in entries(seq)] == ["alert.acknowledged"] * 2
    assert "Somebody has it already" in client.get(url).content.decode()
    again = client.post(f"{HERE}/acknowledge/press", {"thread": THREAD}, follow=True)
    assert "Nothing is left to acknowledge" in again.content.decode()
    for strange in ("", "x", "hawkops:staging:weather:1", "hawkops:production:alerts:am:gpu"):
        assert client.get(f"{HERE}/acknowledge", {"thread": strange}).status_code == 404


SECRET = "pd-signing-secret"


def event(**given: Any) -> dict[str, Any]:
    """What PagerDuty sends when somebody there takes it."""
    known: dict[str, Any] = {
        "id": "01EVENT",
        "event_type": "incident.acknowledged",
        "occurred_at": clock.now().isoformat(),
        "agent": {"id": "PU1", "summary": "Ann On-call"},
        "data": {"id": "PINC", "type": "incident", "incident_key": THREAD, "status": "acknowledged"},
    }
    return {"event": {**known, **given}}


def told(url: str, document: object, *, secret: str = SECRET, signature: str | None = None) -> int:
    """Send a webhook as PagerDuty does and return the status."""
    body = json.dumps(document).encode()
    made = "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    client = Client(enforce_csrf_checks=True)
    headers = {"X-PagerDuty-Signature": made if signature is None else signature}
    return client.post(url, body, content_type="application/json", headers=headers).status_code


@pytest.fixture
def pager(make: MakeChannel, sink: Sink) -> str:
    """A PagerDuty channel that was told of an alert; returns its webhook's address."""
    channel = make("pagerduty", signing_secret=SECRET)
    sink.answer((202, "{}"))
    fire("one")
    dispatch_all()
    send_due()
    return f"{HERE}/channels/{channel.pk}/pagerduty"


def test_pagerduty__acknowledged_there__is_acknowledged_here_once(pager: str, sink: Sink) -> None:
    seq = Head.objects.get().seq
    assert told(pager, event()) == 200
    alert = Alert.objects.get()
    assert (alert.state, alert.acknowledged_by) == ("acknowledged", "Ann On-call")
    (entry,) = entries(seq)
    assert (entry.verb, entry.actor, entry.reason) == (
        "alert.acknowledged",
        "pagerduty:PU1",
        "Acknowledged in PagerDuty",
    )
    assert told(pager, event()) == 200, "the same event again"
    assert entries(seq) == [entry]
    dispatch_all()
    send_due()
    assert [got.json["event_action"] for got in sink.got] == ["trigger", "acknowledge"]


@pytest.mark.parametrize(
    "change,status",
    [
        ({"occurred_at": (clock.now() - timedelta(days=3)).isoformat()}, 400),
        ({"occurred_at": "x"}, 400),
        ({"event_type": "incident.resolved"}, 200),
        ({"data": {"incident_key": "hawkops:staging:alerts:other"}}, 200),
        ({"data": {"incident_key": "hawkops:production:alerts:am:gpu"}}, 200),
        ({"data": None}, 200),
    ],
)
def test_pagerduty__old_strange_or_other__changes_nothing(pager: str, change: dict[str, Any], status: int) -> None:
    seq = Head.objects.get().seq
    assert told(pager, event(**change)) == status
    assert (Alert.objects.get().state, Head.objects.get().seq) == ("firing", seq)


def test_pagerduty__stranger__is_refused(pager: str, make: MakeChannel) -> None:
    seq = Head.objects.get().seq
    assert told(pager, event(), secret="wrong") == 403
    assert told(pager, event(), signature="") == 403
    assert told(pager, [1]) == 400
    assert told(pager.replace("staging", "production"), event()) == 404
    assert told(f"{HERE}/channels/999999/pagerduty", event()) == 404
    unsigned = make("pagerduty", name="unsigned")
    slack = make("slack")
    for channel in (unsigned, slack):
        assert told(f"{HERE}/channels/{channel.pk}/pagerduty", event(), secret="") == 404
    assert Client().get(pager).status_code == 405
    assert (Alert.objects.get().state, HeardEvent.objects.count()) == ("firing", 0)
    assert [entry.verb for entry in entries(seq)] == ["channel.created"] * 2


def test_pagerduty__too_large__is_not_read(pager: str) -> None:
    assert told(pager, event(padding="x" * 600_000)) == 413
