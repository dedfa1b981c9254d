"""Pages of on-call and escalations: plain forms, times by the rotation's clocks, links that open and close."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from icalendar import Calendar

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.history.models import Head, HistoryEntry
from hawkops.strip import facts
from incidents.models import CalendarLink, Contact, Escalation, OnCallOverride, Rotation, Swap
from incidents.selectors import oncall as selectors
from incidents.services import escalations, oncall, second_path
from incidents.services.auditing import audit
from incidents.services.escalations import escalate
from incidents.services.sending import send_due
from tests.incidents.conftest import SYSTEM, MakeChannel
from tests.incidents.sinks import Mail
from tests.incidents.test_escalation import at  # noqa: F401 - a fixture
from tests.incidents.test_sending import fire

pytestmark = pytest.mark.django_db
ClientAs = Callable[[object], Client]
At = Callable[[float], None]
HERE = "/staging/oncall"
FORM = {
    "people": ["ana", "ben", ""],
    "begins_on": "2026-11-30",
    "handover": "09:00",
    "length_days": "7",
    "zone": "Europe/Berlin",
    "revision": "0",
}


@pytest.fixture
def crew(person: Callable[..., Any], at: At) -> tuple[User, User]:  # noqa: F811
    """Two operators, and the runbook's contacts."""
    oncall.oncall_seed(actor=SYSTEM)
    escalations.policies_seed(actor=SYSTEM)
    return person("ana", Role.OPERATOR), person("ben", Role.OPERATOR)


@pytest.fixture
def rotation(crew: tuple[User, User], client_as: ClientAs) -> Client:
    """Ana and Ben take turns, handover Mondays at 9 in Berlin; Ana's client."""
    client = client_as(crew[0])
    assert client.post(f"{HERE}/rotation/save", FORM).status_code == 303
    return client


def words(client: Client, path: str = HERE) -> str:
    """A page's words."""
    return " ".join(re.sub(r"<[^>]+>", " ", client.get(path).content.decode()).split())


def test_page__nobody_yet__says_so_and_asks_for_the_team_lead(crew: tuple[User, User], client_as: ClientAs) -> None:
    page = client_as(crew[0]).get(HERE).content.decode()
    assert "Nobody is on call in staging" in page
    assert 'href="tel:+15550101">+1-555-0101' in page
    assert 'href="tel:+15550202">+1-555-0202' in page
    assert 'href="mailto:security@hazardhawk.com"' in page
    assert "Slack: #incidents" in page
    assert "The matrix names a team lead, and nobody stands there." in page
    assert facts("staging")["oncall"].headline == "Nobody on call"


def test_team_lead__filled_in__is_asked_for_no_more(administrator: User, crew: object, client_as: ClientAs) -> None:
    client = client_as(administrator)
    seq = Head.objects.get().seq
    given = {"primary": "+1-555-0151", "person": "ben", "reason": "found one"}
    assert client.post(f"{HERE}/contacts/team_lead/save", given).status_code == 303
    assert "nobody stands there" not in words(client)
    (entry,) = HistoryEntry.objects.filter(seq__gt=seq)
    ben = f"person:{User.objects.get(username='ben').pk}"
    assert (entry.verb, entry.after["person"], entry.before["primary"]) == ("contact.changed", ben, "")
    assert entry.after["primary"] == "theirs"
    assert client.post(f"{HERE}/contacts/team_lead/save", given).status_code == 303
    assert Head.objects.get().seq == entry.seq, "saved as it is, nothing is recorded"
    assert client.post(f"{HERE}/contacts/dog/save", given).status_code == 404
    assert client.post(f"{HERE}/contacts/on_call/save", given).status_code == 422
    assert Contact.objects.get(pk="on_call").primary == "+1-555-0101"


def test_rotation__made_and_shown__by_its_own_clocks(rotation: Client) -> None:
    page = words(rotation)
    assert "ana is on call in staging" in page
    assert "Handover to ben on Monday 7 December, 09:00 (Europe/Berlin)" in page
    fact = facts("staging")["oncall"]
    assert (fact.headline, fact.ok) == ("On call: ana", True)
    form = rotation.get(f"{HERE}/rotation").content.decode()
    assert 'value="2026-11-30"' in form
    assert form.index("<option selected>ana") < form.index("<option selected>ben")
    entry = HistoryEntry.objects.get(verb="rotation.changed")
    assert entry.after["people"] == [f"person:{User.objects.get(username=name).pk}" for name in ("ana", "ben")]


