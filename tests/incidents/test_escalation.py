"""Escalations from an alert to its proof: steps at their times, what stops and resumes them, what is late, who finds out."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.history.services import change
from incidents.domain.escalation import DEFAULT, Proof
from incidents.models import (
    Channel,
    Delivery,
    Escalation,
    EscalationReading,
    EscalationStep,
    Incident,
    Rotation,
    StepDelivery,
)
from incidents.selectors import escalations as selectors
from incidents.services import auditing, escalations, oncall
from incidents.services.auditing import audit
from incidents.services.escalations import escalate, escalation_acknowledge, run_due
from incidents.services.sending import send_due
from monitoring.domain.criteria import Severity
from monitoring.services.alerts import alert_acknowledge
from monitoring.services.silences import silence_create
from tests.incidents.conftest import SYSTEM, MakeChannel
from tests.incidents.sinks import Mail
from tests.incidents.test_sending import fire

pytestmark = pytest.mark.django_db
START = datetime.fromisoformat("2026-11-30T10:00:00+00:00")
Step = Callable[[str], None]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock to so many minutes after the start."""

    def set_to(minutes: float) -> None:
        monkeypatch.setattr(clock, "_stepped_to", START + timedelta(minutes=minutes))

    set_to(0)
    return set_to


@pytest.fixture
def ana(person: Callable[..., Any], make: MakeChannel, mail: Mail, at: Callable[[float], None]) -> User:
    """On call in staging, with a channel of her own; ben leads the team, cleo manages."""
    oncall.oncall_seed(actor=SYSTEM)
    escalations.policies_seed(actor=SYSTEM)
    found: User = person("ana", Role.OPERATOR)
    for role, user in (
        ("team_lead", person("ben", Role.APPROVER)),
        ("engineering_manager", person("cleo", Role.VIEWER)),
    ):
        oncall.contact_save(role=role, primary="+1-555-0999", secondary="", emergency="", person=user, actor=SYSTEM)
        make("email", name=f"{user.username} by mail", address=f"{user.username}@example.com", person=user)
    Rotation.objects.create(
        environment="staging", people=[found.pk], begins_on=START.date(), handover=START.time(), length_days=7
    )
    make("email", name="ana by mail", address="ana@example.com", person=found)
    escalations.read_on()
    return found


def told(mail: Mail) -> list[str]:
    """Who got a page, in order; what was told of the alert itself is left out."""
    return [text.split("To: ")[1].split("@")[0] for text in mail.took if "/escalations/" in text]


def pages() -> list[str]:
    """Whom steps told."""
    rows = StepDelivery.objects.order_by("pk")
    return [str(row.delivery.channel.name).partition(" ")[0] for row in rows]


def verbs(prefix: str = "escalation.") -> list[str]:
    """What the history says."""
    return list(HistoryEntry.objects.filter(verb__startswith=prefix).order_by("seq").values_list("verb", flat=True))


def test_critical__unacknowledged__tells_on_call_lead_and_manager_at_0_15_and_30(
    ana: User, mail: Mail, at: Callable[[float], None]
) -> None:
    fire("slow")
    assert escalate() == 1
    assert send_due() == 1
    assert told(mail) == ["ana"]
    for minute, who in ((14.9, ["ana"]), (15, ["ana", "ben"]), (29.9, ["ana", "ben"]), (30, ["ana", "ben", "cleo"])):
        at(minute)
        escalate()
        send_due()
        assert told(mail) == who, minute
    row = Escalation.objects.get()
    assert (row.key, row.severity, row.state) == ("alerts:am:gpu", "critical", "running")
    found = selectors.under_way("staging")[0]
    assert [one.proof for one in found.steps[:4]] == [Proof.PROVEN, Proof.PROVEN, Proof.PROVEN, Proof.AHEAD]
    assert found.next is not None
    assert found.next.due_at == START + timedelta(minutes=45), "then it begins again"
    assert verbs() == ["escalation.begun", *["escalation.step_told"] * 3]
    begun = HistoryEntry.objects.get(verb="escalation.begun")
    assert begun.cause is not None
    assert begun.cause.verb == "alert.fired"
    assert audit() == 0
    assert "Nobody has acknowledged it for 15 min." in mail.took[1]


def test_entries__read_again__begin_nothing_twice(ana: User) -> None:
    fire("slow")
    escalate()
    EscalationReading.objects.update(seq=0)
    escalate()
    assert (Escalation.objects.count(), StepDelivery.objects.count()) == (1, 1)


