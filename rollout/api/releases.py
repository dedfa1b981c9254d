"""`/api/v1/ENVIRONMENT/releases`: releases, their checklists, ticks and evidence. Phases get a module of their own."""

from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema

from hawkops.accounts.api import asks, who
from hawkops.accounts.models import User
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body
from hawkops.core.errors import NotAllowed, NotFound
from hawkops.core.verdicts import Verdict, worst
from hawkops.scripts.exports import run_document
from rollout.domain import gates
from rollout.models import Release, Waiver
from rollout.selectors import releases as selectors
from rollout.services import releases as services

MAY_TICK = (Role.RELEASER,)
MAY_RUN = (Role.RELEASER, Role.OPERATOR)

router = Router(tags=["Releases"])


class ReleaseBody(Body):
    """A release that begins its walk; `supersede` ends the one that is under way."""

    name: str
    app_version: str
    version_code: int
    model_name: str
    model_digest: str
    backends: list[Literal["cpu", "gpu", "npu"]]
    supersede: bool = False
    reason: str = ""


class ModelBody(Body):
    """Another model for a release under way, and why."""

    model_name: str
    model_digest: str
    reason: str


class TickBody(Body):
    """A word on a box that does not tick itself: what was seen, or a link to it."""

    ticked: bool
    note: str = ""
    link: str = ""


class ReleaseOut(Schema):
    """A release."""

    release: int
    environment: str
    name: str
    app_version: str
    version_code: int
    model_name: str
    model_digest: str
    backends: list[str]
    runbook: str
    running: bool
    created_by: str
    created_at: datetime


class ReleasesOut(Schema):
    """All releases, newest first."""

    releases: list[ReleaseOut]


class WaiverOut(Schema):
    """Why a box may stay open, who answers for it, and who said so; it ends by itself."""

    reason: str
    owner: str
    by: str
    expires_at: datetime


class BoxOut(Schema):
    """A box of the checklist: its verdict with its sentence, what that stands on, and its waiver if it has one."""

    check: str
    title: str
    automatic: bool
    scripts: list[str]
    verdict: Verdict
    sentence: str
    basis: str
    synthetic: bool
    in_scope: bool
    at: datetime | None
    expires_at: datetime | None
    waiver: WaiverOut | None


class ChecklistGroupOut(Schema):
    """A group of boxes; `measured_in` names the environment that speaks for it, if that is another one."""

    key: str
    title: str
    measured_in: str
    boxes: list[BoxOut]


class ChecklistOut(Schema):
    """The checklist as it stands; the release may go on only when every box passes (`verdict`) or is waived.

    `after_phases` are the groups that must hold after each phase, which count for the next one and for the end.
    """

    release: int
    verdict: Verdict
    headline: str
    boxes_total: int
    boxes_passed: int
    boxes_waived: int
    checked_at: datetime | None
    groups: list[ChecklistGroupOut]
    after_phases: list[ChecklistGroupOut]


class TickedOut(Schema):
    """Whether a tick changed anything, and where the box stands now."""

    changed: bool
    box: BoxOut


class AskedOut(Schema):
    """That workers were asked."""

    release: int
    asked: bool


@router.get("/{environment}/releases", response=ReleasesOut, **asks(Scope.READ))
def releases(request: HttpRequest, environment: str) -> ReleasesOut:
    """Every release of the environment."""
    return ReleasesOut(releases=[release_out(one) for one in selectors.releases(environment)])


@router.post("/{environment}/releases", response={201: ReleaseOut}, **asks(Scope.RELEASES_WRITE, Role.RELEASER))
def release_create(request: HttpRequest, response: HttpResponse, environment: str, body: ReleaseBody) -> ReleaseOut:
    """Begin a release. It pins the newest runbook."""
    made = services.release_create(
        environment=environment,
        name=body.name,
        app_version=body.app_version,
        version_code=str(body.version_code),
        model_name=body.model_name,
        model_digest=body.model_digest,
        backends=list(body.backends),
        supersede=body.supersede,
        reason=body.reason,
        **who(request),
    )
    response["Location"] = f"/api/v1/{environment}/releases/{made.pk}"
    return release_out(made)


@router.get("/{environment}/releases/{int:pk}", response=ReleaseOut, **asks(Scope.READ))
def release(request: HttpRequest, environment: str, pk: int) -> ReleaseOut:
    """One release."""
    return release_out(release_found(environment, pk))


@router.put("/{environment}/releases/{int:pk}/model", response=ReleaseOut, **asks(Scope.RELEASES_WRITE, Role.RELEASER))
def release_model(request: HttpRequest, environment: str, pk: int, body: ModelBody) -> ReleaseOut:
    """Give the release another model: evidence of the one before is stale, and every yes so far falls."""
    found = release_found(environment, pk)
    services.release_model_set(
        release=found,
        model_name=body.model_name,
        model_digest=body.model_digest,
        reason=body.reason,
        **who(request),
    )
    return release_out(found)


