"""The troubleshooting guide: symptoms on stored telemetry, presses and their undo, what was measured, a team's own."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.scripts.models import Run, State
from incidents.domain.troubleshooting import Measured, Presence
from incidents.models import OwnProblem, Remedy
from incidents.selectors import troubleshooting as selectors
from incidents.selectors.solutions import previews
from incidents.services.incidents import incident_open
from incidents.services.problems import problem_archive, problem_save
from incidents.services.remedies import remedies_due, remedy_press, remedy_undo
from incidents.tasks import remedies_due as remedies_task
from monitoring.models import LogCursor, PanelHour, PatternCount, RollupPartial, StoredCriterion, StoredPattern
from monitoring.services.criteria import criteria_seed
from monitoring.services.patterns import patterns_seed
from rollout.models import CensusDevice, Flag, Proposal
from rollout.services.flags import flags_seed
from rollout.services.proposals import proposal_apply, proposal_withdraw
from tests.monitoring import rows

pytestmark = pytest.mark.django_db
SYSTEM, ANA = Actor.system("test"), Actor.rule("ana")
ON = {"variant": "on"}


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Flags, criteria and log patterns."""
    flags_seed(actor=SYSTEM)
    criteria_seed(actor=SYSTEM)
    patterns_seed(actor=SYSTEM)


def device(name: str, *, environment: str = "demo", on: tuple[str, ...] = (), driver: str = "", obeys: int = 0) -> None:
    """An active device."""
    now = clock.now()
    CensusDevice.objects.create(
        environment=environment, device_id=name, told_revision=obeys, obeyed_revision=obeys, served_on=list(on),
        attributes={"device.gpu.driver": driver} if driver else {}, first_seen_at=now, last_seen_at=now,
    )  # fmt: skip


def obey(environment: str = "demo") -> None:
    """Let every device obey whatever stands."""
    CensusDevice.objects.filter(environment=environment).update(obeyed_revision=10_000, told_revision=10_000)


def symptom(problem: str, key: str, *, environment: str = "demo", now: datetime | None = None) -> Measured:
    found, _ = selectors.problem(environment, problem)
    return next(one for one in selectors.measured(environment, [found], now=now)[problem] if one.key == key)


def inferences(outcome: str, count: int, at: datetime, *, actual: str = "cpu", variant: str = "on") -> None:
    rows.stored("litert.inferences", [float(count)], at, outcome=outcome, actual=actual, variant=variant)


def press(problem: str, solution: str, *, environment: str = "demo", **given: Any) -> Any:
    found, _ = selectors.problem(environment, problem)
    chosen = found.solution(solution)
    assert chosen is not None
    return remedy_press(environment=environment, problem=found, solution=chosen, actor=ANA, **given)


# ---- symptoms ----


def _failing(now: datetime) -> None:
    inferences("model_missing", 300, now)


def _peak(now: datetime) -> None:
    rows.stored("litert.memory.peak", [2.4e9], now, variant="on")


def _switching(now: datetime) -> None:
    rows.stored("litert.backend.switches", [12.0], now, variant="on")


def _slow_switch(now: datetime) -> None:
    rows.stored("litert.backend.switch.duration", [0.9] * 6, now, variant="on")


def _crashes(now: datetime) -> None:
    rows.stored("app.sessions", [4_000.0], now, variant="on")
    rows.stored("app.crashes", [40.0], now, variant="on")


def _latency(now: datetime) -> None:
    rows.stored("gen_ai.client.operation.duration", [4.0] * 40, now, variant="on")


def _validations(now: datetime) -> None:
    rows.stored("litert.model.validations", [9.0], now, outcome="failed", actual="", requested="")


def _cloud(now: datetime) -> None:
    inferences("", 600, now, actual="cloud")


def _below(now: datetime) -> None:
    for actual, speed in (("gpu", 100.0), ("cpu", 200.0)):
        rows.stored("litert.prefill.throughput", [speed] * 40, now, actual=actual, variant="on")


def _elsewhere(now: datetime) -> None:
    rows.stored("litert.inferences", [5.0], now, requested="gpu", actual="gpu", variant="on")
    rows.stored("litert.inferences", [9_000.0], now, requested="gpu", actual="cpu", variant="on")


