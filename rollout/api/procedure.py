"""`/api/v1/ENVIRONMENT/releases/ID/procedure`: deployment steps in order, and their presses; people confirm and agree."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema

from hawkops.accounts.api import asks, who
from hawkops.accounts.models import User
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body, ReasonBody
from hawkops.core.errors import NotAllowed
from hawkops.scripts.exports import run_document
from rollout.api.releases import release_found
from rollout.domain.procedure import StepKind, StepState
from rollout.models import Release
from rollout.selectors import procedure as selectors
from rollout.selectors.configuration import configuration
from rollout.selectors.procedure import Act
from rollout.services import procedure as services

MAY_DO = (Role.RELEASER, Role.OPERATOR)

router = Router(tags=["Deployment"])


class StepStartBody(Body):
    """Whether it is the dry run, which a step that changes something needs first."""

    dry_run: bool = False


class DrillBody(Body):
    """Press the step's switches, or lift what the drill pressed."""

    lift: bool = False


class AttestBody(Body):
    """The digest of the settings that were read back, and what they were compared with."""

    digest: str
    note: str


class DeploymentStepOut(Schema):
    """A deployment step: how it is done, where it stands, what keeps it from beginning, and the one thing to do now."""

    step: str
    phase: int
    title: str
    kind: StepKind
    line: str
    state: StepState
    sentence: str
    waits_for: str
    act: Act
    run: int | None
    skip_waits: bool


class ProcedureOut(Schema):
    """The deployment procedure; `settings_digest` is what confirming the settings must name."""

    release: int
    done: int
    skipped: int
    total: int
    next_step: str | None
    settings_digest: str
    settings: dict[str, str]
    steps: list[DeploymentStepOut]


@router.get("/{environment}/releases/{int:pk}/procedure", response=ProcedureOut, **asks(Scope.READ))
def procedure(request: HttpRequest, environment: str, pk: int) -> ProcedureOut:
    """Where every step stands, and what is to be done next."""
    return _procedure(release_found(environment, pk))


@router.post(
    "/{environment}/releases/{int:pk}/procedure/{step}/start",
    response={201: dict[str, Any]},
    **asks(Scope.RELEASES_WRITE, *MAY_DO),
)
def step_start(
    request: HttpRequest,
    response: HttpResponse,
    environment: str,
    pk: int,
    step: str,
    body: StepStartBody | None = None,
) -> dict[str, Any]:
    """Queue a step's program, or its dry run; the answer is the run."""
    run = services.step_start(
        release=release_found(environment, pk), step=step, dry_run=bool(body and body.dry_run), **who(request)
    )
    response["Location"] = f"/api/v1/{run.environment}/runs/{run.pk}"
    return run_document(run)


@router.post(
    "/{environment}/releases/{int:pk}/procedure/{step}/attest",
    response=ProcedureOut,
    **asks(Scope.RELEASES_WRITE, *MAY_DO),
)
def step_attest(request: HttpRequest, environment: str, pk: int, step: str, body: AttestBody) -> ProcedureOut:
    """Confirm the settings that were read back. A token is nobody: only a signed-in person may."""
    found = release_found(environment, pk)
    if not isinstance(request.user, User):
        raise NotAllowed("Only a person confirms settings: sign in.")
    services.step_attest(release=found, step=step, digest=body.digest, note=body.note, **who(request))
    return _procedure(found)


@router.post(
    "/{environment}/releases/{int:pk}/procedure/{step}/flags",
    response=ProcedureOut,
    **asks(Scope.RELEASES_WRITE, *MAY_DO),
)
def step_flags(request: HttpRequest, environment: str, pk: int, step: str) -> ProcedureOut:
    """Set the step's flags to 0 % in one change."""
    found = release_found(environment, pk)
    services.step_flags(release=found, step=step, **who(request))
    return _procedure(found)


@router.post(
    "/{environment}/releases/{int:pk}/procedure/{step}/drill",
    response=ProcedureOut,
    **asks(Scope.RELEASES_WRITE, *MAY_DO),
)
def step_drill(
    request: HttpRequest, environment: str, pk: int, step: str, body: DrillBody | None = None
) -> ProcedureOut:
    """Press the step's switches, or lift what the drill pressed."""
    found = release_found(environment, pk)
    act = services.step_drill_end if body and body.lift else services.step_drill
    act(release=found, step=step, **who(request))
    return _procedure(found)


@router.post(
    "/{environment}/releases/{int:pk}/procedure/{step}/skip",
    response=ProcedureOut,
    **asks(Scope.RELEASES_WRITE, *MAY_DO),
)
def step_skip(request: HttpRequest, environment: str, pk: int, step: str, body: ReasonBody) -> ProcedureOut:
    """Ask to skip a step; where a second person must agree it waits (`skip_waits`)."""
    found = release_found(environment, pk)
    services.step_skip_ask(release=found, step=step, reason=body.reason, **who(request))
    return _procedure(found)


@router.post(
    "/{environment}/releases/{int:pk}/procedure/{step}/skip/approve",
    response=ProcedureOut,
    **asks(Scope.RELEASES_WRITE, Role.APPROVER),
)
def step_skip_approve(request: HttpRequest, environment: str, pk: int, step: str) -> ProcedureOut:
    """Agree that a step is skipped. A token is nobody: only a signed-in person may."""
    found = release_found(environment, pk)
    if not isinstance(request.user, User):
        raise NotAllowed("Only a person says yes: sign in. A token may ask to skip.")
    services.step_skip_approve(release=found, step=step, **who(request))
    return _procedure(found)


def _procedure(release: Release) -> ProcedureOut:
    found, settings = selectors.procedure(release), configuration(release.environment)
    summary = found.summary
    return ProcedureOut(
        release=release.pk,
        done=summary.done,
        skipped=summary.skipped,
        total=summary.total,
        next_step=summary.next.step.key if summary.next else None,
        settings_digest=settings.digest,
        settings=settings.said,
        steps=[_step(phase.phase.number, row) for phase in found.phases for row in phase.rows],
    )


def _step(number: int, row: selectors.Row) -> DeploymentStepOut:
    return DeploymentStepOut(
        step=row.step.key,
        phase=number,
        title=row.step.title,
        kind=row.step.kind,
        line=row.step.line,
        state=row.state,
        sentence=row.sentence,
        waits_for=row.waits_for,
        act=row.act,
        run=row.run.pk if row.run else None,
        skip_waits=row.skip_waits,
    )
