"""The validation after each phase: its clock, what sets it back, what its lines mean for the next phase."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.verdicts import Verdict
from hawkops.history.models import HistoryEntry
from hawkops.scripts.models import Run, State
from monitoring.models import RollupPartial
from rollout.domain import validation as domain
from rollout.domain.gates import Finding
from rollout.domain.phases import Judged
from rollout.domain.validation import Clock, Critical, Standing, Start
from rollout.evidence.refreshing import release_refresh
from rollout.evidence.registry import CHECKS
from rollout.evidence.shape import Question
from rollout.models import Evidence, PhaseRun, Proposal, Release, Validation, Waiver
from rollout.selectors import clocks, critical
from rollout.selectors import phases as selectors
from rollout.selectors import releases as releases_read
from rollout.selectors import validation as validations
from rollout.selectors.advance import may_advance
from rollout.selectors.releases import runbook
from rollout.services import phases
from rollout.services.raising import Authority, Refused
from rollout.services.releases import evidence_record
from rollout.services.validation import validations_due
from tests.monitoring.rows import seen, stored
from tests.rollout.walking import (
    SYSTEM,
    UNREAD,
    after_passes,
    backdate,
    begin,
    data_flows,
    devices,
    furnish,
    gates_pass,
    members,
    somebody,
    validated,
)

As = Callable[[object], Client]
NOON = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
HOUR, SLOT = timedelta(hours=1), timedelta(minutes=10)


# ---- the arithmetic ----


def test_live__counts_each_ten_minutes_once__and_only_what_lies_within() -> None:
    slots = [NOON, NOON, NOON + SLOT, NOON + 5 * SLOT]
    counted = {
        (NOON, NOON + HOUR): 30,
        (NOON + timedelta(minutes=4), NOON + HOUR): 26,
        (NOON, NOON + timedelta(minutes=54)): 24,
        (NOON + HOUR, NOON + 2 * HOUR): 0,
    }
    for (since, until), minutes in counted.items():
        found = domain.live(slots, width=SLOT, since=since, until=until)
        assert found == timedelta(minutes=minutes)
    assert domain.live([], width=SLOT, since=NOON, until=NOON + HOUR) == timedelta()


def test_start__critical_incidents__set_it_to_their_end_and_hold_it_while_open() -> None:
    early = Critical("Crash loop", NOON + HOUR, NOON + 3 * HOUR, "/i/1")
    within = Critical("Another", NOON + 2 * HOUR, NOON + 2.5 * HOUR)
    before = Critical("Long over", NOON - 9 * HOUR, NOON - 8 * HOUR)
    assert domain.start(NOON, []) == Start(NOON)
    assert domain.start(NOON, [before]) == Start(NOON)
    assert domain.start(NOON, [within, early]) == Start(NOON + 3 * HOUR, "Crash loop", "/i/1")
    still = Critical("Still on", NOON + 4 * HOUR, None, "/i/2")
    assert domain.start(NOON, [early, still]) == Start(None, "Still on", "/i/2")


def read(**given: object) -> Clock:
    """A clock that counted 31 h 20 min by noon the next day."""
    known: dict[str, object] = {
        "began_at": NOON - 40 * HOUR,
        "since": NOON - 40 * HOUR,
        "needed": 48 * HOUR,
        "live": timedelta(hours=31, minutes=20),
        "last_data_at": NOON + timedelta(minutes=4),
        "counted_at": NOON + timedelta(minutes=5),
    }
    return Clock(**{**known, **given})  # type: ignore[arg-type]


def test_clock__says_where_it_stands_in_one_sentence() -> None:
    flowing = read()
    assert flowing.sentence == "31 h 20 min of 48 h; data flows, 16 h 40 min to go."
    assert (flowing.paused_since, flowing.share) == (None, 65)
    assert flowing.expected_at == NOON + timedelta(hours=16, minutes=45)
    silent = read(counted_at=NOON + HOUR)
    assert silent.sentence == "31 h 20 min of 48 h; paused since 12:04 UTC: no data."
    assert (silent.paused_since, silent.expected_at) == (NOON + timedelta(minutes=4), None)
    nothing = read(last_data_at=None, live=timedelta())
    assert nothing.paused_since == NOON - 40 * HOUR
    full = read(live=50 * HOUR, done_at=NOON, counted_at=NOON + 9 * HOUR)
    assert (full.sentence, full.done, full.share) == ("48 h of 48 h of live data.", True, 100)
    anew = read(because="Crash loop")
    assert anew.sentence.endswith("It began anew 26 Nov, 20:00 UTC, after “Crash loop”.")
    held = read(since=None, live=timedelta(), because="Crash loop")
    assert "held at zero by a critical incident that is not over, “Crash loop”" in held.sentence


def test_lines_need__only_what_is_in_scope_counts__and_nothing_at_all_is_no_pass() -> None:
    good, bad = Standing("CPU", Verdict.PASS), Standing("Crashes", Verdict.FAIL)
    absent = Standing("GPU", Verdict.NO_DATA, in_scope=False)
    lacking = Standing("Tickets", Verdict.NO_DATA)
    waived = Standing("Tickets", Verdict.NO_DATA, waived=True)
    cases = [
        ([good, absent], True, Verdict.PASS, "1 of 1 pass", "All pass. 1 not in scope."),
        ([good, bad, lacking], False, Verdict.FAIL, "1 of 3 pass", "Crashes FAIL; Tickets NO DATA."),
        ([good, lacking], False, Verdict.NO_DATA, "1 of 2 pass", "Tickets NO DATA."),
        ([good, waived], True, Verdict.PASS, "1 of 2 pass, 1 waived", "All pass or are waived."),
        ([absent], False, Verdict.NO_DATA, "0 of 0 pass", "None is in scope, so nothing speaks for it."),
    ]
    for lines, met, verdict, have, sentence in cases:
        need = domain.lines_need("validation", "Validation", lines)
        assert need is not None
        assert (need.met, need.verdict, need.have, need.sentence) == (met, verdict, have, sentence)
    assert domain.lines_need("validation", "Validation", []) is None


def test_expected__samples_come_at_the_pace_they_came() -> None:
    assert domain.spoken_expected(60, 60, HOUR) == "enough"
    assert domain.spoken_expected(10, 60, 2 * HOUR) == "in about 10 h of data"
    assert domain.spoken_expected(0, 60, 2 * HOUR) == ""


# ---- a phase in staging ----


@pytest.fixture
def release(db: None, monkeypatch: pytest.MonkeyPatch) -> Release:
    """A release in staging in phase 1, whose own criteria pass."""
    furnish()
    found = begin("staging")
    gates_pass(found)
    devices("staging", 100, said={"os.api": 34, "device.memory_mb": 8_000})
    members("staging", "internal_testers", [f"device-{index}" for index in range(4)])
    members("staging", "beta_testers", [f"device-{index}" for index in range(4, 24)])
    monkeypatch.setattr(selectors, "criteria_rows", lambda *_a, **_k: [Judged("No crash", Verdict.PASS, "Read.")])
    start(found, 1)
    return found


@pytest.fixture(autouse=True)
def incidents() -> Iterator[list[Critical]]:
    """What a registered source of incidents knows; nothing at first."""
    known: list[Critical] = []

    def source(environment: str, since: datetime) -> list[Critical]:
        return [one for one in known if environment == "staging" and (one.ended_at is None or one.ended_at > since)]

    critical.register(source)
    yield known
    critical._sources.remove(source)


def start(release: Release, number: int) -> PhaseRun:
    """Start a phase on one's own authority; what these tests store is no whole telemetry, so that nothing speaks for it."""
    return phases.phase_start(
        release=release, number=number, authority=Authority.of(SYSTEM), actor=SYSTEM, reason="Go", disagrees=UNREAD
    )


