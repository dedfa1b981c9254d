"""Go or no-go between phases: what is recommended on stored telemetry, what it takes to go on, and what is kept."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.teams import Team
from hawkops.core.verdicts import Verdict
from hawkops.history.models import HistoryEntry
from monitoring.domain import panel
from monitoring.domain.statistics.guardrails import Miss
from monitoring.models import DeviceHourCount, PanelHour, StoredCriterion
from rollout.domain.decision import Decided, Recommendation
from rollout.domain.lines import Shown
from rollout.domain.phases import Judged
from rollout.domain.validation import Critical
from rollout.models import Approval, PhaseDecision, PhaseRun, Release
from rollout.selectors import critical
from rollout.selectors import decision as decisions
from rollout.selectors import phases as selectors
from rollout.selectors.advance import may_advance
from rollout.services import decisions as services
from rollout.services import overrides, phases, proposals
from rollout.services.raising import Authority, Refused
from tests.monitoring.rows import stored
from tests.rollout.walking import (
    SYSTEM,
    after_passes,
    approve,
    begin,
    devices,
    furnish,
    gates_pass,
    healthy,
    in_panel,
    members,
    signers,
    somebody,
    validated,
)

pytestmark = pytest.mark.django_db
As = Callable[[object], Client]
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def incidents() -> Iterator[list[Critical]]:
    """What a registered source of incidents knows; nothing at first."""
    known: list[Critical] = []

    def source(environment: str, since: Any) -> list[Critical]:
        return [one for one in known if one.ended_at is None or one.ended_at > since]

    critical.register(source)
    yield known
    critical._sources.remove(source)


def walked(environment: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Release, PhaseRun]:
    """Let a release be in phase 1 for 50 hours, with everything behind it but a recommendation."""
    furnish()
    found = begin(environment)
    gates_pass(found)
    devices(environment, 100, said={"os.api": 34, "device.memory_mb": 8_000})
    members(environment, "internal_testers", [f"device-{index}" for index in range(4)])
    members(environment, "beta_testers", [f"device-{index}" for index in range(4, 24)])
    monkeypatch.setattr(selectors, "criteria_rows", lambda *_a, **_k: [Judged("No crash", Verdict.PASS, "Read.")])
    if environment == "production":
        asked = {"release": found.pk, "number": 1, "jump": False}
        made = proposals.proposal_make(
            kind="phase.start", environment=environment, payload=asked, actor=SYSTEM, reason="Go"
        )
        approve(made, *signers())
    else:
        start(found, 1)
    run = PhaseRun.objects.get()
    validated(run)
    run.refresh_from_db()
    return found, run


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch) -> tuple[Release, PhaseRun]:
    """A release in staging after phase 1."""
    return walked("staging", monkeypatch)


def start(release: Release, number: int = 2, **given: Any) -> PhaseRun:
    """Start a phase on one's own authority."""
    return phases.phase_start(
        release=release, number=number, authority=Authority.of(SYSTEM), actor=SYSTEM, reason="Go", **given
    )


def well(run: PhaseRun, **given: Any) -> None:
    """Store telemetry on which everything passes, but for what is given."""
    healthy(run.release.environment, clock.now(), before=run.started_at, **given)


def state(release: Release, run: PhaseRun) -> decisions.State:
    """The decision as it stands."""
    found = decisions.state(release, run)
    assert found is not None
    return found


def rows(found: decisions.State) -> dict[str, str]:
    """The row that applies to each line that speaks against going on."""
    return {one.line.key if one.line else "": one.row.key for one in found.recommended.against}


