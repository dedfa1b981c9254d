"""Drills: who is meant, how they end by themselves, what wins over them, and what they prove."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, transaction

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from rollout.domain import drills as domain
from rollout.domain.compiled import Compiled
from rollout.domain.drills import Counted, Outcome, State
from rollout.domain.evaluation import evaluate, explain
from rollout.domain.flags import Flag as Known
from rollout.domain.flags import FlagType, Override, Snapshot, raises_exposure, scoped_override
from rollout.domain.gates import Finding
from rollout.domain.targeting import Context, Rule, constraint
from rollout.evidence.registry import CHECKS
from rollout.evidence.shape import Question
from rollout.models import CensusDevice, Drill, DrillDevice, EnvironmentFlags, Flag, Release, TargetGroup
from rollout.selectors import drills as selectors
from rollout.selectors import releases
from rollout.services import drills as services
from rollout.services import flags, freezes, groups, overrides
from rollout.services.census import device_erase
from rollout.services.flags import SWITCHES
from tests.rollout import walking

SYSTEM = Actor.system("test")
AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
TESTERS = "internal_testers"

# ---- who is meant ----

LITERT = Known("litert_enabled", FlagType.BOOLEAN, True, False, "off", 100_000, "l")
GPU = Known("litert_gpu_backend", FlagType.BOOLEAN, True, False, "off", 100_000, "g", requires=("litert_enabled",))
DRILLED = Override("off", "Pre-deployment test", group=TESTERS)
OLD = (constraint("device.gpu.driver", "is below", "512"),)
EARNEST_ON, EARNEST_OFF = Override("on", "Fixed for them", OLD), Override("off", "Crashes", OLD)
MEMBER, OTHER, NOBODY = Context("tester"), Context("user"), Context()
OLD_MEMBER = Context("tester", {"device.gpu.driver": "400"})


@pytest.mark.parametrize(
    ("flag", "key", "context", "variant", "why"),
    [
        # members get the safe value, nobody else, and who names no key is in no group
        ({}, "litert_enabled", MEMBER, "off", "drill on internal_testers: Pre-deployment test"),
        ({}, "litert_enabled", OTHER, "on", "100 % of devices"),
        ({}, "litert_enabled", NOBODY, "on", "100 % of devices"),
        # over rules, pins and percentages, and through what requires it
        ({"rules": (Rule("on", group=TESTERS),)}, "litert_enabled", MEMBER, "off", "drill on"),
        ({"pinned": {"tester": "on"}}, "litert_enabled", MEMBER, "off", "drill on"),
        ({}, "litert_gpu_backend", MEMBER, "off", "requires litert_enabled"),
        ({}, "litert_gpu_backend", OTHER, "on", "100 % of devices"),
        # every override in earnest comes first
        ({"override": Override("off", "Incident")}, "litert_enabled", MEMBER, "off", "emergency override: Incident"),
        ({"override": Override("on", "Incident")}, "litert_enabled", MEMBER, "on", "emergency override: Incident"),
        ({"scoped": (EARNEST_ON, DRILLED)}, "litert_enabled", OLD_MEMBER, "on", "emergency override where"),
        ({"scoped": (EARNEST_ON, DRILLED)}, "litert_enabled", MEMBER, "off", "drill on"),
        ({"scoped": (EARNEST_OFF, DRILLED)}, "litert_enabled", OLD_MEMBER, "off", "emergency override where"),
        # a group that is not there has nobody in it
        ({"scoped": (replace(DRILLED, group="gone"),)}, "litert_enabled", MEMBER, "on", "100 % of devices"),
    ],
)
def test_evaluate__a_drill__is_for_the_group_and_after_what_is_earnest(
    flag: dict[str, Any], key: str, context: Context, variant: str, why: str
) -> None:
    drilled = replace(LITERT, **{"scoped": (DRILLED,), **flag})
    here = Snapshot("demo", 7, {"litert_enabled": drilled, GPU.key: GPU}, groups={TESTERS: frozenset(["tester"])})
    found = evaluate(here, key, context)
    assert found.variant == variant
    assert found.why.startswith(why)
    assert Compiled(here).evaluate(key, context) == found
    locked = replace(here, lockdown=True)
    assert evaluate(locked, key, context).why == "lockdown" == Compiled(locked).evaluate(key, context).why


def test_explain__not_in_the_group__says_so() -> None:
    here = Snapshot("demo", 7, {"litert_enabled": replace(LITERT, scoped=(DRILLED,))}, groups={TESTERS: frozenset()})
    _, steps = explain(here, "litert_enabled", OTHER)
    assert steps[0].sentence == "Drill on internal_testers: it is not in that group"


def test_scoped_override__one_stored_before_there_were_drills__has_no_group() -> None:
    assert scoped_override({"variant": "off", "reason": "x", "constraints": []}) == Override("off", "x")


def test_raises_exposure__a_drill__neither_raises_nor_hides_a_raise() -> None:
    half = replace(LITERT, thousandths=50_000)
    drilled = replace(half, scoped=(DRILLED,))
    assert not raises_exposure(half, drilled)
    assert not raises_exposure(drilled, half), "its end gives back what was decided"
    assert raises_exposure(drilled, replace(half, thousandths=60_000))
    assert raises_exposure(drilled, replace(drilled, rules=(Rule("on", group=TESTERS),)))
    # a press in earnest ends it and is no raise for that
    assert not raises_exposure(drilled, replace(half, scoped=(EARNEST_OFF,)))
    assert raises_exposure(half, replace(half, scoped=(replace(DRILLED, variant="on"),))), "on is not its safe value"


# ---- how it ends, as a table ----


def moments(*seconds: float) -> tuple[datetime, ...]:
    """Moments so many seconds after the press."""
    return tuple(AT + timedelta(seconds=one) for one in seconds)


@pytest.mark.parametrize(
    ("devices", "obeyed", "seconds", "outcome"),
    [
        (3, (1, 2), 60, None),
        (3, (1, 2, 9), 18, None),  # people look for ten seconds
        (3, (1, 2, 9), 19, Outcome.OBEYED),
        (3, (1, 2), 299, None),
        (3, (1, 2), 300, Outcome.TIME_OVER),
        (3, (1, 2, 295), 300, Outcome.OBEYED),  # its time is over before the look is
        (3, (1, 2), 9_000, Outcome.TIME_OVER),
        (0, (), 300, Outcome.TIME_OVER),
    ],
)
def test_ended__by_what_obeyed_and_when(
    devices: int, obeyed: tuple[float, ...], seconds: float, outcome: Outcome | None
) -> None:
    now, limit = AT + timedelta(seconds=seconds), AT + timedelta(minutes=5)
    assert domain.ended(Counted(devices, moments(*obeyed)), restores_at=limit, now=now) is outcome


@pytest.mark.parametrize(
    ("devices", "percent", "place"), [(1, 50, 0), (1, 99, 0), (20, 50, 9), (20, 95, 18), (20, 99, 19), (200, 99, 197)]
)
def test_share_at__rounds_up_to_whole_devices(devices: int, percent: int, place: int) -> None:
    came = moments(*range(devices))
    assert domain.share_at(came[::-1], devices, percent) == came[place]
    assert domain.share_at(came[:place], devices, percent) is None


def test_checked__minutes_and_flags() -> None:
    for wrong in (0, 16, -1):
        with pytest.raises(InvalidInput, match="1 to 15 minutes"):
            domain.minutes_checked(wrong)
    assert domain.flags_checked([], SWITCHES) == list(SWITCHES)
    assert domain.flags_checked(["litert_npu_backend", "litert_enabled"], SWITCHES) == [
        "litert_enabled",
        "litert_npu_backend",
    ]
    with pytest.raises(InvalidInput, match="no kill switch"):
        domain.flags_checked(["litert_max_concurrent_inferences"], SWITCHES)


# ---- pressed, obeyed, restored ----


@pytest.fixture
def moving() -> Iterator[time_machine.Traveller]:
    """A clock that the test moves."""
    with time_machine.travel(AT, tick=False) as traveller:
        yield traveller


@pytest.fixture
def here(db: None, moving: time_machine.Traveller) -> str:
    """Production with its flags, LiteRT at 100 %, and two testers and two users that are active."""
    walking.furnish()
    Flag.objects.filter(environment="production", key="litert_enabled").update(thousandths=100_000)
    member("tester-1", "tester-2")
    seen("tester-1", "tester-2", "user-1", "user-2")
    return "production"


def member(*keys: str, environment: str = "production") -> None:
    """Put devices into the internal group."""
    group = TargetGroup.objects.get(environment=environment, key=TESTERS)
    groups.group_members_set(
        environment=environment,
        key=TESTERS,
        members=[*group.members.values_list("targeting_key", flat=True), *keys],
        expected_revision=group.revision,
        actor=SYSTEM,
        reason="Ours",
    )


def seen(*keys: str, environment: str = "production", simulated: bool = False, obeys: int | None = None) -> None:
    """Devices are heard of now, obeying the newest revision, or another."""
    newest = EnvironmentFlags.objects.get(pk=environment).revision
    for key in keys:
        found, _ = CensusDevice.objects.get_or_create(
            environment=environment,
            device_id=key,
            defaults={"first_seen_at": clock.now(), "last_seen_at": clock.now(), "simulated": simulated},
        )
        revision = newest if obeys is None else obeys
        if revision > found.obeyed_revision:
            found.told_revision = found.obeyed_revision = revision
            found.obeyed_at = clock.now()
        found.last_seen_at = clock.now()
        found.save()


def scoped(key: str, environment: str = "production") -> list[dict[str, Any]]:
    """What is in force on some devices."""
    return list(Flag.objects.get(environment=environment, key=key).scoped_overrides)


def verbs(since: int) -> list[str]:
    """What was recorded after an entry."""
    return list(HistoryEntry.objects.filter(seq__gt=since).order_by("seq").values_list("verb", flat=True))


def newest() -> int:
    """The newest entry."""
    return HistoryEntry.objects.order_by("-seq").values_list("seq", flat=True)[0]


def start(*keys: str, environment: str = "production", **given: Any) -> list[Drill]:
    """Drill."""
    return services.drills_start(environment=environment, flags=keys, actor=SYSTEM, **given)


def test_drill__all_obey__is_restored_by_itself_and_measured(here: str, moving: time_machine.Traveller) -> None:
    before, seq = Flag.objects.get(environment=here, key="litert_enabled"), newest()
    (drill,) = start("litert_enabled")
    assert (drill.state, drill.devices, drill.restores_at) == (State.PRESSED, 2, AT + timedelta(minutes=5))
    (override,) = scoped("litert_enabled")
    assert (override["variant"], override["group"], override["reason"]) == ("off", TESTERS, "Pre-deployment test")
    pressed = Flag.objects.get(pk=before.pk)
    assert pressed.revision == before.revision, "no plan is held and no form is out of date"
    assert drill.revision == EnvironmentFlags.objects.get(pk=here).revision
    moving.shift(2)
    seen("tester-1")
    services.drills_due()
    assert selectors.counts(drill).obeyed == 1
    moving.shift(4)
    seen("tester-2")
    services.drills_due()
    assert scoped("litert_enabled"), "people look for ten seconds"
    moving.shift(10)
    services.drills_due()
    services.drills_due()
    drill.refresh_from_db()
    assert (drill.state, drill.outcome) == (State.RESTORED, Outcome.OBEYED)
    assert drill.sentence == "2 of 2 active devices of internal_testers obeyed, the last one after 6.0 s."
    assert (drill.obeyed_50_at, drill.obeyed_95_at, drill.obeyed_99_at) == (
        AT + timedelta(seconds=2),
        AT + timedelta(seconds=6),
        AT + timedelta(seconds=6),
    )
    after = Flag.objects.get(pk=before.pk)
    assert after.scoped_overrides == []
    assert (after.state(), after.domain()) == (before.state(), before.domain()), "exactly what stood before"
    moving.shift(3)
    seen("tester-1", "tester-2")
    services.drills_due()
    drill.refresh_from_db()
    assert (drill.state, drill.back, drill.back_at) == (State.OVER, 2, AT + timedelta(seconds=19))
    assert not DrillDevice.objects.exists(), "the numbers stay, and name nobody"
    assert verbs(seq) == ["flag.drilled", "flag.drill_ended", "drill.over"]
    entries = HistoryEntry.objects.filter(seq__gt=seq).order_by("seq")
    assert [one.cause_id for one in entries] == [None, drill.entry, drill.entry]
    assert "tester" not in "".join(f"{one.before_text}{one.after_text}" for one in entries).replace(TESTERS, "")


def test_drill__nobody_obeys__ends_with_its_time_however_late_it_is_looked_at(
    here: str, moving: time_machine.Traveller
) -> None:
    (drill,) = start("ai_fallback_to_cloud", minutes=1)
    assert scoped("ai_fallback_to_cloud")[0]["variant"] == "on"
    moving.shift(59)
    services.drills_due()
    assert Drill.objects.get().state == State.PRESSED
    moving.shift(3_600)
    services.drills_due()
    drill.refresh_from_db()
    assert (drill.outcome, scoped("ai_fallback_to_cloud")) == (Outcome.TIME_OVER, [])
    assert drill.sentence == "0 of 2 active devices of internal_testers obeyed within 1 min, so 2 did not."
    moving.shift(61)
    services.drills_due()
    drill.refresh_from_db()
    assert (drill.state, drill.back, drill.back_at) == (State.OVER, 0, None)


def test_restore__in_production_with_gates_open_and_a_freeze__needs_nobody(
    here: str, moving: time_machine.Traveller
) -> None:
    start("litert_enabled")
    freezes.freeze_make(
        environment=here,
        starts_at=AT - timedelta(hours=1),
        ends_at=AT + timedelta(hours=9),
        actor=SYSTEM,
        reason="Trade fair",
    )
    moving.shift(300)
    services.drills_due()
    assert scoped("litert_enabled") == []


@pytest.mark.parametrize("earnest", ["kill", "forced on some", "rehearsed on all"])
def test_drill__a_press_in_earnest__wins_at_once_and_ends_it(
    here: str, moving: time_machine.Traveller, earnest: str
) -> None:
    first, *later = start()
    assert [one.state for one in later] == [State.WAITING] * 4
    moving.shift(2)
    if earnest == "kill":
        assert overrides.kill(environment=here, actor=SYSTEM, reason="Production incident")
    elif earnest == "forced on some":
        overrides.flag_scoped_override_set(
            environment=here, key="litert_enabled", variant="off", constraints=OLD, actor=SYSTEM, reason="Crashes"
        )
    else:
        overrides.flag_override_set(
            environment=here, key="litert_enabled", variant="off", actor=SYSTEM, reason=overrides.DRILL
        )
    assert not [one for one in scoped("litert_enabled") if one.get("group")]
    forced = Flag.objects.get(environment=here, key="litert_enabled").state()
    moving.shift(1)
    services.drills_due()
    first.refresh_from_db()
    assert (first.state, first.outcome, first.ended_at) == (
        State.OVER,
        Outcome.TAKEN_OVER,
        AT + timedelta(seconds=2),
    )
    assert {one.outcome for one in Drill.objects.exclude(pk=first.pk)} == {Outcome.TAKEN_OVER}
    assert Flag.objects.get(environment=here, key="litert_enabled").state() == forced, "it restores nothing then"
    services.drills_due()
    assert not Drill.objects.filter(state__in=domain.OPEN).exists()


def test_drill__a_kill_between_two_of_one_press__presses_no_more(here: str, moving: time_machine.Traveller) -> None:
    _, second = start("litert_enabled", "litert_npu_backend")
    seen("tester-1", "tester-2")
    moving.shift(11)
    services.drills_due()
    overrides.kill(environment=here, actor=SYSTEM, reason="Production incident")
    seen("tester-1", "tester-2")
    services.drills_due()
    services.drills_due()
    second.refresh_from_db()
    assert (second.outcome, second.pressed_at, scoped("litert_npu_backend")) == (Outcome.REFUSED, None, [])
    assert second.sentence == "Not pressed. litert_enabled was pressed in earnest meanwhile."


def test_drill__all_five__are_pressed_one_after_another(here: str, moving: time_machine.Traveller) -> None:
    seq = newest()
    made = start()
    assert [one.flag for one in made] == list(SWITCHES)
    for number in range(5):
        assert [one.flag for one in Drill.objects.filter(state=State.PRESSED)] == [SWITCHES[number]]
        seen("tester-1", "tester-2")
        moving.shift(11)
        services.drills_due()
        seen("tester-1", "tester-2")
        services.drills_due()
        services.drills_due()
    assert {one.outcome for one in Drill.objects.all()} == {Outcome.OBEYED}
    assert verbs(seq)[:3] == ["flag.drilled", "drill.asked", "flag.drill_ended"]
    assert verbs(seq).count("flag.drilled") == verbs(seq).count("flag.drill_ended") == 5


def test_drill__stopped_by_hand__gives_back_and_cancels_what_waits(here: str) -> None:
    first, second = start("litert_enabled", "litert_gpu_backend")
    services.drill_stop(environment=here, pk=first.pk, actor=SYSTEM)
    assert (scoped("litert_enabled"), Drill.objects.get(pk=first.pk).outcome) == ([], Outcome.STOPPED)
    second.refresh_from_db()
    assert (second.state, second.outcome) == (State.OVER, Outcome.STOPPED)
    with pytest.raises(Conflict, match="ended already: stopped"):
        services.drill_stop(environment=here, pk=first.pk, actor=SYSTEM)
    with pytest.raises(Conflict, match="is a drill"):
        (third,) = start("litert_enabled")
        overrides.flag_scoped_override_clear(
            environment=here, key="litert_enabled", number=third.number or 0, actor=SYSTEM, reason="x"
        )


def test_drill__two_at_once__the_second_is_refused_and_changes_nothing(here: str) -> None:
    start("litert_enabled")
    seq = newest()
    with pytest.raises(Conflict, match="litert_enabled is being drilled already"):
        start()
    assert (newest(), Drill.objects.count()) == (seq, 1)
    again = Drill.objects.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        Drill.objects.create(
            environment=here, flag="litert_enabled", variant="off", group=TESTERS, series=again.series, minutes=5,
            asked_at=clock.now(),
        )  # fmt: skip
    # another flag may be drilled beside it
    start("litert_gpu_backend")
    with pytest.raises(Conflict, match="A drill is under way on internal_testers"):
        groups.group_delete(environment=here, key=TESTERS, actor=SYSTEM, reason="x")


def test_drill__nobody_to_obey__is_not_started_and_says_so(here: str, moving: time_machine.Traveller) -> None:
    seq = newest()
    CensusDevice.objects.filter(device_id="tester-1").update(simulated=True)
    moving.shift(20 * 60)
    with pytest.raises(Conflict, match=r"\(1 simulated, which don't count in production, 1 silent for longer than a"):
        start("litert_enabled")
    moving.shift(3_600)
    with pytest.raises(Conflict, match="No device of internal_testers is active, so a press would prove nothing"):
        start()
    TargetGroup.objects.filter(environment=here, key=TESTERS).delete()
    with pytest.raises(Conflict, match="There is no group internal_testers in production"):
        start()
    assert (newest(), Drill.objects.count(), scoped("litert_enabled")) == (seq, 0, [])


def test_drill__under_an_override__proves_nothing_and_is_refused(here: str) -> None:
    overrides.backend_disable(environment=here, backend="gpu", actor=SYSTEM, reason="x")
    with pytest.raises(Conflict, match="litert_gpu_backend is under an override already"):
        start()
    start("litert_enabled")


def test_drill__simulated_members__count_in_demo_only_and_are_marked(here: str) -> None:
    member("sim-1", environment="demo")
    seen("sim-1", environment="demo", simulated=True)
    member("sim-2")
    seen("sim-2", simulated=True)
    (demo,) = start("litert_enabled", environment="demo")
    (production,) = start("litert_enabled")
    assert (demo.devices, demo.simulated, demo.uncounted) == (1, 1, 0)
    assert (production.devices, production.simulated, production.uncounted) == (2, 0, 1)


def test_drill__an_erased_device__is_waited_for_no_longer(here: str, moving: time_machine.Traveller) -> None:
    (drill,) = start("litert_enabled")
    seen("tester-1")
    device_erase(here, "tester-2")
    moving.shift(11)
    services.drills_due()
    drill.refresh_from_db()
    assert (drill.outcome, drill.devices, drill.obeyed) == (Outcome.OBEYED, 1, 1)


# ---- what it proves ----


def asked(release: Release) -> Finding:
    """Ask the box of the kill switches."""
    found = releases.runbook(release).box("kill_switches")
    assert found is not None
    return CHECKS["kill_switches"].ask(Question(release, found[1], release.environment, clock.now(), False))


def drilled(moving: time_machine.Traveller, *keys: str, obey: bool = True, environment: str = "production") -> None:
    """Drill flags one after another, to the end."""
    testers = ("tester-1", "tester-2")
    for key in keys:
        start(key, minutes=1, environment=environment)
        seen(*testers if obey else (), environment=environment)
        moving.shift(61)
        services.drills_due()
        seen(*testers, environment=environment)
        services.drills_due()


def everybody(key: str) -> None:
    """Force a flag off on every device, with the drill's reason, after some silence."""
    CensusDevice.objects.update(last_seen_at=clock.now() - timedelta(minutes=5))
    overrides.flag_override_set(
        environment="production", key=key, variant="off", actor=SYSTEM, reason="Pre-deployment test"
    )


