"""`/api/v1/ENVIRONMENT/releases/ID/phases`: where the walk stands, and its presses. The policy is the pages' own."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema, Status

from hawkops.accounts.api import asks, who
from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body, ReasonBody, WhyOut, why_out
from hawkops.core.moments import past
from hawkops.core.verdicts import Verdict
from rollout.api.releases import release_found
from rollout.domain.policy import Decision
from rollout.models import PhaseRun, Proposal, Release
from rollout.selectors import guardrail_looks, releases
from rollout.selectors import phases as selectors
from rollout.selectors.decision import run_judged
from rollout.selectors.validation import state
from rollout.services import phases as services
from rollout.services.phases import phase_payload
from rollout.services.proposals import change_or_propose, proposal_make

MAY_WALK = (Role.RELEASER,)
MAY_STOP = (Role.RELEASER, Role.OPERATOR)

router = Router(tags=["Phases"])


class StartBody(Body):
    """Which phase to start. A jump leaves out time, sample and criteria, and takes the yes of each team.

    `disagrees` says why it goes on against what is recommended.
    """

    phase: int
    reason: str
    jump: bool = False
    disagrees: str = ""


class CompleteBody(ReasonBody):
    """Why, and why against what is recommended."""

    disagrees: str = ""


class NeedOut(Schema):
    """A line of what must be true, and what is missing when it isn't."""

    key: str
    title: str
    met: bool
    sentence: str
    why: WhyOut


class PhaseCriterionOut(Schema):
    """A success criterion of the phase under way as it reads now."""

    title: str
    verdict: Verdict
    in_scope: bool
    sentence: str
    criteria: list[str]
    whys: list[WhyOut]


class PhaseOut(Schema):
    """A phase that was begun. `percents` are its steps, of its audience; `held` says why a step that is due waits."""

    phase: int
    state: str
    percents: list[float]
    steps_done: int
    started_at: datetime
    started_by: str
    next_at: datetime | None
    reached_at: datetime | None
    ended_at: datetime | None
    held: str


class GuardrailLineOut(Schema):
    """What a guardrail says of one band of ages, of all devices or one class; an open end of the interval is null."""

    band: str
    device_class: str
    verdict: Verdict
    sentence: str
    low: float | None
    estimate: float | None
    high: float | None
    relative: bool
    # low end, middle and high end of the value against its limit, where it is held against both
    own: list[float | None] | None


class GuardrailOut(Schema):
    """A guardrail of a phase. `acted_at` is when it rolled back or, where `would` says what, only would have acted."""

    key: str
    title: str
    role: str
    does: str
    dry_run: bool
    would: str
    verdict: Verdict | None
    sentence: str
    looked_at: datetime | None
    changed_at: datetime | None
    acted_at: datetime | None
    lines: list[GuardrailLineOut]
    # of a failed one: the cohorts whose exclusion restores it
    exclusion: dict[str, Any] | None
    why: WhyOut | None


class GuardrailsOut(Schema):
    """All guardrails of the phase under way, or of a past moment as a look then finds them."""

    phase: int | None
    replayed_at: datetime | None
    guardrails: list[GuardrailOut]


class ClockOut(Schema):
    """The hours of live data since a phase's target percentage; `since` is null while a critical incident holds it."""

    phase: int
    began_at: datetime
    since: datetime | None
    live_seconds: int
    needed_seconds: int
    paused_since: datetime | None
    expected_at: datetime | None
    done_at: datetime | None
    sentence: str


class WalkOut(Schema):
    """The walk of a release: phases begun, criteria and validation of the one under way, and what the next one needs."""

    release: int
    phases: list[PhaseOut]
    criteria: list[PhaseCriterionOut]
    validation: ClockOut | None
    next_phase: int | None
    proposal: int | None
    needs: list[NeedOut]


class StartedOut(Schema):
    """Whether the phase has started, or the proposal that waits for people."""

    started: bool
    proposal: int | None


@router.get("/{environment}/releases/{int:pk}/phases", response=WalkOut, **asks(Scope.READ))
def phases(request: HttpRequest, environment: str, pk: int) -> WalkOut:
    """Where the walk stands, and what the next phase needs."""
    return _walk(release_found(environment, pk))


@router.post(
    "/{environment}/releases/{int:pk}/phases",
    response={200: StartedOut, 202: StartedOut},
    **asks(Scope.RELEASES_WRITE, *MAY_WALK),
)
def phase_start(
    request: HttpRequest, response: HttpResponse, environment: str, pk: int, body: StartBody
) -> Status[StartedOut]:
    """Start a phase. Where people must say yes first it is proposed, and the answer is 202 with the proposal."""
    found = release_found(environment, pk)
    payload = phase_payload(found, body.phase, jump=body.jump, disagrees=body.disagrees)
    if body.jump:
        made = proposal_make(
            kind="phase.start", environment=environment, payload=payload, reason=body.reason, **who(request)
        )
    else:
        done = change_or_propose(
            kind="phase.start", environment=environment, payload=payload, reason=body.reason, **who(request)
        )
        if not isinstance(done, Proposal):
            return Status(200, StartedOut(started=True, proposal=None))
        made = done
    response["Location"] = f"/api/v1/{environment}/proposals/{made.pk}"
    return Status(202, StartedOut(started=False, proposal=made.pk))