def reached(release: Release, hours: float) -> tuple[PhaseRun, datetime]:
    """Let the phase have reached its target so long ago."""
    run = PhaseRun.objects.get(release=release)
    began = clock.now() - timedelta(hours=hours)
    backdate(run, started_at=began, reached_at=began)
    Validation.objects.filter(run=run).update(began_at=began, since=began, counted_at=began)
    run.refresh_from_db()
    return run, began


def verbs(*but: str) -> list[str]:
    """What the validation wrote down, oldest first."""
    found = HistoryEntry.objects.filter(verb__startswith="validation.").order_by("seq")
    return [verb for verb in found.values_list("verb", flat=True) if verb not in but]


def missing(release: Release, number: int = 2) -> list[str]:
    """The keys of what phase 2 lacks."""
    with pytest.raises(Refused) as refused:
        start(release, number)
    return [need.key for need in refused.value.decision.missing]


def test_validation__begins_with_the_target_percentage__and_blocks_until_its_hours_are_full(release: Release) -> None:
    run = PhaseRun.objects.get()
    made = Validation.objects.get()
    assert (made.run_id, made.since, made.live_seconds) == (run.pk, run.reached_at, 0)
    assert verbs() == ["validation.began"]
    assert {"time", "data"} <= set(missing(release))
    _run, began = reached(release, 26)
    data_flows("staging", since=began, until=clock.now())
    validations_due()
    after_passes(release)
    assert missing(release) == ["data"], "the minimum time alone is not enough"
    _run, began = reached(release, 49)
    data_flows("staging", since=began, until=clock.now() - timedelta(hours=26))
    validations_due()
    after_passes(release)
    start(release, 2)
    assert PhaseRun.objects.get(number=1).state == "passed"