def _flowing(now: datetime) -> None:
    inferences("ok", 4_000, now)


def _gpu_target(speed: float) -> Callable[[datetime], None]:
    def store(now: datetime) -> None:
        rows.stored(
            "litert.prefill.throughput", [speed] * 400, now, actual="gpu", requested="gpu", variant="on",
            device_class="snapdragon-8-gen3",
        )  # fmt: skip

    return store


def _each(metric: str, *values: float, **more: Any) -> Callable[[datetime], None]:
    def store(now: datetime) -> None:
        rows.stored(metric, list(values), now, variant="on", **more)

    return store


READ = [
    ("models_not_loading", "failed_initialisations", _failing, _flowing),
    ("models_not_loading", "on_cloud", _cloud, _flowing),
    ("models_not_loading", "failed_validations", _validations, _flowing),
    ("high_memory", "memory_peak", _peak, _each("litert.memory.peak", 1.1e9)),
    ("high_memory", "memory_now", _each("litert.memory.usage", 1.9e9), _each("litert.memory.usage", 1.1e9)),
    ("high_memory", "crashes", _crashes, _each("app.sessions", 4_000.0)),
    ("high_memory", "slow", _latency, _each("gen_ai.client.operation.duration", *[0.4] * 40)),
    ("frequent_switching", "switches", _switching, _flowing),
    ("frequent_switching", "switches_hour", _switching, _flowing),
    ("frequent_switching", "switch_time", _slow_switch, _each("litert.backend.switch.duration", *[0.1] * 6)),
    ("poor_gpu", "gpu_target", _gpu_target(900.0), _gpu_target(2_000.0)),
    ("poor_gpu", "elsewhere", _elsewhere, _each("litert.inferences", 900.0, requested="gpu", actual="gpu")),
]


@pytest.mark.parametrize("problem,key,bad,good", READ, ids=[f"{one[0]}-{one[1]}" for one in READ])
def test_symptom__stored_telemetry__there_not_there_and_no_data(
    problem: str, key: str, bad: Callable[[datetime], None], good: Callable[[datetime], None]
) -> None:
    now = clock.now()
    assert symptom(problem, key).verdict in (Verdict.NO_DATA, Verdict.STALE)
    # devices of the class must report at all, and in the hour that is read
    rows.seen("a", now)
    good(now)
    well = symptom(problem, key)
    assert (well.verdict, well.there) == (Verdict.PASS, False), well.sentence
    bad(now)
    found = symptom(problem, key)
    assert (found.verdict, found.there) == (Verdict.FAIL, True), found.sentence
    assert found.said and found.wanted and found.value is not None


def test_gpu_against_cpu__same_class_only__in_the_median_with_its_sample() -> None:
    now = clock.now()
    rows.stored("litert.prefill.throughput", [100.0] * 40, now, actual="gpu", device_class="a")
    rows.stored("litert.prefill.throughput", [200.0] * 40, now, actual="cpu", device_class="b")
    assert symptom("poor_gpu", "gpu_below_cpu").verdict is Verdict.NO_DATA
    rows.stored("litert.prefill.throughput", [50.0] * 5, now, actual="cpu", device_class="a")
    few = symptom("poor_gpu", "gpu_below_cpu")
    assert few.verdict is Verdict.INSUFFICIENT and "30 of each needed" in few.sentence
    rows.stored("litert.prefill.throughput", [50.0] * 40, now, actual="cpu", device_class="a")
    assert symptom("poor_gpu", "gpu_below_cpu").verdict is Verdict.PASS
    rows.stored("litert.prefill.throughput", [300.0] * 200, now, actual="cpu", device_class="a")
    found = symptom("poor_gpu", "gpu_below_cpu")
    assert found.verdict is Verdict.FAIL
    assert found.sentence.startswith("a: GPU ") and "40 and 245 observations" in found.sentence
    assert "1 of 1 device classes below 1 times the CPU" in found.sentence


