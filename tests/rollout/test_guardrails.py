"""Guardrails: which arm a device is in, what fails and what that does, and that nothing happens where nothing is wrong."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawkops.core import clock
from hawkops.core.access import Role as Person
from hawkops.core.verdicts import Verdict
from hawkops.history.models import Head, HistoryEntry
from monitoring import thresholds
from monitoring.domain import panel
from monitoring.domain.arms import Arm
from monitoring.models import PanelHour, StoredCriterion
from rollout.domain import phases as domain
from rollout.domain.bucketing import BUCKETS, bucket
from rollout.domain.guardrails import Guardrail, Judges, Line, Role, Served, Stay, arm_at, guardrail, stays, together
from rollout.domain.reading import Unfit
from rollout.models import CensusDevice, Flag, GuardrailBand, GuardrailState, PhaseRun, Release
from rollout.runbook import loading
from rollout.selectors import arms as selected
from rollout.selectors import guardrail_states, guardrails, phases, rollbacks
from rollout.selectors.phases import held, phase_of
from rollout.services import guardrails as services
from rollout.services.phases import phase_abort
from rollout.services.rollback import rollback
from tests.rollout.walking import SYSTEM, begin, furnish

pytestmark = pytest.mark.django_db
T0 = datetime(2026, 11, 30, 8, 20, tzinfo=UTC)
CAPABLE = {"os.api": 34, "device.memory_mb": 8000}


# ---- arms ----


def hour(at: datetime) -> int:
    """The hour since 1970."""
    return int(at.timestamp()) // 3600


def test_stays__a_ramp__keeps_equal_arms_from_both_ends() -> None:
    steps = [Served(T0, 10_000), Served(T0 + timedelta(hours=24), 25_000)]
    assert stays(5_000, steps) == [Stay(Arm.TREATMENT, hour(T0) + 1)]
    assert stays(20_000, steps) == [Stay(Arm.TREATMENT, hour(T0) + 25)]
    assert stays(95_000, steps) == [Stay(Arm.CONTROL, hour(T0) + 1)]
    assert stays(80_000, steps) == [Stay(Arm.CONTROL, hour(T0) + 25)]
    assert stays(50_000, steps) == []
    assert [one.weights for one in steps] == [(10_000, 10_000), (25_000, 25_000)]


def test_stays__beyond_the_half__the_control_shrinks_and_joins_the_treatment() -> None:
    steps = [Served(T0, 40_000), Served(T0 + timedelta(hours=5), 70_000), Served(T0 + timedelta(hours=9), BUCKETS)]
    assert stays(65_000, steps) == [
        Stay(Arm.CONTROL, hour(T0) + 1, hour(T0) + 5),
        Stay(Arm.TREATMENT, hour(T0) + 6),
    ]
    assert steps[1].weights == (70_000, 30_000)
    assert steps[2].weights == (BUCKETS, 0)


def test_stays__halved__leaves_the_treatment() -> None:
    steps = [Served(T0, 20_000), Served(T0 + timedelta(hours=3), 10_000)]
    assert stays(15_000, steps) == [Stay(Arm.TREATMENT, hour(T0) + 1, hour(T0) + 3)]


@given(st.integers(0, BUCKETS - 1), st.lists(st.integers(0, BUCKETS), min_size=1, max_size=5))
def test_stays__any_steps__follow_the_arm_of_each_step(place: int, shares: list[int]) -> None:
    steps = [Served(T0 + timedelta(days=index), share) for index, share in enumerate(shares)]
    found = stays(place, steps)
    assert all(one.end is None or one.end > one.first for one in found)
    last = arm_at(place, shares[-1])
    assert [one.arm for one in found if one.end is None] == ([last] if last else [])


# ---- as data ----


def test_guardrail__read__says_what_is_wrong() -> None:
    good = {"key": "crashes", "title": "Crashes", "criterion": "c", "role": "guardrail", "level": 3}
    assert guardrail(good, ()) == Guardrail("crashes", "Crashes", Role.GUARDRAIL, Judges.CRITERION, "c", 3)
    for wrong, said in (
        ({"level": 0}, "level 1, 2 or 3"),
        ({"role": "signal"}, "signal has none"),
        ({"judges": "reporting"}, "names its criterion"),
        ({"tolerated_percent": -1}, "0 or more"),
    ):
        with pytest.raises(Unfit, match=said):
            guardrail({**good, **wrong}, ())


def test_panel__keeps_whatever_a_guardrail_of_the_runbook_compares() -> None:
    stored = {one.key: one for one in thresholds.load()}
    for one in loading.load().runbook.guardrails:
        if one.criterion:
            rule = stored[one.criterion]
            read = [selection.metric for selection in (rule.over, rule.of) if selection is not None]
            assert [metric for metric in read if not panel.keeps(metric)] == [], one.key


def test_together__one_failure_fails_and_too_few_of_a_class_take_nothing_away() -> None:
    whole = Line("1st hour", "", Verdict.PASS, "fine")
    few = Line("1st hour", "rare", Verdict.INSUFFICIENT, "few")
    bad = Line("1st hour", "rare", Verdict.FAIL, "worse")
    assert together([whole, few])[0] is Verdict.PASS
    assert together([whole, bad]) == (Verdict.FAIL, "rare, 1st hour: worse.")
    assert together([few])[0] is Verdict.NO_DATA
    assert together([])[0] is Verdict.NO_DATA


# ---- a phase under way ----

Walk = Callable[..., PhaseRun]


@pytest.fixture
def walk() -> Walk:
    """A third phase at 25 % of capable devices for some hours, as data that is there."""
    furnish()

    def make(*, count: int = 1_600, hours: int = 4, share: int = 25_000, classes: tuple[str, ...] = ("x",)) -> PhaseRun:
        release = begin("demo")
        phase = phase_of(release, 3)
        assert phase is not None
        at = clock.now().replace(minute=10, second=0, microsecond=0) - timedelta(hours=hours)
        Flag.objects.filter(environment="demo", key=phase.flag).update(
            rules=[rule.document() for rule in domain.rules(phase, share)], thousandths=0, revision=7
        )
        CensusDevice.objects.bulk_create(
            CensusDevice(
                environment="demo",
                device_id=f"device-{number}",
                device_class=classes[number % len(classes)],
                attributes=CAPABLE,
                first_seen_at=at - timedelta(days=1),
                last_seen_at=clock.now(),
            )
            for number in range(count)
        )
        return PhaseRun.objects.create(
            release=release,
            number=3,
            percents=[25.0],
            step=1,
            started_at=at,
            started_by="rel",
            served=[{"at": at.isoformat(), "thousandths": share}],
            flag_revision=7,
        )

    return make


def arms(run: PhaseRun) -> dict[Arm, list[str]]:
    """The devices of each arm, as their buckets say."""
    salt = Flag.objects.get(environment="demo", key="litert_enabled").salt
    found: dict[Arm, list[str]] = {arm: [] for arm in Arm}
    for one in CensusDevice.objects.order_by("pk").values_list("device_id", flat=True):
        arm = arm_at(bucket(salt, one), run.served[0]["thousandths"])
        if arm is not None:
            found[arm].append(one)
    return found


def measured(run: PhaseRun, ids: list[str], metric: str, totals: Any, *, outcome: str = "", hours: int = 2) -> None:
    """Let devices have measured in each of the phase's first whole hours."""
    first = hour(datetime.fromisoformat(run.served[0]["at"])) + 1
    PanelHour.objects.bulk_create(
        PanelHour(
            environment="demo",
            hour_at=datetime.fromtimestamp((first + step) * 3600, tz=UTC),
            device_id=one,
            device_class="x",
            simulated=False,
            metric=metric,
            outcome=outcome,
            count=10,
            total=float(total),
            low=0.0,
            high=0.0,
        )
        for one, total in zip(ids, totals, strict=True)
        for step in range(hours)
    )


