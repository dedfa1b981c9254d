"""Signing in by an issuer: only whom an administrator linked or one verified address names; nobody is made by itself."""

import html
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.socialaccount.models import SocialAccount
from django.test import Client

from hawkops.accounts.models import User
from hawkops.accounts.services.factors import app_add, app_secret
from hawkops.accounts.services.identities import identity_link
from hawkops.core import env
from hawkops.core.access import Role
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from tests.accounts import issuer as stand
from tests.accounts.issuer import Issuer
from tests.accounts.test_factors import code

SYSTEM = Actor.system("test")
MIA = {
    "sub": "u-17",
    "email": "Mia@example.com",
    "email_verified": True,
    "preferred_username": "mia.m",
    "name": "Mia M",
}
pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def running() -> Iterator[Issuer]:
    """An issuer for all tests of this file."""
    with stand.serve() as found:
        yield found


@pytest.fixture
def issuer(running: Issuer, settings: Any) -> Issuer:
    """The issuer as it is meant to be, set up here."""
    running.person, running.claims, running.userinfo, running.document = dict(MIA), {}, {}, {}
    running.algorithm, running.signed_by = "RS256", None
    settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = running.url, stand.CLIENT, stand.SECRET
    settings.OIDC_NAME, settings.OIDC_CREATE_AS = "Company", ""
    return running


@pytest.fixture
def mia(person: Callable[..., User]) -> User:
    """Somebody whose address the issuer knows."""
    made = person("mia", Role.OPERATOR)
    made.email = "mia@example.com"
    made.save()
    return made


def begun(client: Client, wanted: str = "/demo/flags") -> str:
    """Press the button; returns where the page leads."""
    answer = client.post("/login/oidc", {"next": wanted})
    assert answer.status_code == 200
    found = re.search(r'content="0; url=([^"]+)"', answer.content.decode())
    assert found
    return html.unescape(found[1])


def back(client: Client, issuer: Issuer, address: str) -> Any:
    """Let the issuer vouch, and come back."""
    led = urlsplit(issuer.authorise(address))
    assert led.path == "/login/oidc/return"
    return client.get(f"{led.path}?{led.query}")


def through(client: Client, issuer: Issuer, wanted: str = "/demo/flags") -> Any:
    """The whole way."""
    return back(client, issuer, begun(client, wanted))


def inside(client: Client) -> bool:
    """Whether the browser is signed in."""
    return client.get("/profile").status_code == 200


def test_verified_address__of_exactly_one__signs_in_and_is_linked(issuer: Issuer, mia: User) -> None:
    client = Client()
    assert "Sign in with Company" in client.get("/login").content.decode()
    assert through(client, issuer)["Location"] == "/demo/flags" and inside(client)
    linked = SocialAccount.objects.get()
    assert (linked.user, linked.uid, linked.extra_data) == (mia, "u-17", {})
    verbs = list(HistoryEntry.objects.filter(subject=f"person:{mia.pk}").order_by("seq").values_list("verb", flat=True))
    assert verbs[-2:] == ["person.identity_linked", "person.signed_in"]
    assert HistoryEntry.objects.get(verb="person.signed_in").after == {"by": "Company"}
    issuer.person = {"sub": "u-17"}
    again = Client()
    assert through(again, issuer).status_code == 302 and inside(again), (
        "by the identity from now on, whatever the address"
    )
    SocialAccount.objects.get()


def test_linked_by_an_administrator__signs_in_without_an_address(
    issuer: Issuer, person: Callable[..., User], administrator: User, client_as: Callable[[User], Client]
) -> None:
    bo = person("bo", Role.VIEWER)
    issuer.person = {"sub": "u-20"}
    client = Client()
    refused = through(client, issuer)
    assert refused.status_code == 403 and "this identity: u-20" in refused.content.decode() and not inside(client)
    admin = client_as(administrator)
    admin.post(f"/demo/people/{bo.pk}/identity/link", {"subject": "u-20"})
    assert "u-20" in admin.get(f"/demo/people/{bo.pk}").content.decode()
    assert through(client, issuer, "https://elsewhere.example/")["Location"] == "/" and inside(client)
    admin.post(f"/demo/people/{bo.pk}/identity/{SocialAccount.objects.get().pk}/unlink")
    assert through(Client(), issuer).status_code == 403
    verbs = HistoryEntry.objects.filter(verb__startswith="person.identity_").order_by("seq")
    assert [one.verb for one in verbs] == ["person.identity_linked", "person.identity_unlinked"]


@pytest.mark.parametrize("case", ["unverified", "nobody", "two", "closed", "has another"])
def test_address__that_proves_nobody__signs_nobody_in(
    issuer: Issuer, mia: User, person: Callable[..., User], case: str
) -> None:
    if case == "unverified":
        issuer.person["email_verified"] = False
    elif case == "nobody":
        issuer.person["email"] = "eve@example.com"
    elif case == "two":
        User.objects.filter(pk=person("mia2", Role.ADMIN).pk).update(email="MIA@example.com")
    elif case == "closed":
        User.objects.update(is_active=False)
    else:
        identity_link(user=mia, subject="u-16", actor=SYSTEM)
    client, people = Client(), User.objects.count()
    answer = through(client, issuer)
    assert answer.status_code in (403, 409) and not inside(client)
    assert User.objects.count() == people and not SocialAccount.objects.filter(uid="u-17").exists()