def test_cloud_share__control_and_few__are_no_symptom() -> None:
    now = clock.now()
    inferences("", 500, now, actual="cloud", variant="off")  # who is not served LiteRT belongs there
    assert symptom("models_not_loading", "on_cloud").verdict is Verdict.NO_DATA
    inferences("", 10, now, actual="cloud")
    assert symptom("models_not_loading", "on_cloud").verdict is Verdict.INSUFFICIENT
    inferences("ok", 990, now)
    assert symptom("models_not_loading", "on_cloud").verdict is Verdict.PASS
    rows.in_panel("a", "litert.inferences", now, actual="cloud", variant="on")
    rows.in_panel("b", "litert.inferences", now, actual="cpu", variant="on")
    found = symptom("models_not_loading", "on_cloud")
    assert found.devices == 2 and "1 of 2 devices asked the cloud within the hour" in found.sentence


@pytest.mark.parametrize("environment,counts", [("demo", True), ("production", False)])
def test_symptoms__simulated_devices__count_in_demo_only(environment: str, counts: bool) -> None:
    now = clock.now()
    for actual, speed in (("gpu", 100.0), ("cpu", 200.0)):
        rows.stored(
            "litert.prefill.throughput", [speed] * 40, now, actual=actual, environment=environment, simulated=True
        )
    wanted = Verdict.FAIL if counts else Verdict.NO_DATA
    assert symptom("poor_gpu", "gpu_below_cpu", environment=environment).verdict is wanted


@pytest.mark.parametrize("lines,read,wanted", [(12, True, "FAIL"), (2, True, "PASS"), (0, False, "NO_DATA")])
def test_pattern__lines_in_its_window__are_a_symptom(lines: int, read: bool, wanted: str) -> None:
    now = clock.now()
    row = StoredPattern.objects.get(key="memory-warning")
    LogCursor.objects.all().delete()
    if read:
        LogCursor.objects.create(source="device logs", environment="demo", read_at=now)
    if lines:
        PatternCount.objects.create(
            pattern=row, environment="demo", minute_at=now.replace(second=0, microsecond=0), count=lines,
            simulated=False,
        )  # fmt: skip
    assert symptom("high_memory", "warnings").verdict == wanted


def test_states__all_problems__one_look_says_which_are_there() -> None:
    _below(clock.now())
    found = {one.problem.key: one for one in selectors.states("demo")}
    assert [*found] == ["models_not_loading", "high_memory", "frequent_switching", "poor_gpu"]
    assert found["poor_gpu"].presence is Presence.PRESENT and found["poor_gpu"].there >= 1
    assert found["frequent_switching"].presence is Presence.UNKNOWN
    worst = found["poor_gpu"].worst
    assert worst is not None and worst.key == "gpu_below_cpu"


# ---- presses ----


@pytest.mark.parametrize(
    "problem,solution,flag,value",
    [
        ("high_memory", "concurrency", "litert_max_concurrent_inferences", 2),
        ("high_memory", "clear_unused", "litert_clear_unused_models", True),
        ("high_memory", "aggressive_gc", "litert_aggressive_gc", True),
        ("frequent_switching", "threshold", "litert_switching_threshold", 0.3),
        ("frequent_switching", "cooldown", "litert_switch_cooldown_ms", 60_000),
    ],
)
def test_press__a_flags_value__one_entry_for_all_devices_and_undone(
    problem: str, solution: str, flag: str, value: Any
) -> None:
    for number in range(3):
        device(f"d{number}", on=(flag,) if number else ())
    found, _ = selectors.problem("demo", problem)
    preview = next(one for one in previews("demo", found, actor=ANA) if one.solution.key == solution)
    assert (preview.reach, preview.active, preview.waits) == (1, 3, "")
    stood = Flag.objects.get(environment="demo", key=flag)
    last = HistoryEntry.objects.latest("seq").seq
    done = press(problem, solution)
    row = Flag.objects.get(environment="demo", key=flag)
    assert row.domain().value(row.override_variant) == value
    entries = HistoryEntry.objects.filter(seq__gt=last)
    assert [(one.verb, one.subject) for one in entries] == [("flag.value_forced", f"flag:{flag}")]
    assert entries[0].reason.startswith(found.title)
    assert done.remedy.entry == entries[0].seq and done.remedy.revision == row.revision
    assert press(problem, solution).remedy is None, "a second press finds nothing to change"
    again = next(one for one in previews("demo", found, actor=ANA) if one.solution.key == solution)
    assert again.stands
    assert remedy_undo(remedy=done.remedy, actor=ANA) is None
    back = Flag.objects.get(environment="demo", key=flag)
    assert (back.override_variant, back.on, back.off) == (stood.override_variant, stood.on, stood.off)
    with pytest.raises(Conflict, match="undone already"):
        remedy_undo(remedy=done.remedy, actor=ANA)


