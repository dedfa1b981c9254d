"""An enrolled phone whose session has expired: it kills, by the person who enrolled it, and does nothing else."""

from collections.abc import Callable
from datetime import timedelta
from http.cookies import Morsel
from typing import Any

import pytest
from django.test import Client

from hawkops.accounts.models import EnrolledPhone, User
from hawkops.accounts.services.credentials import secret_hash
from hawkops.accounts.services.people import roles_set
from hawkops.accounts.services.phones import LIFETIME, PHONES_MOST, phone_enrol
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import Conflict, InvalidInput, NotAllowed
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from incidents.domain.routing import Topic
from incidents.models import Delivery
from incidents.services.channels import Rules, channel_create, routes_seed
from incidents.services.dispatching import dispatch_all
from incidents.views.phones import COOKIE
from monitoring.domain.criteria import Severity
from rollout.models import Flag
from rollout.services.flags import flags_seed
from tests.pages.test_access import PAGES

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("test")
PAGE, ENROL, KILL = "/demo/emergency", "/demo/emergency/phone/enrol", "/demo/emergency/phone/kill"
As = Callable[[User], Client]
Make = Callable[..., User]


@pytest.fixture(autouse=True)
def _flags() -> None:
    flags_seed(actor=SYSTEM)


def enrolled(client: Client, name: str = "Pixel") -> Morsel[str]:
    """Enrol the browser; return its cookie."""
    answer = client.post(ENROL, {"name": name})
    assert (answer.status_code, answer["Location"]) == (303, "/demo/emergency#phone")
    return answer.cookies[COOKIE]


@pytest.fixture
def phone(operator: User, client_as: As) -> Client:
    """The browser of an operator that is enrolled and whose session has expired."""
    client = client_as(operator)
    enrolled(client)
    client.session.flush()
    return client


def off() -> bool:
    return Flag.objects.get(environment="demo", key="litert_enabled").override_variant == "off"


# ---- enrolling ----


def test_enrol__cookie__is_for_the_emergency_page_alone_and_only_its_hash_is_kept(
    operator: User, client_as: As
) -> None:
    cookie = enrolled(client_as(operator))
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/demo/emergency", True, "Strict")
    assert int(cookie["max-age"]) == LIFETIME.total_seconds() == 30 * 24 * 3_600
    row = EnrolledPhone.objects.get()
    assert (row.secret_hash, row.name, row.user) == (secret_hash(cookie.value), "Pixel", operator)
    entry = HistoryEntry.objects.get(verb="phone.enrolled")
    assert (entry.actor, entry.subject) == (f"person:{operator.pk}", f"phone:{row.pk}")
    assert cookie.value not in f"{entry.after}"


def test_enrol__again_in_the_same_browser__revokes_the_first(operator: User, client_as: As) -> None:
    client = client_as(operator)
    enrolled(client)
    enrolled(client, "")
    rows = EnrolledPhone.objects.order_by("pk")
    assert [(row.name, row.live) for row in rows] == [("Pixel", False), ("Phone", True)]


@pytest.mark.parametrize("role", [role for role in Role if role not in (Role.OPERATOR, Role.ADMIN)])
def test_enrol__who_may_not_kill__is_refused(person: Make, client_as: As, role: Role) -> None:
    somebody = person("somebody", role)
    assert client_as(somebody).post(ENROL, {"name": "Pixel"}).status_code == 403
    with pytest.raises(NotAllowed):
        phone_enrol(user=somebody, environment="demo", name="Pixel", actor=SYSTEM)
    assert not EnrolledPhone.objects.exists()


def test_enrol__too_many_and_unfit_names__are_refused(operator: User) -> None:
    with pytest.raises(InvalidInput):
        phone_enrol(user=operator, environment="demo", name="x" * 41, actor=SYSTEM)
    for _ in range(PHONES_MOST):
        phone_enrol(user=operator, environment="demo", name="Pixel", actor=SYSTEM)
    with pytest.raises(Conflict):
        phone_enrol(user=operator, environment="demo", name="Pixel", actor=SYSTEM)