def test_clock__stands_while_data_is_missing__and_says_so_once(release: Release) -> None:
    _run, began = reached(release, 30)
    quiet = began + timedelta(hours=10)
    data_flows("staging", since=began, until=quiet)
    validations_due()
    validations_due()
    made = Validation.objects.get()
    assert abs(made.live_seconds - 10 * 3_600) <= 600
    assert made.paused_since is not None
    assert abs((made.paused_since - quiet).total_seconds()) <= 600
    assert verbs() == ["validation.began", "validation.paused"]
    data_flows("staging", since=clock.now() - timedelta(hours=1), until=clock.now())
    validations_due()
    made.refresh_from_db()
    assert abs(made.live_seconds - 11 * 3_600) <= 600, "20 h without data counted for nothing"
    assert verbs() == ["validation.began", "validation.paused", "validation.resumed"]


def test_clock__in_staging__hears_no_simulated_device_and_no_generated_model(release: Release) -> None:
    _run, began = reached(release, 5)
    data_flows("staging", since=began, until=clock.now(), simulated=True)
    stored("litert.inferences", [1.0], clock.now() - HOUR, environment="staging", outcome="ok", variant="on")
    stored(
        "litert.inferences",
        [1.0],
        clock.now() - HOUR,
        environment="staging",
        device_class="tensor-g4",
        outcome="ok",
        variant="off",
    )
    validations_due()
    assert Validation.objects.get().live_seconds == 0, "simulated, generated, and control"
    data_flows("staging", since=began, until=clock.now())
    validations_due()
    assert abs(Validation.objects.get().live_seconds - 5 * 3_600) <= 600


def test_clock__in_demo__simulated_devices_count(db: None) -> None:
    furnish()
    found = begin("demo", backends=["cpu"])
    run = PhaseRun.objects.create(
        release=found,
        number=1,
        percents=[1],
        step=1,
        started_at=clock.now() - 5 * HOUR,
        started_by="x",
        reached_at=clock.now() - 5 * HOUR,
    )
    data_flows("demo", since=clock.now() - 5 * HOUR, until=clock.now(), simulated=True)
    assert validations_due() == 1, "a phase from before there was any validation begins one"
    assert abs(Validation.objects.get(run=run).live_seconds - 5 * 3_600) <= 600