def test_press__value_that_no_variant_has__is_given_to_on_and_put_back() -> None:
    Flag.objects.filter(key="litert_max_concurrent_inferences").update(on=3, off=5)
    done = press("high_memory", "concurrency")
    row = Flag.objects.get(environment="demo", key="litert_max_concurrent_inferences")
    assert (row.on, row.override_variant) == (2, "on")
    remedy_undo(remedy=done.remedy, actor=ANA)
    row.refresh_from_db()
    assert (row.on, row.override_variant) == (3, "")


def test_undo__changed_meanwhile__is_refused_and_changes_nothing() -> None:
    done = press("high_memory", "concurrency")
    flag = Flag.objects.get(environment="demo", key="litert_max_concurrent_inferences")
    flag.override_revision, flag.override_reason = 999, "Somebody else"
    flag.save()
    with pytest.raises(Conflict, match="was changed after this press"):
        remedy_undo(remedy=done.remedy, actor=ANA)
    flag.refresh_from_db()
    assert flag.override_reason == "Somebody else"
    assert Remedy.objects.get().undone_at is None


def test_press__in_production__lowers_at_once_and_raises_by_proposal() -> None:
    done = press("high_memory", "concurrency", environment="production")
    assert done.proposal is None and done.remedy.applied_at is not None
    found, _ = selectors.problem("production", "high_memory")
    preview = next(one for one in previews("production", found, actor=ANA) if one.solution.key == "aggressive_gc")
    assert preview.waits
    raised = press("high_memory", "aggressive_gc", environment="production")
    assert raised.proposal == Proposal.objects.get().pk
    assert raised.remedy.applied_at is None
    flag = Flag.objects.get(environment="production", key="litert_aggressive_gc")
    assert flag.override_variant == ""
    undone = remedy_undo(remedy=done.remedy, actor=ANA)
    assert undone == Proposal.objects.latest("pk").pk, "raising concurrency again takes a second person"
    assert Remedy.objects.get(pk=done.remedy.pk).undone_at is None


def test_proposed__withdrawn__leaves_no_remedy_and_applied_one_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = press("high_memory", "aggressive_gc", environment="production")
    Remedy.objects.update(look_at=clock.now())
    assert remedies_due() == 0 and Remedy.objects.get().applied_at is None
    proposal = Proposal.objects.get(pk=raised.proposal)
    proposal_withdraw(proposal=proposal, actor=ANA, reason="No")
    Remedy.objects.update(look_at=clock.now())
    remedies_due()
    assert not Remedy.objects.exists()
    staged = press("high_memory", "aggressive_gc", environment="staging").remedy
    # as it would stand had it needed somebody
    made = Proposal.objects.create(
        environment="staging", kind="flag.value_force", subject="x", title="x", reason="x", made_by="ana", makers=["x"],
        payload={"key": "litert_clear_unused_models", "value": True}, made_at=clock.now(),
    )  # fmt: skip
    Remedy.objects.filter(pk=staged.pk).update(
        proposal=made.pk, applied_at=None, entry=None, flag="litert_clear_unused_models", look_at=clock.now()
    )
    proposal_apply(proposal=made, actor=ANA)
    assert remedies_due() == 1
    staged.refresh_from_db()
    entry = HistoryEntry.objects.get(verb="flag.value_forced", subject="flag:litert_clear_unused_models")
    assert (staged.entry, staged.applied_at is not None) == (entry.seq, True)
    assert staged.revision == entry.after["revision"]


