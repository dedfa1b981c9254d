"""Second factors through the doors that people use: adding, signing in with, losing and having to have one."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core.management import CommandError, call_command
from django.test import Client

from hawkops.accounts.lockout import FREE_FOR_CODES
from hawkops.accounts.models import User
from hawkops.accounts.selectors import has_factor
from hawkops.accounts.services import factors
from hawkops.accounts.services.people import person_create
from hawkops.accounts.services.phones import phone_enrol
from hawkops.accounts.services.signing import login_link_create
from hawkops.core.access import Role
from hawkops.core.recent import SESSION_KEY
from hawkops.core.sealing import unseal
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.sealed import secrets_reseal
from incidents.views.phones import COOKIE
from rollout.models import Flag
from rollout.services.flags import flags_seed
from rollout.services.groups import groups_seed

SYSTEM = Actor.system("test")
PASSWORD = "correct horse battery"
pytestmark = pytest.mark.django_db


def code(secret: str, *, steps: int = 0) -> str:
    """What an authenticator app shows now, or some half minutes later."""
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps)))


def wrong(secret: str) -> str:
    """A code that none of the half minutes near now has."""
    near = {code(secret, steps=steps) for steps in range(-3, 4)}
    return next(one for one in (f"{n:06d}" for n in range(100)) if one not in near)


@pytest.fixture
def ana() -> User:
    """Somebody with a password who may do everything."""
    made = person_create(username="ana", actor=SYSTEM, roles=[Role.ADMIN])
    made.set_password(PASSWORD)
    made.save()
    return made


@pytest.fixture
def secret(ana: User) -> str:
    """Ana's authenticator app, added a minute ago."""
    found = factors.app_secret()
    factors.app_add(user=ana, secret=found, code=code(found))
    row = Authenticator.objects.get(user=ana, type="totp")
    row.data["last_counter"] -= 2
    row.save()
    return found


def typed(client: Client, password: str = PASSWORD) -> Any:
    """Send the sign-in form."""
    return client.post("/login", {"username": "ana", "password": password, "next": "/demo/flags"})


def inside(client: Client) -> bool:
    """Whether the browser is signed in."""
    return client.get("/profile").status_code == 200


def held(*names: str, codes: int = 0) -> dict[str, Any]:
    """What the history says of factors."""
    return {"factors": list(names), "recovery_codes": codes}


def verbs(user: User) -> list[str]:
    """What the history says of a person, the last first."""
    return list(
        HistoryEntry.objects.filter(subject=f"person:{user.pk}").order_by("-seq").values_list("verb", flat=True)
    )


def test_app__added_on_the_page__is_sealed_counted_and_asked_for(
    ana: User, client_as: Callable[[User], Client]
) -> None:
    client = client_as(ana)
    assert client.post("/profile/app/begin")["Location"] == "/profile/app"
    page = client.get("/profile/app").content.decode()
    shown = re.search(r"type the secret: <code>([A-Z2-7 ]+)</code>", page)
    assert shown and 'src="data:image/svg+xml;base64,' in page
    secret = shown[1].replace(" ", "")
    refused = client.post("/profile/app", {"code": wrong(secret)})
    assert refused.status_code == 422 and not has_factor(ana)
    assert client.post("/profile/app", {"code": code(secret)})["Location"] == "/profile#factors"
    row = Authenticator.objects.get(user=ana, type="totp")
    assert secret not in str(row.data) and unseal(row.data["secret"]) == secret
    page = client.get("/profile").content.decode()
    assert len(re.findall(r"<li><code>\d{4} \d{4} \d{4}</code></li>", page)) == 10 and "10 left" in page
    assert "Your recovery codes" not in client.get("/profile").content.decode(), "they are shown once"
    added = HistoryEntry.objects.get(verb="person.factor_added")
    assert (added.before, added.after) == (held(), held("authenticator app"))
    assert client.post("/profile/app/begin").status_code == 303
    assert client.post("/profile/app", {"code": "1"}).status_code == 422, "a second app has its own secret"


