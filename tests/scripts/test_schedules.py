"""Schedules: made and stopped by people, due by beat, one run at a time, what was missed is not made up for."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from hawkops.core.access import Role
from hawkops.core.errors import InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.scripts import schedules, services
from hawkops.scripts.models import Run, Schedule, State

pytestmark = pytest.mark.django_db
ME = Actor("person:1", "releaser-1")
CPU = "scripts/test-cpu-performance.sh"
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def made(**more: Any) -> Schedule:
    given = {"environment": "demo", "name": CPU, "arguments": {}, "actor": ME, **more}
    return schedules.schedule_create(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Say either"),
        ({"every": "1h", "daily_at": "03:00"}, "Say either"),
        ({"every": "30s"}, "from a minute"),
        ({"every": "often"}, "is no rhythm"),
        ({"every": "99999h"}, "from a minute"),
        ({"daily_at": "25:00"}, "no time of day"),
        ({"every": "1h", "arguments": {"colour": "red"}}, "no option --colour"),
        ({"every": "1h", "name": "scripts/clear-model-cache.sh"}, "never by itself"),
    ],
)
def test_create__unfit__is_refused_and_nothing_kept(given: dict[str, Any], words: str) -> None:
    seq = Head.objects.get().seq
    with pytest.raises(InvalidInput, match=words):
        made(**given)
    assert not Schedule.objects.exists()
    assert Head.objects.get().seq == seq


def test_due__requests_one_run_and_waits_while_it_is_open() -> None:
    with time_machine.travel(NOON, tick=False):
        schedule = made(every="10m")
        schedule.refresh_from_db()
        assert schedules.schedules_due() == 0
    with time_machine.travel(NOON + timedelta(minutes=10), tick=False):
        assert schedules.schedules_due() == 1
        assert schedules.schedules_due() == 0
    run = Run.objects.get()
    entry = HistoryEntry.objects.get(verb="run.requested")
    assert (entry.actor, entry.cause_id) == (f"rule:schedule {schedule.pk}", schedule.made_entry)
    with time_machine.travel(NOON + timedelta(minutes=47), tick=False):
        assert schedules.schedules_due() == 0, "the last run is still open"
        taken = services.run_start(run_id=run.pk)
        assert taken is not None
        services.run_finish(run=taken, state=State.PASSED, exit_code=0, summary="", results=[])
        assert schedules.schedules_due() == 1
    schedule.refresh_from_db()
    assert schedule.next_at == NOON + timedelta(minutes=50), "three missed turns are one run, and the rhythm is kept"


def test_daily__is_due_at_its_time_in_utc() -> None:
    with time_machine.travel(NOON, tick=False):
        early, late = made(daily_at="03:15"), made(daily_at="23:59")
    assert (early.next_at, late.next_at) == (
        datetime(2026, 11, 25, 3, 15, tzinfo=UTC),
        datetime(2026, 11, 24, 23, 59, tzinfo=UTC),
    )
    with time_machine.travel(datetime(2026, 11, 25, 3, 15, 4, tzinfo=UTC), tick=False):
        assert schedules.schedules_due() == 2
    early.refresh_from_db()
    assert early.next_at == datetime(2026, 11, 26, 3, 15, tzinfo=UTC)


def test_due__one_that_is_refused__holds_up_no_other() -> None:
    with time_machine.travel(NOON, tick=False):
        gone, good = made(every="10m"), made(every="10m")
        Schedule.objects.filter(pk=gone.pk).update(script="scripts/gone.sh")
    with time_machine.travel(NOON + timedelta(minutes=11), tick=False):
        assert schedules.schedules_due() == 1
    gone.refresh_from_db()
    good.refresh_from_db()
    assert gone.next_at == NOON + timedelta(minutes=20)
    assert good.last_run == Run.objects.get()


def test_stop__ends_it_once() -> None:
    with time_machine.travel(NOON, tick=False):
        schedule = made(every="10m")
        assert schedules.schedule_stop(schedule=schedule, actor=ME)
        assert not schedules.schedule_stop(schedule=schedule, actor=ME)
    with time_machine.travel(NOON + timedelta(days=1), tick=False):
        assert schedules.schedules_due() == 0
    assert HistoryEntry.objects.filter(verb="schedule.stopped").count() == 1


def test_page__made_and_stopped_by_plain_forms(person: Callable[..., object], client_as: Callable[..., Client]) -> None:
    client = client_as(person("releaser", Role.RELEASER))
    refused = client.post(f"/demo/scripts/{CPU}", {"schedule": "1", "schedule-every": "x"})
    assert refused.status_code == 422 and "is no rhythm" in refused.content.decode()
    assert client.post(f"/demo/scripts/{CPU}", {"schedule": "1", "schedule-at": "03:15"}).status_code == 303
    assert not Run.objects.exists()
    assert "daily at 03:15 UTC" in client.get(f"/demo/scripts/{CPU}").content.decode()
    client.post(f"/demo/schedules/{Schedule.objects.get().pk}/stop")
    assert "daily at 03:15 UTC" not in client.get(f"/demo/scripts/{CPU}").content.decode()