def test_command__each_press__is_a_new_number_and_called_off() -> None:
    device("d")
    first = press("models_not_loading", "clear_cache")
    flag = Flag.objects.get(environment="demo", key="litert_model_cache_clear")
    assert (flag.on, flag.override_variant, first.remedy.reach) == (2, "on", 1)
    press("models_not_loading", "clear_cache")
    flag.refresh_from_db()
    assert flag.on == 3
    with pytest.raises(Conflict, match="changed after"):
        remedy_undo(remedy=first.remedy, actor=ANA)
    remedy_undo(remedy=Remedy.objects.latest("pk"), actor=ANA)
    flag.refresh_from_db()
    assert (flag.on, flag.override_variant) == (3, "")
    press("models_not_loading", "clear_cache")
    flag.refresh_from_db()
    assert flag.on == 4, "a number is never given twice"


def _drivers(now: datetime) -> None:
    for number, (driver, speed) in enumerate((("500.1", 80.0), ("510.2", 90.0), ("535.0", 400.0), ("550.3", 420.0))):
        name = f"d{number}"
        device(name, on=("litert_gpu_backend",), driver=driver)
        PanelHour.objects.create(
            environment="demo", hour_at=now.replace(minute=0, second=0, microsecond=0), device_id=name, count=10,
            device_class="synthetic-host", simulated=False, metric="litert.prefill.throughput", backend_actual="gpu",
            variant="on", total=speed * 10, low=speed, high=speed,
        )  # fmt: skip
    PanelHour.objects.create(
        environment="demo", hour_at=now.replace(minute=0, second=0, microsecond=0), device_id="c", count=10,
        device_class="synthetic-host", simulated=False, metric="litert.prefill.throughput", backend_actual="cpu",
        variant="on", total=2_000.0, low=200, high=200,
    )  # fmt: skip


def test_driver__proposed_from_live_data__turns_the_gpu_off_below_it_and_is_undone() -> None:
    _drivers(clock.now())
    found, _ = selectors.problem("demo", "poor_gpu")
    (preview,) = previews("demo", found, actor=ANA)
    assert (preview.proposed, preview.reach, preview.active) == ("535.0", 2, 4)
    assert [one.version for one in preview.drivers if one.slow] == ["500.1", "510.2"]
    done = press("poor_gpu", "driver", bound="535.0")
    flag = Flag.objects.get(environment="demo", key="litert_gpu_backend")
    (override,) = flag.scoped_overrides
    assert override["constraints"] == [["device.gpu.driver", "is below", ["535.0"]]]
    assert override["variant"] == "off" and override["reason"].startswith("Incompatible GPU driver")
    assert HistoryEntry.objects.get(seq=done.remedy.entry).verb == "flag.override_set"
    assert done.remedy.reach == 2
    remedy_undo(remedy=done.remedy, actor=ANA)
    flag.refresh_from_db()
    assert flag.scoped_overrides == []


@pytest.mark.parametrize("bound", ["", "many", "512; DROP"])
def test_driver__no_version__is_refused_with_a_sentence_and_nothing_changes(bound: str) -> None:
    with pytest.raises(InvalidInput, match=r"below which version|is no version"):
        press("poor_gpu", "driver", bound=bound)
    assert not Remedy.objects.exists()
    assert Flag.objects.get(environment="demo", key="litert_gpu_backend").scoped_overrides == []


def test_script__first_press_rehearses__the_next_runs_it() -> None:
    first = press("models_not_loading", "clear_cache_here")
    assert first.remedy is None and first.run.dry_run
    Run.objects.filter(pk=first.run.pk).update(state=State.PASSED.value, finished_at=clock.now())
    second = press("models_not_loading", "clear_cache_here")
    assert not second.run.dry_run and second.remedy.run == second.run.pk
    assert second.remedy.entry == second.run.request_entry
    with pytest.raises(Conflict, match="can't be undone here"):
        remedy_undo(remedy=second.remedy, actor=ANA)


def test_press__telemetry_can_not_be_read__is_no_reason_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_given: object) -> None:
        raise OperationalError("statement timeout")

    monkeypatch.setattr("incidents.selectors.troubleshooting.evaluate", broken)
    assert press("high_memory", "concurrency").remedy.before == []


# ---- did it help? ----


def _later(remedy: Remedy, minutes: int) -> None:
    """Let a press be so many minutes old, and due."""
    moment = clock.now() - timedelta(minutes=minutes)
    Remedy.objects.filter(pk=remedy.pk).update(applied_at=moment, look_at=clock.now())