def healthy(run: PhaseRun, *, hours: int = 3) -> dict[Arm, list[str]]:
    """Let both arms measure the same, inferences, sessions and latency alike."""
    random = np.random.default_rng(3)
    found = arms(run)
    for ids in found.values():
        measured(run, ids, "litert.inferences", [100] * len(ids), outcome="ok", hours=hours)
        measured(run, ids, "app.sessions", [20] * len(ids), hours=hours)
        measured(run, ids, "litert.parity.checks", [50] * len(ids), outcome="match", hours=hours)
        values = np.abs(random.normal(0.4, 0.04, len(ids))) * 10
        measured(run, ids, "gen_ai.client.operation.duration", values, hours=hours)
    PanelHour.objects.filter(metric="gen_ai.client.operation.duration").update(backend_actual="gpu")
    return found


def an_hour_later() -> None:
    """Look again, as when another hour has closed."""
    GuardrailState.objects.update(looked_at=clock.now() - timedelta(hours=2))
    services.guardrails_due()


def said(run: PhaseRun) -> dict[str, str]:
    """Each guardrail's verdict as kept."""
    return {row.guardrail.key: row.state.verdict if row.state else "" for row in guardrail_states.rows(run)}


def test_look__nothing_wrong__nothing_happens_and_one_look_leaves_no_entry(walk: Walk) -> None:
    run = walk()
    healthy(run)
    seq = Head.objects.get().seq
    services.guardrails_due()
    found = said(run)
    assert {found[key] for key in ("latency", "shares", "reporting")} == {"PASS"}, found
    assert found["crashes"] == "INSUFFICIENT", "400 devices without a crash don't show less than 0.1 %"
    assert found["memory"] == "NO_DATA"
    assert Head.objects.get().seq == seq
    run.refresh_from_db()
    assert (run.state, run.classes) == ("running", ["x"])
    progress = GuardrailState.objects.get(run=run, key="crashes").progress
    assert progress is not None
    assert 3_000 < progress["need"] < 20_000
    assert "Guardrails" not in held(run)