@router.get("/{environment}/releases/{int:pk}/guardrails", response=GuardrailsOut, **asks(Scope.READ))
def guardrails(request: HttpRequest, environment: str, pk: int, at: str = "") -> GuardrailsOut:
    """The guardrails of the phase under way as the last look, a minute ago at most, left them; none without a phase.

    With `at`, a past moment, as a look then finds them: telemetry and steps of then, audience and criteria of today.
    """
    release = release_found(environment, pk)
    moment = past(at, now=clock.now())
    run = run_judged(release, at=moment) if moment is not None else selectors.run_under_way(release)
    if run is None:
        return GuardrailsOut(phase=None, replayed_at=moment, guardrails=[])
    run.release = release
    if moment is not None:
        found = [_guardrail(one) for one in guardrail_looks.then(run, moment)]
        return GuardrailsOut(phase=run.number, replayed_at=moment, guardrails=found)
    return GuardrailsOut(
        phase=run.number, replayed_at=None, guardrails=[_guardrail(one) for one in guardrail_looks.now(run)]
    )


@router.post("/{environment}/releases/{int:pk}/phases/pause", response=WalkOut, **asks(Scope.RELEASES_WRITE, *MAY_STOP))
def phase_pause(request: HttpRequest, environment: str, pk: int, body: ReasonBody) -> WalkOut:
    """Pause the phase under way: its next step waits and its time stands still."""
    found = release_found(environment, pk)
    services.phase_pause(release=found, reason=body.reason, **who(request))
    return _walk(found)


@router.post(
    "/{environment}/releases/{int:pk}/phases/resume", response=WalkOut, **asks(Scope.RELEASES_WRITE, *MAY_WALK)
)
def phase_resume(request: HttpRequest, environment: str, pk: int, body: ReasonBody) -> WalkOut:
    """Go on with the approved plan."""
    found = release_found(environment, pk)
    services.phase_resume(release=found, reason=body.reason, **who(request))
    return _walk(found)


@router.post("/{environment}/releases/{int:pk}/phases/abort", response=WalkOut, **asks(Scope.RELEASES_WRITE, *MAY_STOP))
def phase_abort(request: HttpRequest, environment: str, pk: int, body: ReasonBody) -> WalkOut:
    """End the walk: the phase's flag serves nobody, and the next start is phase 1."""
    found = release_found(environment, pk)
    services.phase_abort(release=found, reason=body.reason, **who(request))
    return _walk(found)


@router.post("/{environment}/releases/{int:pk}/complete", response=WalkOut, **asks(Scope.RELEASES_WRITE, *MAY_WALK))
def release_complete(request: HttpRequest, environment: str, pk: int, body: CompleteBody) -> WalkOut:
    """Say that the last phase has passed."""
    found = release_found(environment, pk)
    services.release_complete(release=found, reason=body.reason, disagrees=body.disagrees, **who(request))
    return _walk(found)


def _guardrail(found: guardrail_looks.Found) -> GuardrailOut:
    one, said = found.guardrail, found.said
    return GuardrailOut(
        key=one.key,
        title=one.title,
        role=one.role.value,
        does=one.does,
        dry_run=one.dry_run,
        would=said.would if said else "",
        verdict=said.verdict if said else None,
        sentence=said.sentence if said else "Not looked at yet.",
        looked_at=found.looked_at,
        changed_at=found.changed_at,
        acted_at=said.acted_at if said else None,
        lines=[GuardrailLineOut(**asdict(line)) for line in said.lines] if said else [],
        exclusion=found.exclusion,
        why=why_out(found.why) if found.why else None,
    )


def needs_out(decision: Decision) -> list[NeedOut]:
    """Return the lines of a decision."""
    return [
        NeedOut(key=one.key, title=one.title, met=one.met, sentence=one.sentence, why=why_out(one.why))
        for one in decision.needs
    ]


def _walk(found: Release) -> WalkOut:
    run, coming = selectors.run_under_way(found), selectors.next_of(found)
    under_way = next((phase for phase in releases.runbook(found).phases if run and phase.number == run.number), None)
    rows = selectors.criteria_rows(found, under_way, since=run.started_at) if run and under_way else []
    return WalkOut(
        release=found.pk,
        phases=[_phase(one) for one in PhaseRun.objects.filter(release=found)],
        criteria=[
            PhaseCriterionOut(
                title=row.title,
                verdict=row.verdict,
                in_scope=row.in_scope,
                sentence=row.sentence,
                criteria=list(row.links),
                whys=[why_out(one) for one in row.whys],
            )
            for row in rows
        ],
        validation=_clock(found, run) if run else None,
        next_phase=coming.phase.number if coming and coming.phase else None,
        proposal=coming.waiting.pk if coming and coming.waiting else None,
        needs=needs_out(coming.decision) if coming else [],
    )


def _clock(release: Release, run: PhaseRun) -> ClockOut | None:
    clock = state(release, run).clock
    if clock is None:
        return None
    return ClockOut(
        phase=run.number,
        began_at=clock.began_at,
        since=clock.since,
        live_seconds=int(clock.live.total_seconds()),
        needed_seconds=int(clock.needed.total_seconds()),
        paused_since=clock.paused_since,
        expected_at=clock.expected_at,
        done_at=clock.done_at,
        sentence=clock.sentence,
    )


def _phase(run: PhaseRun) -> PhaseOut:
    return PhaseOut(
        phase=run.number,
        state=run.state,
        percents=run.percents,
        steps_done=run.step,
        started_at=run.started_at,
        started_by=run.started_by,
        next_at=run.next_at,
        reached_at=run.reached_at,
        ended_at=run.ended_at,
        held=run.held,
    )
