"""Walking the phases: what starts one, how it ramps, what holds it, and that nothing is skipped or doubled."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import Conflict
from hawkops.core.verdicts import Verdict
from hawkops.history.models import HistoryEntry
from monitoring.services.alerts import alerts_evaluate
from rollout.domain import phases as domain
from rollout.domain.evaluation import evaluate
from rollout.domain.flags import ON
from rollout.domain.gates import Finding
from rollout.domain.phases import Audience, Judged
from rollout.domain.targeting import Context, Rule
from rollout.models import CensusDevice, Flag, PhaseRun, Proposal, Release, Validation
from rollout.runbook.loading import load
from rollout.selectors import phases as selectors
from rollout.selectors import targeting
from rollout.selectors.releases import runbook
from rollout.services import flags, overrides, phases, proposals
from rollout.services.freezes import freeze_make
from rollout.services.raising import Authority, Refused
from rollout.services.releases import evidence_record, release_model_set
from tests.rollout.walking import (
    SYSTEM,
    UNREAD,
    approve,
    backdate,
    begin,
    devices,
    furnish,
    gates_pass,
    members,
    signers,
    somebody,
    validated,
)

pytestmark = pytest.mark.django_db
As = Callable[[object], Client]
OURS = Authority.of(SYSTEM)


@pytest.fixture(autouse=True)
def _furnished() -> None:
    furnish()


@pytest.fixture
def release() -> Release:
    """A release in staging whose gates pass, with internal testers among a hundred devices."""
    found = begin("staging")
    gates_pass(found)
    devices("staging", 100, said={"os.api": 34, "device.memory_mb": 8_000})
    members("staging", "internal_testers", [f"device-{index}" for index in range(4)])
    members("staging", "beta_testers", [f"device-{index}" for index in range(4, 24)])
    return found


def start(release: Release, number: int, **given: object) -> PhaseRun:
    """Start a phase on one's own authority; these tests store no telemetry, so that nothing speaks for it."""
    return phases.phase_start(
        release=release,
        number=number,
        authority=OURS,
        actor=SYSTEM,
        reason="Go",
        disagrees=UNREAD,
        **given,  # type: ignore[arg-type]
    )


def flag(environment: str = "staging") -> Flag:
    """LiteRT's flag."""
    return Flag.objects.get(environment=environment, key="litert_enabled")


def served(environment: str = "staging") -> set[str]:
    """The devices that evaluation serves on."""
    now = targeting.snapshot(environment)
    keys = [f"device-{index}" for index in range(100)]
    said = {"os.api": 34, "device.memory_mb": 8_000}
    return {key for key in keys if evaluate(now, "litert_enabled", Context(key, said)).variant == ON}


def criteria(monkeypatch: pytest.MonkeyPatch, verdict: Verdict) -> None:
    """Let every criterion of a phase read one verdict."""
    monkeypatch.setattr(
        selectors, "criteria_rows", lambda *_a, **_k: [Judged("No crash related to LiteRT", verdict, "Read.")]
    )


def test_bundled_phases__ramp_in_equal_steps_across_their_minimum() -> None:
    one, two, three, four = load().runbook.phases
    assert [domain.percents(phase) for phase in (one, two, three, four)] == [
        [1],
        [3, 5],
        [10, 15, 20, 25],
        [40, 55, 70, 85, 100],
    ]
    assert domain.interval(three) == timedelta(hours=42)
    assert domain.thousandths(one, 1, Audience(8_000, 40)) == 100_000
    assert domain.thousandths(two, 5, Audience(8_000, 1_000)) == 40_000
    assert domain.thousandths(two, 5, Audience(8_000, 100)) == 100_000
    assert domain.thousandths(three, 25, Audience(8_000, 1_000)) == 25_000


def test_start__phase_1__serves_the_whole_group_and_nobody_else(release: Release) -> None:
    run = start(release, 1)
    assert served() == {f"device-{index}" for index in range(4)}
    assert (run.state, run.step, run.next_at) == ("running", 1, None)
    assert Flag.objects.get(environment="staging", key="litert_gpu_backend").percent == 100
    verbs = set(HistoryEntry.objects.values_list("verb", flat=True))
    assert {"phase.started", "flag.rules_changed"} <= verbs


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda release: gates_reset(release), "Gates: 1 open"),
        (lambda release: overrides.kill(environment="staging", actor=SYSTEM, reason=""), "forced off"),
        (lambda release: members("staging", "internal_testers", []), ""),
    ],
)
def test_start__something_missing__names_the_line_and_changes_nothing(
    release: Release, spoil: Callable[[Release], object], line: str
) -> None:
    spoil(release)
    if not line:
        start(release, 1)
        return
    with pytest.raises(Refused, match=line):
        start(release, 1)
    assert not PhaseRun.objects.exists()
    assert not flag().rules


