"""What a lockdown leads to: its incident, its runs, each once whatever dies in between, and news with receipts."""

from datetime import timedelta
from typing import Any

import pytest

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.scripts.checks import notifying
from hawkops.scripts.models import Run
from hawkops.scripts.probes.findings import Finding, together
from hawkops.scripts.probes.measuring import Exit
from hawkops.scripts.services import run_request
from incidents.domain.incidents import LOCKDOWN, State
from incidents.domain.routing import Topic
from incidents.models import Contact, Delivery, Follow, Incident, IncidentCause
from incidents.selectors import incidents as selectors
from incidents.selectors.security import SCRIPTS, response, responses_of, security_told
from incidents.services import acknowledging, following
from incidents.services import incidents as services
from incidents.services.channels import Rules
from incidents.services.dispatching import dispatch_all
from incidents.services.following import follow, incidents_follow
from incidents.services.lockdown import lockdowns_respond
from incidents.services.oncall import oncall_seed
from incidents.services.sending import send_due
from monitoring.domain.criteria import Severity
from rollout.models import Lockdown
from rollout.services import overrides
from rollout.services.flags import flags_seed
from rollout.services.lockdown import lockdown_begin, lockdown_lift, lockdown_lift_ask
from tests.incidents.conftest import SYSTEM, MakeChannel
from tests.incidents.sinks import Mail, Sink
from tests.incidents.test_sending import fire
from tests.rollout.walking import somebody
from tests.scripts.test_checks import TOLD

pytestmark = pytest.mark.django_db
STAGING = "staging"
ANNA, BEN = Actor("person:71", "anna"), Actor("person:72", "ben")
COLLECT, NOTIFY = SCRIPTS


@pytest.fixture(autouse=True)
def _flags(monkeypatch: pytest.MonkeyPatch) -> None:
    flags_seed(actor=SYSTEM)
    monkeypatch.setattr(notifying, "WAIT_SECONDS", 0.0)
    monkeypatch.setenv("HAWKOPS_ENVIRONMENT", STAGING)


def lock(**given: Any) -> Lockdown:
    return lockdown_begin(environment=STAGING, actor=ANNA, **given)[0]


def lift() -> None:
    lockdown_lift_ask(environment=STAGING, actor=ANNA, reason="Key rotated")
    lockdown_lift(environment=STAGING, actor=BEN)


# ---- the incident ----


def test_press__opens_a_critical_incident__whose_timeline_shows_it() -> None:
    found = lock(reason="Forged model", severity="low")
    assert not Incident.objects.exists(), "nothing of it is part of the press"
    incidents_follow()
    made = Incident.objects.get()
    assert (made.severity, made.kind, made.title) == ("critical", LOCKDOWN, "Security lockdown: Forged model")
    assert made.killed_entry == HistoryEntry.objects.get(verb="flag.killed").seq
    assert [one.subject for one in made.causes.all()] == [found.subject]
    rows = {row.verb: row.title for row in selectors.timeline(made)}
    assert rows["lockdown.started"] == "🔒 Security lockdown of staging: Forged model"
    assert "flag.killed" in rows
    opened = HistoryEntry.objects.get(verb="incident.opened")
    assert (opened.actor, opened.cause_id) == ("rule:incidents", found.entry)
    incidents_follow()
    assert Incident.objects.count() == 1


def test_press__while_a_security_incident_is_open__joins_it_and_makes_it_critical() -> None:
    before = services.incident_open(
        environment=STAGING, title="Suspicious events", severity="warning", kind="alerts:security", actor=SYSTEM
    )
    found = lock()
    incidents_follow()
    joined = Incident.objects.get()
    assert (joined.pk, joined.severity) == (before.pk, "critical")
    assert found.subject in set(joined.causes.values_list("subject", flat=True))
    assert [one.lockdown.pk for one in responses_of(joined)] == [found.pk]
    # a press on the pager under the lockdown's own thread reaches it
    thread = f"hawkops:{STAGING}:{LOCKDOWN}"
    assert acknowledging.acknowledge(environment=STAGING, thread=thread, actor=BEN, through="page") == 1
    assert Incident.objects.get().acknowledged_by == "ben"


def test_press__beside_an_incident_of_another_kind__opens_its_own() -> None:
    fire("Slow")
    lock()
    incidents_follow()
    assert Incident.objects.count() == 2