# ---- using it ----


def test_phone__session_expired__gets_exactly_one_press_and_nothing_to_read(phone: Client) -> None:
    text = phone.get(PAGE).content.decode()
    assert "Kill LiteRT in demo" in text and text.count("<button") == 1 and text.count("<form") == 1
    assert f'action="{KILL}"' in text and "csrfmiddlewaretoken" in text
    for told in ("devices", "Last presses", "Incident", "In force", "/demo/history"):
        assert told not in text, told


def test_phone__kill__is_its_persons_by_that_phone_and_noted(phone: Client, operator: User) -> None:
    text = phone.post(KILL, {"reason": "Stability issues"}).content.decode()
    assert off() and "LiteRT is off in demo" in text
    entry = HistoryEntry.objects.get(verb="flag.killed")
    assert (entry.actor, entry.actor_label) == (f"person:{operator.pk}", "operator, by enrolled phone Pixel")
    assert entry.reason == "Stability issues"
    used = HistoryEntry.objects.get(verb="phone.used")
    assert (used.subject, used.actor) == (EnrolledPhone.objects.get().subject, entry.actor)
    assert EnrolledPhone.objects.get().used_at is not None
    # once more finds nothing to do, says so, and is a use all the same
    assert "was already off" in phone.post(KILL).content.decode()
    assert HistoryEntry.objects.filter(verb="flag.killed").count() == 1
    assert HistoryEntry.objects.filter(verb="phone.used").count() == 2


def test_phone__its_person__is_told_by_their_own_channels_and_security_by_the_routes(
    phone: Client, operator: User, person: Make
) -> None:
    routes_seed(actor=SYSTEM)
    rules = Rules(list(Topic), list(Severity))
    shared: dict[str, Any] = {"environment": "demo", "kind": "email", "rules": rules, "actor": SYSTEM}
    channel_create(name="own", address="operator@example.com", person=operator, **shared)
    channel_create(name="other", address="other@example.com", person=person("other", Role.OPERATOR), **shared)
    team, _ = channel_create(name="team", address="team@example.com", **shared)
    dispatch_all()
    Delivery.objects.all().delete()
    phone.post(KILL)
    told = Delivery.objects.get()
    assert (told.channel.name, told.title) == ("own", "Your enrolled phone Pixel was used to kill LiteRT in demo")
    dispatch_all()
    assert Delivery.objects.filter(channel=team, title="Phone used: Pixel", topic="security").exists()


def test_phone__every_other_page_and_press__asks_to_sign_in(phone: Client) -> None:
    seq = Head.objects.get().seq
    for path in PAGES:
        if "{" in path or path == "emergency":
            continue
        answer = phone.get(f"/demo/{path}")
        assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/login"), path
    for path in ("emergency/kill", "emergency/disable", "emergency/halve", "emergency/enable", "emergency/phone/enrol"):
        answer = phone.post(f"/demo/{path}", {"backend": "gpu", "confirm": "demo", "flags": "litert_enabled"})
        assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/login"), path
    for path in ("/profile", "/live", "/demo/emergency?part=census"):
        assert phone.get(path).status_code in (302, 404), path
    assert phone.get("/api/v1/demo/census").status_code == 401
    assert Head.objects.get().seq == seq and not off()


def test_phone__other_environment__is_not_its_own(phone: Client) -> None:
    phone.cookies[COOKIE]["path"] = "/"
    assert phone.get("/production/emergency").status_code == 302
    assert phone.post("/production/emergency/phone/kill").status_code == 302
    assert not HistoryEntry.objects.filter(verb="flag.killed").exists()


def test_phone__without_the_forms_token__is_refused(operator: User) -> None:
    _, secret = phone_enrol(user=operator, environment="demo", name="Pixel", actor=SYSTEM)
    client = Client(enforce_csrf_checks=True)
    client.cookies[COOKIE] = secret
    assert client.post(KILL).status_code == 403
    assert not off()
    token = client.get(PAGE).content.decode().partition('csrfmiddlewaretoken" value="')[2].partition('"')[0]
    assert client.post(KILL, {"csrfmiddlewaretoken": token}).status_code == 200
    assert off()