@pytest.mark.parametrize(
    "given,words_",
    [
        ({"people": ["ana", "ana"]}, "stands in the rotation once"),
        ({"people": ["viewer"]}, "operator or releaser"),
        ({"people": ["nobody-at-all"]}, "nobody called"),
        ({"zone": "Mars"}, "no time zone"),
        ({"handover": "late"}, "no time of day"),
        ({"begins_on": "soon"}, "no day"),
        ({"length_days": "99"}, "1 to 28 days"),
        ({"length_days": "-1"}, "no whole number"),
        ({"revision": "7"}, "Somebody changed the rotation"),
    ],
)
def test_rotation__unfit__changes_nothing(
    crew: tuple[User, User], viewer: User, client_as: ClientAs, given: dict[str, Any], words_: str
) -> None:
    seq = Head.objects.get().seq
    answer = client_as(crew[0]).post(f"{HERE}/rotation/save", {**FORM, **given})
    assert answer.status_code == 422
    assert words_ in answer.content.decode()
    assert not Rotation.objects.exists()
    assert Head.objects.get().seq == seq


def test_gap__of_who_left__is_warned_of_two_weeks_ahead_once(
    rotation: Client,
    crew: tuple[User, User],
    at: At,  # noqa: F811
) -> None:
    crew[1].is_active = False
    crew[1].save()
    assert "Nobody covers Mon 7 Dec, 09:00 to Mon 14 Dec, 09:00: ben has left" in words(rotation)
    assert oncall.gaps_note() == 1
    assert oncall.gaps_note() == 0
    entry = HistoryEntry.objects.get(verb="rotation.gap_found")
    assert "Nobody is on call from 07 Dec 08:00 UTC" in entry.after["title"]
    at(7 * 1440)
    assert facts("staging")["oncall"].ok is False
    given = {"person": "ana", "starts_at": "2026-12-07T11:00", "ends_at": "2026-12-14T09:00"}
    assert rotation.post(f"{HERE}/overrides/create", given).status_code == 303
    (left,) = selectors.gaps("staging")
    assert left.starts_at.isoformat() == "2026-12-21T08:00:00+00:00", "his next turn, at the end of the two weeks"
    assert facts("staging")["oncall"].headline == "On call: ana"


def test_override__by_local_time__counts_and_is_taken_back(rotation: Client, at: At) -> None:  # noqa: F811
    given = {"person": "ben", "starts_at": "2026-12-01T09:00", "ends_at": "2026-12-02T09:00", "reason": "dentist"}
    assert rotation.post(f"{HERE}/overrides/create", given).status_code == 303
    row = OnCallOverride.objects.get()
    assert row.starts_at.isoformat() == "2026-12-01T08:00:00+00:00"
    at(1440)
    assert "ben is on call" in words(rotation)
    assert rotation.post(f"{HERE}/overrides/{row.pk}/cancel").status_code == 303
    assert "ana is on call" in words(rotation)
    assert [one.verb for one in HistoryEntry.objects.filter(verb__startswith="oncall.").order_by("seq")] == [
        "oncall.override_set",
        "oncall.override_cancelled",
    ]
    for bad, why in (
        ({"ends_at": "2026-11-01T09:00"}, "ends after it begins"),
        ({"ends_at": "2027-12-01T09:00"}, "at most 90 days"),
        ({"starts_at": "x"}, "no time"),
    ):
        answer = rotation.post(f"{HERE}/overrides/create", {**given, **bad})
        assert (answer.status_code, why in answer.content.decode()) == (422, True)
        assert "dentist" in answer.content.decode(), "what was typed comes back"


