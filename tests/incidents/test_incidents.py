"""Incidents: the table of moves, opening by themselves once, joining, merging, and what hears of it."""

import threading
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import Conflict, HawkOpsError, InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from incidents.domain.incidents import Cause, Move, State, cause_of, moved
from incidents.models import Delivery, Follow, Incident, IncidentCause, IncidentLink
from incidents.selectors import incidents as selectors
from incidents.services import acknowledging
from incidents.services import incidents as services
from incidents.services.dispatching import dispatch_all
from incidents.services.following import census_follow, follow, incidents_follow
from monitoring.domain.criteria import Severity
from monitoring.models import Alert
from monitoring.services.alerts import alert_acknowledge
from rollout.domain.validation import start
from rollout.models import CensusDevice
from rollout.selectors.critical import critical_incidents
from rollout.services import overrides
from rollout.services.flags import flags_seed
from tests.incidents.conftest import SYSTEM, MakeChannel
from tests.incidents.test_sending import fire

STAGING = "staging"
ANNA = Actor("person:7", "anna")
BEN = Actor("person:8", "ben")


def opened(title: str = "Wrong answers", severity: str = "critical", **given: Any) -> Incident:
    return services.incident_open(environment=STAGING, title=title, severity=severity, actor=ANNA, **given)


def move(found: Incident, which: Move, actor: Actor = ANNA) -> Incident:
    return services.incident_move(environment=STAGING, incident_id=found.pk, move=which, actor=actor)


def verbs(found: Incident) -> list[str]:
    return list(HistoryEntry.objects.filter(subject=found.subject).order_by("seq").values_list("verb", flat=True))


# ---- the table ----

REACHED: dict[State, tuple[Move, ...]] = {
    State.OPEN: (),
    State.ACKNOWLEDGED: (Move.ACKNOWLEDGE,),
    State.MITIGATED: (Move.MITIGATE,),
    State.RESOLVED: (Move.RESOLVE,),
}
TABLE = {
    (State.OPEN, Move.ACKNOWLEDGE): State.ACKNOWLEDGED,
    (State.OPEN, Move.MITIGATE): State.MITIGATED,
    (State.OPEN, Move.RESOLVE): State.RESOLVED,
    (State.ACKNOWLEDGED, Move.MITIGATE): State.MITIGATED,
    (State.ACKNOWLEDGED, Move.RESOLVE): State.RESOLVED,
    (State.MITIGATED, Move.RESOLVE): State.RESOLVED,
    (State.MITIGATED, Move.REOPEN): State.OPEN,
    (State.RESOLVED, Move.REOPEN): State.OPEN,
    (State.RESOLVED, Move.REVIEW): State.REVIEWED,
}


@pytest.mark.parametrize(("state", "which"), list(product(State, Move)))
def test_moves__every_pair__is_in_the_table_or_refused(state: State, which: Move) -> None:
    assert moved(state, which) == TABLE.get((state, which))


@pytest.mark.django_db
@pytest.mark.parametrize(("state", "which"), [one for one in product(REACHED, Move) if one[1] is not Move.REVIEW])
def test_move__every_pair__leaves_one_entry_or_changes_nothing(state: State, which: Move) -> None:
    found = opened()
    for step in REACHED[state]:
        move(found, step)
    before = verbs(found)
    to = TABLE.get((state, which))
    if to is None:
        with pytest.raises(Conflict, match=f"is {state}"):
            move(found, which)
        assert verbs(found) == before
        assert Incident.objects.get().state == state
        return
    assert move(found, which).state == to
    assert verbs(found) == [*before, which.verb]


@pytest.mark.parametrize(
    ("verb", "after", "expected"),
    [
        (
            "alert.fired",
            {"state": "firing", "severity": "critical", "group": "gpu", "title": "Slow"},
            "began alerts:gpu",
        ),
        ("alert.fired", {"state": "firing", "severity": "warning"}, "began alerts:other"),
        ("alert.fired", {"state": "firing", "severity": "info"}, None),
        ("alert.fired", {"state": "firing", "severity": "critical", "inhibited_by": "LiteRT is killed"}, None),
        ("alert.fired", {"state": "firing", "severity": "critical", "silence": 3}, None),
        ("alert.uncovered", {"state": "acknowledged", "severity": "critical"}, None),
        ("alert.resolved", {"state": "resolved", "severity": "critical", "group": "gpu"}, "ended alerts:gpu"),
        ("alert.pending", {"state": "pending", "severity": "critical"}, None),
        ("flag.killed", {}, None),
    ],
)
def test_cause_of__alerts(verb: str, after: dict[str, Any], expected: str | None) -> None:
    found = cause_of(verb, "alert:1", after)
    assert (f"{found.sign} {found.kind}" if found else None) == expected


