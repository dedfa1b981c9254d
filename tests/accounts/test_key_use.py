"""A gateway writes down which keys devices present, and lets none in that has ended."""

import asyncio
from datetime import datetime, timedelta

import pytest
import time_machine
from django.conf import settings

from hawkops.accounts.models import DeviceKey
from hawkops.accounts.services.credentials import device_key_create
from hawkops.core import clock
from hawkops.history.actors import Actor
from rollout.ofrep import store
from tests import apart

SYSTEM = Actor.system("test")


@pytest.mark.fresh_database
def test_gateway__key_presented__is_noted_once_in_some_minutes_and_ends_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "RECHECK_SECONDS", 0.05)
    key, secret = device_key_create(environment="demo", name="phones", actor=SYSTEM)
    device_key_create(environment="demo", name="other", actor=SYSTEM)

    async def presented() -> tuple[bool, bool]:
        snapshots = store.SnapshotStore(settings.DATABASE_URL, secret="x", on_change=lambda _: None)
        await snapshots.start()
        live = snapshots.key(secret) is not None
        await asyncio.sleep(0.5)
        with time_machine.travel(clock.now() + timedelta(days=366)):
            ended = snapshots.key(secret) is None
        await snapshots.stop()
        return live, ended

    began = clock.now()
    assert apart.run(presented()) == (True, True)
    used: datetime | None = DeviceKey.objects.get(pk=key.pk).last_used_at
    assert used is not None and used >= began
    assert DeviceKey.objects.get(name="other").last_used_at is None
    apart.run(presented())
    assert DeviceKey.objects.get(pk=key.pk).last_used_at == used