def gates_reset(release: Release) -> None:
    """Take one box back."""
    _group, box = runbook(release).box("alert_endpoints") or pytest.fail("no such box")
    evidence_record(release=release, box=box, finding=Finding(Verdict.NO_DATA, "The channel has moved."))


def test_start__group_of_more_than_a_hundredth_and_more_than_a_hundred__is_refused() -> None:
    found = begin("demo")
    gates_pass(found)
    keys = devices("demo", 150)
    Flag.objects.filter(environment="demo").update(thousandths=0)
    members("demo", "internal_testers", keys[:101])
    with pytest.raises(Refused, match="more than 1 %"):
        phases.phase_start(release=found, number=1, authority=OURS, actor=SYSTEM, reason="Go")


def test_advance__time_sample_and_criteria__each_is_its_own_line(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(release, 1)
    criteria(monkeypatch, Verdict.FAIL)
    with pytest.raises(Refused) as refused:
        start(release, 2)
    assert [need.key for need in refused.value.decision.missing] == ["time", "criteria", "data"]
    backdate(run, started_at=clock.now() - timedelta(hours=25))
    with pytest.raises(Refused, match="No crash related to LiteRT FAIL"):
        start(release, 2)
    validated(run)
    criteria(monkeypatch, Verdict.PASS)
    second = start(release, 2)
    run.refresh_from_db()
    assert (run.state, second.number, second.percents) == ("passed", 2, [3, 5])
    assert served() >= {f"device-{index}" for index in range(4)}


def test_order__a_later_or_an_earlier_phase__is_refused(release: Release) -> None:
    with pytest.raises(Refused, match="Phase 1 comes before phase 3"):
        start(release, 3)
    start(release, 1)
    with pytest.raises(Refused, match="behind"):
        start(release, 1)


def test_jump__takes_each_team_whatever_the_environment(release: Release) -> None:
    with pytest.raises(Refused, match="An approver of engineering, security, devops is missing"):
        start(release, 3, jump=True)
    made = proposals.proposal_make(
        kind="phase.start",
        environment="staging",
        payload={"release": release.pk, "number": 3, "jump": True},
        actor=SYSTEM,
        reason="Nobody uses it yet",
    )
    assert approve(made, *signers()).state == "applied"
    assert PhaseRun.objects.get().number == 3
    assert HistoryEntry.objects.filter(verb="phase.jumped").count() == 1


def ramping(release: Release, monkeypatch: pytest.MonkeyPatch) -> PhaseRun:
    """Walk to phase 2, which has two steps."""
    criteria(monkeypatch, Verdict.PASS)
    validated(start(release, 1))
    return start(release, 2)


def test_step__due__raises_once_and_removes_nobody(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ramping(release, monkeypatch)
    before = served()
    assert phases.phases_due() == 0
    backdate(run, next_at=clock.now() - timedelta(days=30))
    assert phases.phases_due() == 1
    assert phases.phases_due() == 0
    run.refresh_from_db()
    assert (run.step, run.percent, run.next_at) == (2, 5.0, None)
    assert run.reached_at is not None
    assert before <= served()


def test_forged_telemetry__however_good__raises_nothing_beyond_what_people_approved(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device key is in every app: whoever takes it out may send good news, and invent devices, for ever."""
    criteria(monkeypatch, Verdict.PASS)
    devices("staging", 400, prefix="forged", known=False)
    assert (phases.phases_due(), served()) == (0, set()), "no plan, no step"
    run = ramping(release, monkeypatch)
    first = served()
    devices("staging", 1_200, prefix="invented", known=False)
    backdate(run, next_at=clock.now() - timedelta(days=1))
    assert (phases.phases_due(), served()) == (0, first), "a larger fleet is no larger share of the real one"
    CensusDevice.objects.exclude(device_id__startswith="device-").delete()
    assert phases.phases_due() == 1
    reached = served()
    backdate(run, started_at=clock.now() - timedelta(days=365), reached_at=clock.now() - timedelta(days=364))
    alerts_evaluate(environments=("staging",))
    assert (phases.phases_due(), served(), PhaseRun.objects.count()) == (0, reached, 2), "people start the next phase"
    overrides.kill(environment="staging", actor=SYSTEM, reason="")
    alerts_evaluate(environments=("staging",))
    assert (phases.phases_due(), served()) == (0, set()), "and people alone lift a kill"


def test_step__after_an_outage__the_next_one_keeps_its_whole_time(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    criteria(monkeypatch, Verdict.PASS)
    PhaseRun.objects.create(
        release=release,
        number=3,
        percents=[10, 15, 20, 25],
        step=1,
        interval_seconds=3_600,
        started_at=clock.now() - timedelta(days=9),
        started_by="x",
        next_at=clock.now() - timedelta(days=8),
        flag_revision=flag().revision,
    )
    assert [phases.phases_due(), phases.phases_due()] == [1, 0]
    run = PhaseRun.objects.get()
    assert run.step == 2
    assert run.next_at is not None
    assert run.next_at > clock.now() + timedelta(minutes=59)


@pytest.mark.parametrize("what", ["kill", "gate", "by hand", "strangers"])
def test_step__something_against_it__is_held_with_one_entry_until_it_is_gone(
    release: Release, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    run = ramping(release, monkeypatch)
    backdate(run, next_at=clock.now())
    if what == "kill":
        overrides.kill(environment="staging", actor=SYSTEM, reason="")
    elif what == "gate":
        gates_reset(release)
    elif what == "strangers":  # ids invented with a leaked key would make a larger fleet, and a larger share of it
        devices("staging", 1_200, prefix="stranger", known=False)
    else:
        flags.flag_rules_set(
            environment="staging",
            key="litert_enabled",
            rules=[],
            pinned={},
            expected_revision=flag().revision,
            actor=SYSTEM,
            reason="Less",
        )
    assert [phases.phases_due(), phases.phases_due()] == [0, 0]
    run.refresh_from_db()
    assert run.step == 1
    assert {"kill": "override", "gate": "Gates: 1 open", "by hand": "by hand", "strangers": "never seen"}[
        what
    ] in run.held
    assert HistoryEntry.objects.filter(verb="phase.held").count() == 1


def test_step__refused_between_the_look_and_the_step__is_held_and_stops_no_other_plan(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ramping(release, monkeypatch)
    backdate(run, next_at=clock.now())
    freeze_make(
        environment="staging",
        starts_at=clock.now(),
        ends_at=clock.now() + timedelta(hours=1),
        actor=SYSTEM,
        reason="Holiday",
    )
    monkeypatch.setattr(selectors, "held", lambda _run: "")
    assert phases.phases_due() == 0
    run.refresh_from_db()
    assert (run.step, "Holiday" in run.held) == (1, True)


def test_plan__under_way__locks_its_flag_against_raising_but_never_against_lowering(release: Release) -> None:
    start(release, 1)
    with pytest.raises(Refused, match=r"Phase 1 of HazardHawk 2\.4\.0 holds this flag"):
        flags.flag_percentage_set(environment="staging", key="litert_enabled", percent=50, actor=SYSTEM, reason="x")
    with pytest.raises(Refused, match="holds this flag"):
        overrides.flag_override_set(environment="staging", key="litert_enabled", variant="on", actor=SYSTEM, reason="x")
    assert overrides.kill(environment="staging", actor=SYSTEM, reason="")
    assert overrides.reenable(environment="staging", keys=["litert_enabled"], actor=SYSTEM, reason="Fixed")


def test_pause__its_time_stands_still__and_resume_goes_on(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ramping(release, monkeypatch)
    phases.phase_pause(release=release, actor=SYSTEM, reason="Look")
    backdate(run, next_at=clock.now(), paused_at=clock.now() - timedelta(hours=2))
    assert phases.phases_due() == 0
    with pytest.raises(Refused, match="resume it first"):
        start(release, 3)
    after = phases.phase_resume(release=release, actor=SYSTEM, reason="Seen")
    assert (after.state, after.paused_seconds // 3_600) == ("running", 2)
    assert after.next_at is not None
    assert after.next_at > clock.now() + timedelta(minutes=119)
    with pytest.raises(Conflict, match="is running"):
        phases.phase_resume(release=release, actor=SYSTEM, reason="Again")


def test_abort__serves_nobody_and_the_next_start_is_phase_1(release: Release) -> None:
    start(release, 1)
    phases.phase_abort(release=release, actor=SYSTEM, reason="Crashes")
    assert served() == set()
    following = selectors.following(release)
    assert following is not None
    assert following.number == 1
    assert flag().rules == []


def test_supersede__while_a_phase_runs__ends_it_and_raises_nothing(release: Release) -> None:
    start(release, 1)
    begin("staging", app_version="2.4.1", supersede=True)
    assert PhaseRun.objects.get().state == "aborted"
    with pytest.raises(Conflict, match="superseded"):
        phases.phase_pause(release=release, actor=SYSTEM, reason="x")


def test_overdue__a_phase_that_outlives_its_maximum__says_so(release: Release) -> None:
    run = start(release, 1)
    assert not selectors.progress(run).overdue(clock.now() + timedelta(hours=90)), "validation is no part of it"
    validated(run)
    now = clock.now()
    assert not selectors.progress(run).overdue(now + timedelta(hours=47))
    assert selectors.progress(run).overdue(now + timedelta(hours=49))
    backdate(run, reached_at=None, started_at=now)
    Validation.objects.all().delete()
    assert selectors.progress(run).overdue(now + timedelta(hours=49)), "nor does a phase stay below its target for ever"


def test_rows__every_phase__has_four_criteria_with_a_verdict(release: Release) -> None:
    for number in (1, 2, 3, 4):
        phase = selectors.phase_of(release, number)
        assert phase is not None
        rows = selectors.criteria_rows(release, phase)
        assert len(rows) == 4
        assert all(row.links and row.sentence for row in rows), rows


def test_production__phase_1__starts_after_each_teams_yes_and_model_change_makes_it_stale() -> None:
    found = begin()
    gates_pass(found)
    members("production", "internal_testers", devices("production", 5))
    made = proposals.proposal_make(
        kind="phase.start",
        environment="production",
        payload={"release": found.pk, "number": 1, "jump": False},
        actor=SYSTEM,
        reason="Go",
    )
    one, two, three = signers()
    assert approve(made, one, two).state == "open"
    model: dict[str, Any] = {"release": found, "model_name": "gemma3-1b", "actor": SYSTEM}
    assert release_model_set(**model, model_digest="CD" * 32, reason="Trained anew")
    assert HistoryEntry.objects.get(verb="proposal.approvals_fell").after == {"fell": 2}
    assert approve(Proposal.objects.get(), one, two, three).state == "open"
    with pytest.raises(Refused, match="STALE"):
        proposals.proposal_apply(proposal=Proposal.objects.get(), actor=SYSTEM)
    assert not PhaseRun.objects.exists()
    assert release_model_set(**model, model_digest="sha256:" + "ab" * 32, reason="Back")
    assert not release_model_set(**model, model_digest="sha256:" + "ab" * 32, reason="Back")
    assert approve(Proposal.objects.get(), one, two, three).state == "applied"
    assert PhaseRun.objects.get().proposal_id == made.pk


def test_rules__of_an_earlier_phase__stay_and_what_keeps_devices_off_stays_first() -> None:
    off = Rule("off", group="blocked")
    ours = (Rule(ON, 100_000, "internal_testers"), Rule(ON, 25_000))
    assert domain.merged((off, Rule(ON, 1_000)), ours) == (off, *ours)


def test_page__release__shows_the_walk_and_starts_a_phase_in_staging(release: Release, client_as: As) -> None:
    client = client_as(somebody("rel", Role.RELEASER))
    where = f"/staging/releases/{release.pk}"
    page = client.get(where).content.decode()
    assert "HazardHawk 2.4.0 is before phase 1" in page
    assert "To start phase 1" in page
    after = client.post(f"{where}/phases/start", {"number": "1", "reason": "Go"}, follow=True).content.decode()
    assert "is in phase 1, internal testing" in after
    assert "The whole group = 4 devices" in after
    assert client.post(f"{where}/comments", {"text": "Looks well"}, follow=True).status_code == 200
    assert "Looks well" in client.get(where).content.decode()
    for press, form in (("pause", {"reason": "Look"}), ("resume", {"reason": "On"}), ("abort", {"reason": "No"})):
        assert client.post(f"{where}/phases/{press}", form).status_code == 303
    assert PhaseRun.objects.get().state == "aborted"
    for part in ("walk", "state", "needs", "validated", "happened"):
        assert client.get(f"{where}?part={part}").status_code == 200