def test_cause_of__guardrails__by_their_role() -> None:
    def said(verb: str, role: str) -> Cause | None:
        return cause_of(verb, "guardrail:3:2:crash-rate", {"role": role})

    failed = said("guardrail.failed", "guardrail")
    assert failed is not None
    assert (failed.kind, failed.severity, failed.title) == (
        "guardrail:3:2",
        Severity.CRITICAL,
        "Guardrail fails: crash rate",
    )
    signal = said("guardrail.failed", "signal")
    assert signal is not None
    assert signal.severity is Severity.WARNING
    assert said("guardrail.failed", "watch") is None
    assert cause_of("guardrail.rolled_back", "guardrail:3:2:crash-rate", {"level": 1}) is not None


# ---- opening by themselves ----


@pytest.mark.django_db
def test_alert__critical__opens_one_incident_and_a_second_of_its_kind_joins() -> None:
    (first,) = fire("slow")
    incidents_follow()
    found = Incident.objects.get()
    assert (found.state, found.severity, found.title, found.kind) == ("open", "critical", first.title, "alerts:am:gpu")
    entry = HistoryEntry.objects.get(verb="incident.opened")
    assert entry.cause is not None
    assert (entry.cause.verb, entry.cause.subject) == ("alert.fired", f"alert:{first.pk}")
    fire("slow", "slower")
    incidents_follow()
    assert Incident.objects.count() == 1
    assert IncidentCause.objects.count() == 2
    assert verbs(found) == ["incident.opened", "incident.cause_joined"]


@pytest.mark.django_db
def test_alert__warning_incident_joined_by_a_critical_one__becomes_critical() -> None:
    fire("slow", severity="warning")
    incidents_follow()
    fire("broken")
    incidents_follow()
    found = Incident.objects.get()
    assert found.severity == "critical"
    assert verbs(found) == ["incident.opened", "incident.cause_joined", "incident.severity_changed"]


