"""The four things that the runbook wants of a critical incident, each with its receipt; what is missing says what to do."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.accounts.models import User
from hawkops.accounts.services.credentials import api_token_create
from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.history.models import HistoryEntry
from incidents.domain.incidents import Move
from incidents.domain.retrying import State as Sent
from incidents.models import Delivery, Incident, Receipt, Rotation
from incidents.selectors.receipts import State, Wanted, wanted
from incidents.services import escalations, oncall, reviews
from incidents.services import incidents as services
from incidents.services.commanding import commanders_propose
from incidents.services.dispatching import dispatch_all
from incidents.services.escalations import escalate
from incidents.services.following import incidents_follow
from tests.incidents.conftest import SYSTEM, MakeChannel

pytestmark = pytest.mark.django_db
WHERE: dict[str, Any] = {"environment": "staging", "actor": SYSTEM}
ALL = ["paged", "pagerduty", "posted", "commander"]


@pytest.fixture
def ana(person: Callable[..., Any]) -> User:
    """On call in staging."""
    oncall.oncall_seed(actor=SYSTEM)
    escalations.policies_seed(actor=SYSTEM)
    found: User = person("ana", Role.OPERATOR)
    now = clock.now()
    Rotation.objects.create(
        environment="staging", people=[found.pk], begins_on=(now - timedelta(days=2)).date(), handover=now.time(),
        length_days=7,
    )  # fmt: skip
    return found


def opened(severity: str = "critical") -> Incident:
    return services.incident_open(title="Too many users are affected", severity=severity, **WHERE)


def at_work() -> None:
    """Everything that the courier does, but sending."""
    incidents_follow()
    dispatch_all()
    escalate()


def sent(state: Sent = Sent.SENT, answer: str = "ok", status: int = 202) -> None:
    """What waits has been answered."""
    for one in Delivery.objects.filter(state=Sent.PENDING.value):
        Receipt.objects.create(delivery=one, number=1, at=clock.now(), outcome="accepted", status=status, answer=answer)
        done = clock.now() if state is Sent.SENT else None
        Delivery.objects.filter(pk=one.pk).update(state=state.value, done_at=done, attempts=1)


def four(found: Incident) -> dict[str, Wanted]:
    found.refresh_from_db()
    rows = wanted(found)
    assert [one.key for one in rows] == ALL
    return {one.key: one for one in rows}


def test_receipts__everything_set_up__are_four_each_with_channel_time_and_answer(ana: User, make: MakeChannel) -> None:
    make("email", name="ana's", address="ana@example.com", person=ana)
    make("pagerduty", name="Pager")
    make("slack", name="#production-incidents")
    make("email", name="another", address="team@example.com")
    found = opened()
    at_work()
    assert {one.state for one in four(found).values()} == {State.WAITING}
    sent()
    rows = four(found)
    assert {key: (one.state, one.channel) for key, one in rows.items()} == {
        "paged": (State.DONE, "ana's"),
        "pagerduty": (State.DONE, "Pager"),
        "posted": (State.DONE, "#production-incidents"),
        "commander": (State.DONE, "ana's"),
    }
    assert all(one.at is not None and one.receipt == "202 ok" and not one.todo for one in rows.values())
    assert rows["paged"].who.startswith("ana") and rows["commander"].who == "ana"


def test_receipts__nothing_set_up__are_missing_and_say_what_to_do(make: MakeChannel) -> None:
    escalations.policies_seed(actor=SYSTEM)
    found = opened()
    at_work()
    rows = four(found)
    assert {one.state for one in rows.values()} == {State.MISSING}
    assert rows["paged"].todo.startswith("Nobody has a channel")
    assert rows["pagerduty"].todo == "Add a PagerDuty channel."
    assert rows["posted"].todo.startswith("Add the channel #production-incidents")
    assert rows["commander"].todo.startswith("Nobody is on call")


def test_receipts__a_channel_that_refused__is_failed_with_its_answer(ana: User, make: MakeChannel) -> None:
    make("slack", name="#production-incidents")
    found = opened()
    at_work()
    sent(Sent.FAILED, "no_service", 404)
    rows = four(found)
    assert (rows["posted"].state, rows["posted"].receipt) == (State.FAILED, "404 no_service")
    assert rows["posted"].todo and rows["pagerduty"].state is State.MISSING


def test_receipts__a_warning__has_none_until_it_is_critical(ana: User) -> None:
    found = opened("warning")
    at_work()
    assert wanted(found) == ()
    services.incident_severity_set(incident_id=found.pk, severity="critical", **WHERE)
    at_work()
    assert four(found)["commander"].who == "ana"


def test_commander__proposed_once__by_the_rule_and_not_where_somebody_commands(ana: User, make: MakeChannel) -> None:
    make("email", name="ana's", address="ana@example.com", person=ana)
    led = opened()
    services.incident_role_set(incident_id=led.pk, role="commander", username="ana", **WHERE)
    found = opened()
    assert commanders_propose() == 1 and commanders_propose() == 0
    entry = HistoryEntry.objects.get(verb="incident.commander_proposed")
    assert (entry.subject, entry.actor, entry.after["person"]) == (found.subject, "rule:incidents", f"person:{ana.pk}")
    assert Delivery.objects.filter(message__verb="incident.commander_proposed").count() == 1
    assert four(led)["commander"].who == "ana commands"


def test_page_and_api__tell_the_same(
    ana: User, make: MakeChannel, operator: User, client_as: Callable[[User], Client]
) -> None:
    make("slack", name="#production-incidents")
    found = opened()
    at_work()
    sent()
    client = client_as(operator)
    text = client.get(f"/staging/incidents/{found.pk}").content.decode()
    assert "Who was told" in text and "Add a PagerDuty channel." in text and "202 ok" in text
    assert (
        "Posted to #production-incidents" in client.get(f"/staging/incidents/{found.pk}?part=receipts").content.decode()
    )
    _, secret = api_token_create(environment="staging", name="ci", scopes=[Scope.READ], actor=SYSTEM)
    headers = {"Authorization": f"Bearer {secret}"}
    told = Client().get(f"/api/v1/staging/incidents/{found.pk}", headers=headers).json()["receipts"]
    assert [(one["key"], one["state"]) for one in told] == [
        ("paged", "done"), ("pagerduty", "missing"), ("posted", "done"), ("commander", "done"),
    ]  # fmt: skip


def test_review_and_exports__keep_them_as_they_were(
    ana: User, make: MakeChannel, operator: User, client_as: Callable[[User], Client]
) -> None:
    make("slack", name="#production-incidents")
    found = opened()
    at_work()
    sent()
    client = client_as(operator)
    services.incident_move(incident_id=found.pk, move=Move.RESOLVE, **WHERE)
    made = reviews.review_draft(incident_id=found.pk, **WHERE)
    assert [one["key"] for one in made.facts["receipts"]] == ALL
    for path in ("review", "review.html", "review.md"):
        text = client.get(f"/staging/incidents/{found.pk}/{path}").content.decode()
        assert "Who was told" in text and "Add a PagerDuty channel" in text, path
