"""The runbook's five minutes after a kill: what was reached when, what was late, and where that stands afterwards."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from django.test import Client

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from incidents.domain.kill_clock import COUNTED, LIMIT, SHARES, State, Step, judged, written
from incidents.domain.retrying import State as Sent
from incidents.models import Delivery, Incident, KillClock, Receipt
from incidents.selectors.incidents import timeline
from incidents.selectors.kill_clock import kill_clock
from incidents.selectors.reviews import facts
from incidents.services import incidents as services
from incidents.services.dispatching import dispatch_all
from incidents.services.following import incidents_follow
from incidents.services.kill_clock import clocks_follow
from rollout.models import CensusDevice, Flag
from rollout.services import overrides
from rollout.services.flags import flags_seed
from tests.incidents.conftest import SYSTEM, MakeChannel

pytestmark = pytest.mark.django_db
STAGING = "staging"
ANNA = Actor("person:7", "anna")
NOW = datetime.fromisoformat("2026-11-30T03:00:00+00:00")

# ---- the arithmetic ----


def at(**steps: float) -> dict[Step, datetime]:
    return {Step(name): NOW + timedelta(seconds=seconds) for name, seconds in steps.items()}


def state(moments: dict[Step, datetime], after: float, devices: int = 10) -> State:
    return judged(moments, pressed_at=NOW, devices=devices, now=NOW + timedelta(seconds=after)).state


def test_judged__all_that_counts_in_time__is_met_and_the_slowest_is_what_it_took() -> None:
    moments = at(off=0, told=4, obeyed_50=2, obeyed_95=133)
    found = judged(moments, pressed_at=NOW, devices=10, now=NOW + timedelta(hours=1))
    assert (found.state, found.took, found.late) == (State.MET, timedelta(seconds=133), ())
    assert written(timedelta(seconds=133)) == "2:13"


@pytest.mark.parametrize("missing", list(COUNTED))
def test_judged__one_of_them_missing__runs_until_the_limit_and_is_missed_then(missing: Step) -> None:
    moments = {step: NOW for step in COUNTED if step is not missing}
    assert state(moments, LIMIT.total_seconds()) is State.RUNNING
    assert state(moments, LIMIT.total_seconds() + 1) is State.MISSED


def test_judged__the_last_devices_and_the_lease__do_not_count() -> None:
    assert state(at(off=0, told=1, obeyed_50=1, obeyed_95=1, obeyed_99=800, settled=900), 1_000) is State.MET


def test_judged__reached_too_late__is_named() -> None:
    found = judged(
        at(off=0, told=301, obeyed_50=1, obeyed_95=1), pressed_at=NOW, devices=1, now=NOW + timedelta(hours=1)
    )
    assert (found.state, found.late) == (State.MISSED, (Step.TOLD,))


def test_judged__without_devices__only_telling_counts() -> None:
    assert state(at(off=0, told=3), 10, devices=0) is State.MET
    assert state(at(off=0), 10, devices=0) is State.RUNNING


# ---- what is stored ----


@pytest.fixture(autouse=True)
def _stepped() -> Iterator[None]:
    """A clock that the test steps, flags, and twenty devices of which nobody obeys yet."""
    clock.step_to(clock.now())
    flags_seed(actor=SYSTEM)
    now = clock.now()
    CensusDevice.objects.bulk_create(
        CensusDevice(
            environment=STAGING, device_id=f"device-{number}", told_revision=1, obeyed_revision=1,
            served_on=["litert_enabled"], first_seen_at=now, last_seen_at=now,
        )
        for number in range(20)
    )  # fmt: skip
    yield
    clock.step_to(None)


def later(seconds: float) -> None:
    clock.step_to(clock.now() + timedelta(seconds=seconds))


def kill(reason: str = "Production incident") -> HistoryEntry:
    entry = overrides.kill(environment=STAGING, actor=ANNA, reason=reason)
    assert entry is not None
    return entry


def obey(many: int) -> None:
    """So many devices confirm the present revision now."""
    revision = Flag.objects.get(environment=STAGING, key="litert_enabled").revision
    now = clock.now()
    left = CensusDevice.objects.filter(obeyed_revision__lt=revision).order_by("device_id")[:many]
    CensusDevice.objects.filter(pk__in=[one.pk for one in left]).update(
        told_revision=revision, obeyed_revision=revision, obeyed_at=now, last_seen_at=now
    )


def sent() -> None:
    """Every channel accepts what waits for it now."""
    for one in Delivery.objects.filter(state=Sent.PENDING.value):
        Receipt.objects.create(delivery=one, number=1, at=clock.now(), outcome="accepted", status=200, answer="ok")
        Delivery.objects.filter(pk=one.pk).update(state=Sent.SENT.value, done_at=clock.now(), attempts=1)


def verbs() -> list[str]:
    return list(
        HistoryEntry.objects.filter(verb__startswith="kill_clock.").order_by("seq").values_list("verb", flat=True)
    )


def test_clock__a_whole_rollback__keeps_each_moment_and_is_met(make: MakeChannel) -> None:
    make()
    entry = kill()
    assert dispatch_all() == 1 and Delivery.objects.filter(entry=entry.seq).count() == 1
    later(10)
    obey(10)
    clocks_follow()
    later(30)
    sent()
    later(93)
    obey(10)
    clocks_follow()
    row = KillClock.objects.get()
    after = {step: (moment - row.pressed_at).total_seconds() for step, moment in row.reached.items()}
    assert after == {
        Step.PRESSED: 0, Step.OFF: 0, Step.OBEYED_50: 10, Step.TOLD: 40, Step.OBEYED_95: 133, Step.OBEYED_99: 133,
        Step.SETTLED: 133,
    }  # fmt: skip
    assert (row.state, row.late, row.ended_at is not None) == (State.MET, [], True)
    assert verbs() == ["kill_clock.reached"] * 5 + ["kill_clock.met"]
    shown = kill_clock(STAGING)
    assert shown is not None and (shown.elapsed, shown.limit) == ("2:13", "5:00")
    assert [(one.channel, one.answer) for one in shown.told] == [("#slack", "200 ok")]
    # what devices obey later changes nothing of it
    CensusDevice.objects.update(obeyed_at=clock.now() + timedelta(hours=1))
    assert clocks_follow() == 0 and KillClock.objects.get().moments == row.moments


def test_clock__nobody_to_tell__says_so_and_is_missed_once() -> None:
    kill()
    dispatch_all()
    later(1)
    obey(20)
    clocks_follow()
    shown = kill_clock(STAGING)
    assert shown is not None and shown.runs and shown.untold == "Nobody is set up to be told: add a channel."
    later(300)
    clocks_follow()
    clocks_follow()
    assert verbs().count("kill_clock.missed") == 1
    entry = HistoryEntry.objects.get(verb="kill_clock.missed")
    assert entry.after["late_said"] == "Stakeholders told"
    assert entry.cause_id == HistoryEntry.objects.get(verb="flag.killed").seq


def test_clock__a_channel_that_refuses__is_late_and_named(make: MakeChannel) -> None:
    make()
    kill()
    dispatch_all()
    obey(20)
    Delivery.objects.update(state=Sent.FAILED.value)
    later(301)
    clocks_follow()
    shown = kill_clock(STAGING)
    assert shown is not None and shown.state is State.MISSED
    assert [line.step for line in shown.late] == [Step.TOLD]
    assert "0 of 1 channels have it" in [line.words for line in shown.lines]


def test_clock__a_drill__has_none() -> None:
    kill("Pre-deployment test")
    assert clocks_follow() == 0
    assert kill_clock(STAGING) is None and not KillClock.objects.exists()


def test_clock__lifted_in_time__is_no_miss() -> None:
    kill()
    clocks_follow()
    overrides.reenable(environment=STAGING, keys=["litert_enabled"], actor=ANNA, reason="A mistake")
    later(400)  # nobody looked meanwhile
    clocks_follow()
    row = KillClock.objects.get()
    assert (row.state, row.ended_at is not None) == (State.LIFTED, True)
    later(600)
    assert clocks_follow() == 0 and KillClock.objects.get().state == State.LIFTED


def test_clock__unreachable_devices__settle_when_their_lease_ends() -> None:
    kill()
    later(5)
    obey(19)
    clocks_follow()
    assert Step.SETTLED not in KillClock.objects.get().reached
    later(900)
    clocks_follow()
    row = KillClock.objects.get()
    assert (row.reached[Step.SETTLED] - row.pressed_at).total_seconds() == 900
    assert not set(SHARES) - {Step.OBEYED_99} - set(row.reached)


def test_clock__missed__stands_in_the_incidents_timeline_and_review() -> None:
    found: Incident = services.incident_open(environment=STAGING, title="Wrong", severity="critical", actor=ANNA)
    kill()
    incidents_follow()
    later(301)
    clocks_follow()
    titles = [row.title for row in timeline(found)]
    assert "Emergency rollback missed its five minutes" in titles
    found.refresh_from_db()
    drawn = facts(found, now=clock.now())
    assert "Emergency rollback missed its five minutes" in [row["title"] for row in drawn["timeline"]]
    assert {"key": "tell", "seconds": None}.items() <= next(
        one for one in drawn["times"] if one["key"] == "tell"
    ).items()


# ---- the page ----


def test_page__without_javascript__shows_the_clock_as_of_its_load(
    operator: User, client_as: Callable[[User], Client], make: MakeChannel
) -> None:
    make()
    client = client_as(operator)
    assert "Immediate rollback" not in client.get("/staging/emergency").content.decode()
    client.post("/staging/emergency/kill", {})
    later(133)
    text = client.get("/staging/emergency").content.decode()
    assert 'data-clock="133.0" data-limit="300">2:13</b><span>of 5:00' in text
    assert "It is on its way." in text
    dispatch_all()
    sent()
    obey(20)
    clocks_follow()
    text = client.get("/staging/emergency?part=clock").content.decode()
    assert "The runbook&#x27;s five minutes were kept." in text or "The runbook's five minutes were kept." in text
    assert "#slack</a>, Slack: sent" in text