def test_recommended__all_well__proceeds_and_the_go_is_kept(staged: tuple[Release, PhaseRun]) -> None:
    release, run = staged
    well(run)
    found = state(release, run)
    assert rows(found) == {}, found.recommended.sentence
    assert found.recommended.recommendation is Recommendation.PROCEED
    assert {one.line.verdict for one in found.shown if one.line.in_scope} == {Verdict.PASS}
    start(release)
    kept = PhaseDecision.objects.get()
    assert (kept.number, kept.decided, kept.recommendation, kept.disagrees) == (1, "go", "PROCEED", "")
    entry = HistoryEntry.objects.get(verb="decision.made")
    assert entry.after["digest"] == kept.digest
    assert entry.after["decided"] == "go"


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ({"times": {"litert.memory.usage": 1.75}}, {"decision-memory-average": "missed"}, "HOLD"),
        ({"times": {"litert.memory.usage": 2.5}}, {"decision-memory-average": "missed-certainly"}, "ROLL_BACK"),
        ({"times": {"gen_ai.client.operation.duration": 5.0}}, {"decision-latency": "missed"}, "HOLD"),
        ({"times": {"gen_ai.client.operation.duration": 9.0}}, {"decision-latency": "missed-certainly"}, "ROLL_BACK"),
        ({"times": {"litert.prefill.throughput": 0.3}}, {"decision-throughput": "missed-certainly"}, "ROLL_BACK"),
        ({"times": {"litert.inferences": 200}}, {"decision-error-rate": "missed-certainly"}, "ROLL_BACK"),
        ({"times": {"app.user.satisfaction": 0.96}}, {"decision-satisfaction-fall": "satisfaction"}, "HOLD"),
        (
            {"crashes": (19, 18)},
            {"decision-crashes-rising": "missed", "decision-crash-rate": "missed-possibly"},
            "HOLD",
        ),
        (
            {"crashes": (9, 0)},
            {"decision-crashes-rising": "crashes", "decision-crash-rate": "missed-possibly"},
            "ROLL_BACK",
        ),
    ],
)
def test_recommended__something_amiss__names_the_row(
    staged: tuple[Release, PhaseRun], given: dict[str, Any], wanted: dict[str, str], expected: str
) -> None:
    release, run = staged
    well(run, **given)
    found = state(release, run)
    assert rows(found) == wanted, found.recommended.sentence
    assert found.recommended.recommendation == expected


def test_recommended__nothing_stored__holds_and_says_what_is_missing(staged: tuple[Release, PhaseRun]) -> None:
    release, run = staged
    found = state(release, run)
    assert found.recommended.recommendation is Recommendation.HOLD
    assert rows(found)["decision-api"] == "unknown"
    assert "Nobody can say when" in found.recommended.sentence


def test_too_few__says_how_many_and_when(staged: tuple[Release, PhaseRun]) -> None:
    release, run = staged
    at = clock.now() - 5 * HOUR
    stored("http.client.request.duration", [0.5, 0.6] * 10, at, environment="staging", device_class="x", variant="on")

    def api() -> Shown:
        return next(one for one in state(release, run).shown if one.line.key == "decision-api")

    line = api().line
    assert line.verdict is Verdict.INSUFFICIENT
    assert line.soon == "61 devices are needed; none has a value of its own yet."
    in_panel("staging", "http.client.request.duration", at, [2.2] * 70, count=4)
    found = api()
    assert (found.devices, found.devices_needed, found.have, found.need) == (70, 61, 20, 60)
    assert found.line.verdict is Verdict.INSUFFICIENT
    assert found.line.soon.startswith("60 observations are needed, in about")


def test_few_devices__however_much_they_report__are_too_few(staged: tuple[Release, PhaseRun]) -> None:
    """A thousand observations of a phone are one phone: what observations would prove, twenty phones do not."""
    release, run = staged
    well(run)
    PanelHour.objects.exclude(device_id__regex=r"^(on|off)-1?[0-9]$").delete()
    found = state(release, run)
    assert found.recommended.recommendation is Recommendation.HOLD
    lines = {one.line.key: one for one in found.shown}
    for key, need in (
        ("decision-throughput", 61),
        ("decision-latency", 61),
        ("decision-memory-average", 30),
        ("decision-error-rate", 300),
        ("decision-crash-rate", 3_000),
        ("decision-satisfaction-fall", 30),
        ("decision-processor", 30),
    ):
        one = lines[key]
        assert one.line.verdict is Verdict.INSUFFICIENT, one.line.sentence
        assert (one.unit, one.devices, one.devices_needed) == ("devices", 20, need), key
        assert "20" in one.line.sentence
        assert "needed" in one.line.sentence
        assert "devices are needed" in one.line.soon
        assert one.line.miss is not Miss.CERTAIN
    crashes = lines["decision-crash-rate"]
    assert crashes.line.sentence.endswith("20 devices, 3\u202f000 needed")
    assert (crashes.have, crashes.observed) == (20_000, "sessions")
    # what no device varies stays as it is
    for key in ("decision-memory-peak", "decision-encryption", "decision-audit-gaps"):
        assert lines[key].line.verdict is Verdict.PASS
        assert lines[key].devices_needed is None