def revoked(row: EnrolledPhone) -> None:
    row.revoked_at = clock.now()
    row.save()


def expired(row: EnrolledPhone) -> None:
    row.expires_at = clock.now() - timedelta(seconds=1)
    row.save()


def role_lost(row: EnrolledPhone) -> None:
    roles_set(user=row.user, roles=[Role.VIEWER], environment="", actor=SYSTEM)


def deactivated(row: EnrolledPhone) -> None:
    row.user.is_active = False
    row.user.save()


@pytest.mark.parametrize("happens", [revoked, expired, role_lost, deactivated])
def test_phone__no_longer_good__is_refused_and_noted(
    phone: Client, administrator: User, happens: Callable[[EnrolledPhone], None]
) -> None:
    happens(EnrolledPhone.objects.get())
    assert phone.get(PAGE)["Location"].startswith("/login?next=")
    answer = phone.post(KILL)
    assert answer.status_code == 403 and "Nothing was changed" in answer.content.decode()
    assert not off() and not HistoryEntry.objects.filter(verb__in=["flag.killed", "phone.used"]).exists()
    entry = HistoryEntry.objects.get(verb="phone.refused")
    assert entry.reason and EnrolledPhone.objects.get().used_at is None


def test_stranger__unknown_secret__signs_in_and_leaves_nothing() -> None:
    client = Client()
    client.cookies[COOKIE] = "x" * 32
    seq = Head.objects.get().seq
    assert client.get(PAGE)["Location"] == "/login?next=/demo/emergency"
    assert client.post(KILL)["Location"] == "/login?next=/demo/emergency"
    assert Head.objects.get().seq == seq and not off()


def test_signed_in__enrolled_phone__sees_the_whole_page(operator: User, client_as: As) -> None:
    client = client_as(operator)
    assert "Enrol this phone" in client.get(PAGE).content.decode()
    enrolled(client)
    text = client.get(PAGE).content.decode()
    assert "Enrolled as <b>Pixel</b>" in text and "Last presses" in text


def test_login__led_from_the_emergency_page__offers_it_once_more_and_nothing_else() -> None:
    assert 'href="/demo/emergency"' in Client().get("/login?next=/demo/emergency").content.decode()
    for bad in ("javascript:alert(1)//demo/emergency", "//evil.example/emergency", "/demo/emergency/kill", "/demo/"):
        assert "Is this phone enrolled?" not in Client().get("/login", {"next": bad}).content.decode(), bad


# ---- taking it back ----


def test_revoke__ones_own__under_ones_name(phone: Client, operator: User, client_as: As, person: Make) -> None:
    row = EnrolledPhone.objects.get()
    other = client_as(person("other", Role.OPERATOR))
    assert "Pixel" not in other.get("/profile").content.decode()
    assert other.post(f"/profile/phones/{row.pk}/revoke").status_code == 404
    assert Client().post(f"/profile/phones/{row.pk}/revoke").status_code == 302
    client = client_as(operator)
    assert "<b>Pixel</b>, demo: may kill until" in client.get("/profile").content.decode()
    client.post(f"/profile/phones/{row.pk}/revoke")
    assert not EnrolledPhone.objects.get().live
    assert HistoryEntry.objects.filter(verb="phone.revoked").count() == 1


def test_revoke__by_an_administrator__of_that_environment(phone: Client, client_as: As, person: Make) -> None:
    row = EnrolledPhone.objects.get()
    chief = client_as(person("chief", Role.ADMIN, environment="demo"))
    elsewhere = client_as(person("elsewhere", Role.ADMIN, environment="staging"))
    assert elsewhere.post(f"/demo/phones/{row.pk}/revoke").status_code == 403
    assert elsewhere.post(f"/staging/phones/{row.pk}/revoke").status_code == 404
    assert "Enrolled phones of demo" in chief.get("/demo/people").content.decode()
    chief.post(f"/demo/phones/{row.pk}/revoke")
    assert not EnrolledPhone.objects.get().live