def test_sign_in__password_and_code__is_in_only_after_both(ana: User, secret: str) -> None:
    client = Client()
    assert typed(client)["Location"] == "/login/second" and not inside(client)
    assert "One more step, ana" in client.get("/login/second").content.decode()
    answer = client.post("/login/second", {"code": wrong(secret)})
    assert answer.status_code == 422 and not inside(client)
    assert (
        client.post("/login/second", {"code": f" {code(secret)[:3]} {code(secret)[3:]} "})["Location"] == "/demo/flags"
    )
    assert inside(client)
    entry = HistoryEntry.objects.get(verb="person.signed_in")
    assert entry.after == {"by": "password", "second_factor": "authenticator app"}
    assert client.get("/login/second")["Location"] == "/login", "the first step counts once"


def test_code__counts_once__also_in_another_browser_and_after_its_successor(ana: User, secret: str) -> None:
    first, again = Client(), Client()
    earlier, now = code(secret, steps=-1), code(secret)
    typed(first)
    first.post("/login/second", {"code": now})
    assert inside(first)
    typed(again)
    for used in (now, earlier):
        assert again.post("/login/second", {"code": used}).status_code == 422
    assert again.post("/login/second", {"code": code(secret, steps=1)}).status_code == 302


def test_login_link__of_somebody_with_a_factor__asks_for_it(ana: User, secret: str) -> None:
    client = Client()
    assert client.post(login_link_create(user=ana, actor=SYSTEM))["Location"] == "/login/second"
    assert not inside(client)
    client.post("/login/second", {"code": code(secret)})
    assert inside(client)
    assert HistoryEntry.objects.get(verb="person.signed_in").after["by"] == "login link"


def test_recovery_code__signs_in_once_and_never_confirms(ana: User, secret: str) -> None:
    codes = factors.recovery_codes_make(user=ana)
    client = Client()
    typed(client)
    assert client.post("/login/second", {"code": f"{codes[3][:4]}-{codes[3][4:]}"}).status_code == 302 and inside(
        client
    )
    assert HistoryEntry.objects.get(verb="person.recovery_code_used").after == {"recovery_codes": 9}
    assert client.post("/confirm", {"code": codes[4]}).status_code == 422
    other = Client()
    typed(other)
    assert other.post("/login/second", {"code": codes[3]}).status_code == 422
    client.post("/profile/codes/make")
    assert other.post("/login/second", {"code": codes[5]}).status_code == 422, "made anew, the earlier ones are over"


def test_codes__guessed__wait_and_a_right_password_buys_no_more(ana: User, secret: str) -> None:
    client, guess = Client(REMOTE_ADDR="192.0.2.1"), wrong(secret)
    for _ in range(5):
        typed(client)
        assert client.post("/login/second", {"code": guess}).status_code == 422
    typed(client)
    answer = client.post("/login/second", {"code": code(secret)})
    assert answer.status_code == 429 and int(answer["Retry-After"]) > 20
    assert "Too many wrong codes" in answer.content.decode() and not inside(client)
    assert HistoryEntry.objects.filter(verb="person.locked", subject=f"person:{ana.pk}").exists()


def test_codes__guessed_from_many_addresses__wait_for_all_of_them(ana: User, secret: str) -> None:
    guess = wrong(secret)
    for n in range(FREE_FOR_CODES):
        client = Client(REMOTE_ADDR=f"192.0.2.{n}")
        client.post(login_link_create(user=ana, actor=SYSTEM))
        assert client.post("/login/second", {"code": guess}).status_code == 422
    client = Client(REMOTE_ADDR="198.51.100.1")
    client.post(login_link_create(user=ana, actor=SYSTEM))
    assert client.post("/login/second", {"code": code(secret)}).status_code == 429


@pytest.mark.parametrize("ended_by", ["time", "password", "closed"])
def test_first_step__that_no_longer_holds__begins_again(ana: User, secret: str, ended_by: str) -> None:
    client = Client()
    typed(client)
    if ended_by == "time":
        session = client.session
        session["second_step"] = {**session["second_step"], "at": time.time() - 601}
        session.save()
    elif ended_by == "password":
        ana.set_password("another horse battery")
        ana.save()
    else:
        User.objects.update(is_active=False)
    assert client.post("/login/second", {"code": code(secret)})["Location"] == "/login" and not inside(client)