def test_lifted__its_incident_is_mitigated__and_a_later_lockdown_opens_it_again() -> None:
    first = lock()
    incidents_follow()
    lift()
    incidents_follow()
    made = Incident.objects.get()
    assert (made.state, made.causes.get().ended_at is not None) == (State.MITIGATED, True)
    second = lock(reason="It goes on")
    incidents_follow()
    again = Incident.objects.get()
    assert again.state == State.OPEN
    assert {one.lockdown.pk for one in responses_of(again)} == {first.pk, second.pk}
    assert Run.objects.count() == 4, "both are responded to"


def test_lifted__before_anybody_read_it__has_its_incident_and_its_runs_all_the_same() -> None:
    lock()
    lift()
    incidents_follow()
    assert Incident.objects.get().state == State.MITIGATED
    assert Run.objects.count() == 2


# ---- the runs ----


def test_runs__are_asked_for_in_order_with_the_incident_and_the_severity() -> None:
    found = lock(severity="critical")
    incidents_follow()
    made = Incident.objects.get()
    runs = list(Run.objects.order_by("pk"))
    assert [(run.script, run.arguments) for run in runs] == [
        (COLLECT, {"incident-id": str(made.pk)}),
        (NOTIFY, {"severity": "critical", "type": "litert_incident"}),
    ]
    asked = HistoryEntry.objects.filter(verb="run.requested")
    assert {(one.actor, one.cause_id) for one in asked} == {("rule:lockdown", found.entry)}
    assert [run.request_entry for run in runs] == [one.seq for one in asked.order_by("seq")]
    incidents_follow()
    assert lockdowns_respond() == 0
    assert Run.objects.count() == 2


class Killed(BaseException):
    """The worker dies."""


