"""A session of long ago: raising asks who it is and comes back with the form; lowering, kills and tokens are never asked."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from hawkops.accounts.models import User
from hawkops.accounts.services.people import person_create, teams_set
from hawkops.accounts.views.confirming import KEPT
from hawkops.core.access import Role
from hawkops.core.recent import SESSION_KEY, NeedsRecentLogin, must_be_recent, session_of
from hawkops.core.teams import Team
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from rollout.models import Flag, Proposal
from rollout.services.flags import flags_seed
from rollout.services.groups import groups_seed
from rollout.services.proposals import proposal_make

SYSTEM = Actor.system("test")
PASSWORD = "correct horse battery"
pytestmark = pytest.mark.django_db


@pytest.fixture
def furnished() -> None:
    """Flags, and one that may rise without gates in staging, where approvals are rehearsed."""
    flags_seed(actor=SYSTEM)
    groups_seed(actor=SYSTEM)


@pytest.fixture
def admin() -> User:
    """Somebody with a password who may do everything."""
    made = person_create(username="ana", actor=SYSTEM, roles=[Role.ADMIN])
    made.set_password(PASSWORD)
    made.save()
    return made


def signed_in(user: User, *, minutes_ago: float | None) -> Client:
    """A browser whose session began so long ago, or does not say when."""
    client = Client()
    client.force_login(user)
    session = client.session
    if minutes_ago is None:
        del session[SESSION_KEY]
    else:
        session[SESSION_KEY] = time.time() - 60 * minutes_ago
    session.save()
    return client


def flag(environment: str) -> Flag:
    """The flag that is pressed."""
    return Flag.objects.get(environment=environment, key="litert_enabled")


def raised(client: Client, environment: str, percentage: int) -> Any:
    """Send the form of the percentage."""
    row = flag(environment)
    given = {"percent": percentage, "revision": row.revision, "reason": "Phase as planned"}
    return client.post(f"/{environment}/flags/litert_enabled/percentage", given)


@pytest.mark.parametrize("minutes,asks", [(None, True), (61, True), (59, False), (0, False)])
def test_session__of_some_age__asks_or_does_not(minutes: float | None, asks: bool) -> None:
    must_be_recent()  # no session at all: a schedule, a command, a token
    with session_of(None if minutes is None else time.time() - 60 * minutes):
        if asks:
            with pytest.raises(NeedsRecentLogin):
                must_be_recent()
        else:
            must_be_recent()


def test_setting__zero__asks_nobody(settings: Any) -> None:
    settings.RECENT_LOGIN_MINUTES = 0
    with session_of(None):
        must_be_recent()


def test_raise__old_session__asks_changes_nothing_and_comes_back_with_the_form(
    furnished: None, admin: User, settings: Any
) -> None:
    settings.APPROVALS_IN, settings.ONE_PERSON_INSTALLATION = ["staging"], True
    Flag.objects.filter(environment="staging").update(thousandths=10_000)
    client, head = signed_in(admin, minutes_ago=120), Head.objects.get().seq
    answer = raised(client, "staging", 50)
    assert (answer.status_code, answer["Location"]) == (303, "/confirm")
    assert flag("staging").percent == 10 and Head.objects.get().seq == head
    page = client.get("/confirm").content.decode()
    assert "Is it you, ana?" in page and "what you typed is kept" in page
    wrong = client.post("/confirm", {"password": "guess"})
    assert wrong.status_code == 422 and "not your password" in wrong.content.decode()
    assert raised(client, "staging", 50).status_code == 303 and flag("staging").percent == 10
    page = client.post("/confirm", {"password": PASSWORD}).content.decode()
    assert 'action="/staging/flags/litert_enabled/percentage"' in page and 'name="percent" value="50"' in page
    assert KEPT not in client.session and flag("staging").percent == 10
    assert HistoryEntry.objects.filter(verb="person.confirmed", subject=f"person:{admin.pk}").exists()
    raised(client, "staging", 50)
    assert flag("staging").percent == 50


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_lowering_and_kills__old_session__are_never_asked(furnished: None, admin: User, environment: str) -> None:
    Flag.objects.filter(environment=environment).update(thousandths=40_000)
    client = signed_in(admin, minutes_ago=None)
    assert "/confirm" not in raised(client, environment, 20).headers.get("Location", "")
    assert flag(environment).percent == 20
    for path in ("emergency/disable", "emergency/kill", "emergency/lockdown"):
        answer = client.post(f"/{environment}/{path}", {"backend": "gpu", "confirm": "yes"})
        assert answer.status_code < 400 and "/confirm" not in answer.headers.get("Location", ""), path
    assert flag(environment).override_variant


def test_raise__where_nobody_else_is_asked__does_not_ask_either(furnished: None, admin: User) -> None:
    Flag.objects.filter(environment="demo").update(thousandths=10_000)
    client = signed_in(admin, minutes_ago=None)
    raised(client, "demo", 60)
    assert flag("demo").percent == 60


def test_yes__old_session__is_not_given(furnished: None, client_as: Callable[[User], Client]) -> None:
    payload = {"key": "litert_enabled", "percent": 5, "expected_revision": flag("production").revision}
    proposal = proposal_make(
        kind="flag.percentage", environment="production", payload=payload, actor=SYSTEM, reason="As planned"
    )
    approver = person_create(username="bo", actor=SYSTEM, roles=[Role.APPROVER])
    teams_set(user=approver, teams=[Team.SECURITY], actor=SYSTEM)
    given = {"edition": proposal.edition, "teams": ["security"]}
    answer = signed_in(approver, minutes_ago=90).post(f"/production/proposals/{proposal.pk}/approve", given)
    assert answer["Location"] == "/confirm" and not Proposal.objects.get().approvals.exists()
    client_as(approver).post(f"/production/proposals/{proposal.pk}/approve", given)
    assert Proposal.objects.get().approvals.count() == 1


def test_password__old_session__is_not_set_and_not_kept(admin: User) -> None:
    client = signed_in(admin, minutes_ago=90)
    fresh = "another horse battery"
    answer = client.post("/profile", {"new_password1": fresh, "new_password2": fresh})
    assert answer["Location"] == "/confirm" and client.session[KEPT] is None
    admin.refresh_from_db()
    assert admin.check_password(PASSWORD)


def test_confirm__without_a_password__says_what_to_do(client_as: Callable[[User], Client], viewer: User) -> None:
    page = client_as(viewer).get("/confirm").content.decode()
    assert "login_link viewer" in page and "<form class" not in page
    assert client_as(viewer).post("/confirm", {"password": ""}).status_code == 422
