"""From a committed change to the other side: what is told, once, in order, again when it must be, each with its receipt."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connections, transaction

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.courier import Courier
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.history.services import change
from incidents.domain import retrying, signing
from incidents.models import Channel, Delivery, Dispatch, Receipt
from incidents.selectors import notifications as selectors
from incidents.services import channels as services
from incidents.services import sending
from incidents.services.channels import Rules
from incidents.services.dispatching import dispatch, dispatch_all
from incidents.services.sending import claim_next, send_due
from monitoring.domain.alerting import Kind, Look, Sign, Source
from monitoring.domain.criteria import Severity
from monitoring.models import Alert
from monitoring.services.alertmanager import alertmanager_take
from monitoring.services.alerts import alert_acknowledge, alert_close
from monitoring.services.silences import silence_create
from rollout.services import overrides
from rollout.services.flags import flags_seed
from tests import apart
from tests.incidents.conftest import ALL, SYSTEM, MakeChannel
from tests.incidents.sinks import Mail, Sink

OK = (200, "ok")


def kill() -> HistoryEntry:
    """Press the switch in staging."""
    flags_seed(actor=SYSTEM)
    dispatch_all()
    entry = overrides.kill(environment="staging", actor=SYSTEM, reason="Production incident")
    assert entry is not None
    return entry


def fire(*names: str, severity: str = "critical", status: str = "firing") -> list[Alert]:
    """Let Alertmanager tell of alerts of one group."""
    rows = [
        {"status": status, "labels": {"alertname": name, "severity": severity}, "fingerprint": name} for name in names
    ]
    payload = {"version": "4", "groupKey": "gpu", "alerts": rows}
    alertmanager_take(environment="staging", payload=payload, actor=SYSTEM)
    return list(Alert.objects.order_by("pk"))


def tell() -> int:
    """Read on and send what is due."""
    dispatch_all()
    return send_due()


def later(monkeypatch: pytest.MonkeyPatch, span: timedelta) -> None:
    """Let so much time go by."""
    at = clock.now() + span
    monkeypatch.setattr(clock, "_stepped_to", at)


# ---- Slack ----


@pytest.mark.django_db
def test_kill__slack__is_told_with_its_links_and_has_a_receipt(make: MakeChannel, sink: Sink) -> None:
    channel = make("slack")
    entry = kill()
    assert tell() == 1
    (got,) = sink.got
    assert got.path == "/services/T000/B000/s3cretpath"
    assert "LiteRT Emergency Rollback Initiated" in got.json["text"]
    assert "/staging/emergency|Emergency>" in got.body.decode()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts, delivery.entry, delivery.topic) == ("sent", 1, entry.seq, "incidents")
    receipt = Receipt.objects.get()
    assert (receipt.status, receipt.answer, receipt.outcome, receipt.number) == (200, "ok", "accepted", 1)
    assert receipt.seconds is not None
    assert delivery.delay is not None
    assert timedelta() <= delivery.delay < timedelta(seconds=30)
    assert tell() == 0, "told once"
    assert channel.hint == f"127.0.0.1 {channel.hint[-7:]}"


@pytest.mark.django_db
def test_reading_again__tells_nobody_twice(make: MakeChannel, sink: Sink) -> None:
    make("slack")
    entry = kill()
    tell()
    Dispatch.objects.update(seq=entry.seq - 1)
    assert tell() == 0
    assert (Delivery.objects.count(), len(sink.got)) == (1, 1)


@pytest.mark.django_db
def test_change__rolled_back__is_told_to_nobody_and_the_outbox_moves_with_its_entries(make: MakeChannel) -> None:
    make("slack")
    seq = Head.objects.get().seq
    with pytest.raises(RuntimeError), transaction.atomic():
        kill()
        raise RuntimeError
    assert Head.objects.get().seq == seq
    assert dispatch() == (0, 0)
    kill()
    with pytest.raises(RuntimeError), transaction.atomic():
        assert dispatch_all() == 1
        raise RuntimeError("the process dies before it commits")
    assert Delivery.objects.count() == 0
    assert dispatch_all() == 1, "what was not committed is read again"


@pytest.mark.django_db
def test_slack__too_many_requests__rests_as_long_as_asked(
    make: MakeChannel, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = make("slack")
    sink.answer((429, "rate_limited", {"Retry-After": "90"}), OK)
    kill()
    assert tell() == 1
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts) == ("pending", 1)
    assert delivery.next_at - clock.now() > timedelta(seconds=85)
    services.channel_test(channel=channel, actor=SYSTEM)
    assert send_due() == 0, "the whole channel rests"
    later(monkeypatch, timedelta(seconds=91))
    assert send_due() == 2
    assert [one.outcome for one in Receipt.objects.filter(delivery=delivery)] == ["again", "accepted"]


@pytest.mark.django_db
@pytest.mark.parametrize("answer", [(500, "rollup_error"), (503, "busy")])
def test_slack__server_error__is_tried_again_later(
    make: MakeChannel, sink: Sink, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str]
) -> None:
    make("slack")
    sink.answer(answer, answer, OK)
    kill()
    tell()
    assert send_due() == 0, "not at once"
    for _ in range(2):
        later(monkeypatch, timedelta(seconds=13))
        assert send_due() == 1
    assert Delivery.objects.get().state == "sent"
    assert [(one.status, one.number) for one in Receipt.objects.all()] == [(answer[0], 1), (answer[0], 2), (200, 3)]


@pytest.mark.django_db
def test_slack__refused__is_final_with_its_reason_and_told_elsewhere(make: MakeChannel, sink: Sink, mail: Mail) -> None:
    broken = make("slack")
    make("email")
    sink.answer((403, "action_prohibited"))
    kill()
    assert tell() == 2
    delivery = Delivery.objects.get(channel=broken)
    assert (delivery.state, delivery.receipts.get().answer) == ("failed", "action_prohibited")
    entry = HistoryEntry.objects.get(verb="notification.failed")
    assert (entry.after["name"], entry.after["status"], entry.reason) == ("#slack", 403, "action_prohibited")
    assert tell() == 1, "the others hear that this one can't be reached"
    assert "#slack can't be reached" in mail.took[1]
    assert not Delivery.objects.filter(channel=broken, state="pending").exists()
    overrides.reenable(environment="staging", keys=["litert_enabled"], actor=SYSTEM, reason="Fixed")
    tell()
    assert tell() == 0, "that it still can't be reached is no news"
    sink.answer(OK)
    services.delivery_retry(delivery=delivery, actor=SYSTEM)
    with pytest.raises(Conflict, match="pending"):
        services.delivery_retry(delivery=delivery, actor=SYSTEM)
    tell()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("sent", 2)
    tell()
    assert "#slack is reached again" in mail.took[-1]


@pytest.mark.django_db
def test_nobody_there__a_day_long__is_given_up(make: MakeChannel, monkeypatch: pytest.MonkeyPatch, sink: Sink) -> None:
    make("slack", address="http://127.0.0.1:1/hook")
    kill()
    tell()
    assert "127.0.0.1" in Receipt.objects.get().answer
    later(monkeypatch, retrying.GIVE_UP_AFTER + timedelta(minutes=1))
    assert send_due() == 1
    assert Delivery.objects.get().state == "given up"


# ---- PagerDuty ----


@pytest.mark.django_db
def test_alerts__pagerduty__trigger_acknowledge_and_resolve_share_the_key(make: MakeChannel, sink: Sink) -> None:
    make("pagerduty")
    sink.answer((202, '{"status":"success"}'))
    one, two = fire("one", "two")
    assert tell() == 1, "a group pages once"
    trigger = sink.got[0].json
    assert (sink.got[0].path, trigger["event_action"], trigger["routing_key"]) == ("/v2/enqueue", "trigger", "R" * 32)
    assert trigger["payload"]["summary"].endswith("2 alerts fire")
    alert_acknowledge(alert_id=one.pk, actor=SYSTEM)
    assert tell() == 0, "the other one has nobody yet"
    alert_acknowledge(alert_id=two.pk, actor=SYSTEM)
    tell()
    fire("one", status="resolved")
    assert tell() == 0, "the other one still stands"
    fire("two", status="resolved")
    tell()
    events = [got.json for got in sink.got]
    assert [event["event_action"] for event in events] == ["trigger", "acknowledge", "resolve"]
    assert len({event["dedup_key"] for event in events}) == 1
    fire("three", status="resolved")
    assert tell() == 0


@pytest.mark.django_db
def test_pagerduty__invalid_event__is_final_and_the_key_is_nowhere(make: MakeChannel, sink: Sink) -> None:
    make("pagerduty")
    sink.answer((400, f'{{"status":"invalid event","errors":["{"R" * 32}"]}}'))
    fire("one")
    tell()
    receipt = Receipt.objects.get()
    assert (receipt.status, receipt.outcome, "R" * 32 in receipt.answer) == (400, "refused", False)


@pytest.mark.django_db
def test_pagerduty__end_before_its_beginning_arrived__waits_for_it(
    make: MakeChannel, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("pagerduty")
    sink.answer((503, "busy"), (202, "{}"))
    fire("one")
    tell()
    fire("one", status="resolved")
    dispatch_all()
    assert send_due() == 0, "a resolve without its trigger would be dropped"
    later(monkeypatch, timedelta(seconds=10))
    assert send_due() == 2
    assert [got.json["event_action"] for got in sink.got] == ["trigger", "trigger", "resolve"]


@pytest.mark.django_db
def test_pagerduty__test__is_ended_again(make: MakeChannel, sink: Sink) -> None:
    channel = make("pagerduty")
    sink.answer((202, "{}"))
    services.channel_test(channel=channel, actor=SYSTEM)
    assert send_due() == 2
    first, second = (got.json for got in sink.got)
    assert (first["event_action"], second["event_action"]) == ("trigger", "resolve")
    assert (first["dedup_key"], first["payload"]["severity"]) == (second["dedup_key"], "info")
    assert selectors.endpoints("staging")[0].reached


@pytest.mark.django_db
def test_pagerduty__phases__are_changes_that_page_nobody(make: MakeChannel, sink: Sink) -> None:
    make("pagerduty")
    sink.answer((202, "{}"))
    with change(actor=SYSTEM, environment="staging", reason="go") as this:
        this.record("phase.started", subject="phase:1:2", after={"title": "Limited beta"})
        this.record("proposal.made", subject="proposal:1", after={"title": "x"})
    assert tell() == 1
    assert sink.got[0].path == "/v2/change/enqueue"
    assert "Phase 2 started: Limited beta" in sink.got[0].json["payload"]["summary"]


# ---- what is hushed ----


@pytest.mark.django_db
def test_alert__silenced__is_told_to_nobody_and_its_end_neither(make: MakeChannel, sink: Sink) -> None:
    make("slack")
    silence_create(
        environment="staging", pattern="", alertname="one", span=timedelta(hours=1), actor=SYSTEM, reason="known"
    )
    (alert,) = fire("one")
    alert.refresh_from_db()
    entry = HistoryEntry.objects.get(verb="alert.fired")
    assert entry.after["silence"] is not None
    alert_close(alert_id=alert.pk, actor=SYSTEM, reason="over")
    tell()
    assert [got for got in sink.got if "one" in got.json["text"]] == []


@pytest.mark.django_db
def test_alert__of_telemetry__is_told_and_resolved(make: MakeChannel, sink: Sink) -> None:
    from monitoring.services import alerts

    make("slack")
    look = Look(
        source=Source.HEALTH,
        key="health-fallback",
        kind=Kind.BREACH,
        title="Cloud fallback fails <!channel>",
        severity=Severity.CRITICAL,
        group="health",
        sign=Sign.BAD,
        sentence="it answered 503 & nothing else",
        simulated=True,
    )
    alerts._judge("staging", [look], [], clock.now(), 0.0)
    tell()
    text = sink.got[0].body.decode()
    assert "&lt;!channel&gt;" in text
    assert "503 &amp; nothing" in text
    assert "simulated devices" in text
    assert "notifications/acknowledge?thread=hawkops%3Astaging%3Aalerts%3Ahealth|Acknowledge" in text


# ---- rules ----


@pytest.mark.django_db
def test_rules__topics_severities_environment_pause_and_person(
    make: MakeChannel, sink: Sink, mail: Mail, operator: Any
) -> None:
    incidents = Rules(["incidents"], ["critical"])
    make("slack", name="#incidents", rules=incidents)
    make("slack", name="#deployments", rules=Rules(["deployments"], list(Severity)))
    make("slack", name="#elsewhere", environment="production")
    make("email", name="ops by mail", rules=incidents, person=operator)
    quiet = make("slack", name="#quiet")
    services.channel_change(channel=quiet, name="#quiet", rules=ALL, paused=True, actor=SYSTEM)
    kill()
    assert tell() == 2
    assert sorted(Delivery.objects.values_list("channel__name", flat=True)) == ["#incidents", "ops by mail"]
    fire("small", severity="warning")
    assert tell() == 0
    fire("large")
    dispatch_all()
    by_mail = Channel.objects.get(name="ops by mail")
    services.channel_change(channel=by_mail, name="ops by mail", rules=incidents, paused=True, actor=SYSTEM)
    assert send_due() == 1, "what waits for a paused channel, waits"


@pytest.mark.django_db
def test_rules__whoever_may_read_it_no_more__hears_nothing(
    make: MakeChannel, mail: Mail, person: Callable[..., Any]
) -> None:
    gone, elsewhere = person("gone", Role.OPERATOR), person("elsewhere", Role.OPERATOR, environment="demo")
    for one in (gone, elsewhere):
        make("email", name=one.username, person=one)
    gone.is_active = False
    gone.save()
    kill()
    assert tell() == 0


@pytest.mark.django_db
def test_late__message__says_so_itself(make: MakeChannel, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    make("slack")
    kill()
    later(monkeypatch, timedelta(hours=3))
    tell()
    assert "This happened 3 h ago and could not be told earlier" in sink.got[0].body.decode()


@pytest.mark.django_db
def test_routes__edited__count_from_the_next_entry_on(make: MakeChannel, sink: Sink) -> None:
    make("slack", rules=Rules(["engineering"], list(Severity)))
    kill()
    assert tell() == 0
    from incidents.domain.routing import Route, Topic

    seq = Head.objects.get().seq
    assert services.routes_save(rows=[Route("flag.*", topic=Topic.ENGINEERING)], actor=SYSTEM, reason="ours")
    assert not services.routes_save(rows=[Route("flag.*", topic=Topic.ENGINEERING)], actor=SYSTEM)
    entry = HistoryEntry.objects.get(seq=seq + 1)
    assert (entry.verb, entry.after["rows"]) == ("routes.changed", ["flag.* * any engineering as it is"])
    overrides.reenable(environment="staging", keys=["litert_enabled"], actor=SYSTEM, reason="Fixed")
    assert tell() == 1
    assert not services.routes_seed(actor=SYSTEM)


# ---- the other kinds ----


@pytest.mark.django_db
def test_webhook__signature__verifies_and_the_id_stays_the_same(
    make: MakeChannel, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.routes_seed(actor=SYSTEM)
    _, secret = services.channel_create(
        environment="staging", name="hook", kind="webhook", address=f"{sink.url}/in", rules=ALL, actor=SYSTEM
    )
    assert secret.startswith("whsec_")
    sink.answer((500, "oh"), (204, ""))
    kill()
    tell()
    later(monkeypatch, timedelta(seconds=10))
    send_due()
    first, second = sink.got
    for got in (first, second):
        now = int(got.headers["webhook-timestamp"])
        assert signing.verified(secret=secret, given=got.headers, body=got.body, now=now)
        assert not signing.verified(secret=secret, given=got.headers, body=got.body + b" ", now=now)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == Delivery.objects.get().key
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert second.json["type"] == "flag.killed"
    assert second.json["data"]["environment"] == "staging"


@pytest.mark.django_db
def test_email__taken_refused_and_put_off(make: MakeChannel, mail: Mail, monkeypatch: pytest.MonkeyPatch) -> None:
    make("email", address="a@example.com, b@example.com")
    kill()
    tell()
    (got,) = mail.took
    read = message_from_string(got, policy=policy.default)
    assert read["Subject"].strip() == "[CRITICAL] staging: 🚨 LiteRT Emergency Rollback Initiated"
    assert "To: a@example.com, b@example.com" in got
    assert f"Message-ID: <{Delivery.objects.get().key}@localhost>" in got
    mail.answer = "451 later"
    overrides.reenable(environment="staging", keys=["litert_enabled"], actor=SYSTEM, reason="Fixed")
    tell()
    newest = Delivery.objects.order_by("-pk")[0]
    assert (newest.state, newest.receipts.get().status) == ("pending", 451)
    mail.answer = "554 never"
    later(monkeypatch, timedelta(seconds=10))
    send_due()
    newest.refresh_from_db()
    assert (newest.state, [one.status for one in newest.receipts.all()]) == ("failed", [451, 554])


@pytest.mark.django_db
def test_email__no_mail_server__says_which_setting(make: MakeChannel, settings: Any) -> None:
    settings.EMAIL_HOST = ""
    channel = make("email")
    services.channel_test(channel=channel, actor=SYSTEM)
    send_due()
    assert "SMTP_URL" in Receipt.objects.get().answer


@pytest.mark.django_db
def test_apprise__sends_and_reads_the_status(make: MakeChannel, sink: Sink) -> None:
    channel = make("apprise")
    assert channel.hint.startswith("JSON •••")
    sink.answer(OK, (403, "no"), (500, "oh"))
    for wanted in ("sent", "failed", "pending"):
        delivery = services.channel_test(channel=channel, actor=SYSTEM)
        send_due()
        delivery.refresh_from_db()
        assert delivery.state == wanted
    assert sink.got[0].json["title"] == "[INFO] staging: Test of #apprise"
    assert "apprise-secret" not in " ".join(Receipt.objects.values_list("answer", flat=True))


# ---- what is not called ----


@pytest.mark.django_db
@pytest.mark.parametrize(
    "kind,address",
    [
        ("slack", "http://hooks.slack.com/services/x"),
        ("slack", "https://127.0.0.1/services/x"),
        ("slack", "https://[::1]/x"),
        ("slack", "https://10.1.2.3/x"),
        ("slack", "https://169.254.169.254/latest/meta-data"),
        ("slack", "https://2130706433/x"),
        ("slack", "https://0x7f.1/x"),
        ("slack", "https://0/x"),
        ("slack", "https://0.0.0.0/x"),
        ("slack", "https://[::ffff:127.0.0.1]/x"),
        ("slack", "https://[64:ff9b::7f00:1]/x"),
        ("slack", "https://localhost./x"),
        ("slack", "https://good.example@127.0.0.1/x"),
        ("slack", "https://239.1.2.3/x"),
        ("slack", "file:///etc/passwd"),
        ("slack", "gopher://127.0.0.1:6379/_x"),
        ("webhook", "https://127.0.0.1:5432/"),
        ("apprise", "file:///etc/passwd"),
        ("apprise", "dbus://"),
        ("apprise", "glib://"),
        ("apprise", "macosx://"),
        ("apprise", "windows://"),
        ("slack", "ftp://example.com"),
        ("slack", "https://[/x"),
        ("webhook", "https://192.168.0.1/hook"),
        ("pagerduty", "short"),
        ("email", "nobody"),
        ("email", ""),
        ("apprise", "nosuch://thing"),
        ("apprise", ""),
        ("pigeon", "x"),
    ],
)
def test_channel__address_that_may_not_be_called__is_refused_and_leaves_nothing(
    kind: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OUTBOUND_PRIVATE", raising=False)
    seq = Head.objects.get().seq
    with pytest.raises(InvalidInput):
        services.channel_create(environment="staging", name="x", kind=kind, address=address, rules=ALL, actor=SYSTEM)
    assert (Channel.objects.count(), Head.objects.get().seq) == (0, seq)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["slack", "webhook", "apprise"])
def test_channel__private_address_when_it_is_sent__is_refused_and_nothing_arrives(
    make: MakeChannel, sink: Sink, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    channel = make(kind)
    monkeypatch.delenv("OUTBOUND_PRIVATE")
    delivery = services.channel_test(channel=channel, actor=SYSTEM)
    send_due()
    delivery.refresh_from_db()
    assert (delivery.state, sink.got) == ("failed", [])
    assert "refused" in delivery.receipts.get().answer or "private" in delivery.receipts.get().answer


@pytest.mark.django_db
def test_apprise__programs_of_this_machine__are_refused(make: MakeChannel) -> None:
    with pytest.raises(InvalidInput, match="on this machine is refused"):
        make("apprise", address="syslog://")
    assert not Channel.objects.exists()


@pytest.mark.django_db
def test_apprise__files_of_this_machine__are_not_read(make: MakeChannel, sink: Sink, tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"type": "message", "secret": "kept here"}))
    host = sink.url.removeprefix("http://")
    channel = make("apprise", address=f"workflows://{host}/workflow/sig?template={card}")
    delivery = services.channel_test(channel=channel, actor=SYSTEM)
    send_due()
    delivery.refresh_from_db()
    assert "reading a file of this machine is refused" in delivery.receipts.get().answer
    assert not any(b"kept here" in one.body for one in sink.got)


# ---- secrets ----


@pytest.mark.django_db
def test_secrets__are_sealed_and_in_no_entry_of_the_history(
    make: MakeChannel, sink: Sink, settings: Any, operator: Any
) -> None:
    channel = make("slack")
    row = Channel.objects.values().get(pk=channel.pk)
    assert "s3cretpath" not in str(row)
    for entry in HistoryEntry.objects.filter(verb__startswith="channel."):
        assert "s3cretpath" not in f"{entry.before_text}{entry.after_text}{entry.reason}"
    settings.SECRET_KEY = "another"
    delivery = services.channel_test(channel=channel, actor=SYSTEM)
    send_due()
    delivery.refresh_from_db()
    assert (delivery.state, sink.got) == ("failed", [])
    assert "enter it anew" in delivery.receipts.get().answer
    services.channel_archive(channel=channel, actor=Actor.person(operator))
    channel.refresh_from_db()
    assert (channel.address, channel.signing_secret) == ("", "")
    with pytest.raises(Conflict, match="archived"):
        services.channel_test(channel=channel, actor=SYSTEM)


@pytest.mark.django_db
def test_channel_change__one_entry_each_and_another_address_is_untested(make: MakeChannel, sink: Sink) -> None:
    channel = make("slack")
    services.channel_test(channel=channel, actor=SYSTEM)
    with pytest.raises(Conflict, match="on its way"):
        services.channel_test(channel=channel, actor=SYSTEM)
    send_due()
    channel.refresh_from_db()
    assert channel.verified_at is not None
    (endpoint,) = selectors.endpoints("staging")
    assert (endpoint.reached, endpoint.sentence.startswith("answered 200 after")) == (True, True)
    seq = Head.objects.get().seq
    given: dict[str, Any] = {"channel": channel, "name": "#slack", "rules": ALL, "paused": False, "actor": SYSTEM}
    assert not services.channel_change(**given)
    assert services.channel_change(**{**given, "name": "#other"})
    assert services.channel_change(**given, address=f"{sink.url}/elsewhere")
    assert [entry.verb for entry in HistoryEntry.objects.filter(seq__gt=seq)] == ["channel.changed"] * 2
    channel.refresh_from_db()
    assert channel.verified_at is None
    assert selectors.endpoints("staging")[0].sentence == "never tested"
    make("slack", name="#second")
    with pytest.raises(Conflict, match="already"):
        services.channel_change(**{**given, "name": "#second"})
    with pytest.raises(InvalidInput, match="at least one topic"):
        services.channel_change(**{**given, "rules": Rules([], ["info"])})


# ---- several senders, and ones that die ----


@pytest.mark.django_db
def test_claim__a_channel_is_served_by_one_sender_at_a_time(make: MakeChannel, sink: Sink) -> None:
    one, two = make("slack", name="one"), make("slack", name="two")
    kill()
    dispatch_all()
    services.channel_test(channel=one, actor=SYSTEM)
    first, second = claim_next(), claim_next()
    assert first and second
    assert {first.delivery.channel, second.delivery.channel} == {one, two}
    assert claim_next() is None, "the test waits until the first has its receipt"
    sending.attempt(first)
    third = claim_next()
    assert third is not None
    assert third.delivery.channel == one


@pytest.mark.django_db
def test_claim__lease_ran_out__another_takes_over_and_the_late_receipt_counts_for_nothing(
    make: MakeChannel, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("slack")
    kill()
    dispatch_all()
    slow = claim_next()
    assert slow is not None
    later(monkeypatch, retrying.LEASE + timedelta(seconds=1))
    assert send_due() == 1
    sending.attempt(slow)
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts) == ("sent", 2)
    assert [(one.number, one.outcome) for one in delivery.receipts.all()] == [(1, "again"), (2, "accepted")]
    assert "may have arrived" in delivery.receipts.all()[0].answer


SENDER = "import django; django.setup(); from incidents.services.sending import send_due; print(send_due())"


@pytest.mark.fresh_database
def test_sender_killed_between_send_and_receipt__is_sent_again_under_the_same_id(
    make: MakeChannel, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.routes_seed(actor=SYSTEM)
    _, secret = services.channel_create(
        environment="staging", name="hook", kind="webhook", address=f"{sink.url}/in", rules=ALL, actor=SYSTEM
    )
    kill()
    dispatch_all()
    sink.going.clear()
    process = subprocess.Popen([sys.executable, "-c", SENDER], env={**os.environ}, stdout=subprocess.PIPE)
    try:
        end = time.monotonic() + 30
        while not sink.got and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert len(sink.got) == 1, "the other side has it"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    sink.going.set()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts, delivery.receipts.count()) == ("pending", 1, 0)
    assert send_due() == 0, "its lease still runs"
    Delivery.objects.update(leased_until=clock.now() - timedelta(seconds=1))
    again = subprocess.run(
        [sys.executable, "-c", SENDER], env={**os.environ}, capture_output=True, text=True, check=True
    )
    assert again.stdout.strip().endswith("1")
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("sent", 2)
    first, second = sink.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert json.loads(first.body) == json.loads(second.body)
    now = int(second.headers["webhook-timestamp"])
    assert signing.verified(secret=secret, given=second.headers, body=second.body, now=now)


@pytest.mark.django_db
def test_prune__old_ones_go_and_pending_ones_stay(
    make: MakeChannel, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = make("slack")
    services.channel_test(channel=channel, actor=SYSTEM)
    send_due()
    services.channel_test(channel=channel, actor=SYSTEM)
    later(monkeypatch, sending.KEPT + timedelta(days=1))
    assert sending.deliveries_prune() == 2, "a delivery with its receipt"
    assert Delivery.objects.get().state == "pending"


@pytest.mark.fresh_database
def test_courier__sends_within_a_second_of_the_commit_without_celery_and_broker(make: MakeChannel, sink: Sink) -> None:
    make("slack")
    flags_seed(actor=SYSTEM)
    dispatch_all()

    async def story() -> float:
        courier = Courier(settings.DATABASE_URL, every_seconds=60)
        courier.start()
        try:
            await asyncio.sleep(1)
            await asyncio.to_thread(pressed)
            began = time.monotonic()
            while not sink.got and time.monotonic() - began < 20:
                await asyncio.sleep(0.02)
            return time.monotonic() - began
        finally:
            await courier.stop()

    def pressed() -> None:
        overrides.kill(environment="staging", actor=SYSTEM, reason="Production incident")
        connections.close_all()

    seconds = apart.run(story())
    assert len(sink.got) == 1
    assert seconds < 5, "woken, and not by its own clock of a minute"


@pytest.mark.django_db
def test_seed__slack_webhook__becomes_a_channel_once(sink: Sink, settings: Any) -> None:
    assert services.channel_seed(actor=SYSTEM) is None
    settings.SLACK_WEBHOOK = f"{sink.url}/services/s3cret"
    made = services.channel_seed(actor=SYSTEM)
    assert made is not None
    assert (made.environment, made.name, made.topics) == (
        "production",
        "#production-incidents",
        ["incidents", "security"],
    )
    services.channel_archive(channel=made, actor=SYSTEM)
    assert services.channel_seed(actor=SYSTEM) is None, "whoever archived it does not want it back"
