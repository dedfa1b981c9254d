"""Rollback levels: what each changes, that nothing rises, that two presses are one, and what undo restores."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.scripts.models import Run
from rollout.domain import phases as phase_domain
from rollout.domain.flags import ON, raises_exposure
from rollout.domain.rollback import Level, Part, change, cohort_constraints, halved
from rollout.domain.targeting import Constraint, Operator
from rollout.models import EnvironmentFlags, Flag, PhaseRun, Proposal, Release, Rollback
from rollout.selectors import rollbacks
from rollout.selectors.phases import phase_of
from rollout.services import overrides, proposals
from rollout.services.flags import BACKENDS, FALLBACK, LITERT
from rollout.services.rollback import app_rollbacks_due, rollback, rollback_undo
from tests.rollout.walking import SYSTEM, approve, begin, devices, furnish, gates_pass, signers, somebody

pytestmark = pytest.mark.django_db
DRIVER = Constraint("device.gpu.driver", Operator.IS, ("512.3",))


def state(environment: str = "staging") -> dict[str, dict[str, Any]]:
    """What every flag serves, part by part."""
    return {flag.key: rollbacks.parts(flag) for flag in Flag.objects.filter(environment=environment)}


def flag(key: str, environment: str = "staging") -> Flag:
    """One flag."""
    return Flag.objects.get(environment=environment, key=key)


@pytest.fixture
def _rolled_out() -> None:
    """LiteRT on half of staging with every backend on; no release walks."""
    furnish()
    Flag.objects.filter(environment="staging", key__in=[LITERT, *BACKENDS.values()]).update(thousandths=50_000)
    devices("staging", 20)


@pytest.fixture
def walk(_rolled_out: None) -> Callable[..., PhaseRun]:
    """A third phase at 20 % of capable devices, as data that is there."""

    def make(environment: str = "staging", share: int = 20_000) -> PhaseRun:
        release = begin(environment)
        phase = phase_of(release, 3)
        assert phase is not None
        at = clock.now()
        Flag.objects.filter(environment=environment, key=phase.flag).update(
            rules=[rule.document() for rule in phase_domain.rules(phase, share)], thousandths=0, revision=7
        )
        return PhaseRun.objects.create(
            release=release, number=3, percents=[20.0], step=1, started_at=at, started_by="rel",
            served=[{"at": at.isoformat(), "thousandths": share}], flag_revision=7,
        )  # fmt: skip

    return make


# ---- what each level changes ----

OFF_FOR_ALL = {"variant": "off"}
LEVELS: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "half": ({"level": 1}, {LITERT: {"share": 25_000}}),
    "every backend": ({"level": 2}, dict.fromkeys(BACKENDS.values(), OFF_FOR_ALL)),
    "one backend": ({"level": 2, "backends": ["gpu"]}, {BACKENDS["gpu"]: OFF_FOR_ALL}),
    "one backend on some": (
        {"level": 2, "backends": ["gpu"], "cohorts": [(DRIVER,)]},
        {BACKENDS["gpu"]: {"scoped": [("off", [["device.gpu.driver", "is", ["512.3"]]])]}},
    ),
    "kill": ({"level": 3}, {LITERT: OFF_FOR_ALL, FALLBACK: {"variant": "on"}}),
}


@pytest.mark.usefixtures("_rolled_out")
@pytest.mark.parametrize("name", LEVELS)
def test_level__changes_what_it_says_and_nothing_else(name: str) -> None:
    asked, wanted = LEVELS[name]
    before, revision = state(), EnvironmentFlags.objects.get(pk="staging").revision
    made = rollback(environment="staging", actor=SYSTEM, reason="", **asked)
    assert made is not None
    assert EnvironmentFlags.objects.get(pk="staging").revision == made.revision == revision + 1, "one revision"
    after = state()
    assert {key for key in after if after[key] != before[key]} == set(wanted) == {one["flag"] for one in made.changes}
    for key, one in wanted.items():
        if "share" in one:
            assert after[key][Part.SHARE]["thousandths"] == one["share"]
        elif "variant" in one:
            assert after[key][Part.OVERRIDE]["variant"] == one["variant"]
        else:
            assert [(x["variant"], x["constraints"]) for x in after[key][Part.SCOPED]] == one["scoped"]
            assert after[key][Part.OVERRIDE]["variant"] == "", "the others keep it"
    entry = HistoryEntry.objects.get(verb="rollback.made")
    assert (entry.subject, entry.reason, entry.after["level"]) == (
        made.subject,
        Level(asked["level"]).reason,
        made.level,
    )
    assert rollbacks.entry_of(made) == entry.seq


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.sampled_from(["on", "off"]), st.integers(0, 100_000), st.sampled_from(["", "beta"])), max_size=4
    ),
    st.integers(0, 100_000),
)
def test_halved__whatever_is_served__never_raises(shares: list[tuple[str, int, str]], thousandths: int) -> None:
    rules = [
        {"variant": variant, "thousandths": share, "group": group, "constraints": []}
        for variant, share, group in shares
    ]
    stored = Flag(key="f", type="boolean", on=True, off=False, safe_variant="off", salt="f", rules=rules)
    stored.thousandths = thousandths
    before = stored.domain()
    stored.rules, stored.thousandths = halved(rules, thousandths)
    assert not raises_exposure(before, stored.domain())
    assert stored.thousandths == thousandths // 2
    on = [one["thousandths"] for one in stored.rules if one["variant"] == ON]
    assert on == [share // 2 for variant, share, _ in shares if variant == ON and share >= 2]


@pytest.mark.usefixtures("_rolled_out")
def test_level__second_press_at_once__finds_it_done() -> None:
    seen = EnvironmentFlags.objects.get(pk="staging").revision
    assert rollback(environment="staging", level=1, actor=SYSTEM, seen=seen) is not None
    seq = Head.objects.get().seq
    assert rollback(environment="staging", level=1, actor=SYSTEM, seen=seen) is None
    assert (flag(LITERT).thousandths, Head.objects.get().seq) == (25_000, seq)
    assert rollback(environment="staging", level=1, actor=SYSTEM, seen=seen + 1) is not None, "a new look halves again"
    for level in (2, 3):
        assert rollback(environment="staging", level=level, actor=SYSTEM) is not None
        assert rollback(environment="staging", level=level, actor=SYSTEM) is None
    assert Rollback.objects.count() == 4


@pytest.mark.usefixtures("_rolled_out")
def test_level__what_is_none__is_refused_with_what_to_do() -> None:
    for asked, said in (
        ({"level": 5}, "level 1"),
        ({"level": 2, "backends": []}, "Choose at least one"),
        ({"level": 2, "backends": ["tpu"]}, "no backend 'tpu'"),
        ({"level": 2, "cohorts": [()]}, "Say which devices"),
    ):
        before = Head.objects.get().seq
        with pytest.raises(InvalidInput, match=said):
            rollback(environment="staging", actor=SYSTEM, **asked)
        assert (Head.objects.get().seq, Rollback.objects.count()) == (before, 0)


def test_level__a_phase_under_way__pauses_with_it_and_serves_half_from_then(walk: Callable[..., PhaseRun]) -> None:
    run = walk()
    made = rollback(environment="staging", level=1, actor=SYSTEM)
    run.refresh_from_db()
    assert made is not None
    assert (made.phase, run.state, run.served[-1]["thousandths"]) == (3, "paused", 10_000)
    assert HistoryEntry.objects.get(verb="phase.paused").after == {"state": "paused", "rollback": 1}


# ---- undo ----


@pytest.mark.usefixtures("_rolled_out")
@pytest.mark.parametrize("name", LEVELS)
def test_undo__restores_exactly_what_was(name: str) -> None:
    overrides.backend_disable(environment="staging", backend="npu", actor=SYSTEM, reason="Incompatible GPU driver")
    before = state()
    made = rollback(environment="staging", actor=SYSTEM, **LEVELS[name][0])
    assert made is not None
    rollback_undo(environment="staging", number=made.pk, actor=SYSTEM, reason="Fixed")
    assert state() == before
    made.refresh_from_db()
    assert (made.undone_by, made.left_alone) == ("test", [])
    with pytest.raises(Conflict, match="undone already"):
        rollback_undo(environment="staging", number=made.pk, actor=SYSTEM, reason="Again")


@pytest.mark.usefixtures("_rolled_out")
def test_undo__what_somebody_changed_since__is_named_and_left_alone() -> None:
    made = rollback(environment="staging", level=2, backends=["gpu", "adaptive"], actor=SYSTEM)
    assert made is not None
    overrides.flag_override_clear(environment="staging", key=BACKENDS["gpu"], actor=SYSTEM, reason="Looked at")
    overrides.backend_disable(environment="staging", backend="gpu", actor=SYSTEM, reason="Off on purpose")
    rollback_undo(environment="staging", number=made.pk, actor=SYSTEM, reason="Fixed")
    assert (flag(BACKENDS["gpu"]).override_reason, flag(BACKENDS["adaptive"]).override_variant) == (
        "Off on purpose",
        "",
    )
    made.refresh_from_db()
    assert [one["flag"] for one in made.left_alone] == [BACKENDS["gpu"]]
    assert [one["flag"] for one in HistoryEntry.objects.get(verb="rollback.undone").after["left_alone"]] == [
        BACKENDS["gpu"]
    ]


@pytest.mark.usefixtures("_rolled_out")
def test_undo__nothing_of_it_stands__conflicts_and_changes_nothing() -> None:
    made = rollback(environment="staging", level=1, actor=SYSTEM)
    assert made is not None
    assert rollback(environment="staging", level=1, actor=SYSTEM) is not None
    before, seq = state(), Head.objects.get().seq
    with pytest.raises(Conflict, match="litert_enabled changed since"):
        rollback_undo(environment="staging", number=made.pk, actor=SYSTEM, reason="Fixed")
    assert (state(), Head.objects.get().seq) == (before, seq)


@pytest.mark.usefixtures("_rolled_out")
def test_undo__an_override_for_some__is_lifted_by_its_number_and_what_it_replaced_comes_back() -> None:
    def on(variant: str) -> None:
        overrides.flag_scoped_override_set(
            environment="staging",
            key=BACKENDS["gpu"],
            variant=variant,
            constraints=[DRIVER],
            actor=SYSTEM,
            reason="Try",
        )

    on("on")
    made = rollback(environment="staging", level=2, backends=["gpu"], cohorts=[(DRIVER,)], actor=SYSTEM)
    assert made is not None
    (one,) = map(change, made.changes)
    assert one.before is not None and one.after is not None
    assert (one.before["variant"], one.after["variant"], one.where) == ("on", "off", "GPU driver is 512.3")
    rollback_undo(environment="staging", number=made.pk, actor=SYSTEM, reason="Fixed")
    assert [kept["variant"] for kept in flag(BACKENDS["gpu"]).scoped_overrides] == ["on"]


def test_undo__of_a_phase_s_half__serves_as_before_and_leaves_it_paused(walk: Callable[..., PhaseRun]) -> None:
    run = walk()
    rules = flag(LITERT).rules
    made = rollback(environment="staging", level=1, actor=SYSTEM)
    assert made is not None
    rollback_undo(environment="staging", number=made.pk, actor=SYSTEM, reason="A false alarm")
    run.refresh_from_db()
    assert flag(LITERT).rules == rules
    assert (run.state, [one["thousandths"] for one in run.served]) == ("paused", [20_000, 10_000, 20_000])


def test_undo__in_production__waits_for_a_second_person_and_the_gates(walk: Callable[..., PhaseRun]) -> None:
    walk("production")
    release = Release.objects.get()
    gates_pass(release)
    maker, before = somebody("oncall", Role.OPERATOR), state("production")
    made = rollback(environment="production", level=1, actor=Actor.person(maker))
    assert made is not None
    asked = proposals.change_or_propose(
        kind="rollback.undo",
        environment="production",
        payload={"rollback": made.pk},
        actor=Actor.person(maker),
        reason="A false alarm",
    )
    assert isinstance(asked, Proposal)
    assert asked.changes[0]["name"] == LITERT
    assert state("production") != before
    with pytest.raises(Conflict):
        rollback_undo(environment="production", number=made.pk, actor=Actor.person(maker), reason="At once")
    done = approve(asked, signers()[0])
    assert (done.state, state("production")) == ("applied", before)


# ---- level 4 ----


@pytest.fixture
def _stepped() -> Iterator[None]:
    clock.step_to(clock.now())
    yield
    clock.step_to(None)


@pytest.mark.usefixtures("_rolled_out", "_stepped")
@pytest.mark.parametrize(("environment", "really"), [("production", True), ("staging", False)])
def test_app__rehearsed_first__and_really_only_in_production(environment: str, really: bool) -> None:
    made = rollback(environment=environment, level=4, actor=SYSTEM)
    assert made is not None
    assert rollback(environment=environment, level=4, actor=SYSTEM) is None, "one is under way"
    rehearsal = Run.objects.get()
    assert (rehearsal.dry_run, rehearsal.arguments) == (True, {"version": "previous", "track": "production"})
    assert app_rollbacks_due() == 0
    Run.objects.update(state="passed", finished_at=clock.now())
    assert app_rollbacks_due() == (1 if really else 0)
    assert app_rollbacks_due() == 0
    made.refresh_from_db()
    assert made.done is not None
    assert made.done.dry_run is not really
    with pytest.raises(InvalidInput, match="Play console"):
        rollback_undo(environment=environment, number=made.pk, actor=SYSTEM, reason="Fixed")


@pytest.mark.usefixtures("_rolled_out", "_stepped")
def test_app__a_rehearsal_that_could_not_measure__runs_nothing() -> None:
    made = rollback(environment="production", level=4, actor=SYSTEM)
    Run.objects.update(state="no_data", finished_at=clock.now())
    assert app_rollbacks_due() == 0
    assert made is not None
    assert Run.objects.count() == 1


# ---- cohorts ----


def test_cohort__as_conditions__names_what_devices_say_of_themselves() -> None:
    found = cohort_constraints([("backend", "gpu"), ("soc", "Tensor G2"), ("driver", "512.3"), ("os", "34")])
    assert [str(one) for one in found] == ["SoC is Tensor G2", "GPU driver is 512.3", "Android API level is 34"]
    assert cohort_constraints([("backend", "gpu")]) == ()
    for unsaid in (("driver", ""), ("driver", "V@512"), ("soc", "a, b")):
        with pytest.raises(InvalidInput):
            cohort_constraints([unsaid])