def test_look__crashes_in_the_treatment__kill_and_pause_once_each_with_its_cause(walk: Walk) -> None:
    run = walk()
    found = healthy(run)
    measured(run, found[Arm.TREATMENT][:60], "app.crashes", [3] * 60)
    services.guardrails_due()
    run.refresh_from_db()
    flag = Flag.objects.get(environment="demo", key="litert_enabled")
    assert (flag.override_variant, run.state) == ("off", "paused")
    failed = HistoryEntry.objects.get(verb="guardrail.failed")
    assert failed.subject == f"guardrail:{run.release_id}:3:crashes"
    killed = HistoryEntry.objects.get(verb="flag.killed")
    assert (killed.cause_id, killed.actor) == (failed.seq, "rule:guardrail:crashes")
    assert killed.reason.startswith("Guardrail Crashes: 1st hour:")
    assert HistoryEntry.objects.get(verb="guardrail.rolled_back").after["level"] == 3
    (kept,) = rollbacks.rollbacks("demo")
    assert (kept.level, kept.rollback.automatic, kept.rollback.phase, kept.undoable) == (3, True, 3, True)
    seq = Head.objects.get().seq
    an_hour_later()
    assert Head.objects.get().seq == seq, "under an override nothing is looked at, and nothing acts twice"


def test_look__wrong_but_fast_results__kill_although_every_speed_is_fine(walk: Walk) -> None:
    run = walk()
    found = healthy(run)
    treated = found[Arm.TREATMENT]
    measured(run, treated, "litert.parity.checks", [20] * len(treated), outcome="mismatch")
    services.guardrails_due()
    assert said(run)["latency"] == "PASS"
    assert said(run)["wrong_results"] == "FAIL"
    assert Flag.objects.get(environment="demo", key="litert_enabled").override_variant == "off"


def test_look__failed_inferences__halve_the_percentage_and_the_phase_waits(walk: Walk) -> None:
    run = walk()
    found = healthy(run)
    treated = found[Arm.TREATMENT]
    measured(run, treated, "litert.inferences", [8] * len(treated), outcome="timeout")
    services.guardrails_due()
    run.refresh_from_db()
    flag = Flag.objects.get(environment="demo", key="litert_enabled")
    assert [rule.thousandths for rule in flag.domain().rules] == [12_500]
    assert (flag.override_variant, run.state, len(run.served)) == ("", "paused", 2)
    assert run.served[1]["thousandths"] == 12_500
    an_hour_later()
    flag.refresh_from_db()
    assert [rule.thousandths for rule in flag.domain().rules] == [12_500], "once for each phase"


def test_look__one_device_class_slower__holds_the_next_step_and_lets_it_go_when_it_recovers(walk: Walk) -> None:
    run = walk(count=3_000, classes=("x", "y", "z", "u", "v", "w"))
    healthy(run)
    salt = Flag.objects.get(environment="demo", key="litert_enabled").salt
    slow = [
        one.device_id
        for one in CensusDevice.objects.filter(device_class="y")
        if arm_at(bucket(salt, one.device_id), 25_000) is Arm.TREATMENT
    ]
    rows = PanelHour.objects.filter(device_id__in=slow, metric="gen_ai.client.operation.duration")
    for row in rows:
        row.total *= 1.25
        row.save()
    services.guardrails_due()
    run.refresh_from_db()
    assert said(run)["latency"] == "FAIL"
    assert GuardrailState.objects.get(run=run, key="latency").sentence.startswith("y, 1st hour:")
    assert run.state == "running"
    exclusion = GuardrailState.objects.get(run=run, key="latency").exclusion
    assert exclusion is not None
    assert [one["conditions"] for one in exclusion["cohorts"]] == [[["soc", "y"]]]
    assert exclusion["restored"] is True
    assert "Guardrails fail. Inference latency: y" in held(run)
    (need,) = [one for one in phases._ending(run, clock.now()) if one.key == "guardrails"]
    assert (need.met, need.sentence) == (False, "Inference latency FAIL.")
    for row in rows:
        row.total /= 1.25
        row.save()
    GuardrailBand.objects.all().delete()  # as had it been measured so
    services.guardrails_due()
    assert said(run)["latency"] == "FAIL", "values that count do not change within an hour: nothing is read again"
    an_hour_later()
    assert said(run)["latency"] == "PASS"
    assert "Guardrails" not in held(run)
    assert list(
        HistoryEntry.objects.filter(verb__startswith="guardrail.").order_by("seq").values_list("verb", flat=True)
    ) == [
        "guardrail.failed",
        "guardrail.recovered",
    ]