@router.get("/{environment}/releases/{int:pk}/checklist", response=ChecklistOut, **asks(Scope.READ))
def checklist(request: HttpRequest, environment: str, pk: int) -> ChecklistOut:
    """The runbook's boxes as stored evidence and people's words leave them; nothing is probed."""
    found = release_found(environment, pk)
    groups = selectors.checklist(found)
    summary = selectors.Summary(found, groups, request.path)
    return ChecklistOut(
        release=found.pk,
        verdict=worst([row.standing.verdict for group in groups for row in group.rows]),
        headline=gates.headline(summary.counts),
        boxes_total=summary.gates_total,
        boxes_passed=summary.gates_passed,
        boxes_waived=summary.waived,
        checked_at=selectors.evidence_checked_at(found),
        groups=[_group(group) for group in groups],
        after_phases=[_group(group) for group in selectors.after_phases(found)],
    )


@router.put(
    "/{environment}/releases/{int:pk}/checklist/{check}", response=TickedOut, **asks(Scope.EVIDENCE_WRITE, *MAY_TICK)
)
def check_tick(request: HttpRequest, environment: str, pk: int, check: str, body: TickBody) -> TickedOut:
    """Tick or untick a box by hand; one that ticks itself from evidence refuses."""
    found = release_found(environment, pk)
    if not isinstance(request.user, User):
        raise NotAllowed("A tick is a person's word: sign in. A program uploads evidence or runs the check.")
    moved = services.check_tick(
        release=found, box=check, ticked=body.ticked, note=body.note, link=body.link, **who(request)
    )
    groups = [*selectors.checklist(found), *selectors.after_phases(found)]
    rows = (row for group in groups for row in group.rows)
    return TickedOut(changed=moved, box=next(_box(row) for row in rows if row.box.key == check))


@router.post(
    "/{environment}/releases/{int:pk}/checklist/{check}/run",
    response={201: dict[str, Any]},
    **asks(Scope.EVIDENCE_WRITE, *MAY_RUN),
)
def check_run(request: HttpRequest, response: HttpResponse, environment: str, pk: int, check: str) -> dict[str, Any]:
    """Queue the script that ticks a box; the answer is the run, in the environment where the box is measured."""
    run = services.check_run(release=release_found(environment, pk), box=check, **who(request))
    response["Location"] = f"/api/v1/{run.environment}/runs/{run.pk}"
    return run_document(run)


@router.post(
    "/{environment}/releases/{int:pk}/evidence/refresh",
    response={202: AskedOut},
    **asks(Scope.EVIDENCE_WRITE, *MAY_RUN),
)
def evidence_refresh(request: HttpRequest, environment: str, pk: int) -> AskedOut:
    """Have every automatic check asked now, by a worker."""
    found = release_found(environment, pk)
    services.EVIDENCE_REFRESH.enqueue(release_id=found.pk, at_once=True)
    return AskedOut(release=found.pk, asked=True)


def _group(group: selectors.Group) -> ChecklistGroupOut:
    return ChecklistGroupOut(
        key=group.key, title=group.title, measured_in=group.measured_in, boxes=[_box(row) for row in group.rows]
    )


def release_found(environment: str, pk: int) -> Release:
    """Return a release of the environment. Raises NotFound."""
    found = Release.objects.select_related("runbook").filter(pk=pk, environment=environment).first()
    if found is None:
        raise NotFound(f"There is no release {pk} in {environment}.")
    return found


def release_out(one: Release) -> ReleaseOut:
    """Return a release as the API and commands say it."""
    return ReleaseOut(
        release=one.pk,
        environment=one.environment,
        name=one.name,
        app_version=one.app_version,
        version_code=one.version_code,
        model_name=one.model_name,
        model_digest=one.model_digest,
        backends=one.backends,
        runbook=one.runbook.version,
        running=one.running,
        created_by=one.created_by,
        created_at=one.created_at,
    )


def _box(row: selectors.Row) -> BoxOut:
    return BoxOut(
        check=row.box.key,
        title=row.box.title,
        automatic=row.box.automatic,
        scripts=list(row.box.scripts),
        verdict=row.standing.verdict,
        sentence=row.standing.sentence,
        basis=row.standing.basis.value,
        synthetic=row.standing.synthetic,
        in_scope=row.standing.in_scope,
        at=row.standing.at,
        expires_at=row.standing.expires_at,
        waiver=_waiver(row.waiver) if row.waiver else None,
    )


def _waiver(one: Waiver) -> WaiverOut:
    return WaiverOut(reason=one.reason, owner=one.owner, by=one.by, expires_at=one.expires_at)