def test_critical_incident__sets_it_to_zero_at_once__holds_it_while_open__and_the_end_runs_again(
    release: Release, incidents: list[Critical]
) -> None:
    run = PhaseRun.objects.get()
    validated(run)
    assert Validation.objects.get().done_at is not None
    asked = Run.objects.count()
    opened = clock.now() - timedelta(hours=3)
    incidents.append(Critical("Crash loop", opened, None, "/staging/incidents/1"))
    assert "data" in missing(release), "before any sweep"
    validations_due()
    made = Validation.objects.get()
    assert (made.since, made.live_seconds, made.done_at, made.restarts) == (None, 0, None, 1)
    state = validations.state(release, run)
    assert state.clock is not None
    assert "not over, “Crash loop”" in state.clock.sentence
    release_refresh(release=release, at_once=True)
    assert "Held by a critical incident: Crash loop" in Evidence.objects.get(box="validated_cpu").sentence
    incidents[0] = Critical("Crash loop", opened, clock.now() - timedelta(hours=1))
    validations_due()
    made.refresh_from_db()
    assert made.since == incidents[0].ended_at
    assert abs(made.live_seconds - 3_600) <= 600
    assert verbs("validation.paused") == [
        "validation.began",
        "validation.data_full",
        "validation.concluding",
        "validation.held",
        "validation.restarted",
    ]
    assert (made.concluding_at, Run.objects.count()) == (None, asked)
    standing = next(row.standing for group in releases_read.after_phases(release) for row in group.rows)
    assert standing.verdict is not Verdict.PASS


def test_conclusion__runs_each_script_once_when_time_and_data_are_full(release: Release) -> None:
    run, began = reached(release, 20)
    data_flows("staging", since=began, until=clock.now())
    validations_due()
    assert not Run.objects.exists()
    run, began = reached(release, 60)
    data_flows("staging", since=began, until=clock.now() - timedelta(hours=20))
    before = clock.now()
    validations_due()
    validations_due()
    found = {one.script: one for one in Run.objects.all()}
    assert Run.objects.count() == len(found)
    concluding = {"scripts/performance-validation-suite.sh", "scripts/post-deployment-validation.sh"}
    assert concluding <= set(found)
    assert found["scripts/performance-validation-suite.sh"].subject["backends"] == ["cpu", "gpu"]
    for one in found.values():
        assert (one.requested_by, one.requested_at >= before) == ("validation", True), one.script
    progress = selectors.progress(run)
    assert progress.towards_maximum(clock.now()) < timedelta(minutes=1), "its time is no part of the maximum"


@pytest.mark.parametrize(
    ("state", "outcome", "verdict"),
    [
        (State.PASSED, "pass", Verdict.PASS),
        (State.FAILED, "fail", Verdict.FAIL),
        (State.NO_DATA, "no_data", Verdict.NO_DATA),
    ],
)
def test_conclusion__its_verdict__is_a_line_before_the_next_phase(
    release: Release, state: State, outcome: str, verdict: Verdict
) -> None:
    run = PhaseRun.objects.get()
    Run.objects.create(
        environment="staging",
        script="scripts/performance-validation-suite.sh",
        state="passed",
        requested_by="x",
        requested_at=clock.now() - timedelta(days=1),
        finished_at=clock.now() - timedelta(days=1),
        results=[{"name": "litert.memory.peak", "value": 1e9, "outcome": "pass"}],
    )
    validated(run)
    assert line(release, "performance_suite").verdict == "NO_DATA"
    assert missing(release) == ["conclusion"], "an older run says nothing of this validation"
    Run.objects.filter(script="scripts/performance-validation-suite.sh", requested_by="validation").update(
        state=state.value,
        finished_at=clock.now(),
        results=[{"name": "litert.memory.peak", "value": 1e9, "outcome": outcome}],
    )
    assert line(release, "performance_suite").verdict == verdict.value
    if verdict is Verdict.PASS:
        start(release, 2)
        return
    lines = {line.key: line for line in may_advance("staging").blocking}
    assert lines["performance_suite"].verdict is verdict
    assert missing(release) == ["conclusion"]
    waive(release, "performance_suite")
    start(release, 2)


def waive(release: Release, box: str) -> None:
    """Waive a box, as data that is there."""
    Waiver.objects.create(
        release=release,
        box=box,
        reason="Seen by hand",
        owner="Ada",
        by="Ada, Bo",
        made_at=clock.now(),
        expires_at=clock.now() + timedelta(days=1),
    )