def test_confirm__by_code__is_enough_without_a_password(ana: User, secret: str) -> None:
    ana.set_unusable_password()
    ana.save()
    client = Client()
    client.force_login(ana)
    session = client.session
    session[SESSION_KEY] = 0
    session.save()
    assert client.post("/profile/codes/make")["Location"] == "/confirm"
    assert "Code of your authenticator app" in client.get("/confirm").content.decode()
    page = client.post("/confirm", {"code": code(secret)}).content.decode()
    assert 'action="/profile/codes/make"' in page
    assert HistoryEntry.objects.get(verb="person.confirmed").after == {"by": "authenticator app"}
    assert client.post("/profile/codes/make")["Location"] == "/profile#factors"


@pytest.mark.parametrize(
    "path", ["app/begin", "app/remove", "codes/make", "passkeys/add", "passkeys/1/rename", "passkeys/1/remove"]
)
def test_profile__old_session__asks_first_and_keeps_no_secret(ana: User, secret: str, path: str) -> None:
    client = Client()
    client.force_login(ana)
    session = client.session
    session[SESSION_KEY] = 0
    session.save()
    before = Authenticator.objects.count()
    answer = client.post(f"/profile/{path}", {"name": "x", "credential": "{}"})
    assert answer["Location"] in ("/confirm", "/profile#factors"), answer.status_code
    assert path == "passkeys/add" or answer["Location"] == "/confirm"
    assert client.session.get("waiting_form") is None and Authenticator.objects.count() == before
    options = client.post("/profile/passkeys/options")
    assert options.json() == {"confirm": "/confirm"}


def test_app__removed__takes_the_recovery_codes_along(
    ana: User, secret: str, client_as: Callable[[User], Client]
) -> None:
    assert client_as(ana).post("/profile/app/remove").status_code == 303
    assert not Authenticator.objects.exists()
    assert verbs(ana)[0] == "person.factor_removed"
    client = Client()
    assert typed(client)["Location"] == "/demo/flags" and inside(client)


@pytest.mark.parametrize(
    "answer", ["", "{}", "[]", '{"response": {}}', '{"response": {"userHandle": "!"}}', "x" * 30_000]
)
@pytest.mark.parametrize("path", ["/login/passkey", "/login/second", "/confirm", "/profile/passkeys/add"])
def test_passkey__any_nonsense__is_refused_in_one_sentence(ana: User, secret: str, path: str, answer: str) -> None:
    client = Client()
    if path == "/login/second":
        typed(client)
    elif path != "/login/passkey":
        client.force_login(ana)
    begun = {"/login/passkey": "/login/passkey/options", "/profile/passkeys/add": "/profile/passkeys/options"}
    client.post(begun.get(path, f"{path}/options"))
    got = client.post(path, {"credential": answer})
    assert got.status_code in (422, 303) and Authenticator.objects.filter(type="webauthn").count() == 0
    assert path in ("/confirm", "/profile/passkeys/add") or not inside(client)


def test_reset__says_why_ends_sessions_and_opens(ana: User, secret: str, capsys: pytest.CaptureFixture[str]) -> None:
    client = Client()
    client.force_login(ana)
    with pytest.raises(CommandError, match="Say why"):
        call_command("second_factor_reset", "ana")
    with pytest.raises(CommandError, match="no person named bo"):
        call_command("second_factor_reset", "bo", reason="x")
    call_command("second_factor_reset", "ana", reason="Phone lost, seen in person")
    assert "1 factors of ana are removed, 1 sessions have ended" in capsys.readouterr().out
    entry = HistoryEntry.objects.get(verb="person.second_factor_reset")
    assert (
        entry.before == {"factors": ["authenticator app"], "recovery_codes": 10}
        and entry.reason == "Phone lost, seen in person"
    )
    assert not has_factor(ana) and not inside(client)


