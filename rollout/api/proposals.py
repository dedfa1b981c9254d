"""`/api/v1/ENVIRONMENT/proposals`: changes that wait for people. Programs may propose and carry out; only people say yes."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema

from hawkops.accounts.api import asks, who
from hawkops.accounts.models import User
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body, ReasonBody
from hawkops.core.errors import NotAllowed, NotFound
from hawkops.core.moments import utc
from rollout.api.phases import NeedOut, needs_out
from rollout.models import Proposal
from rollout.services import proposals as services

MAY_PROPOSE = (Role.RELEASER, Role.OPERATOR)
LISTED_MOST = 200

router = Router(tags=["Approvals"])


class ProposalBody(Body):
    """A change by its kind and what it takes, as the pages propose it; with a time it happens by itself then."""

    kind: str
    payload: dict[str, Any]
    reason: str
    scheduled_at: datetime | None = None


class ApproveBody(Body):
    """The edition that was read, so that nobody says yes to what he has not seen."""

    edition: int


class ApprovalOut(Schema):
    """Somebody's yes; it fell when the change was edited."""

    by: str
    teams: list[str]
    edition: int
    at: datetime
    fell_at: datetime | None


class ProposalOut(Schema):
    """A change that waits or was decided. `needs` is empty once it is."""

    proposal: int
    kind: str
    title: str
    reason: str
    state: str
    edition: int
    made_by: str
    made_at: datetime
    scheduled_at: datetime | None
    refusal: str
    approvals: list[ApprovalOut]
    needs: list[NeedOut]


class ProposalsOut(Schema):
    """The newest ones first."""

    proposals: list[ProposalOut]


@router.get("/{environment}/proposals", response=ProposalsOut, **asks(Scope.READ))
def proposals(request: HttpRequest, environment: str) -> ProposalsOut:
    """What waits for people and what was decided, the newest 200."""
    found = Proposal.objects.filter(environment=environment).prefetch_related("approvals")[:LISTED_MOST]
    return ProposalsOut(proposals=[_out(one, lines=False) for one in found])


@router.get("/{environment}/proposals/{int:pk}", response=ProposalOut, **asks(Scope.READ))
def proposal(request: HttpRequest, environment: str, pk: int) -> ProposalOut:
    """One proposal, with every line it needs as it stands now."""
    return _out(_found(environment, pk))


@router.post("/{environment}/proposals", response={201: ProposalOut}, **asks(Scope.RELEASES_WRITE, *MAY_PROPOSE))
def proposal_make(request: HttpRequest, response: HttpResponse, environment: str, body: ProposalBody) -> ProposalOut:
    """Propose a change; nothing happens before people say yes."""
    made = services.proposal_make(
        kind=body.kind,
        environment=environment,
        payload=body.payload,
        reason=body.reason,
        scheduled_at=utc(body.scheduled_at) if body.scheduled_at else None,
        **who(request),
    )
    response["Location"] = f"/api/v1/{environment}/proposals/{made.pk}"
    return _out(made)


@router.post(
    "/{environment}/proposals/{int:pk}/approve", response=ProposalOut, **asks(Scope.RELEASES_WRITE, Role.APPROVER)
)
def proposal_approve(request: HttpRequest, environment: str, pk: int, body: ApproveBody) -> ProposalOut:
    """Say yes. A token is nobody: only a signed-in person may."""
    found = _found(environment, pk)
    if not isinstance(request.user, User):
        raise NotAllowed("Only a person says yes: sign in. A token may propose and carry out.")
    after = services.proposal_approve(proposal=found, edition=body.edition, teams=request.user.teams(), **who(request))
    return _out(after)


@router.post(
    "/{environment}/proposals/{int:pk}/apply", response=ProposalOut, **asks(Scope.RELEASES_WRITE, *MAY_PROPOSE)
)
def proposal_apply(request: HttpRequest, environment: str, pk: int) -> ProposalOut:
    """Carry an approved change out; every line is looked at again."""
    return _out(services.proposal_apply(proposal=_found(environment, pk), **who(request)))


@router.post(
    "/{environment}/proposals/{int:pk}/withdraw", response=ProposalOut, **asks(Scope.RELEASES_WRITE, *MAY_PROPOSE)
)
def proposal_withdraw(request: HttpRequest, environment: str, pk: int, body: ReasonBody) -> ProposalOut:
    """Take a proposal back."""
    found = _found(environment, pk)
    return _out(services.proposal_withdraw(proposal=found, reason=body.reason, **who(request)))


def _found(environment: str, pk: int) -> Proposal:
    found = Proposal.objects.filter(environment=environment, pk=pk).first()
    if found is None:
        raise NotFound(f"There is no proposal {pk} in {environment}.")
    return found


def _out(one: Proposal, *, lines: bool = True) -> ProposalOut:
    return ProposalOut(
        proposal=one.pk,
        kind=one.kind,
        title=one.title,
        reason=one.reason,
        state=one.state,
        edition=one.edition,
        made_by=one.made_by,
        made_at=one.made_at,
        scheduled_at=one.scheduled_at,
        refusal=one.refusal,
        approvals=[
            ApprovalOut(by=yes.by, teams=yes.teams, edition=yes.edition, at=yes.at, fell_at=yes.fell_at)
            for yes in one.approvals.all()
        ],
        needs=needs_out(services.decision_of(one)) if lines and one.state == "open" else [],
    )