def test_swap__accepted_by_the_other__both_take_each_others_time(
    rotation: Client,
    crew: tuple[User, User],
    client_as: ClientAs,
    at: At,  # noqa: F811
) -> None:
    other = client_as(crew[1])
    given = {
        "other": "ben",
        "given_from": "2026-12-02T09:00",
        "given_until": "2026-12-03T09:00",
        "taken_from": "2026-12-09T09:00",
        "taken_until": "2026-12-10T09:00",
    }
    assert rotation.post(f"{HERE}/swaps/propose", given).status_code == 303
    swap = Swap.objects.get()
    assert not OnCallOverride.objects.exists(), "until then nothing changes"
    rotation.post(f"{HERE}/swaps/{swap.pk}/answer", {"answer": "accept"})
    swap.refresh_from_db()
    assert swap.state == "proposed", "nobody accepts for another"
    other.post(f"{HERE}/swaps/{swap.pk}/answer", {"answer": "accept"})
    swap.refresh_from_db()
    assert swap.state == "accepted"
    at(2 * 1440)
    assert selectors.on_call_now("staging").person == crew[1]
    at(9 * 1440)
    assert selectors.on_call_now("staging").person == crew[0]
    other.post(f"{HERE}/swaps/{swap.pk}/answer", {"answer": "decline"})
    swap.refresh_from_db()
    assert swap.state == "accepted", "an answer is final"


def test_swap__of_what_is_not_ones_own_or_no_more__is_refused(
    rotation: Client, crew: tuple[User, User], client_as: ClientAs
) -> None:
    given = {"other": "ben", "given_from": "2026-12-08T09:00", "given_until": "2026-12-09T09:00"}
    answer = rotation.post(f"{HERE}/swaps/propose", given)
    assert (answer.status_code, "ana is not on call all of" in answer.content.decode()) == (422, True)
    given |= {"given_from": "2026-12-02T09:00", "given_until": "2026-12-03T09:00"}
    assert rotation.post(f"{HERE}/swaps/propose", {**given, "other": "ana"}).status_code == 422
    rotation.post(f"{HERE}/swaps/propose", given)
    taken = {"person": "ben", "starts_at": "2026-12-02T12:00", "ends_at": "2026-12-02T13:00"}
    rotation.post(f"{HERE}/overrides/create", taken)
    client_as(crew[1]).post(f"{HERE}/swaps/{Swap.objects.get().pk}/answer", {"answer": "accept"})
    assert Swap.objects.get().state == "proposed", "things have changed"
    rotation.post(f"{HERE}/swaps/{Swap.objects.get().pk}/answer", {"answer": "withdraw"})
    assert Swap.objects.get().state == "withdrawn"


def test_feed__by_a_link_that_nobody_guesses__until_it_is_revoked(
    rotation: Client, crew: tuple[User, User], client_as: ClientAs
) -> None:
    rotation.post(f"{HERE}/links/create", {"own": "1"})
    page = rotation.get(HERE).content.decode()
    found = re.search(r"/staging/oncall/feed/([\w-]+)\.ics", page)
    assert found is not None
    assert len(found[1]) >= 43
    assert "/feed/" not in rotation.get(HERE).content.decode(), "shown once"
    assert found[1] not in str(list(CalendarLink.objects.values())), "only its hash is kept"
    answer = Client().get(found[0])
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/calendar; charset=utf-8")
    events = Calendar.from_ical(answer.content).walk("VEVENT")
    assert {str(one["summary"]) for one in events} == {"ana on call, staging"}
    starts = [one.decoded("dtstart").isoformat() for one in events]
    assert "2026-12-14T08:00:00+00:00" in starts
    assert len({str(one["uid"]) for one in events}) == len(events)
    assert Client().get(found[0].replace("staging", "demo")).status_code == 404
    assert Client().get("/staging/oncall/feed/guess.ics").status_code == 404
    link = CalendarLink.objects.get()
    client_as(crew[1]).post(f"{HERE}/links/{link.pk}/revoke")
    assert Client().get(found[0]).status_code == 200, "somebody else's"
    rotation.post(f"{HERE}/links/{link.pk}/revoke")
    assert Client().get(found[0]).status_code == 404
    rotation.post(f"{HERE}/links/create", {"own": "0"})
    again = re.search(r"/staging/oncall/feed/[\w-]+\.ics", rotation.get(HERE).content.decode())
    assert again is not None
    assert "ben on call" in Client().get(again[0]).content.decode()
    crew[0].is_active = False
    crew[0].save()
    assert Client().get(again[0]).status_code == 404, "whose link it is has left"


# ---- escalations ----