def test_rotation__seals_factors_anew(ana: User, secret: str, settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new-" + "y" * 50, [settings.SECRET_KEY]
    before = Authenticator.objects.get(type="totp").data
    found = secrets_reseal(actor=SYSTEM)
    assert (found.anew, found.lost) == (2, [])
    settings.SECRET_KEY_FALLBACKS = []
    after = Authenticator.objects.get(type="totp").data
    assert unseal(after["secret"]) == secret and after["secret"] != before["secret"]
    assert after["last_counter"] == before["last_counter"]
    assert factors.code_spend(user=ana, code=code(secret)) == "authenticator app"


def test_sealed_by_a_key_that_is_gone__says_what_to_do(ana: User, secret: str, settings: Any) -> None:
    client = Client()
    settings.SECRET_KEY = "new-" + "y" * 50
    typed(client)
    answer = client.post("/login/second", {"code": code(secret)})
    assert answer.status_code == 409 and "second_factor_reset" in answer.content.decode()


class TestMustHave:
    """`SECOND_FACTOR_FOR`: who holds a role and has no factor looks, stops, and changes nothing else."""

    @pytest.fixture(autouse=True)
    def _asked(self, settings: Any) -> None:
        settings.SECOND_FACTOR_FOR = ["operator", "admin"]
        flags_seed(actor=SYSTEM)
        groups_seed(actor=SYSTEM)

    def test_pages__are_seen_and_presses_lead_to_the_profile(
        self, ana: User, client_as: Callable[[User], Client]
    ) -> None:
        client = client_as(ana)
        assert client.get("/demo/flags").status_code == 200
        flag = Flag.objects.get(environment="demo", key="litert_enabled")
        given = {"percent": 7, "revision": flag.revision, "reason": "As planned"}
        answer = client.post("/demo/flags/litert_enabled/percentage", given)
        assert (answer.status_code, answer["Location"]) == (303, "/profile#factors")
        assert "add an authenticator app or a passkey" in client.get("/profile").content.decode()
        htmx = client.post("/demo/flags/litert_enabled/percentage", given, headers={"HX-Request": "true"})
        assert htmx["HX-Redirect"] == "/profile#factors"
        api = client.post("/api/v1/demo/reenable", {"flags": [], "reason": "x"}, content_type="application/json")
        assert api.status_code == 403 and "second factor" in api.json()["error"]
        runs = client.post("/demo/api/runs", {}, content_type="application/json")
        assert runs.status_code == 403 and "second factor" in runs.json()["error"]
        assert Flag.objects.get(environment="demo", key="litert_enabled").revision == flag.revision
        secret = factors.app_secret()
        factors.app_add(user=ana, secret=secret, code=code(secret))
        client.post("/demo/flags/litert_enabled/percentage", given)
        assert Flag.objects.get(environment="demo", key="litert_enabled").percent == 7

    def test_stops__are_never_asked(self, ana: User, client_as: Callable[[User], Client]) -> None:
        client = client_as(ana)
        given = {"backend": "gpu", "level": "3", "confirm": "yes", "reason": "Crashes"}
        for path in ("disable", "halve", "degradation/disable", "rollback/press", "kill", "lockdown"):
            answer = client.post(f"/demo/emergency/{path}", given)
            assert answer.status_code in (302, 303) and "/profile" not in answer["Location"], path
        assert Flag.objects.get(environment="demo", key="litert_enabled").override_variant
        assert client.post("/demo/emergency/enable", given)["Location"] == "/profile#factors"

    def test_kill__by_the_api__is_not_asked(self, ana: User, client_as: Callable[[User], Client]) -> None:
        assert client_as(ana).post("/api/v1/demo/kill", {}, content_type="application/json").status_code == 200

    def test_enrolled_phone__without_session_or_in_one__is_not_asked(self, ana: User) -> None:
        _phone, secret = phone_enrol(user=ana, environment="demo", name="Phone", actor=SYSTEM)
        for client in (Client(), Client()):
            client.cookies[COOKIE] = secret
            assert client.post("/demo/emergency/phone/kill").status_code == 200
            client.force_login(ana)
            assert client.post("/demo/emergency/phone/kill").status_code == 200

    def test_other_roles__are_not_asked(self, releaser: User, client_as: Callable[[User], Client]) -> None:
        answer = client_as(releaser).post("/demo/releases/create", {})
        assert "/profile" not in answer.get("Location", "")


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/",
        "/accounts/login/",
        "/accounts/signup/",
        "/accounts/password/reset/",
        "/accounts/email/",
        "/accounts/2fa/",
        "/accounts/3rdparty/",
        "/accounts/sessions/",
        "/accounts/oidc/oidc/login/",
        "/login/oidc/return",
        "/_allauth/browser/v1/config",
    ],
)
def test_allauth__none_of_its_pages_has_an_address(ana: User, client_as: Callable[[User], Client], path: str) -> None:
    assert Client().get(path).status_code in (302, 404) and client_as(ana).get(path).status_code == 404