@pytest.mark.django_db
def test_following__dies_half_way__opens_it_once_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fire("slow")
    place = Follow.objects.get().seq

    def die(**given: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(IncidentCause.objects, "create", die)
        with pytest.raises(SystemExit):
            follow()
    assert (Incident.objects.count(), Follow.objects.get().seq) == (0, place), "nothing is half done"
    assert not HistoryEntry.objects.filter(verb="incident.opened").exists()
    follow()
    assert Incident.objects.count() == 1
    Follow.objects.update(seq=place)
    follow()
    assert Incident.objects.count() == 1, "read again, it opens no other"
    assert HistoryEntry.objects.filter(verb="incident.opened").count() == 1


@pytest.mark.django_db
def test_following__an_entry_nobody_understands__holds_up_no_other_and_leaves_no_entry() -> None:
    with change(actor=SYSTEM, environment=STAGING) as this:
        after = {"state": "firing", "severity": "nonsense"}
        this.record("alert.fired", subject="alert:999", after=after)
    fire("slow")
    incidents_follow()
    assert Incident.objects.count() == 1
    assert HistoryEntry.objects.filter(verb__startswith="incident.").count() == 1


@pytest.mark.django_db
def test_alert__well_again__mitigates_a_critical_and_ends_an_untouched_warning() -> None:
    fire("slow", severity="warning")
    incidents_follow()
    fire("slow", severity="warning", status="resolved")
    incidents_follow()
    warning = Incident.objects.get()
    assert (warning.state, verbs(warning)[-1]) == ("resolved", "incident.resolved")
    fire("broken")
    incidents_follow()
    grave = Incident.objects.get()
    assert (grave.state, grave.severity) == ("open", "critical"), "so soon after, it goes on in the same one"
    fire("broken", status="resolved")
    incidents_follow()
    assert Incident.objects.get().state == "mitigated"
    fire("broken")
    incidents_follow()
    assert Incident.objects.get().state == "open", "it fires again"


@pytest.mark.django_db
def test_alert__of_a_security_metric__brings_its_task_once_and_waits_for_that() -> None:
    def happened(verb: str, state: str) -> None:
        with change(actor=SYSTEM, environment=STAGING) as this:
            after = {
                "state": state,
                "severity": "warning",
                "group": "security",
                "title": "Suspicious patterns",
                "action": "security_review",
            }
            this.record(verb, subject="alert:71", after=after)
        incidents_follow()

    happened("alert.fired", "firing")
    happened("alert.paged_again", "firing")
    found = Incident.objects.get()
    assert [one.title for one in found.tasks.all()] == ["Security review: Suspicious patterns"]
    happened("alert.resolved", "resolved")
    assert Incident.objects.get().state == "mitigated", "what is to be done is not done"


@pytest.mark.django_db
def test_alert__long_after_it_was_over__opens_another(monkeypatch: pytest.MonkeyPatch) -> None:
    fire("slow")
    incidents_follow()
    move(Incident.objects.get(), Move.RESOLVE)
    fire("slow", status="resolved")
    monkeypatch.setattr(clock, "_stepped_to", clock.now() + timedelta(hours=2))
    fire("slow")
    incidents_follow()
    assert sorted(Incident.objects.values_list("state", flat=True)) == ["open", "resolved"]


@pytest.mark.django_db
def test_taking__an_alert_takes_its_incident_and_the_other_way_round() -> None:
    (alert,) = fire("slow")
    incidents_follow()
    alert_acknowledge(alert_id=alert.pk, actor=BEN)
    incidents_follow()
    found = Incident.objects.get()
    assert (found.state, found.acknowledged_by) == ("acknowledged", "ben")
    move(found, Move.RESOLVE)
    fire("other")
    incidents_follow()
    again = Incident.objects.get()
    assert again.state == "open"
    move(again, Move.ACKNOWLEDGE)
    assert set(Alert.objects.values_list("state", "acknowledged_by")) == {
        ("acknowledged", "ben"),
        ("acknowledged", "anna"),
    }


# ---- people ----


@pytest.mark.django_db
def test_merge__what_caused_it_goes_on_in_the_other_and_more_of_it_too() -> None:
    fire("slow")
    incidents_follow()
    duplicate, into = Incident.objects.get(), opened("GPU is slow")
    services.incident_merge(environment=STAGING, incident_id=duplicate.pk, into_id=into.pk, actor=ANNA)
    duplicate.refresh_from_db()
    assert (duplicate.state, duplicate.merged_into) == ("resolved", into)
    assert verbs(duplicate)[-1] == "incident.resolved"
    assert into.causes.count() == 1
    fire("slow", "slower")
    incidents_follow()
    assert Incident.objects.count() == 2
    assert into.causes.count() == 2
    with pytest.raises(Conflict, match="merged into incident"):
        move(duplicate, Move.REOPEN)
    with pytest.raises(InvalidInput):
        services.incident_merge(environment=STAGING, incident_id=into.pk, into_id=into.pk, actor=ANNA)


@pytest.mark.fresh_database
def test_two_at_once__one_wins_and_the_other_gets_a_sentence() -> None:
    found = opened()
    said: list[str] = []
    gate = threading.Barrier(2)

    def press(actor: Actor) -> None:
        try:
            gate.wait(5)
            move(found, Move.ACKNOWLEDGE, actor)
            said.append("won")
        except HawkOpsError as error:
            said.append(error.message)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=press, args=(one,)) for one in (ANNA, BEN)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert sorted(one == "won" for one in said) == [False, True]
    winner = Incident.objects.get().acknowledged_by
    assert any(f"is acknowledged by {winner}" in one for one in said)
    assert verbs(found) == ["incident.opened", "incident.acknowledged"]


@pytest.mark.django_db
def test_tasks_roles_and_notes__each_one_entry(operator: Any) -> None:
    found = opened()
    where: dict[str, Any] = {"environment": STAGING, "actor": ANNA}
    assert services.incident_role_set(incident_id=found.pk, role="commander", username="operator", **where)
    assert not services.incident_role_set(incident_id=found.pk, role="commander", username="operator", **where)
    services.incident_note(incident_id=found.pk, text="GPU driver 511", **where)
    with pytest.raises(InvalidInput, match="needs an owner"):
        services.incident_task_add(incident_id=found.pk, title="Add a check", blocks=True, **where)
    task = services.incident_task_add(incident_id=found.pk, title="Add a check", owner="operator", blocks=True, **where)
    assert [one.pk for one in selectors.holding(STAGING)] == [task.pk]
    services.incident_task_set(task_id=task.pk, done=True, **where)
    assert selectors.holding(STAGING) == []
    with pytest.raises(Conflict):
        services.incident_task_set(task_id=task.pk, done=True, **where)
    with pytest.raises(NotFound):
        services.incident_role_set(incident_id=found.pk, role="scribe", username="nobody", **where)
    assert verbs(found)[1:] == ["incident.role_set", "incident.noted", "incident.task_added", "incident.task_done"]