def test_policy__changed_meanwhile__counts_for_what_begins_later(ana: User, at: Callable[[float], None]) -> None:
    fire("slow")
    escalate()
    wanted = {**DEFAULT[Severity.CRITICAL].document(), "steps": [{"after": "0", "target": "team_lead"}]}
    assert escalations.policy_save(severity="critical", document=wanted, actor=SYSTEM, reason="ours")
    assert not escalations.policy_save(severity="critical", document=wanted, actor=SYSTEM)
    at(15)
    escalate()
    assert pages() == ["ana", "ben"], "the copy that was taken at the start"
    with pytest.raises(InvalidInput, match="1 to 10 steps"):
        escalations.policy_save(severity="critical", document={"steps": []}, actor=SYSTEM)
    with pytest.raises(NotFound):
        escalations.policy_save(severity="moody", document=wanted, actor=SYSTEM)


def test_acknowledgement__stops_it__and_runs_out(ana: User, at: Callable[[float], None]) -> None:
    (alert,) = fire("slow")
    escalate()
    send_due()
    at(5)
    alert_acknowledge(alert_id=alert.pk, actor=Actor.person(ana))
    escalate()
    row = Escalation.objects.get()
    assert (row.state, row.acknowledged_by) == ("acknowledged", "ana")
    at(19)
    assert escalate() == 0, "nobody else is told"
    at(20)
    assert escalate() == 1
    assert pages() == ["ana", "ben"], "it goes on where it was"
    row.refresh_from_db()
    assert row.state == "running"
    found = selectors.under_way("staging")[0]
    assert found.next is not None
    assert found.next.due_at == START + timedelta(minutes=35)
    resumed = HistoryEntry.objects.get(verb="escalation.resumed")
    assert resumed.reason == "the acknowledgement ran out"
    send_due()
    assert audit() == 0


def test_acknowledgement__of_one_of_two__stops_nothing__and_a_new_alert_begins_anew(
    ana: User, at: Callable[[float], None]
) -> None:
    one, two = fire("one", "two")
    escalate()
    alert_acknowledge(alert_id=one.pk, actor=SYSTEM)
    escalate()
    assert Escalation.objects.get().state == "running"
    alert_acknowledge(alert_id=two.pk, actor=SYSTEM)
    escalate()
    assert Escalation.objects.get().state == "acknowledged"
    at(3)
    fire("three")
    escalate()
    assert Escalation.objects.get().state == "running"
    assert pages() == ["ana", "ana"], "who has it hears that it is more, and nobody above"


def test_acknowledgement__on_the_page__takes_the_alerts_too(ana: User, at: Callable[[float], None]) -> None:
    (alert,) = fire("slow")
    escalate()
    row = Escalation.objects.get()
    at(1)
    escalation_acknowledge(environment="staging", pk=row.pk, actor=Actor.person(ana), reason="on it")
    alert.refresh_from_db()
    assert (alert.state, alert.acknowledged_by) == ("acknowledged", "ana")
    escalate()
    assert verbs().count("escalation.acknowledged") == 1, "one act, one entry"
    at(10)
    escalation_acknowledge(environment="staging", pk=row.pk, actor=Actor.person(ana))
    row.refresh_from_db()
    assert row.acknowledged_until == START + timedelta(minutes=25), "again makes it last longer"
    fire("slow", status="resolved")
    escalate()
    with pytest.raises(Conflict, match="over"):
        escalation_acknowledge(environment="staging", pk=row.pk, actor=SYSTEM)
    with pytest.raises(NotFound):
        escalation_acknowledge(environment="demo", pk=row.pk, actor=SYSTEM)


def test_end__resolved__stops_it_for_good(ana: User, at: Callable[[float], None]) -> None:
    fire("slow")
    escalate()
    fire("slow", status="resolved")
    escalate()
    at(60)
    assert escalate() == 0
    row = Escalation.objects.get()
    assert row.state == "ended"
    assert set(row.steps.values_list("state", flat=True)) == {"told", "stopped"}
    at(61)
    fire("slow")
    escalate()
    assert Escalation.objects.count() == 2, "the next time is another one"


def test_silence__ends_it__without_an_entry_it_ends_when_a_step_is_due(ana: User, at: Callable[[float], None]) -> None:
    fire("slow")
    escalate()
    silence_create(
        environment="staging", pattern="", alertname="slow", span=timedelta(hours=1), actor=SYSTEM, reason="known"
    )
    at(15)
    escalate()
    assert pages() == ["ana"]
    assert Escalation.objects.get().ended_by == "it is over"


def test_severity__graver__begins_again_by_the_graver_policy(ana: User, at: Callable[[float], None]) -> None:
    fire("small", severity="warning")
    escalate()
    assert pages() == []
    at(10)
    fire("large")
    escalate()
    row = Escalation.objects.get()
    assert (row.severity, pages()) == ("critical", ["ana"])
    send_due()
    at(25)
    escalate()
    assert pages() == ["ana", "ben"]
    send_due()
    assert audit() == 0, "what was replaced is not missed"


