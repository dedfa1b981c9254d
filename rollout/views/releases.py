"""Pages of releases: the list, and the pre-deployment checklist. They read what checks stored and never probe."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can, requires
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.history.actors import Actor
from rollout.domain import gates
from rollout.models import Release
from rollout.selectors import releases as selectors
from rollout.selectors.runbooks import overdue_since
from rollout.services import releases as services

MAY_TICK = (Role.RELEASER,)
MAY_RUN = (Role.RELEASER, Role.OPERATOR)


@require_safe
@requires()
def releases(request: HttpRequest, environment: str) -> HttpResponse:
    """The releases of the environment, and the form for a new one."""
    return _list(request, environment)


@require_POST
@requires(Role.RELEASER)
def create(request: HttpRequest, environment: str) -> HttpResponse:
    """Begin a release; what is refused comes back filled in, with the reason."""
    try:
        release = services.release_create(
            environment=environment,
            name=request.POST.get("name", ""),
            app_version=request.POST.get("app_version", ""),
            version_code=request.POST.get("version_code", ""),
            model_name=request.POST.get("model_name", ""),
            model_digest=request.POST.get("model_digest", ""),
            backends=request.POST.getlist("backends"),
            supersede=request.POST.get("supersede") == "1",
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _list(request, environment, refusal)
    messages.success(request, f"{release.name} {release.app_version} begins its walk through the runbook.")
    return see_other("rollout:checklist", environment=environment, pk=release.pk)


def _list(request: HttpRequest, environment: str, refusal: HawkOpsError | None = None) -> HttpResponse:
    found = selectors.releases(environment)
    version = selectors.runbook_latest()
    document = selectors.runbook_of(version) if version else None
    context = {
        "releases": found,
        "running": next((release for release in found if release.running), None),
        "backends": services.BACKENDS,
        "may_change": can(request.user, environment, Role.RELEASER),
        "runbook": document,
        "overdue": overdue_since(document) if document else None,
        "refusal": refusal.message if refusal else "",
        "given": request.POST,
        "given_backends": request.POST.getlist("backends") if refusal else ["cpu"],
    }
    return render_page(request, "rollout/release_list.html", context, status=refusal.status if refusal else 200)


@require_safe
@requires()
def checklist(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """The runbook's boxes and gates, each with what it stands on."""
    release = _release(environment, pk)
    groups = selectors.checklist(release)
    summary = selectors.Summary(release, groups, request.path)
    document = selectors.runbook(release)
    context = {
        "release": release,
        "groups": [*groups, *selectors.after_phases(release)],
        "summary": summary,
        "headline": gates.headline(summary.counts),
        "digest": gates.short(release.model_digest),
        "runbook": document,
        "overdue": overdue_since(document),
        "checked_at": selectors.evidence_checked_at(release),
        "may_tick": can(request.user, environment, *MAY_TICK),
        "may_run": can(request.user, environment, *MAY_RUN),
        "may_waive": can(request.user, environment, *MAY_RUN),
    }
    return render_page(request, "rollout/checklist.html", context)


@require_POST
@requires(*MAY_TICK)
def tick(request: HttpRequest, environment: str, pk: int, check: str) -> HttpResponse:
    """Tick or untick a box by hand, with a note or link."""
    release = _release(environment, pk)
    ticked = request.POST.get("ticked") == "1"
    try:
        moved = services.check_tick(
            release=release,
            box=check,
            ticked=ticked,
            note=request.POST.get("note", ""),
            link=request.POST.get("link", ""),
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        if moved:
            messages.success(request, "Ticked, in your name." if ticked else "Unticked, in your name.")
        else:
            messages.info(request, "It was not ticked, so nothing changed.")
    return see_other("rollout:checklist", f"#{check}", environment=environment, pk=pk)


@require_POST
@requires(*MAY_RUN)
def run(request: HttpRequest, environment: str, pk: int, check: str) -> HttpResponse:
    """Run the script that ticks a box, and watch it."""
    release = _release(environment, pk)
    try:
        queued = services.check_run(
            release=release, box=check, actor=Actor.person(request.user), request_id=request_id(request)
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return see_other("rollout:checklist", f"#{check}", environment=environment, pk=pk)
    return see_other("scripts:run", environment=queued.environment, pk=queued.pk)


@require_POST
@requires(*MAY_RUN)
def refresh(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Have every automatic check asked now, by a worker."""
    release = _release(environment, pk)
    services.EVIDENCE_REFRESH.enqueue(release_id=release.pk, at_once=True)
    messages.info(request, "Every automatic check is being asked; this page follows as they answer.")
    return see_other("rollout:checklist", environment=environment, pk=pk)


def _release(environment: str, pk: int) -> Release:
    return get_object_or_404(Release.objects.select_related("runbook"), pk=pk, environment=environment)