def test_escalations__next_step_proof_and_one_press(
    rotation: Client,
    make: MakeChannel,
    mail: Mail,
    crew: tuple[User, User],
    at: At,  # noqa: F811
) -> None:
    make("email", name="ana by mail", address="ana@example.com", person=crew[0])
    escalations.read_on()
    fire("GPU is slow")
    escalate()
    send_due()
    at(5)
    page = words(rotation, "/staging/escalations")
    assert "1 waits for somebody in staging" in page
    assert "Next: team lead , in 10" in page.replace("\xa0", " ")
    assert "ana by mail : 250 127.0.0.1 took it" in page
    assert "arrived" in page
    row = Escalation.objects.get()
    assert "GPU is slow" in words(rotation, f"/staging/escalations/{row.pk}")
    assert rotation.post(f"/staging/escalations/{row.pk}/acknowledge").status_code == 303
    assert "Somebody has everything in staging" in words(rotation, "/staging/escalations")
    assert rotation.get("/staging/escalations?part=list").content.decode().startswith('<div id="list"')


def test_strip__a_page_that_did_not_arrive__is_red(rotation: Client, at: At) -> None:  # noqa: F811
    fire("GPU is slow")
    escalate()
    at(3)
    audit()
    fact = facts("staging")["oncall"]
    assert (fact.headline, fact.ok) == ("A page is late", False)
    assert "to on-call engineer: GPU is slow" in fact.detail
    page = words(rotation, "/staging/escalations")
    assert "1 page did not arrive in time" in page
    assert "It does not watch" in page
    assert "It can tell nobody" in page


def test_strip__second_path_that_fell_silent__is_told(rotation: Client, at: At) -> None:  # noqa: F811
    second_path.look()
    assert facts("staging")["platform"].headline != "Second path silent"
    at(2)
    fact = facts("staging")["platform"]
    assert (fact.headline, fact.ok) == ("Second path silent", False)


def test_matrix__edited_in_the_form__and_bad_input_comes_back(
    administrator: User, crew: object, client_as: ClientAs
) -> None:
    client, path = client_as(administrator), "/staging/escalations/policy"
    given = {
        "after": ["0", "10m", ""],
        "target": ["on_call", "team_lead", "team"],
        "business": ["0", "0", "0"],
        "says": ["", "hurry", ""],
        "acknowledged_for": "20m",
        "rounds": "2",
        "rest": "10m",
        "reason": "ours",
    }
    assert client.post(f"{path}/critical/save", given).status_code == 303
    entry = HistoryEntry.objects.get(verb="escalation_policy.changed")
    assert [one["after"] for one in entry.after["steps"]] == ["0", "10m"]
    bad = client.post(f"{path}/critical/save", {**given, "after": ["0", "soon", ""]})
    assert (bad.status_code, "soon&#x27; is no time" in bad.content.decode()) == (422, True)
    hours = {
        "zone": "Europe/Berlin",
        "weekdays": ["0", "1"],
        "opens": "08:00",
        "closes": "16:00",
        "holidays": "2026-12-25 Christmas",
    }
    assert client.post("/staging/escalations/hours/save", hours).status_code == 303
    assert selectors.hours().next_open(clock.now()) >= clock.now()
    answer = client.post("/staging/escalations/hours/save", {**hours, "holidays": "christmas"})
    assert (answer.status_code, "no day" in answer.content.decode()) == (422, True)
    assert HistoryEntry.objects.filter(verb="business_hours.changed").count() == 1


def test_check__pressed__begins_one(rotation: Client, at: At) -> None:  # noqa: F811
    assert rotation.post("/staging/escalations/check").status_code == 303
    escalate()
    assert Escalation.objects.get().kind == "page_check"
    assert "Recorded in the history, and begun" in words(rotation, "/staging/escalations")
    assert timedelta() <= clock.now() - Escalation.objects.get().began_at < timedelta(minutes=1)


def test_incident__nobody_commands__proposes_who_is_on_call(
    rotation: Client, crew: tuple[User, User], client_as: ClientAs
) -> None:
    ben = client_as(crew[1])
    where = ben.post("/staging/incidents/create", {"title": "Wrong answers", "severity": "critical"})["Location"]
    assert "ana commands, who is on call" in words(ben, where)
    assert "who is on call" not in words(client_as(crew[0]), where), "of herself the other press says it"
    ben.post(f"{where}/roles", {"role": "commander", "person": "ana"})
    assert "Commander: ana" in words(ben, where)
    assert "who is on call" not in words(ben, where)