def test_what_the_panel_does_not_keep__is_never_read_by_observation_instead(
    staged: tuple[Release, PhaseRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    release, run = staged
    well(run)
    monkeypatch.setattr(panel, "METRICS", panel.METRICS - {"http.client.request.duration"})
    one = next(one for one in state(release, run).shown if one.line.key == "decision-api")
    assert (one.line.verdict, one.interval, one.devices) == (Verdict.INSUFFICIENT, "", 0)
    assert one.line.sentence.endswith("no device's own value is kept, 61 devices needed")


def test_large_fleet__a_device_of_the_panel_stands_for_others(staged: tuple[Release, PhaseRun]) -> None:
    release, run = staged
    well(run)
    PanelHour.objects.exclude(device_id__regex=r"^(on|off)-[0-9]{1,3}$").delete()

    def crashes() -> Shown:
        return next(one for one in state(release, run).shown if one.line.key == "decision-crash-rate")

    assert (crashes().devices, crashes().line.verdict) == (1_000, Verdict.INSUFFICIENT)
    for hours, many in ((3, 40_000), (4, 16_000)):
        at = clock.now().replace(minute=0, second=0, microsecond=0) - hours * HOUR
        DeviceHourCount.objects.create(
            environment="staging", hour_at=at, device_class="x", simulated=False, by_variant=False, devices=many, weight=1
        )  # fmt: skip
    assert (crashes().devices, crashes().line.verdict) == (4_000, Verdict.PASS)


def test_incidents_and_rollbacks__count_from_the_start_of_the_phase(
    staged: tuple[Release, PhaseRun], incidents: list[Critical]
) -> None:
    release, run = staged
    well(run)
    incidents.append(Critical("Long over", run.started_at - 9 * HOUR, run.started_at - HOUR))
    assert state(release, run).recommended.recommendation is Recommendation.PROCEED
    overrides.kill(environment="staging", actor=SYSTEM, reason="Pre-deployment test")
    overrides.reenable(
        environment="staging", keys=["litert_enabled", "ai_fallback_to_cloud"], actor=SYSTEM, reason="Over"
    )
    assert rows(state(release, run)) == {}, "a drill is no rollback"
    overrides.backend_disable(environment="staging", backend="gpu", actor=SYSTEM, reason="Stability issues")
    assert rows(state(release, run)) == {"rollbacks": "rollback"}
    incidents.append(Critical("Crash loop", clock.now() - HOUR, clock.now() - HOUR / 2))
    found = state(release, run)
    assert rows(found)["incidents"] == "incident"
    assert "hours" in rows(found), "the hours began anew"
    assert found.recommended.recommendation is Recommendation.HOLD


def test_start__against_the_recommendation__takes_a_reason_that_is_kept(staged: tuple[Release, PhaseRun]) -> None:
    release, _run = staged
    with pytest.raises(Refused, match="HOLD") as refused:
        start(release)
    assert [need.key for need in refused.value.decision.missing] == ["recommendation"]
    assert not PhaseDecision.objects.exists()
    with pytest.raises(Refused):
        start(release, disagrees="   ")
    with pytest.raises(InvalidInput, match="500"):
        start(release, disagrees="x" * 501)
    start(release, disagrees="Read on the device lab's own board")
    kept = PhaseDecision.objects.get()
    assert (kept.recommendation, kept.disagrees) == ("HOLD", "Read on the device lab's own board")


def test_start__without_criteria_of_the_purpose__recommends_nothing_and_says_so(
    staged: tuple[Release, PhaseRun],
) -> None:
    release, run = staged
    StoredCriterion.objects.filter(purpose="go/no-go").delete()
    coming = selectors.next_of(release)
    assert coming is not None
    need = next(need for need in coming.decision.needs if need.key == "recommendation")
    assert (need.met, need.sentence) == (True, "No go/no-go criterion is stored, so nothing is recommended.")
    start(release)
    assert not PhaseDecision.objects.exists()
    assert run.number == 1


def test_production__each_teams_yes__keeps_what_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    release, run = walked("production", monkeypatch)
    asked = {"release": release.pk, "number": 2, "jump": False}
    made = proposals.proposal_make(
        kind="phase.start", environment="production", payload=asked, actor=SYSTEM, reason="Go on"
    )
    people = list(User.objects.filter(username__in=[team.value for team in Team]).order_by("pk"))
    approve(made, *people)
    made.refresh_from_db()
    assert made.state == "open"
    seen = Approval.objects.filter(proposal=made).order_by("pk")[0].seen
    assert seen["recommended"] == "HOLD"
    assert {line["key"] for line in seen["lines"]} >= {"hours", "incidents", "rollbacks", "decision-latency"}
    assert "recommendation" in seen["needs"]
    proposals.proposal_edit(
        proposal=made,
        edition=1,
        actor=SYSTEM,
        reason="Go on",
        scheduled_at=None,
        payload={**asked, "disagrees": "The lab's board says it all"},
    )
    made.refresh_from_db()
    well(run, times={"litert.memory.usage": 1.75})
    assert approve(made, *people).state == "applied"
    kept = PhaseDecision.objects.get()
    assert (kept.recommendation, kept.proposal_id, kept.by) == ("HOLD", made.pk, made.made_by)
    found = decisions.bundle_proven(kept)
    assert [one["teams"] for one in found["signatures"]] == [[person.username] for person in people]
    assert all(one["saw"] == "HOLD" and one["entry"] for one in found["signatures"])


def test_proposal_page__why_to_disagree__can_be_edited_and_nothing_else_falls(
    staged: tuple[Release, PhaseRun], client_as: As
) -> None:
    release, _run = staged
    asked = {"release": release.pk, "number": 2, "jump": False}
    made = proposals.proposal_make(kind="phase.start", environment="staging", payload=asked, actor=SYSTEM, reason="Go")
    client, where = client_as(somebody("rel", Role.RELEASER)), f"/staging/proposals/{made.pk}"
    assert "Why against the recommendation" in client.get(where).content.decode()
    form = {"edition": "1", "reason": "Go", "scheduled_at": "", "disagrees": ""}
    client.post(f"{where}/edit", form)
    made.refresh_from_db()
    assert (made.edition, made.payload) == (1, asked)
    client.post(f"{where}/edit", {**form, "disagrees": " The lab says so "})
    made.refresh_from_db()
    assert (made.edition, made.payload["disagrees"]) == (2, "The lab says so")
    assert proposals.proposal_apply(proposal=made, actor=SYSTEM).state == "applied"
    assert PhaseDecision.objects.get().disagrees == "The lab says so"


def test_complete__after_the_last_phase__is_a_decision_too(staged: tuple[Release, PhaseRun]) -> None:
    release, run = staged
    PhaseRun.objects.update(number=4, percents=[40, 55, 70, 85, 100], step=5, started_at=clock.now() - 20 * 24 * HOUR)
    devices("staging", 2_000, prefix="other")
    run.refresh_from_db()
    after_passes(release)
    with pytest.raises(Refused, match="Recommendation: HOLD"):
        phases.release_complete(release=release, actor=SYSTEM, reason="Done")
    phases.release_complete(release=release, actor=SYSTEM, reason="Done", disagrees="Seen otherwise")
    assert PhaseDecision.objects.get().number == 4
    assert PhaseRun.objects.get().state == "passed"


def test_no_go__is_kept_with_its_reason_and_moves_nothing(staged: tuple[Release, PhaseRun]) -> None:
    release, run = staged
    seq = HistoryEntry.objects.count()
    kept = services.decision_no_go(release=release, decided=Decided.ROLL_BACK, actor=SYSTEM, reason="Users complain")
    assert (kept.decided, kept.recommendation, kept.disagrees) == ("roll back", "HOLD", "Users complain")
    agreed = services.decision_no_go(release=release, decided=Decided.HOLD, actor=SYSTEM, reason="Too little yet")
    assert agreed.disagrees == ""
    assert HistoryEntry.objects.count() == seq + 2, "one entry each"
    run.refresh_from_db()
    assert run.state == "running"
    with pytest.raises(InvalidInput):
        services.decision_no_go(release=release, decided=Decided.HOLD, actor=SYSTEM, reason=" ")
    phases.phase_abort(release=release, actor=SYSTEM, reason="No")
    with pytest.raises(Conflict):
        services.decision_no_go(release=release, decided=Decided.HOLD, actor=SYSTEM, reason="Late")


def test_replay__a_past_moment__reads_what_was_stored_then(
    staged: tuple[Release, PhaseRun], incidents: list[Critical]
) -> None:
    release, run = staged
    earlier = clock.now() - 2 * HOUR
    healthy("staging", earlier, before=run.started_at)
    assert run.reached_at is not None
    incidents.append(Critical("Later", clock.now() - HOUR))
    now = state(release, run)
    assert "incidents" in rows(now)
    then = decisions.state(release, run, now=earlier)
    assert then is not None
    assert then.replayed
    assert "incidents" not in rows(then)
    told = {one.line.key: one.line.verdict for one in then.shown}
    assert told["decision-latency"] is Verdict.PASS
    before = decisions.state(release, run, now=earlier - 10 * HOUR)
    assert before is not None
    told = {one.line.key: one.line.verdict for one in before.shown}
    assert told["decision-latency"] is not Verdict.PASS, "nothing had come by then"
    assert told["hours"] is Verdict.INSUFFICIENT


def test_page__recommendation_lines_table_signatures_and_past_decisions(
    staged: tuple[Release, PhaseRun], client_as: As
) -> None:
    release, run = staged
    well(run, times={"litert.memory.usage": 1.75})
    where = f"/staging/releases/{release.pk}"
    client = client_as(somebody("app", Role.APPROVER))
    page = client.get(f"{where}/decision").content.decode()
    for words in (
        "HOLD</h1>",
        "Average memory for 48 hours",
        "1.93\u202fGB",
        "What was decided",
        "The table of decisions",
        "A security criterion fails.",
        "Keep a no-go",
        "each device counts once",
        "400 of 61 devices",
    ):
        assert words in page, words
    assert page.index("The table of decisions") > page.index("Every line") > page.index("Why, the weightiest first")
    refused = client.post(f"{where}/decision/no-go", {"decided": "no-go", "reason": ""})
    assert (refused.status_code, "Say why" in refused.content.decode()) == (422, True)
    after = client.post(f"{where}/decision/no-go", {"decided": "no-go", "reason": "Wait for memory"}, follow=True)
    assert "Wait for memory" in after.content.decode()
    kept = PhaseDecision.objects.get()
    got = client.get(f"{where}/decision/{kept.pk}.json")
    assert got["Content-Disposition"].startswith("attachment")
    assert got.json()["decision"]["reason"] == "Wait for memory"
    part = client.get(f"{where}/decision?part=said").content.decode()
    assert "HOLD</h1>" in part
    assert "<html" not in part
    at = (clock.now() - HOUR).strftime("%Y-%m-%dT%H:%M")
    assert "A look back" in client.get(f"{where}/decision?at={at}").content.decode()
    assert "is not a time" in client.get(f"{where}/decision?at=soon").content.decode()
    assert "still to come" in client.get(f"{where}/decision?at=2036-01-01T00:00").content.decode()
    releaser = client_as(somebody("rel", Role.RELEASER))
    walk = releaser.get(where).content.decode()
    assert "Why against the recommendation, HOLD" in walk
    assert "Keep a no-go" not in releaser.get(f"{where}/decision").content.decode()
    pressed = {"number": "2", "reason": "Go", "disagrees": "The board says so"}
    assert "Phase 2 has started" in releaser.post(f"{where}/phases/start", pressed, follow=True).content.decode()
    assert PhaseDecision.objects.first().decided == "go"  # type: ignore[union-attr]


def test_api__reads_records_and_hands_out_the_bundle(staged: tuple[Release, PhaseRun], client_as: As) -> None:
    release, run = staged
    well(run, times={"litert.memory.usage": 1.75})
    client = client_as(somebody("app", Role.APPROVER))
    place = f"/api/v1/staging/releases/{release.pk}/decision"
    told = client.get(place).json()
    assert (told["recommendation"], told["phase"], told["replayed"]) == ("HOLD", 1, False)
    first = told["reasons"][0]
    assert (first["row"], first["line"]) == ("missed", "decision-memory-average")
    line = next(one for one in told["lines"] if one["key"] == "decision-memory-average")
    assert (line["verdict"], line["miss"], line["row"]) == ("FAIL", "safe", "missed")
    made = client.post(place, {"decided": "no-go", "reason": "Memory"}, content_type="application/json")
    assert made.status_code == 201
    number = made.json()["decision"]
    assert client.get(f"{place}/{number}").json()["decision"]["reason"] == "Memory"
    assert client.get(f"{place}/{number + 1}").status_code == 404
    assert client.get(f"{place}?at=2036-01-01T00:00:00Z").status_code == 400
    answer = client.post(place, {"decided": "go", "reason": "Memory"}, content_type="application/json")
    assert answer.status_code == 422
    lines = {line.key: line for line in may_advance("staging").lines}
    assert lines["recommendation"].verdict is Verdict.INSUFFICIENT