# ---- what else asks for them ----


@pytest.mark.django_db
def test_critical__as_validations_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    start = clock.now()

    def at(minutes: int) -> None:
        monkeypatch.setattr(clock, "_stepped_to", start + timedelta(minutes=minutes))

    at(0)
    warning = opened("A warning", "warning")
    assert critical_incidents(STAGING, start) == []
    at(10)
    services.incident_severity_set(environment=STAGING, incident_id=warning.pk, severity="critical", actor=ANNA)
    at(20)
    (one,) = critical_incidents(STAGING, start)
    assert (one.title, one.opened_at, one.ended_at) == (str(warning), start + timedelta(minutes=10), None)
    assert one.address == f"/staging/incidents/{warning.pk}"
    move(warning, Move.MITIGATE)
    assert critical_incidents(STAGING, start)[0].ended_at is None, "mitigated is not over"
    at(30)
    move(warning, Move.RESOLVE)
    (one,) = critical_incidents(STAGING, start)
    assert one.ended_at == start + timedelta(minutes=30)
    assert critical_incidents(STAGING, start + timedelta(minutes=31)) == []
    assert critical_incidents("demo", start) == []


@pytest.mark.django_db
def test_clock_of_a_validation__held_at_zero_while_one_stands_and_begins_anew_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached = clock.now()
    found = opened()
    held = start(reached, critical_incidents(STAGING, reached))
    assert (held.at, held.because, held.address) == (None, str(found), f"/staging/incidents/{found.pk}")
    monkeypatch.setattr(clock, "_stepped_to", reached + timedelta(hours=3))
    move(found, Move.RESOLVE)
    assert start(reached, critical_incidents(STAGING, reached)).at == reached + timedelta(hours=3)
    opened("Slow", "warning")
    assert start(reached, critical_incidents(STAGING, reached)).at == reached + timedelta(hours=3)


def devices(*seconds: int | None, revision: int, since: Any) -> None:
    """Active devices that obeyed a revision so many seconds after, or not."""
    rows = [
        CensusDevice(
            environment=STAGING,
            device_id=f"d{place}",
            obeyed_revision=revision if one is not None else revision - 1,
            obeyed_at=since + timedelta(seconds=one) if one is not None else None,
            first_seen_at=since,
            last_seen_at=clock.now(),
        )
        for place, one in enumerate(seconds)
    ]
    CensusDevice.objects.bulk_create(rows)


@pytest.mark.django_db
def test_kill__during_one__stands_in_its_timeline_with_the_moments_of_the_census() -> None:
    flags_seed(actor=SYSTEM)
    incidents_follow()
    found = opened()
    entry = overrides.kill(environment=STAGING, actor=ANNA, reason="Production incident")
    assert entry is not None
    incidents_follow()
    found.refresh_from_db()
    assert (found.killed_entry, found.killed_at) == (entry.seq, entry.at)
    assert found.kill_revision
    devices(*range(19), None, revision=found.kill_revision, since=entry.at)
    census_follow()
    found.refresh_from_db()
    # of 20 devices the 10th obeys after 9 s, the 19th (95 %) after 18 s, the 20th does not yet
    assert found.obeyed == {
        "50": (entry.at + timedelta(seconds=9)).isoformat(),
        "95": (entry.at + timedelta(seconds=18)).isoformat(),
    }
    census_follow()
    rows = selectors.timeline(found)
    titles = [one.title for one in rows]
    assert titles.count("95 % obey: 19 of 20 devices") == 1
    assert "🚨 LiteRT Emergency Rollback Initiated" in titles
    assert "LiteRT was killed during it" in titles
    assert rows[-1].title.startswith(f"Incident {found.pk} opened") or "Emergency" not in rows[-1].title