def test_measured__symptom_gone__helped_with_numbers_of_devices_and_sample() -> None:
    now = clock.now()
    device("d")
    rows.seen("d", now)
    _peak(now)
    remedy = press("high_memory", "concurrency").remedy
    RollupPartial.objects.all().delete()
    rows.stored("litert.memory.peak", [1.0e9], clock.now(), variant="on")
    obey()
    _later(remedy, 10)
    assert remedies_due() == 1
    remedy.refresh_from_db()
    assert remedy.helped == "helped"
    assert "1 of 1 active device obeys." in remedy.sentence
    assert "Peak memory: 2.40\u202fGB before (1 observation" in remedy.sentence
    assert "1\u202fGB after" in remedy.sentence.replace("1.00", "1") and remedy.sentence.endswith("gone.")
    assert remedy.looked == 1 and remedy.look_at is not None and len(remedy.looks) == 1
    entry = HistoryEntry.objects.get(verb="remedy.measured")
    assert (entry.cause_id, entry.after["helped"]) == (remedy.entry, "helped")


def test_measured__twice_and_late__each_look_once() -> None:
    remedy = press("high_memory", "concurrency").remedy
    assert remedies_due() == 0, "not yet"
    _later(remedy, 10)
    remedies_task()
    remedies_task()
    remedy.refresh_from_db()
    assert remedy.looked == 1
    _later(remedy, 30)
    remedies_task()
    remedies_task()
    remedy.refresh_from_db()
    assert (remedy.looked, remedy.look_at, len(remedy.looks)) == (2, None, 2)
    assert HistoryEntry.objects.filter(verb="remedy.measured").count() == 2


def test_measured__nobody_obeys_yet__too_early() -> None:
    device("d")
    _peak(clock.now())
    remedy = press("high_memory", "concurrency").remedy
    _later(remedy, 10)
    remedies_due()
    remedy.refresh_from_db()
    assert remedy.helped == "too early" and "0 of 1 active device obeys" in remedy.sentence


def test_measured__hours_late__says_nothing() -> None:
    device("d")
    obey()
    _peak(clock.now())
    remedy = press("high_memory", "concurrency").remedy
    _later(remedy, 300)
    remedies_due()
    remedy.refresh_from_db()
    assert remedy.helped == "no data" and "Nobody looked within 2 h" in remedy.sentence


def test_measured__undone__is_not_looked_at() -> None:
    remedy = press("high_memory", "concurrency").remedy
    remedy_undo(remedy=remedy, actor=ANA)
    _later(remedy, 10)
    assert remedies_due() == 0


def test_timeline__open_incident__shows_the_press_and_what_was_measured(
    operator: User, client_as: Callable[[User], Client]
) -> None:
    found = incident_open(environment="demo", title="Phones run out of memory", severity="warning", actor=SYSTEM)
    remedy = press("high_memory", "concurrency").remedy
    assert remedy.incident == found.pk
    _later(remedy, 10)
    remedies_due()
    text = client_as(operator).get(f"/demo/incidents/{found.pk}").content.decode()
    assert "Flag value forced: litert_max_concurrent_inferences" in text
    assert "Remedy measured: High memory usage: At most 2 inferences at once" in text


# ---- a team's own ----

OWN: dict[str, Any] = {
    "key": "hot_phones",
    "title": "Phones run hot",
    "symptoms": [{"key": "s1", "criterion": "alert-memory", "limit": "1500 MB"}],
    "diagnosis": [{"script": "scripts/check-gpu-memory.sh"}],
    "solutions": [
        {"key": "p1", "title": "One", "kind": "flag", "flag": "litert_max_concurrent_inferences", "value": 1}
    ],
}
SCOPED = {
    "key": "p",
    "title": "x",
    "kind": "scoped",
    "flag": "litert_gpu_backend",
    "variant": "off",
    "attribute": "device.gpu.driver",
    "operator": "is below",
}


def save(document: dict[str, Any], **given: Any) -> OwnProblem:
    return problem_save(environment="demo", document=document, actor=ANA, **given)