def test_lines__failing_or_silent__block_by_name_until_waived(release: Release) -> None:
    validated(PhaseRun.objects.get())
    book = runbook(release)
    for key, verdict in (("validated_crashes", Verdict.FAIL), ("compliance_audit", Verdict.NO_DATA)):
        named = book.box(key)
        assert named is not None
        evidence_record(release=release, box=named[1], finding=Finding(verdict, "0.3 %, wanted < 0.1 %."))
    with pytest.raises(Refused, match="App crash rate FAIL") as refused:
        start(release, 2)
    assert [need.key for need in refused.value.decision.missing] == ["validation", "compliance"]
    waive(release, "validated_crashes")
    assert missing(release) == ["compliance"]
    waive(release, "compliance_audit")
    start(release, 2)


def test_evidence__of_the_phase_before__says_nothing_of_the_next(release: Release) -> None:
    validated(PhaseRun.objects.get())
    start(release, 2)
    standing = next(row.standing for group in releases_read.after_phases(release) for row in group.rows)
    assert (standing.verdict, "the validation of phase 1" in standing.sentence) == (Verdict.STALE, True)
    assert "under way is none" in standing.sentence
    assert {"data", "validation", "conclusion"} <= set(missing(release, 3))


def test_last_phase__is_not_complete_before_its_validation(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    PhaseRun.objects.all().delete()
    ended = clock.now() - timedelta(days=30)
    for number in (1, 2, 3):
        PhaseRun.objects.create(
            release=release, number=number, state="passed", percents=[1], started_at=ended, started_by="x"
        )
    run = PhaseRun.objects.create(
        release=release,
        number=4,
        percents=[40, 55, 70, 85, 100],
        step=5,
        started_at=clock.now() - timedelta(days=20),
        started_by="x",
        reached_at=clock.now() - timedelta(days=4),
    )
    devices("staging", 2_000, prefix="other")
    with pytest.raises(Refused, match="Hours of data"):
        phases.release_complete(release=release, actor=SYSTEM, reason="Done", disagrees=UNREAD)
    validations_due()
    validated(run)
    phases.release_complete(release=release, actor=SYSTEM, reason="Done", disagrees=UNREAD)
    assert {row.standing.verdict for group in releases_read.after_phases(release) for row in group.rows} == {
        Verdict.PASS
    }, "what it was completed by stays as it was"


# ---- the lines, read from telemetry ----


def line(release: Release, key: str) -> Evidence:
    """Let one line be asked as the sweep does, and return what is kept of it."""
    named = runbook(release).box(key)
    assert named is not None
    group, box = named
    question = Question(release, box, releases_read.measured_in(release, group), clock.now())
    evidence_record(release=release, box=box, finding=CHECKS[box.by].ask(question))
    return Evidence.objects.get(release=release, box=key)


def test_lines__hear_only_what_came_since_the_target__with_value_target_samples_and_drawing(release: Release) -> None:
    _run, began = reached(release, 6)
    real: dict[str, Any] = {"environment": "staging", "device_class": "tensor-g4", "variant": "on"}
    stored("litert.backend.switch.duration", [0.9] * 500, began - timedelta(hours=3), width=600, **real)
    for hour in (1, 2, 4):
        stored("litert.backend.switch.duration", [0.1 * hour] * 4, began + hour * HOUR, width=600, **real)
    found = line(release, "validated_switching")
    assert found.verdict == "INSUFFICIENT", "12 of the 30 that it takes; the 500 from before the target do not count"
    measured = found.lines[0]["measured"]
    assert (measured["have"], measured["need"], measured["bound"]) == (12, 30, 0.5)
    assert (measured["value"], measured["target"]) == ("233\u202fms", "< 500\u202fms")
    drawn = [point for point in measured["points"] if point is not None]
    assert drawn == pytest.approx([0.1, 0.2, 0.4])
    shown = validations.state(release, PhaseRun.objects.get()).shown
    switching = next(one for _, lines in shown for one in lines if one.row.box.key == "validated_switching")
    assert switching.readings[0].need == 30
    for _ in range(10):
        stored("litert.backend.switch.duration", [0.1] * 4, clock.now() - HOUR, width=10, **real)
    assert line(release, "validated_switching").verdict == "PASS"


def test_sweep__when_the_clock_began_anew__asks_the_lines_again_at_once(release: Release) -> None:
    reached(release, 6)
    release_refresh(release=release)
    first = Evidence.objects.get(box="validated_cpu")
    release_refresh(release=release)
    again = Evidence.objects.get(box="validated_cpu")
    assert again.checked_at == first.checked_at, "within five minutes once is enough"
    Validation.objects.update(since=clock.now() - 2 * HOUR)
    release_refresh(release=release)
    anew = Evidence.objects.get(box="validated_cpu")
    assert anew.checked_at > first.checked_at
    assert anew.subject["validation"] != first.subject["validation"]


def test_lines__where_available__drop_out_when_nobody_has_it(release: Release) -> None:
    reached(release, 6)
    at = clock.now() - timedelta(minutes=5)
    real: dict[str, Any] = {"environment": "staging", "device_class": "tensor-g4", "variant": "on"}
    stored("litert.inferences", [1.0] * 10, at, outcome="ok", **real)
    seen("one", at, **real)
    gpu = line(release, "validated_gpu")
    assert (gpu.verdict, gpu.subject["out_of_scope"]) == ("NO_DATA", True)
    assert line(release, "validated_satisfaction").subject["out_of_scope"] is True
    line(release, "validated_tickets")
    rows = {row.box.key: row for group in releases_read.after_phases(release) for row in group.rows}
    assert (rows["validated_gpu"].standing.in_scope, rows["validated_gpu"].blocks) == (False, False)
    assert "ot in scope: 0 of" in rows["validated_gpu"].standing.sentence
    assert rows["validated_tickets"].blocks, "what everybody has and nobody reports is no data, and blocks"
    stored("litert.inferences", [1.0], at, requested="gpu", actual="gpu", outcome="ok", **real)
    assert line(release, "validated_gpu").subject.get("out_of_scope") is None
    Release.objects.filter(pk=release.pk).update(backends=["cpu"])
    release.refresh_from_db()
    assert "the release does not declare gpu" in line(release, "validated_gpu").sentence


def test_state__costs_a_handful_of_queries__however_much_is_stored(
    release: Release, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    run, began = reached(release, 49)
    data_flows("staging", since=began, until=clock.now())
    validations_due()
    devices("staging", 500, prefix="more")
    assert RollupPartial.objects.count() > 290
    with django_assert_max_num_queries(14):  # type: ignore[attr-defined]
        state = validations.state(release, run)
    assert state.clock is not None
    assert clocks.named(clocks.current(release)).startswith("the validation of phase 1 since ")


# ---- pages ----


def test_page__shows_the_clock_the_lines_and_what_comes_next(release: Release, client_as: As) -> None:
    client = client_as(somebody("rel", Role.RELEASER))
    where = f"/staging/releases/{release.pk}"
    page = client.get(where).content.decode()
    assert "Post-deployment validation of phase 1" in page
    assert "0 min of 48 h" in page
    validated(PhaseRun.objects.get())
    _run, began = reached(release, 50)
    real: dict[str, Any] = {"environment": "staging", "device_class": "tensor-g4", "variant": "on"}
    for hour in (1, 20, 40):
        stored("litert.backend.switch.duration", [0.2] * 20, began + hour * HOUR, width=600, **real)
    release_refresh(release=release, at_once=True)
    page = client.get(where).content.decode()
    for words in ("48 h of 48 h of live data", "Backend switch time", "60 of 30", "enough", '<path class="ln"'):
        assert words in page, words
    assert "A release team mends what blocks" in page
    board = client.get(f"{where}/checklist").content.decode()
    assert "After each phase" in board
    assert 'id="validated_switching"' in board
    assert 'id="waive-validated_tickets"' in board
    until = f"{clock.now() + timedelta(days=2):%Y-%m-%dT%H:%M}"
    asked = {"reason": "No help desk in staging", "owner": "Ada", "expires_at": until}
    assert client.post(f"{where}/checklist/validated_tickets/waive", asked).status_code == 303
    assert Proposal.objects.get().title == "Waive “Support ticket volume” of HazardHawk 2.4.0"
    version = client.get("/staging/runbook/1.0.0").content.decode()
    for words in ("Deployment procedure", "App crash rate", "SOC 2 and GDPR requirements checked", "kubectl apply -f"):
        assert words in version, words