def test_info__waits_for_business_hours(ana: User, make: MakeChannel, at: Callable[[float], None]) -> None:
    make("email", name="team by mail")
    at(4 * 1440 + 500)  # Friday evening
    fire("note", severity="info")
    escalate()
    step = EscalationStep.objects.get()
    assert step.due_at == datetime.fromisoformat("2026-12-07T09:00:00+00:00")


# ---- incidents ----


def incident(verb: str, **after: Any) -> None:
    """Let an incident stand, and write what incidents write."""
    row, _ = Incident.objects.get_or_create(
        pk=5,
        defaults={
            "environment": "staging",
            "title": "GPU",
            "severity": "critical",
            "kind": after.get("kind", ""),
            "opened_by": "test",
            "began_at": START,
            "opened_at": START,
        },
    )
    row.severity = after.get("severity", row.severity)
    row.state = verb if verb in ("acknowledged", "resolved") else row.state or "open"
    row.acknowledged_by = "ana" if verb == "acknowledged" else row.acknowledged_by
    row.resolved_at = START if verb == "resolved" else None
    row.save()
    with change(actor=SYSTEM, environment="staging") as this:
        this.record(f"incident.{verb}", subject="incident:5", after={"title": "GPU", "severity": "critical", **after})


def test_incident__takes_over_the_escalation_of_its_alerts(ana: User, at: Callable[[float], None]) -> None:
    fire("slow")
    escalate()
    incident("opened", kind="alerts:am:gpu")
    fire("slower")
    escalate()
    row = Escalation.objects.get()
    assert (row.kind, row.key, row.covers, pages()) == ("incident", "incident:5", ["alerts:am:gpu"], ["ana"])
    fire("slow", status="resolved")
    fire("slower", status="resolved")
    at(15)
    escalate()
    assert pages() == ["ana", "ben"], "the incident is open still"
    incident("acknowledged")
    escalate()
    assert Escalation.objects.get().state == "acknowledged"
    incident("resolved")
    escalate()
    assert Escalation.objects.get().state == "ended"
    assert audit() == 0


def test_incident__alone__escalates_and_follows_its_severity(ana: User) -> None:
    incident("opened", severity="info")
    escalate()
    assert pages() == []
    incident("severity_changed", severity="critical")
    escalate()
    assert (pages(), Escalation.objects.get().severity) == (["ana"], "critical")


# ---- who is reached ----


def test_target__without_a_channel_of_their_own__the_team_is_told_with_the_numbers(
    ana: User, make: MakeChannel, mail: Mail
) -> None:
    Channel.objects.filter(person=ana).update(paused=True)
    make("email", name="team by mail", address="team@example.com")
    fire("slow")
    escalate()
    send_due()
    step = EscalationStep.objects.get(number=1)
    assert (pages(), step.who) == (["team"], "ana (on-call engineer)")
    page = next(text for text in mail.took if "/escalations/" in text)
    assert "ana has no channel of their own, so the team is told." in page.replace("=\n", "")
    assert "+1-555-0101, +1-555-0102, Slack: #incidents" in page.replace("=\n", "")


def test_target__nobody_at_all__is_late_at_once_and_says_so(ana: User) -> None:
    Channel.objects.update(paused=True)
    fire("slow")
    escalate()
    step = EscalationStep.objects.get(number=1)
    assert (step.state, step.late_at) == ("unreached", START)
    assert verbs()[-1] == "escalation.step_unreached"
    assert [one.number for one in selectors.late_steps("staging")] == [1]


def test_target__who_has_left__is_not_told(ana: User, make: MakeChannel) -> None:
    make("email", name="team by mail")
    ana.is_active = False
    ana.save()
    fire("slow")
    escalate()
    step = EscalationStep.objects.get(number=1)
    assert (pages(), step.note[:18]) == (["team"], "Nobody is on call.")


# ---- proof ----


def test_worker__dead_between_due_and_send__is_made_up_for_and_late(
    ana: User, mail: Mail, at: Callable[[float], None]
) -> None:
    fire("slow")
    escalate()  # the message is in the outbox; nobody sends it
    at(3)
    assert audit() == 1
    assert verbs()[-1] == "escalation.step_late"
    late = HistoryEntry.objects.get(verb="escalation.step_late").reason
    assert re.search(r"channel \d+ pending", late), "somebody's own channel is told by its number"
    assert len(selectors.late_steps()) == 1
    assert audit() == 0, "said once"
    at(4)
    send_due()
    assert selectors.late_steps() == [], "it has arrived"
    shown = selectors.under_way("staging")[0].steps[0]
    assert (shown.proof, shown.is_late) == (Proof.LATE_PROVEN, True), "and the page says that it was late"


