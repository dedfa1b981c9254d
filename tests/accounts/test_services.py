"""People, roles, links and keys: each change an entry, each secret a hash."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.accounts.models import ApiToken, DeviceKey, LoginLink, RoleGrant, User
from hawkops.accounts.services.credentials import (
    api_token_create,
    api_token_find,
    api_token_revoke,
    device_key_create,
    device_key_revoke,
)
from hawkops.accounts.services.people import person_create, roles_set, teams_set
from hawkops.accounts.services.signing import login_link_create, login_link_find, login_link_use
from hawkops.core import clock
from hawkops.core.access import Role, Scope, can
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.core.teams import Team
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry

SYSTEM = Actor.system("test")

pytestmark = pytest.mark.django_db


@pytest.fixture
def chief() -> User:
    return person_create(username="chief", actor=SYSTEM, roles=[Role.ADMIN])


def test_login_link__used_once__signs_in_and_is_spent(chief: User) -> None:
    token = login_link_create(user=chief, actor=SYSTEM).removeprefix("/enter/")
    assert login_link_use(token=token) == chief
    with pytest.raises(NotFound):
        login_link_use(token=token)
    assert not LoginLink.objects.filter(token_hash=token).exists()


def test_login_link__too_old__is_refused(chief: User) -> None:
    token = login_link_create(user=chief, actor=SYSTEM, lifetime=timedelta(0)).removeprefix("/enter/")
    with pytest.raises(NotFound):
        login_link_find(token=token)


def test_roles__granted_in_one_environment__count_only_there() -> None:
    person = person_create(username="ops", actor=SYSTEM, roles=[Role.OPERATOR], environment="staging")
    assert can(person, "staging", Role.OPERATOR)
    assert not can(person, "production", Role.OPERATOR)
    assert not can(person, "production")


def test_roles_set__last_administrator__is_refused_and_changes_nothing(chief: User) -> None:
    before = Head.objects.get().seq
    with pytest.raises(Conflict):
        roles_set(user=chief, roles=[Role.VIEWER], environment="", actor=SYSTEM)
    assert RoleGrant.objects.get(user=chief).role == Role.ADMIN
    assert Head.objects.get().seq == before


def test_device_key__created__keeps_only_a_hash_and_no_secret_in_the_history() -> None:
    key, secret = device_key_create(environment="demo", name="phones", actor=SYSTEM)
    assert secret.startswith("hk_demo_")
    assert secret not in str(DeviceKey.objects.filter(pk=key.pk).values().get())
    entry = HistoryEntry.objects.get(verb="key.created")
    assert secret not in (entry.after_text or "")


def test_device_key__revoked_twice__leaves_one_entry() -> None:
    key, _ = device_key_create(environment="demo", name="phones", actor=SYSTEM)
    device_key_revoke(key=key, actor=SYSTEM)
    device_key_revoke(key=key, actor=SYSTEM)
    assert HistoryEntry.objects.filter(verb="key.revoked").count() == 1


def test_person_create__without_a_name__is_refused() -> None:
    with pytest.raises(InvalidInput):
        person_create(username=" ", actor=SYSTEM)


def test_teams_set__replaced__counts_everywhere_and_is_one_entry(chief: User) -> None:
    person = person_create(username="ops", actor=SYSTEM)

    teams_set(user=person, teams=[Team.DEVOPS], actor=SYSTEM)
    teams_set(user=person, teams=[Team.SECURITY, Team.DEVOPS], actor=SYSTEM)
    teams_set(user=person, teams=[Team.DEVOPS, Team.SECURITY], actor=SYSTEM)

    assert person.teams() == {Team.SECURITY, Team.DEVOPS}
    entries = HistoryEntry.objects.filter(verb="person.teams_changed").order_by("seq")
    assert [entry.after for entry in entries] == [{"teams": ["devops"]}, {"teams": ["devops", "security"]}]


def test_api_token__created__keeps_only_a_hash_and_is_found_until_revoked() -> None:
    token, secret = api_token_create(environment="demo", name="pipeline", scopes=[Scope.READ], actor=SYSTEM)
    assert secret.startswith(token.prefix)
    assert token.prefix.startswith("hkt_demo_")
    assert secret not in str(ApiToken.objects.filter(pk=token.pk).values().get())
    assert secret not in (HistoryEntry.objects.get(verb="token.created").after_text or "")

    found = api_token_find(secret=secret)
    assert found == token
    assert ApiToken.objects.get().last_used_at is not None
    assert Actor.token(token) != Actor.key(token)
    assert api_token_find(secret=secret + "x") is None
    api_token_revoke(token=token, actor=SYSTEM)
    api_token_revoke(token=token, actor=SYSTEM)
    assert api_token_find(secret=secret) is None
    assert HistoryEntry.objects.filter(verb="token.revoked").count() == 1


def test_api_token__expired__is_found_no_more() -> None:
    _, secret = api_token_create(environment="", name="x", scopes=[Scope.READ], actor=SYSTEM)
    ApiToken.objects.update(expires_at=clock.now())
    assert api_token_find(secret=secret) is None


def test_api_token__two_of_a_name_live_at_once__the_third_waits() -> None:
    def make() -> ApiToken:
        return api_token_create(environment="demo", name="pipeline", scopes=[Scope.KILL], actor=SYSTEM)[0]

    first = make()
    make()
    with pytest.raises(Conflict, match="revoke one"):
        make()
    api_token_revoke(token=first, actor=SYSTEM)
    make()
    api_token_create(environment="staging", name="pipeline", scopes=[Scope.KILL], actor=SYSTEM)


@pytest.mark.parametrize(
    "unfit", [{"name": " "}, {"scopes": []}, {"lifetime": timedelta(0)}, {"lifetime": timedelta(days=366)}]
)
def test_api_token__unfit__is_refused_and_changes_nothing(unfit: dict[str, Any]) -> None:
    seq = Head.objects.get().seq
    with pytest.raises(InvalidInput):
        api_token_create(**{"environment": "demo", "name": "x", "scopes": [Scope.READ], "actor": SYSTEM, **unfit})
    assert not ApiToken.objects.exists()
    assert Head.objects.get().seq == seq


def test_api_token__scope_and_environment__count_together() -> None:
    here, _ = api_token_create(environment="demo", name="x", scopes=[Scope.READ, Scope.KILL], actor=SYSTEM)
    everywhere, _ = api_token_create(environment="", name="x", scopes=[Scope.READ], actor=SYSTEM)
    assert (here.may("demo", Scope.KILL), here.may("production", Scope.KILL)) == (True, False)
    assert (everywhere.may("production", Scope.READ), everywhere.may("demo", Scope.KILL)) == (True, False)


def test_people__token_made_and_revoked__is_shown_once_and_everywhere_takes_every_administrator(
    chief: User, client_as: Callable[[object], Client]
) -> None:
    client = client_as(chief)
    made = client.post(
        "/demo/tokens/add",
        {"name": "pipeline", "scopes": ["read", "kill"], "days": "30", "everywhere": "1"},
        follow=True,
    ).content.decode()
    token = ApiToken.objects.get()
    assert (token.environment, token.scopes, token.created_by) == ("", ["kill", "read"], chief)
    secret = re.search(r"hkt_all_[\w-]{32}", made)
    assert secret is not None
    assert api_token_find(secret=secret[0]) == token
    assert secret[0] not in client.get("/demo/people").content.decode()

    local = person_create(username="local", actor=SYSTEM, roles=[Role.ADMIN], environment="demo")
    theirs = client_as(local)
    assert theirs.post("/demo/tokens/add", {"name": "x", "scopes": "read", "everywhere": "1"}).status_code == 403
    assert theirs.post(f"/demo/tokens/{token.pk}/revoke").status_code == 403
    client.post(f"/demo/tokens/{token.pk}/revoke")
    assert "revoked" in client.get("/demo/people").content.decode()