def test_nobody_known__is_made_only_where_a_role_is_named(issuer: Issuer, settings: Any) -> None:
    assert through(Client(), issuer).status_code == 403 and not User.objects.exists()
    settings.OIDC_CREATE_AS = "viewer"
    client = Client()
    assert through(client, issuer).status_code == 302 and inside(client)
    made = User.objects.get()
    assert (made.username, made.email, made.has_usable_password()) == ("mia.m", "mia@example.com", False)
    assert made.roles_in("") == {Role.VIEWER}
    assert HistoryEntry.objects.get(verb="person.created").actor == "rule:oidc"
    issuer.person |= {"sub": "u-18", "email": "other@example.com"}
    assert through(Client(), issuer).status_code == 409, "the name is taken"


def test_another_issuer__of_the_same_subject__is_somebody_else(issuer: Issuer, mia: User, settings: Any) -> None:
    issuer.person = {"sub": "u-17"}
    settings.OIDC_ISSUER = "https://former.example"
    identity_link(user=mia, subject="u-17", actor=SYSTEM)
    settings.OIDC_ISSUER = issuer.url
    assert through(Client(), issuer).status_code == 403


def test_somebody_with_a_factor__is_asked_for_it(issuer: Issuer, mia: User) -> None:
    secret = app_secret()
    app_add(user=mia, secret=secret, code=code(secret, steps=-1))
    client = Client()
    assert through(client, issuer)["Location"] == "/login/second" and not inside(client)
    assert client.post("/login/second", {"code": code(secret)})["Location"] == "/demo/flags" and inside(client)


@pytest.mark.parametrize(
    "wrong",
    [
        {"claims": {"iss": "https://evil.example"}},
        {"claims": {"aud": "another client"}},
        {"claims": {"exp": 1_700_000_000}},
        {"claims": {"sub": "u-1"}},
        {"userinfo": {"sub": "u-1"}},
        {"userinfo": {"sub": "u" * 300}, "claims": {"sub": "u" * 300}},
        {"algorithm": "HS256", "signed_by": "a shared secret of thirty-two bytes"},
        {"algorithm": "none"},
        {"signed_by": "stranger"},
        {"document": {"issuer": "https://evil.example"}},
        {"document": {"userinfo_endpoint": "http://127.0.0.1:9/"}},
    ],
    ids=str,
)
def test_answers_that_are_wrong__sign_nobody_in(issuer: Issuer, mia: User, wrong: dict[str, Any]) -> None:
    for name, value in wrong.items():
        setattr(issuer, name, stand._key() if value == "stranger" else value)
    if issuer.algorithm == "none":
        issuer.signed_by = ""
    client = Client()
    if "issuer" in issuer.document:
        assert client.post("/login/oidc").status_code == 502
        return
    answer = through(client, issuer)
    assert answer.status_code == 502 and "did not answer as it should" in answer.content.decode() and not inside(client)
    assert not SocialAccount.objects.exists()


def test_return__that_this_browser_did_not_begin__signs_nobody_in(issuer: Issuer, mia: User) -> None:
    first, other = Client(), Client()
    address = begun(first)
    begun(other)
    assert back(other, issuer, address).status_code == 502 and not inside(other)
    for query in ("", "?code=x", "?state=x&code=y", "?error=access_denied"):
        assert Client().get(f"/login/oidc/return{query}").status_code == 502
    state = re.search(r"state=([^&]+)", address)
    assert state
    left = first.get(f"/login/oidc/return?state={state[1]}&error=access_denied")
    assert left.status_code == 403 and "You left Company" in left.content.decode()
    assert first.get(f"/login/oidc/return?state={state[1]}&code=z").status_code == 502, "a state counts once"


def test_issuer_down__says_so(issuer: Issuer, settings: Any) -> None:
    settings.OIDC_ISSUER = "http://127.0.0.1:9"
    assert Client().post("/login/oidc").status_code == 502


def test_not_set_up__has_no_addresses_and_no_button() -> None:
    assert Client().post("/login/oidc").status_code == 404
    assert Client().get("/login/oidc/return?code=x").status_code == 404
    assert "/login/oidc" not in Client().get("/login").content.decode()


@pytest.mark.parametrize("url,fits", [("https://id.example", True), ("http://localhost:9", True), ("", True)])
def test_setting__an_issuer_over_a_network__needs_tls(monkeypatch: pytest.MonkeyPatch, url: str, fits: bool) -> None:
    monkeypatch.setenv("OIDC_ISSUER", url)
    assert env.issuer("OIDC_ISSUER") == url
    for bad in ("http://id.example", "id.example", "ftp://localhost"):
        monkeypatch.setenv("OIDC_ISSUER", bad)
        with pytest.raises(env.BadSetting):
            env.issuer("OIDC_ISSUER")


def test_mail_address__of_two_people__is_refused_and_never_in_the_history(
    mia: User, viewer: User, administrator: User, client_as: Callable[[User], Client]
) -> None:
    admin = client_as(administrator)
    for given, said in (("MIA@example.com", "Somebody else has"), ("mia at home", "no mail address")):
        answer = admin.post(f"/demo/people/{viewer.pk}/email", {"email": given}, follow=True)
        assert said in answer.content.decode()
    admin.post(f"/demo/people/{viewer.pk}/email", {"email": "vi@example.com"})
    viewer.refresh_from_db()
    entry = HistoryEntry.objects.get(verb="person.email_changed")
    assert viewer.email == "vi@example.com" and (entry.before, entry.after) == ({"email": "none"}, {"email": "set"})