def test_own__added_changed_archived__with_history() -> None:
    row = save(OWN)
    rows.stored("litert.memory.usage", [1.6e9], clock.now(), variant="on")
    found = symptom("hot_phones", "s1")
    assert found.verdict is Verdict.FAIL and found.title == "Memory of one device" and "1.50\u202fGB" in found.wanted
    assert press("hot_phones", "p1").remedy.reach == 0
    changed = save({**OWN, "title": "Hot"}, revision=row.revision)
    assert changed.revision == 2
    with pytest.raises(Conflict, match="changed meanwhile"):
        save({**OWN, "title": "Hotter"}, revision=1)
    assert problem_archive(environment="demo", key="hot_phones", actor=ANA)
    assert not problem_archive(environment="demo", key="hot_phones", actor=ANA)
    assert "hot_phones" not in [one.key for one, _ in selectors.problems("demo")]
    verbs = HistoryEntry.objects.filter(subject="problem:hot_phones").order_by("seq").values_list("verb", flat=True)
    assert [*verbs] == ["problem.added", "problem.changed", "problem.archived"]
    with pytest.raises(Conflict, match="already, archived"):
        save(OWN)


@pytest.mark.parametrize(
    "change,why",
    [
        ({"key": "high_memory"}, "is a problem of the runbook's"),
        ({"key": "new"}, "is an address of the guide itself"),
        ({"key": "Hot Phones"}, "is not a key"),
        ({"title": ""}, "needs title"),
        ({"title": "x" * 121}, "one line of at most 120"),
        ({"title": "a\u0000b"}, "one line"),
        ({"symptoms": []}, "needs symptoms, a list"),
        ({"symptoms": [{"key": "s1", "criterion": "alert-nonsense"}]}, "There is no criterion 'alert-nonsense'"),
        ({"symptoms": [{"key": "s1", "pattern": "nonsense"}]}, "There is no log pattern 'nonsense'"),
        ({"symptoms": [{"key": "s1", "criterion": "alert-memory", "limit": "2 apples"}]}, "does not fit"),
        ({"symptoms": [{"key": "s1", "criterion": "alert-memory", "limit": {}}]}, "a limit is a number"),
        ({"symptoms": [{"key": "s1"}]}, "a symptom is one of"),
        ({"symptoms": [{"key": "s1", "pattern": "memory-warning", "limit": "few"}]}, "a whole number of lines"),
        ({"symptoms": [*OWN["symptoms"], *OWN["symptoms"]]}, "there are two symptoms"),
        ({"diagnosis": [{"script": "scripts/rm-rf.sh"}]}, "There is no script 'scripts/rm-rf.sh'"),
        ({"diagnosis": [{"script": "df", "arguments": {"evil": "x"}}]}, "has no option --evil"),
        ({"solutions": [{**OWN["solutions"][0], "flag": "nonsense"}]}, "There is no flag 'nonsense'"),
        ({"solutions": [{**OWN["solutions"][0], "value": 99}]}, "it does not meet the schema"),
        ({"solutions": [{**OWN["solutions"][0], "value": "many"}]}, "is not a number"),
        ({"solutions": [{**OWN["solutions"][0], "kind": "magic"}]}, "is not one of flag, scoped, command, script"),
        ({"solutions": [{**SCOPED, "bound": "many"}]}, "is no version"),
        ({"solutions": [SCOPED]}, "say what device.gpu.driver is below"),
        ({"other": 1}, "'other' is not known here"),
    ],
)  # fmt: skip
def test_own__garbage__is_refused_with_a_sentence_and_nothing_is_kept(change: dict[str, Any], why: str) -> None:
    last = HistoryEntry.objects.latest("seq").seq
    with pytest.raises(InvalidInput, match=why):
        save({**OWN, **change})
    assert not OwnProblem.objects.exists()
    assert HistoryEntry.objects.latest("seq").seq == last


def test_own__its_criterion_is_deleted__says_so_and_the_page_stands(
    operator: User, client_as: Callable[[User], Client]
) -> None:
    save(OWN)
    StoredCriterion.objects.filter(key="alert-memory").delete()
    assert symptom("hot_phones", "s1").verdict is Verdict.ERROR
    text = client_as(operator).get("/demo/troubleshooting/hot_phones").content.decode()
    assert "there is no criterion alert-memory any more" in text