Make = Callable[[time_machine.Traveller], None]


def _unobeyed(moving: time_machine.Traveller) -> None:
    drilled(moving, *SWITCHES)
    drilled(moving, "litert_npu_backend", obey=False)


def _obeyed_again(moving: time_machine.Traveller) -> None:
    _unobeyed(moving)
    drilled(moving, "litert_npu_backend")


def _cut_short(moving: time_machine.Traveller) -> None:
    drilled(moving, *SWITCHES[1:])
    (drill,) = start("litert_enabled")
    services.drill_stop(environment="production", pk=drill.pk, actor=SYSTEM)


def _old(moving: time_machine.Traveller) -> None:
    drilled(moving, *SWITCHES)
    moving.shift(15 * 86_400)


def _earnest_and_drilled(moving: time_machine.Traveller) -> None:
    drilled(moving, *SWITCHES[1:])
    everybody("litert_enabled")
    seen("user-1", "user-2", "tester-1", "tester-2")


def _settling(moving: time_machine.Traveller) -> None:
    drilled(moving, *SWITCHES[1:])
    everybody("litert_enabled")
    moving.shift(60)
    seen("user-1", "user-2")
    CensusDevice.objects.filter(device_id__startswith="tester").update(last_seen_at=clock.now())


def _unsettled(moving: time_machine.Traveller) -> None:
    _settling(moving)
    moving.shift(900)