def test_look__an_app_that_dies_before_it_reports__is_found_by_its_silence(walk: Walk) -> None:
    run = walk(hours=5)
    found = arms(run)
    for arm, ids in found.items():
        measured(run, ids, "litert.inferences", [100] * len(ids), outcome="ok", hours=2)
        alive = ids if arm is Arm.CONTROL else ids[: len(ids) // 2]
        late = PanelHour.objects.filter(device_id__in=alive)
        last = clock.now() - timedelta(minutes=5)
        for row in late.distinct("device_id").order_by("device_id"):
            row.pk, row.hour_at = None, (last - timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
            row.save()
    services.guardrails_due()
    assert said(run)["reporting"] == "FAIL"
    run.refresh_from_db()
    assert run.state == "paused"


def test_look__a_watch__only_writes_down_that_it_would_have_held(walk: Walk) -> None:
    run = walk()
    found = healthy(run)
    random = np.random.default_rng(5)
    for arm, mean in ((Arm.CONTROL, 4.7), (Arm.TREATMENT, 3.0)):
        ids = found[arm]
        measured(run, ids, "app.user.satisfaction", random.normal(mean, 0.3, len(ids)) * 10)
    services.guardrails_due()
    run.refresh_from_db()
    assert said(run)["satisfaction"] == "FAIL"
    assert GuardrailState.objects.get(run=run, key="satisfaction").acted_at is not None
    assert run.state == "running"
    assert "Guardrails" not in held(run)
    assert (need := guardrail_states.need(run)) is not None
    assert need.met


def test_look__the_control_runs_in_the_cloud__and_latency_is_compared_all_the_same(walk: Walk) -> None:
    run = walk()
    found = healthy(run)
    PanelHour.objects.filter(device_id__in=found[Arm.CONTROL], metric="gen_ai.client.operation.duration").update(
        backend_actual="cloud"
    )
    services.guardrails_due()
    assert said(run)["latency"] == "PASS"


def test_look__a_ramp_that_grew_since__compares_those_who_have_values(walk: Walk) -> None:
    """The newest step says nothing of how many were drawn for each arm when these values came."""
    run = walk()
    found = healthy(run)
    for ids in found.values():
        measured(run, ids, "app.tasks.started", [10] * len(ids))
        measured(run, ids, "app.tasks.completed", [10] * len(ids))
    run.served = [*run.served, {"at": clock.now().isoformat(), "thousandths": 72_000}]
    run.save()
    services.guardrails_due()
    assert said(run)["tasks"] in ("PASS", "INSUFFICIENT")
    assert said(run)["errors"] != "FAIL"


def test_look__whole_groups_without_a_control__only_limits_count(walk: Walk) -> None:
    run = walk(share=BUCKETS)
    healthy(run)
    services.guardrails_due()
    assert said(run)["shares"] == "NO_DATA"
    assert said(run)["latency"] == "NO_DATA"
    assert said(run)["crashes"] == "INSUFFICIENT"


def test_look__simulated_devices_and_pinned_ones__count_nowhere_they_should_not(walk: Walk) -> None:
    run = walk()
    found = healthy(run)
    pinned = dict.fromkeys(found[Arm.TREATMENT][:5], "on")
    Flag.objects.filter(environment="demo", key="litert_enabled").update(pinned=pinned)
    members = {one.device_id for one in guardrails.look(run, now=clock.now()).arms.members}
    assert not members & set(pinned)
    CensusDevice.objects.update(simulated=True)
    assert guardrails.look(run, now=clock.now()).arms.members, "in demo they count"


def test_rollback__levels__lower_only_and_pause(walk: Walk) -> None:
    run = walk()
    assert rollback(environment="demo", level=2, actor=SYSTEM, reason="Unstable") is not None
    assert Flag.objects.get(environment="demo", key="litert_gpu_backend").override_variant == "off"
    run.refresh_from_db()
    assert run.state == "paused"
    assert rollback(environment="demo", level=2, actor=SYSTEM, reason="Unstable") is None
    phase_abort(release=run.release, actor=SYSTEM, reason="Enough")
    assert rollback(environment="demo", level=1, actor=SYSTEM, reason="Half") is None, "nothing is served any more"
    assert Release.objects.count() == 1


# ---- pages ----


def test_page_and_api__say_each_guardrail_with_its_band_and_what_it_did(
    walk: Walk, person: Any, client_as: Any
) -> None:
    run = walk()
    found = healthy(run)
    treated = found[Arm.TREATMENT]
    measured(run, treated, "litert.inferences", [8] * len(treated), outcome="timeout")
    client = client_as(person("viewer", Person.VIEWER))
    address = f"/demo/releases/{run.release_id}"
    assert "Not looked at yet" in client.get(address).content.decode()
    services.guardrails_due()
    page = client.get(address).content.decode()
    assert "Failed inferences" in page
    assert ">halve</span>" in page
    assert "Rolled back" in page
    assert page.count('class="zero"') == 1, "of what never happened in the control there is no change to draw"
    assert page.count('class="gap') == 4, "only how its own value stands to the limit"
    assert "devices that settle it" in page
    answer = client.get(f"/api/v1/demo/releases/{run.release_id}/guardrails").json()
    rows = {one["key"]: one for one in answer["guardrails"]}
    assert (answer["phase"], rows["errors"]["verdict"], rows["errors"]["acted_at"] is not None) == (3, "FAIL", True)
    assert rows["latency"]["lines"][0]["relative"] is True
    assert client.get("/demo/runbook/1.0.0").content.decode().count("Devices fall silent") == 1


def test_look__a_worker_that_died_between_the_finding_and_the_act__acts_at_the_next_look(
    walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = walk()
    found = healthy(run)
    measured(run, found[Arm.TREATMENT][:60], "app.crashes", [3] * 60)

    def dies(*_args: object, **_kwargs: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(services, "rollback", dies)
        with pytest.raises(SystemExit):
            services.guardrails_due()
    assert said(run)["crashes"] == "FAIL"
    assert Flag.objects.get(environment="demo", key="litert_enabled").override_variant == ""
    services.guardrails_due()
    assert Flag.objects.get(environment="demo", key="litert_enabled").override_variant == "off"


def test_look__no_band_ended_since__reads_who_reports_and_no_values(
    walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = walk(hours=12)
    healthy(run)
    services.guardrails_due()
    before = said(run)
    StoredCriterion.objects.update(changed_at=clock.now() - timedelta(days=1))
    asked: list[set[str]] = []

    def counted(made: selected.Arms, metrics: Iterable[str]) -> selected.Sums:
        asked.append(set(metrics))
        return selected.sums(made, metrics)

    monkeypatch.setattr(guardrails, "sums", counted)
    GuardrailState.objects.update(looked_at=clock.now() - timedelta(hours=1))
    assert [one.guardrail.key for one in services.guardrails_look(run=run)] == ["reporting", "shares"]
    assert asked == [set()]
    assert said(run) == before
    assert services.guardrails_look(run=run) == [], "and within the hour nothing"
    # with the arms filled unevenly, every comparison is judged again
    GuardrailState.objects.update(looked_at=clock.now() - timedelta(hours=1))
    GuardrailState.objects.filter(key="shares").update(verdict="FAIL")
    assert len(services.guardrails_look(run=run)) == len(before)


def test_bands__over_for_good__are_read_once_and_forget_an_erased_device(walk: Walk) -> None:
    run = walk(hours=12)
    found = healthy(run)
    services.guardrails_due()
    before = said(run)
    kept = {one.band: orjson.loads(one.sums) for one in GuardrailBand.objects.filter(run=run)}
    assert set(kept) == {0, 1}
    assert set(kept[0]) == {*found[Arm.TREATMENT], *found[Arm.CONTROL]}
    # the panel is asked no more
    PanelHour.objects.filter(metric="gen_ai.client.operation.duration").delete()
    an_hour_later()
    assert said(run) == before
    gone = found[Arm.TREATMENT][0]
    assert services.device_erase("demo", gone) == 2
    assert services.device_erase("demo", gone) == 0
    assert all(gone not in orjson.loads(one.sums) for one in GuardrailBand.objects.filter(run=run))
    # a metric that was not read with the others is read for every band anew
    GuardrailBand.objects.update(metrics=["app.crashes"])
    an_hour_later()
    assert (before["latency"], said(run)["latency"]) == ("PASS", "NO_DATA")
