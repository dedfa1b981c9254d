"""People, roles, links and keys: each change an entry, each secret a hash."""

from datetime import timedelta

import pytest

from hawkops.accounts.models import DeviceKey, LoginLink, RoleGrant, User
from hawkops.accounts.services import (
    device_key_create,
    device_key_revoke,
    login_link_create,
    login_link_find,
    login_link_use,
    person_create,
    roles_set,
    teams_set,
)
from hawkops.core.access import Role, can
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
