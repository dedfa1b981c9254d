"""`/api/v1/ENVIRONMENT/releases/ID/decision`: what the numbers recommend after a phase, and what people decided."""

from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Router, Schema

from hawkops.accounts.api import asks, who
from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body, WhyOut, why_out
from hawkops.core.errors import InvalidInput, NotAllowed, NotFound
from hawkops.core.moments import utc
from hawkops.core.verdicts import Verdict
from monitoring.domain.statistics.guardrails import Miss
from rollout.api.releases import release_found
from rollout.domain import bundle as domain
from rollout.domain.decision import Clause, Decided, Nature, Recommendation
from rollout.models import PhaseDecision, Release
from rollout.selectors import decision as selectors
from rollout.selectors import decision_reasons
from rollout.services import decisions as services

router = Router(tags=["Decisions"])


class NoGoBody(Body):
    """A no-go after the phase under way: hold here, or roll back. It moves no device."""

    decided: Literal["no-go", "roll back"]
    reason: str


class DecisionLineOut(Schema):
    """A line of the decision. `row` names the row of the table that applies; empty where it is not in scope.

    `unit` counts as one of its own: devices, with `devices` of `devices_needed`, except where no device varies; `have` and
    `need` count what was `observed`.
    """

    key: str
    title: str
    nature: Nature
    clause: Clause
    verdict: Verdict
    in_scope: bool
    sentence: str
    value: str
    target: str
    interval: str
    miss: Miss
    worse: bool
    have: int
    need: int
    soon: str
    row: str
    unit: str
    observed: str
    devices: int | None
    devices_needed: int | None
    why: WhyOut


class DecisionReasonOut(Schema):
    """Why: the row of the table, what follows from it, and the line to which it applies."""

    row: str
    follows: Recommendation
    line: str
    sentence: str


class DecidedOut(Schema):
    """What was decided. The bundle of it stands at `…/decision/NUMBER`."""

    decision: int
    phase: int
    decided: Decided
    recommendation: Recommendation
    disagrees: str
    reason: str
    by: str
    at: datetime
    digest: str


class DecisionOut(Schema):
    """What the numbers recommend after a phase; `phase` is null before the first. `replayed` is a look at the past."""

    release: int
    phase: int | None
    at: datetime | None
    since: datetime | None
    replayed: bool
    recommendation: Recommendation | None
    reasons: list[DecisionReasonOut]
    lines: list[DecisionLineOut]
    table: list[dict[str, str]]
    decisions: list[DecidedOut]


@router.get("/{environment}/releases/{int:pk}/decision", response=DecisionOut, **asks(Scope.READ))
def decision(request: HttpRequest, environment: str, pk: int, at: datetime | None = None) -> DecisionOut:
    """What the numbers recommend now, or did at a past moment: telemetry of then, thresholds of today."""
    found = release_found(environment, pk)
    moment = utc(at) if at is not None else None
    if moment is not None and moment > clock.now():
        raise InvalidInput("That is still to come; a past moment can be looked at.")
    return _out(found, moment)


@router.post(
    "/{environment}/releases/{int:pk}/decision",
    response={201: DecidedOut},
    **asks(Scope.RELEASES_WRITE, Role.APPROVER),
)
def no_go(request: HttpRequest, environment: str, pk: int, body: NoGoBody) -> tuple[int, DecidedOut]:
    """Keep a no-go of the person who is signed in. A go is the start of the next phase."""
    found = release_found(environment, pk)
    if not isinstance(request.user, User):
        raise NotAllowed("Only a person decides: sign in. A token may read what is recommended.")
    kept = services.decision_no_go(release=found, decided=Decided(body.decided), reason=body.reason, **who(request))
    return 201, _decided(kept)


@router.get("/{environment}/releases/{int:pk}/decision/{int:number}", response=dict[str, Any], **asks(Scope.READ))
def bundle(request: HttpRequest, environment: str, pk: int, number: int) -> dict[str, Any]:
    """The bundle of a decision: every number it was judged from, with its proof; `decision_verify` recomputes it."""
    kept = PhaseDecision.objects.filter(pk=number, release=release_found(environment, pk)).first()
    if kept is None:
        raise NotFound(f"There is no decision {number} of release {pk}.")
    return selectors.bundle_proven(kept)


def _out(release: Release, at: datetime | None) -> DecisionOut:
    run = selectors.run_judged(release, at=at)
    state = selectors.state(release, run, now=at or run.ended_at) if run is not None else None
    whys = decision_reasons.whys(state) if state is not None else {}
    return DecisionOut(
        release=release.pk,
        phase=run.number if run else None,
        at=state.at if state else None,
        since=state.since if state else None,
        replayed=bool(state and state.replayed),
        recommendation=state.recommended.recommendation if state else None,
        reasons=[
            DecisionReasonOut(
                row=one.row.key,
                follows=one.row.follows,
                line=one.line.key if one.line else "",
                sentence=one.sentence,
            )
            for one in (state.recommended.reasons if state else ())
        ],
        lines=[
            DecisionLineOut(**domain.line(one), why=why_out(whys[one.line.key]))
            for one in (state.shown if state else ())
        ],
        table=domain.table(),
        decisions=[_decided(one) for one in selectors.decisions(release)],
    )


def _decided(one: PhaseDecision) -> DecidedOut:
    return DecidedOut(
        decision=one.pk,
        phase=one.number,
        decided=Decided(one.decided),
        recommendation=Recommendation(one.recommendation),
        disagrees=one.disagrees,
        reason=one.reason,
        by=one.by,
        at=one.at,
        digest=one.digest,
    )