@pytest.mark.django_db
def test_opened_after_a_kill__it_is_the_incidents_own(monkeypatch: pytest.MonkeyPatch) -> None:
    flags_seed(actor=SYSTEM)
    entry = overrides.kill(environment=STAGING, actor=ANNA, reason="Production incident")
    assert entry is not None
    found = opened()
    assert (found.killed_entry, found.killed_at) == (entry.seq, entry.at)
    incidents_follow()
    assert verbs(found) == ["incident.opened"], "reading on adds nothing"
    monkeypatch.setattr(clock, "_stepped_to", clock.now() + timedelta(hours=2))
    assert opened("Much later").killed_entry is None


@pytest.mark.django_db
def test_drill__is_no_kill_of_an_incident() -> None:
    flags_seed(actor=SYSTEM)
    found = opened()
    overrides.kill(environment=STAGING, actor=ANNA, reason="Pre-deployment test")
    incidents_follow()
    found.refresh_from_db()
    assert found.killed_entry is None


@pytest.mark.django_db
def test_timeline__holds_what_belongs_and_nothing_else() -> None:
    fire("slow")
    incidents_follow()
    found = Incident.objects.get()
    other = opened("Another one", "warning")
    services.incident_note(environment=STAGING, incident_id=found.pk, text="Rolled the driver back", actor=ANNA)
    services.incident_note(environment=STAGING, incident_id=other.pk, text="Not of this one", actor=ANNA)
    with change(actor=SYSTEM, environment="demo") as this:
        this.record("flag.percentage_set", subject="flag:litert_enabled", after={"percentage": 5})
    rows = selectors.timeline(found)
    assert [one.verb for one in rows if one.own] == ["incident.noted", "incident.opened", "alert.fired"]
    assert "Rolled the driver back" in [one.text for one in rows]
    assert "Not of this one" not in [one.text for one in rows]
    assert all(one.verb != "flag.percentage_set" for one in rows), "another environment's"


# ---- what is told ----


@pytest.mark.django_db
def test_told__pagerduty__one_thread_from_opening_to_resolution(make: MakeChannel) -> None:
    make("pagerduty")
    found = opened()
    move(found, Move.ACKNOWLEDGE)
    move(found, Move.MITIGATE)
    move(found, Move.RESOLVE)
    dispatch_all()
    rows = Delivery.objects.order_by("pk").values_list("thread", "action")
    thread = f"hawkops:staging:incident:{found.pk}"
    assert [one for one in rows if one[1] != "tell"] == [
        (thread, "trigger"),
        (thread, "acknowledge"),
        (thread, "resolve"),
    ]


@pytest.mark.django_db
def test_told__opened_by_an_alert__shares_its_thread_and_keeps_it_open(make: MakeChannel) -> None:
    make("slack")
    fire("slow")
    incidents_follow()
    fire("slow", status="resolved")
    incidents_follow()
    dispatch_all()
    rows = list(Delivery.objects.order_by("pk").values_list("thread", "action", "title"))
    assert {thread for thread, _, _ in rows} == {"hawkops:staging:alerts:am:gpu"}
    assert [action for _, action, _ in rows][-1] == "tell", "well again, but the incident stands"
    move(Incident.objects.get(), Move.RESOLVE)
    dispatch_all()
    assert Delivery.objects.order_by("-pk").values_list("action", flat=True)[0] == "resolve"


@pytest.mark.django_db
def test_acknowledging__by_its_thread__takes_incident_and_alert_together(make: MakeChannel) -> None:
    fire("slow")
    incidents_follow()
    thread = "hawkops:staging:alerts:am:gpu"
    taken = acknowledging.acknowledge(environment=STAGING, thread=thread, actor=BEN, through="page")
    assert taken == 1
    assert Incident.objects.get().acknowledged_by == "ben"
    assert Alert.objects.get().state == "acknowledged"
    with pytest.raises(Conflict):
        acknowledging.acknowledge(environment=STAGING, thread=thread, actor=ANNA, through="page")


# ---- pages ----