@pytest.mark.parametrize(
    ("make", "verdict", "sentence"),
    [
        (lambda moving: None, Verdict.NO_DATA, "0 of 5 switches drilled within 14 days; missing: litert_enabled, ai_"),
        (lambda moving: drilled(moving, *SWITCHES), Verdict.PASS, "at least 2 devices obeyed each."),
        (lambda moving: drilled(moving, *SWITCHES[:4]), Verdict.INSUFFICIENT, "missing: ai_fallback_to_cloud."),
        (_unobeyed, Verdict.FAIL, "litert_npu_backend 0 of 2 devices of internal_testers obeyed on 30 Nov, 12:05 UTC"),
        (_obeyed_again, Verdict.PASS, "All 5 switches drilled within 14 days, the first on 30 Nov, 12:00 UTC"),
        (_cut_short, Verdict.INSUFFICIENT, "4 of 5 switches drilled within 14 days; missing: litert_enabled."),
        (_old, Verdict.NO_DATA, "0 of 5 switches drilled"),
        (_earnest_and_drilled, Verdict.PASS, "All 5 switches drilled"),
        (_settling, Verdict.INSUFFICIENT, "litert_enabled 2 of 4 devices heard of since 30 Nov, 12:04 UTC obeyed"),
        (_unsettled, Verdict.FAIL, "litert_enabled 2 of 4 devices heard of since 30 Nov, 12:04 UTC obeyed"),
        (lambda moving: everybody("litert_enabled"), Verdict.INSUFFICIENT, "and no device was heard of since"),
    ],
)
def test_kill_switches__by_the_newest_press_of_each(
    here: str, moving: time_machine.Traveller, make: Make, verdict: Verdict, sentence: str,
) -> None:  # fmt: skip
    release = walking.begin(here)
    make(moving)
    found = asked(release)
    assert (found.verdict, sentence in found.sentence) == (verdict, True), found.sentence


def test_kill_switches__a_step_of_the_percentage__leaves_it_fresh(here: str, moving: time_machine.Traveller) -> None:
    release = walking.begin(here)
    drilled(moving, *SWITCHES)
    found = asked(release)
    assert found.expires_at == AT + timedelta(days=14)
    flags.flag_percentage_set(
        environment=here, key="litert_enabled", percent=50, expected_revision=None, actor=SYSTEM, reason="Less"
    )
    assert asked(release) == found
    assert "flag_revision" not in found.subject


def test_switches__say_the_last_drill_and_until_when_it_counts(here: str, moving: time_machine.Traveller) -> None:
    drilled(moving, "litert_enabled")
    drilled(moving, "litert_gpu_backend", obey=False)
    start("litert_npu_backend")
    litert, gpu, npu, *_ = selectors.switches(here, SWITCHES)
    assert (litert.good_until, litert.running) == (AT + timedelta(days=14), None)
    assert gpu.last is not None
    assert (gpu.last.outcome, gpu.good_until) == (Outcome.TIME_OVER, None)
    assert npu.running is not None
    assert npu.last is None
