"""A sealed code opens the console once, loudly, for an hour; it kills and administers, and raises nothing."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.test import Client

from hawkops.accounts.models import BREAK_GLASS, BreakGlassCode, RoleGrant, User
from hawkops.accounts.services import break_glass
from hawkops.accounts.services.break_glass import break_glass_create, break_glass_open, break_glass_revoke
from hawkops.accounts.services.people import person_create
from hawkops.accounts.services.signing import login_link_create
from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput, NotAllowed
from hawkops.core.recent import must_be_recent, session_of
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.vitals.registry import vitals
from incidents.domain.news import Entry, news_of
from incidents.domain.routing import DEFAULT, Topic, route_of
from monitoring.domain.criteria import Severity
from rollout.services.flags import flags_seed

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("test")
WHY = "Single sign-on is down"


def opened(code: str, reason: str = WHY, client: Client | None = None) -> tuple[Client, Any]:
    """Type a code into the page."""
    client = client or Client()
    return client, client.post("/break-glass", {"code": code, "reason": reason})


def sign() -> Any:
    """The vital sign."""
    return next(one for one in vitals() if one.key == "break_glass")


def test_code__typed_at_night__opens_once_and_everybody_is_told() -> None:
    assert sign().verdict is Verdict.NO_DATA
    made, code = break_glass_create(actor=SYSTEM)
    assert code not in str(BreakGlassCode.objects.values().get()) and sign().verdict is Verdict.PASS
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    client, answer = opened(typed)
    assert answer.status_code == 302 and answer["Location"] == "/production/emergency"
    page = client.get("/production/emergency")
    assert page.status_code == 200 and "The glass is broken" in page.text and WHY in page.text
    entry = HistoryEntry.objects.get(verb="break_glass.opened")
    assert (entry.subject, entry.reason, entry.environment) == (f"break_glass:{made.pk}", WHY, "production")
    assert sign().verdict is Verdict.FAIL and WHY in sign().sentence
    assert opened(code)[1].status_code == 422  # spent


def test_news__opened__goes_to_the_security_team_as_critical() -> None:
    _, code = break_glass_create(actor=SYSTEM)
    opened(code)
    row = HistoryEntry.objects.get(verb="break_glass.opened")
    news = news_of(
        Entry(
            seq=row.seq, at=row.at, environment=row.environment, verb=row.verb, subject=row.subject, by=row.actor_label,
            reason=row.reason, before=row.before, after=row.after, hidden=row.hidden,
        )
    )  # fmt: skip
    assert news is not None and "broke the glass" in news.title and any(WHY in one for one in news.sentences)
    routed = route_of(DEFAULT, verb=row.verb, about=news.about, severity=news.severity)
    assert routed == (Topic.SECURITY, Severity.CRITICAL)


def test_session__kills_and_administers__but_raises_nothing_in_production(administrator: Any) -> None:
    flags_seed(actor=SYSTEM)
    person = person_create(username="mia", actor=SYSTEM)
    _, code = break_glass_create(actor=SYSTEM)
    client, _ = opened(code)
    assert client.post("/production/emergency/kill", {"reason": WHY, "confirm": "production"}).status_code in (
        200,
        302,
        303,
    )
    killed = HistoryEntry.objects.get(verb="flag.killed", environment="production")
    assert killed.actor == f"person:{User.objects.get(username=BREAK_GLASS).pk}" and killed.actor_label == BREAK_GLASS
    client.post(f"/production/people/{person.pk}/roles", {"roles": ["operator"]})
    assert RoleGrant.objects.filter(user=person, role="operator", environment="production").exists()
    # what asks who it is refuses it: here the password that would make the account somebody's own
    new = {"new_password1": "long enough for anybody", "new_password2": "long enough for anybody"}
    assert client.post("/profile", new).status_code == 403
    assert not User.objects.get(username=BREAK_GLASS).has_usable_password()
    with session_of(clock.now().timestamp(), raises=False), pytest.raises(NotAllowed, match="never to raise it"):
        must_be_recent()


def test_session__after_an_hour_or_signed_out__may_nothing() -> None:
    _, code = break_glass_create(actor=SYSTEM)
    client, _ = opened(code)
    with time_machine.travel(clock.now() + timedelta(minutes=61), tick=True):
        assert client.get("/production/people").status_code in (302, 403)
        assert sign().verdict is Verdict.FAIL  # none is sealed any more
    _, code = break_glass_create(actor=SYSTEM)
    client, _ = opened(code)
    assert client.get("/production/people").status_code == 200
    client.post("/logout")
    assert HistoryEntry.objects.filter(verb="break_glass.closed").exists()
    client.force_login(User.objects.get(username=BREAK_GLASS))
    assert client.get("/production/people").status_code == 403


@pytest.mark.parametrize(("code", "reason"), [("AAAAA-AAAAA", WHY), ("", WHY), ("right", "short")])
def test_code__wrong_or_without_a_reason__changes_nothing(code: str, reason: str) -> None:
    _, right = break_glass_create(actor=SYSTEM)
    before = HistoryEntry.objects.count()
    assert opened(right if code == "right" else code, reason)[1].status_code == 422
    assert HistoryEntry.objects.count() == before and BreakGlassCode.objects.get().sealed


def test_code__guessed_again_and_again__must_wait_and_the_right_one_too() -> None:
    _, code = break_glass_create(actor=SYSTEM)
    for _ in range(5):
        assert opened("AAAAA-AAAAA")[1].status_code == 422
    answer = opened(code)[1]
    assert answer.status_code == 429 and answer["Retry-After"]
    assert BreakGlassCode.objects.get().sealed


def test_codes__two_sealed_at_most__and_one_taken_back_opens_nothing() -> None:
    first, code = break_glass_create(actor=SYSTEM)
    break_glass_create(actor=SYSTEM)
    with pytest.raises(Conflict, match="2 codes are sealed"):
        break_glass_create(actor=SYSTEM)
    break_glass_revoke(code=first, actor=SYSTEM)
    with pytest.raises(InvalidInput):
        break_glass_open(code=code, reason=WHY, address="192.0.2.1")
    call_command("break_glass_create")


def test_account__has_no_other_way_in() -> None:
    break_glass_create(actor=SYSTEM)
    account = User.objects.get(username=BREAK_GLASS)
    assert not account.has_usable_password() and not account.grants.exists()
    with pytest.raises(NotAllowed):
        login_link_create(user=account, actor=SYSTEM)
    with pytest.raises(InvalidInput, match="nobody's name"):
        person_create(username="Break-Glass", actor=SYSTEM)


def test_page__administrator__makes_one_and_takes_it_back(administrator: Any, client_as: Any) -> None:
    client = client_as(administrator)
    page = client.post("/demo/people/codes", follow=True)
    assert "Copy it now" in page.text and "sealed" in page.text
    code = BreakGlassCode.objects.get()
    assert "taken back" in client.post(f"/demo/people/codes/{code.pk}/revoke", follow=True).text
    assert break_glass.spelled("o-i l") == "011"