@pytest.mark.django_db
def test_page__without_javascript__from_the_form_to_resolved(operator: Any, client_as: Any) -> None:
    client: Client = client_as(operator)
    refused = client.post("/staging/incidents/create", {"title": " ", "severity": "critical"})
    assert refused.status_code == 422
    assert not Incident.objects.exists()
    made = client.post("/staging/incidents/create", {"title": "Wrong answers", "severity": "critical"})
    assert made.status_code == 303
    where = made["Location"]
    assert "Nobody has it yet" in client.get(where).content.decode()
    strip = client.get("/staging/strip").content.decode()
    assert "Wrong answers" in strip
    client.post(f"{where}/move", {"move": "acknowledge"})
    client.post(f"{where}/roles", {"role": "commander", "me": "1"})
    client.post(f"{where}/notes", {"text": "Looking at drivers"})
    page = client.get(where).content.decode()
    for words in ("operator has it", "Looking at drivers", "Commander: operator"):
        assert words in page
    assert "Wrong answers" in client.get("/staging/emergency").content.decode()
    late = client.post(f"{where}/move", {"move": "acknowledge"}, follow=True).content.decode()
    assert "The incident is acknowledged by operator" in late
    client.post(f"{where}/move", {"move": "resolve"})
    assert Incident.objects.get().state == "resolved"
    assert "Wrong answers" not in client.get("/staging/strip").content.decode()
    assert client.post(f"{where}/move", {"move": "explode"}, follow=True).status_code == 200


@pytest.mark.django_db
def test_page__of_another_environment__is_not_there(operator: Any, client_as: Any) -> None:
    found = opened()
    client: Client = client_as(operator)
    assert client.get(f"/demo/incidents/{found.pk}").status_code == 404
    client.post(f"/demo/incidents/{found.pk}/move", {"move": "resolve"})
    assert Incident.objects.get().state == "open"


@pytest.mark.django_db
def test_page_outside__shows_only_what_is_public_and_nothing_once_revoked(operator: Any, client_as: Any) -> None:
    found = opened("Wrong answers on some phones")
    client: Client = client_as(operator)
    for text, public in (("SECRET driver detail", ""), ("We turned it off", "1")):
        client.post(f"/staging/incidents/{found.pk}/notes", {"text": text, "public": public})
    client.post(f"/staging/incidents/{found.pk}/links")
    page = client.get(f"/staging/incidents/{found.pk}").content.decode()
    address = page.split('href="/status/')[1].split('"')[0]
    assert address not in client.get(f"/staging/incidents/{found.pk}").content.decode(), "shown once"
    assert not IncidentLink.objects.filter(token_hash=address).exists(), "only its hash is kept"
    stranger = Client()
    shown = stranger.get(f"/status/{address}")
    text = shown.content.decode()
    assert shown.status_code == 200
    assert "noindex" in shown["X-Robots-Tag"]
    for words in ("Wrong answers on some phones", "We turned it off", "critical", "open"):
        assert words in text
    for words in ("SECRET", "staging", "operator", "anna"):
        assert words not in text
    assert stranger.post(f"/status/{address}").status_code == 405
    client.post(f"/staging/incidents/links/{IncidentLink.objects.get().pk}/revoke")
    assert stranger.get(f"/status/{address}").status_code == 404
    assert stranger.get("/status/guessed").status_code == 404


@pytest.mark.django_db
def test_task__its_owner__may_end_it_and_no_other_viewer(viewer: Any, person: Any, client_as: Any) -> None:
    found = opened()
    task = services.incident_task_add(
        environment=STAGING, incident_id=found.pk, title="Look", owner="viewer", actor=ANNA
    )  # fmt: skip
    path = f"/staging/incidents/tasks/{task.pk}"
    assert client_as(person("other", Role.VIEWER)).post(path, {"done": "1"}).status_code == 403
    assert client_as(viewer).post(path, {"done": "1"}).status_code == 303
    task.refresh_from_db()
    assert task.done_by == "viewer"


@pytest.mark.django_db
def test_guardrails_of_a_phase__one_incident__critical_by_its_rollback_mitigated_when_all_hold() -> None:
    def happened(verb: str, key: str, role: str) -> None:
        with change(actor=SYSTEM, environment=STAGING) as this:
            this.record(verb, subject=f"guardrail:3:2:{key}", after={"role": role, "sentence": "up"})
        incidents_follow()

    happened("guardrail.failed", "battery", "signal")
    happened("guardrail.failed", "slow-start", "watch")
    assert Incident.objects.get().severity == "warning"
    happened("guardrail.failed", "crashes", "guardrail")
    happened("guardrail.rolled_back", "crashes", "guardrail")
    found = Incident.objects.get()
    assert (found.severity, found.kind, found.causes.count()) == ("critical", "guardrail:3:2", 2)
    happened("guardrail.recovered", "battery", "signal")
    assert Incident.objects.get().state == "open"
    happened("guardrail.recovered", "crashes", "guardrail")
    assert Incident.objects.get().state == "mitigated"
