"""Wrong passwords: pauses that grow, alike for known and unknown names, one address apart from another."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client

from hawkops.accounts import lockout
from hawkops.accounts.lockout import TooManyTries, pause_after, try_begin, try_failed, try_succeeded
from hawkops.accounts.models import SecretTries, User
from hawkops.accounts.services.people import person_create
from hawkops.accounts.services.signing import login_link_create
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.recent import SESSION_KEY
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from rollout.models import Flag
from rollout.services.flags import flags_seed
from rollout.services.groups import groups_seed

PASSWORD = "correct horse battery"
pytestmark = pytest.mark.django_db


@pytest.fixture
def ana() -> User:
    """Somebody with a password."""
    made = person_create(username="ana", actor=Actor.system("test"), roles=[Role.ADMIN])
    made.set_password(PASSWORD)
    made.save()
    return made


def typed(name: str, password: str, address: str = "192.0.2.1") -> Any:
    """Send the sign-in form from an address."""
    return Client(REMOTE_ADDR=address).post("/login", {"username": name, "password": password})


def later(**span: float) -> None:
    """Let the pauses of all run out by so much."""
    SecretTries.objects.exclude(until=None).update(until=F("until") - timedelta(**span))


@pytest.mark.parametrize("tries,seconds", [(0, 0), (4, 0), (5, 30), (6, 60), (7, 120), (9, 480), (10, 900), (999, 900)])
def test_pause__more_tries__grows_to_its_most(tries: int, seconds: int) -> None:
    assert pause_after(tries, 5) == timedelta(seconds=seconds)


@pytest.mark.parametrize("name,subject", [("ana", "known"), (" ana", "known"), ("nobody", "unknown")])
def test_sign_in__five_wrong__waits_alike_for_known_and_unknown_names(ana: User, name: str, subject: str) -> None:
    assert [typed(name, "guess").status_code for _ in range(5)] == [422] * 5
    answer = typed(name, PASSWORD)
    assert answer.status_code == 429 and 25 <= int(answer["Retry-After"]) <= 30
    assert "Too many wrong passwords from here. Wait" in answer.content.decode()
    entry = HistoryEntry.objects.get(verb="person.locked")
    assert entry.subject == (f"person:{ana.pk}" if subject == "known" else "person:unknown")
    assert entry.after["tries"] == 5 and name not in str(entry.after)


def test_sign_in__after_the_pause__works_and_forgets(ana: User) -> None:
    for _ in range(5):
        typed("ana", "guess")
    later(seconds=31)
    assert typed("ana", PASSWORD).status_code == 302
    assert [typed("ana", "guess").status_code for _ in range(4)] == [422] * 4
    assert typed("ana", PASSWORD).status_code == 302


def test_sign_in__wrong_again_after_the_pause__waits_twice_as_long(ana: User) -> None:
    for _ in range(5):
        typed("ana", "guess")
    later(seconds=31)
    assert typed("ana", "guess").status_code == 422
    assert 55 <= int(typed("ana", "guess")["Retry-After"]) <= 60


def test_locked_name__elsewhere_and_by_link__signs_in(ana: User) -> None:
    for _ in range(5):
        typed("ana", "guess")
    assert typed("ana", PASSWORD, "192.0.2.2").status_code == 302
    link = login_link_create(user=ana, actor=Actor.system("test"))
    assert Client(REMOTE_ADDR="192.0.2.1").post(link).status_code == 302


def test_spelling__of_one_name__shares_the_count() -> None:
    for name in ("ana", "ANA", " Ana ", "\uff41na", "ana"):
        try_begin(name=name, address="192.0.2.1")
    with pytest.raises(TooManyTries):
        try_begin(name="aNa", address="192.0.2.1")


def test_ipv6__within_one_household__is_one_address() -> None:
    for last in range(5):
        try_begin(name="ana", address=f"2001:db8::{last}")
    with pytest.raises(TooManyTries):
        try_begin(name="ana", address="2001:db8::ffff")
    try_begin(name="ana", address="2001:db8:0:1::1")


def test_address__many_names__waits_for_all_of_them() -> None:
    for n in range(lockout.FREE_FOR_ADDRESS):
        try_begin(name=f"name {n}", address="192.0.2.1")
    with pytest.raises(TooManyTries):
        try_begin(name="another", address="192.0.2.1")


def test_address__one_who_succeeds__does_not_wash_away_others_tries() -> None:
    for n in range(20):
        try_begin(name=f"name {n}", address="192.0.2.1")
    try_begin(name="own", address="192.0.2.1")
    try_succeeded(name="own", address="192.0.2.1")
    assert SecretTries.objects.order_by("-count")[0].count == 20


def test_confirm__wrong_passwords__wait_too_and_kills_do_not(ana: User, settings: Any) -> None:
    flags_seed(actor=Actor.system("test"))
    groups_seed(actor=Actor.system("test"))
    client = Client(REMOTE_ADDR="192.0.2.1")
    client.force_login(ana)
    session = client.session
    session[SESSION_KEY] = 0
    session.save()
    assert [client.post("/confirm", {"password": "guess"}).status_code for _ in range(5)] == [422] * 5
    assert client.post("/confirm", {"password": PASSWORD}).status_code == 429
    client.post("/demo/emergency/kill", {"backend": "gpu", "confirm": "yes"})
    assert Flag.objects.get(environment="demo", key="litert_enabled").override_variant
    assert HistoryEntry.objects.filter(verb="person.locked", subject=f"person:{ana.pk}").count() == 1


def test_old_tries__are_forgotten() -> None:
    try_begin(name="ana", address="192.0.2.1")
    SecretTries.objects.update(last_at=clock.now() - timedelta(hours=25))
    try_begin(name="bo", address="192.0.2.2")
    assert SecretTries.objects.count() == 2


def test_wrong_try__within_the_free_ones__is_no_entry() -> None:
    try_begin(name="ana", address="192.0.2.1")
    try_failed(name="ana", address="192.0.2.1")
    assert not HistoryEntry.objects.filter(verb="person.locked").exists()
