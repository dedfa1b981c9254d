"""Keys and tokens end, and have successors with an overlap."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command

from hawkops.accounts.models import ApiToken, DeviceKey
from hawkops.accounts.services.credentials import (
    api_token_create,
    api_token_find,
    api_token_rotate,
    device_key_create,
    device_key_revoke,
    device_key_rotate,
)
from hawkops.core import clock
from hawkops.core.access import Scope
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.vitals.registry import vitals

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("test")


def days(many: float) -> timedelta:
    """So many days."""
    return timedelta(days=many)


def test_key__made__ends_in_a_year_unless_that_is_said() -> None:
    key, _ = device_key_create(environment="demo", name="phones", actor=SYSTEM)
    assert key.expires_at == key.created_at + days(365)
    for_ever, _ = device_key_create(environment="demo", name="bench", lifetime=None, actor=SYSTEM)
    assert for_ever.expires_at is None and for_ever.live
    for many in (0, -1, 1_101):
        with pytest.raises(InvalidInput, match="1 to 1100 days"):
            device_key_create(environment="demo", name="phones", lifetime=days(many), actor=SYSTEM)


def test_rotate__key__both_live_for_the_overlap_and_the_history_names_the_successor() -> None:
    old, _ = device_key_create(environment="demo", name="phones", lifetime=days(100), actor=SYSTEM)
    fresh, secret = device_key_rotate(key=old, overlap=days(30), actor=SYSTEM, reason="App 2.5")
    old.refresh_from_db()
    assert old.live and fresh.live and secret.startswith("hk_demo_")
    assert fresh.expires_at == fresh.created_at + days(100)
    assert old.expires_at is not None and abs(old.expires_at - clock.now() - days(30)) < timedelta(seconds=5)
    entry = HistoryEntry.objects.get(verb="key.rotated")
    assert entry.subject == f"device_key:{old.pk}" and entry.reason == "App 2.5"
    assert entry.after["successor"] == f"device_key:{fresh.pk}"
    with pytest.raises(Conflict, match="2 keys named phones live already"):
        device_key_rotate(key=fresh, actor=SYSTEM)
    with time_machine.travel(clock.now() + days(31)):
        assert not old.live and fresh.live
        device_key_rotate(key=fresh, actor=SYSTEM)


def test_rotate__overlap_beyond_its_end__does_not_lengthen_its_life() -> None:
    old, _ = device_key_create(environment="demo", name="phones", lifetime=days(3), actor=SYSTEM)
    device_key_rotate(key=old, overlap=days(30), actor=SYSTEM)
    kept = DeviceKey.objects.get(pk=old.pk)
    assert kept.expires_at == old.expires_at


@pytest.mark.parametrize("overlap", [-1, 181])
def test_rotate__unfit__changes_nothing(overlap: int) -> None:
    old, _ = device_key_create(environment="demo", name="phones", actor=SYSTEM)
    with pytest.raises(InvalidInput, match="0 to 180 days"):
        device_key_rotate(key=old, overlap=days(overlap), actor=SYSTEM)
    device_key_revoke(key=old, actor=SYSTEM)
    with pytest.raises(Conflict, match="lives no more"):
        device_key_rotate(key=DeviceKey.objects.get(pk=old.pk), actor=SYSTEM)
    assert DeviceKey.objects.count() == 1


def test_rotate__token__keeps_scopes_and_both_are_found_until_the_first_ends() -> None:
    token, secret = api_token_create(environment="", name="pipeline", scopes=[Scope.READ, Scope.KILL], actor=SYSTEM)
    fresh, other = api_token_rotate(token=token, overlap=days(2), actor=SYSTEM)
    assert sorted(fresh.scopes) == sorted(token.scopes) and fresh.environment == ""
    assert api_token_find(secret=secret) and api_token_find(secret=other)
    with time_machine.travel(clock.now() + days(3)):
        assert api_token_find(secret=secret) is None and api_token_find(secret=other)


def test_page__rotates_and_shows_the_secret_once(administrator: Any, client_as: Any) -> None:
    client = client_as(administrator)
    client.post("/demo/keys/add", {"name": "phones", "days": "90"})
    key = DeviceKey.objects.get(name="phones")
    page = client.post(f"/demo/keys/{key.pk}/rotate", {"days": "14"}, follow=True)
    assert "has a successor" in page.text and "hk_demo_" in page.text
    assert DeviceKey.objects.filter(name="phones").count() == 2
    assert "hk_demo_" not in client.get("/demo/people").text.replace("hk_demo_</", "").split("Copy it now")[-1][:40]
    refused = client.post(f"/demo/keys/{key.pk}/rotate", {"days": "soon"}, follow=True)
    assert "0 to 180 days" in refused.text or "live already" in refused.text
    never = client.post("/demo/keys/add", {"name": "bench", "days": "90", "never": "1"}, follow=True)
    assert "when revoked" in never.text and "never" in never.text


def test_command__rotates_the_newest_of_a_name() -> None:
    call_command("device_key", "demo", "phones", "--days", "10", stdout=StringIO())
    said = StringIO()
    call_command("device_key", "demo", "phones", "--rotate", "--overlap", "1", stdout=said)
    assert said.getvalue().startswith("hk_demo_") and DeviceKey.objects.filter(name="phones").count() == 2
    with pytest.raises(CommandError, match="no key 'tablets'"):
        call_command("device_key", "demo", "tablets", "--rotate")
    with pytest.raises(CommandError, match="1 to 1100"):
        call_command("device_key", "demo", "tablets", "--days", "0")


def test_sign__key_in_use_ends_soon__fails_until_it_has_a_successor() -> None:
    def sign() -> Any:
        return next(one for one in vitals() if one.key == "credentials")

    key, _ = device_key_create(environment="demo", name="phones", lifetime=days(10), actor=SYSTEM)
    assert sign().verdict is Verdict.PASS  # nobody uses it
    DeviceKey.objects.filter(pk=key.pk).update(last_used_at=clock.now())
    assert sign().verdict is Verdict.FAIL and "device key phones of demo" in sign().sentence
    fresh, _ = device_key_rotate(key=key, overlap=days(5), actor=SYSTEM)
    assert sign().verdict is Verdict.FAIL  # the successor lives as short
    DeviceKey.objects.filter(pk=fresh.pk).update(expires_at=clock.now() + days(90))
    assert sign().verdict is Verdict.PASS
    token, _ = api_token_create(environment="", name="ci", scopes=[Scope.READ], lifetime=days(1), actor=SYSTEM)
    ApiToken.objects.filter(pk=token.pk).update(last_used_at=clock.now())
    assert "token ci of all environments" in sign().sentence