BOUNDARIES = ("before the incident", "in the incident", "before the runs", "between the runs", "in the second run")


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_worker__killed_at_each_boundary__everything_happens_once(
    boundary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock()
    real, asked = run_request, 0

    def dies(*_: Any, **__: Any) -> None:
        raise Killed

    def dies_second(**given: Any) -> Run:
        nonlocal asked
        asked += 1
        if asked == 2:
            if boundary == "in the second run":
                real(**given)
            raise Killed
        return real(**given)

    with monkeypatch.context() as patched:
        if boundary == "before the incident":
            patched.setattr(following, "_read", dies)
        elif boundary == "in the incident":
            patched.setattr(services, "told", dies)
        elif boundary == "before the runs":
            patched.setattr(following, "lockdowns_respond", dies)
        else:
            patched.setattr("incidents.services.lockdown.run_request", dies_second)
        with pytest.raises(Killed):
            incidents_follow()
    early = boundary in ("before the incident", "in the incident")
    assert Incident.objects.count() == (0 if early else 1)
    assert Run.objects.count() == (1 if boundary in ("between the runs", "in the second run") else 0)
    if early:
        assert Follow.objects.filter(seq__gt=0).count() == 0

    for _ in range(2):
        incidents_follow()
    assert Incident.objects.count() == 1
    assert IncidentCause.objects.count() == 1
    assert list(Run.objects.order_by("pk").values_list("script", flat=True)) == [COLLECT, NOTIFY]
    assert HistoryEntry.objects.filter(verb="incident.opened").count() == 1


def test_runs__one_that_is_refused__holds_up_neither_the_press_nor_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    found = lock()
    real = run_request

    def refuses(**given: Any) -> Run:
        if given["name"] == COLLECT:
            raise InvalidInput("There is no such script.")
        return real(**given)

    with monkeypatch.context() as patched:
        patched.setattr("incidents.services.lockdown.run_request", refuses)
        incidents_follow()
    assert [run.script for run in Run.objects.all()] == [NOTIFY]
    steps = {one.script: one.run for one in response(found).steps}
    assert steps[COLLECT] is None
    incidents_follow()
    assert {run.script for run in Run.objects.all()} == {COLLECT, NOTIFY}


def test_runs__of_a_lockdown_long_past__are_not_asked_for() -> None:
    lock()
    follow()
    Lockdown.objects.update(at=clock.now() - timedelta(days=8))
    assert lockdowns_respond() == 0


# ---- who is told ----


def judged(found: list[Finding]) -> Exit:
    return together(one.outcome for one in found)


def told() -> list[Finding]:
    return list(notifying.security_team_notify(TOLD))


def test_news__goes_to_the_security_route__with_a_receipt_that_the_script_counts(make: MakeChannel, sink: Sink) -> None:
    make("slack", name="#security-alerts", rules=Rules([Topic.SECURITY], list(Severity)))
    make("webhook", name="#deployments", rules=Rules([Topic.DEPLOYMENTS], list(Severity)))
    found = lock(reason="Forged model")
    assert [(one.delivered, one.sentence) for one in security_told(STAGING)] == [(None, "the news is about to be sent")]
    dispatch_all()
    row = Delivery.objects.get()
    assert (row.channel.name, row.topic, row.severity, row.entry) == (
        "#security-alerts", "security", "critical", found.entry,
    )  # fmt: skip
    assert row.title == "🔒 Security lockdown of staging: Forged model"
    assert judged(told()) is Exit.FAILED, "it is not told before there is a receipt"
    assert HistoryEntry.objects.get(verb="security.team_unreached").environment == STAGING
    send_due()
    findings = told()
    assert [(one.title, one.outcome) for one in findings] == [("Slack: #security-alerts", Exit.PASSED)]
    assert findings[0].sentence.startswith("answered 200 after ")
    assert HistoryEntry.objects.get(verb="security.team_notified").after["receipts"].keys() == {
        "Slack: #security-alerts"
    }
    assert "Forged model" in sink.got[0].body.decode()


def test_notify__waits_for_a_receipt__that_comes_while_it_waits(
    make: MakeChannel, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("slack", name="#security-alerts")
    lock()
    monkeypatch.setattr(notifying, "WAIT_SECONDS", 30.0)

    def courier(_seconds: float) -> None:
        dispatch_all()
        send_due()

    monkeypatch.setattr("hawkops.scripts.checks.notifying.time.sleep", courier)
    assert judged(told()) is Exit.PASSED


def test_notify__one_channel_refuses__passes_by_the_other_and_lists_it(make: MakeChannel, sink: Sink) -> None:
    make("slack", name="#gone")
    make("webhook", name="#security-alerts")
    lock()
    dispatch_all()
    sink.answer((404, "channel_not_found"), (200, "ok"))
    while send_due():
        pass
    findings = {one.title: one for one in told()}
    assert findings["Webhook: #security-alerts"].outcome is Exit.PASSED
    assert findings["Slack: #gone"].outcome is None
    assert "did not reach it: failed: 404" in findings["Slack: #gone"].sentence
    assert judged(list(findings.values())) is Exit.PASSED


def test_notify__only_somebodys_own_channel__is_no_data_unless_it_is_the_contacts(
    make: MakeChannel, sink: Sink
) -> None:
    oncall_seed(actor=SYSTEM)
    sam = somebody("sam", Role.VIEWER)
    make("slack", name="sam", person=sam)
    lock()
    dispatch_all()
    send_due()
    assert judged(told()) is Exit.UNMEASURED
    Contact.objects.filter(role="security").update(person=sam)
    assert judged(told()) is Exit.PASSED


def test_notify__contact_with_an_address__is_mailed_where_no_setting_has_one(mail: Mail) -> None:
    oncall_seed(actor=SYSTEM)
    findings = told()
    assert [(one.title, one.outcome) for one in findings] == [("E-mail", Exit.PASSED)]
    assert "security@hazardhawk.com" in findings[0].sentence
    assert len(mail.took) == 1


def test_notify__without_any_channel__is_no_data_in_a_lockdown_too() -> None:
    lock()
    dispatch_all()
    assert judged(told()) is Exit.UNMEASURED
    assert not HistoryEntry.objects.filter(subject="team:security").exists()


def test_notify__of_another_environment_or_an_older_day__is_not_told_by_it(make: MakeChannel, sink: Sink) -> None:
    make("slack", name="#security-alerts")
    lock()
    dispatch_all()
    send_due()
    assert security_told("demo") == []
    assert len(security_told("")) == 1
    Lockdown.objects.update(at=clock.now() - timedelta(days=2))
    assert security_told(STAGING) == []


def test_news__of_asking_and_lifting__goes_the_same_way(make: MakeChannel, sink: Sink) -> None:
    make("slack", name="#security-alerts", rules=Rules([Topic.SECURITY], list(Severity)))
    lock()
    incidents_follow()
    lift()
    incidents_follow()
    dispatch_all()
    assert [one.title for one in Delivery.objects.order_by("pk")] == [
        "🔒 Security lockdown of staging: Security incident detected",
        "anna asks to lift the lockdown of staging",
        "The lockdown of staging is lifted",
    ]


def test_drill__is_no_lockdown_and_opens_nothing() -> None:
    overrides.kill(environment=STAGING, actor=ANNA, reason=overrides.DRILL)
    incidents_follow()
    assert not Incident.objects.exists()
    assert not Run.objects.exists()