def test_everything__dead_for_forty_minutes__tells_each_target_once_and_says_late(
    ana: User, at: Callable[[float], None]
) -> None:
    fire("slow")
    at(50)
    escalate()
    assert pages() == ["ben", "cleo", "ana"]
    steps = EscalationStep.objects.filter(number__lte=4).order_by("number")
    assert [(one.state, one.late_at is not None) for one in steps] == [
        ("stopped", True),
        ("told", True),
        ("told", True),
        ("told", True),
    ]
    assert audit() == 0, "it is marked already"


def test_auditor__a_step_that_was_removed__is_found_put_back_and_run(ana: User, at: Callable[[float], None]) -> None:
    fire("slow")
    escalate()
    send_due()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM incidents_escalationstep WHERE number = 2")
    at(20)
    assert escalate() == 0, "without its row nobody would be told"
    assert audit() == 2, "missing, and late"
    assert {"escalation.step_missing", "escalation.step_late"} <= set(verbs())
    assert escalate() == 1
    assert pages() == ["ana", "ben"]
    step = EscalationStep.objects.get(number=2)
    assert (step.restored_at, step.late_at) == (START + timedelta(minutes=20), START + timedelta(minutes=20))


def test_auditor__a_step_that_was_put_off__and_an_escalation_that_is_gone(
    ana: User, at: Callable[[float], None]
) -> None:
    fire("slow")
    escalate()
    send_due()
    EscalationStep.objects.filter(number=2).update(due_at=START + timedelta(days=9))
    assert audit() == 1
    assert EscalationStep.objects.get(number=2).due_at == START + timedelta(minutes=15)
    assert verbs()[-1] == "escalation.step_altered"
    with connection.cursor() as cursor:
        for table in ("incidents_stepdelivery", "incidents_escalationstep", "incidents_escalation"):
            cursor.execute(f"DELETE FROM {table}")
    at(15)
    assert audit() > 1
    assert escalate() == 1
    assert Escalation.objects.get().title == "slow"
    assert pages() == ["ben"], "what was told already is not told again"


def test_auditor__deliveries_that_are_gone__leave_the_step_unproven(ana: User, at: Callable[[float], None]) -> None:
    fire("slow")
    escalate()
    send_due()
    Delivery.objects.all().delete()
    at(3)
    assert audit() == 1
    assert HistoryEntry.objects.get(verb="escalation.step_late").reason == "Its deliveries are gone."


def test_entry__that_makes_no_sense__holds_up_no_other(ana: User) -> None:
    with change(actor=SYSTEM, environment="staging") as this:
        this.record("incident.opened", subject="incident:6", after={"title": ["x"], "severity": {}, "kind": 3})
    fire("slow")
    escalate()
    assert pages() == ["ana"]


def test_step__that_fails__stops_no_other(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    incident("opened")
    fire("slow")
    escalations.read_on()
    usual = escalations._tell

    def broken(this: Any, row: Escalation, *rest: Any) -> None:
        if row.kind == "incident":
            raise ValueError("broken")
        usual(this, row, *rest)

    monkeypatch.setattr(escalations, "_tell", broken)
    assert run_due() == 1
    assert pages() == ["ana"]
    assert EscalationStep.objects.filter(escalation__kind="incident", number=1).get().state == "waiting"


# ---- the daily check ----


def test_check__goes_the_whole_way_once_a_day_in_business_hours(
    ana: User, mail: Mail, at: Callable[[float], None]
) -> None:
    at(-120)
    assert escalations.checks_due() == 0, "before business hours"
    at(0)
    seq = Head.objects.get().seq
    assert escalations.checks_due() == 1
    assert escalations.checks_due() == 0
    escalate()
    send_due()
    escalate()
    assert "Daily check that a page arrives" in mail.took[-1]
    assert [one.verb for one in HistoryEntry.objects.filter(seq__gt=seq).order_by("seq")] == [
        "page_check.started",
        "escalation.begun",
        "escalation.step_told",
        "escalation.ended",
    ]
    check = selectors.last_check("staging")
    assert check is not None
    assert (check.escalation.ended_by, check.steps[0].proof) == ("it arrived", Proof.PROVEN)
    assert selectors.under_way("staging") == []
    at(1440)
    assert escalations.checks_due() == 1


def test_check__that_never_arrives__is_late_and_ends_with_the_next(ana: User, at: Callable[[float], None]) -> None:
    escalations.checks_due()
    escalate()
    at(3)
    assert audit() == 1
    assert len(selectors.late_steps("staging")) == 1
    at(1440)
    escalations.checks_due()
    escalate()
    ended = Escalation.objects.get(state="ended")
    assert "never arrived" in ended.ended_by
    assert auditing.audit() == 0


def test_incident__opened_by_a_guardrail__escalates_too(ana: User) -> None:
    incident("opened", kind="guardrail:3:2")
    escalate()
    assert (pages(), Escalation.objects.get().key) == (["ana"], "incident:5")
