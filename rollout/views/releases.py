"""Pages of releases: the list, and the pre-deployment checklist."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can, requires
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import render_page
from hawkops.history.actors import Actor
from rollout.models import Release
from rollout.selectors import releases as selectors
from rollout.services import releases as services

MAY_TICK = (Role.RELEASER, Role.OPERATOR, Role.APPROVER)
# Which script a box's check reads, so that the row can run it.
SCRIPTS = {
    "script.performance": "run_litert_performance_tests.sh",
    "script.memory": "scripts/test-memory-usage.sh",
    "script.switching": "scripts/test-backend-switching.sh",
}


def _request_id(request: HttpRequest) -> str:
    return str(getattr(request, "request_id", ""))


@require_safe
@requires()
def releases(request: HttpRequest, environment: str) -> HttpResponse:
    """The releases of the environment, and the form for a new one."""
    found = selectors.releases(environment)
    running = next((release for release in found if release.running), None)
    context = {
        "releases": found,
        "running": running,
        "backends": services.BACKENDS,
        "may_change": can(request.user, environment, Role.RELEASER),
    }
    return render_page(request, "rollout/release_list.html", context)


@require_POST
@requires(Role.RELEASER)
def create(request: HttpRequest, environment: str) -> HttpResponse:
    """Begin a release."""
    code = request.POST.get("version_code", "0").strip() or "0"
    try:
        release = services.release_create(
            environment=environment,
            name=request.POST.get("name", ""),
            app_version=request.POST.get("app_version", ""),
            version_code=int(code) if code.isdigit() else 0,
            model_name=request.POST.get("model_name", ""),
            model_digest=request.POST.get("model_digest", ""),
            backends=request.POST.getlist("backends"),
            actor=Actor.person(request.user),
            request_id=_request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return _see("rollout:releases", environment=environment)
    messages.success(request, f"{release.name} {release.app_version} begins its walk through the runbook.")
    return _see("rollout:checklist", environment=environment, pk=release.pk)


@require_safe
@requires()
def checklist(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """The runbook's boxes and gates, each with what it stands on."""
    release = get_object_or_404(Release.objects.select_related("runbook"), pk=pk, environment=environment)
    groups = selectors.checklist(release)
    context = {
        "release": release,
        "groups": groups,
        "passed": sum(group.passed for group in groups),
        "total": sum(group.total for group in groups),
        "open": sum(group.open for group in groups),
        "may_tick": can(request.user, environment, *MAY_TICK),
        "scripts": SCRIPTS,
        "runbook": release.runbook.document,
    }
    return render_page(request, "rollout/checklist.html", context)


@require_POST
@requires(*MAY_TICK)
def tick(request: HttpRequest, environment: str, pk: int, check: str) -> HttpResponse:
    """Tick or untick a box by hand, with a note or link."""
    release = get_object_or_404(Release.objects.select_related("runbook"), pk=pk, environment=environment)
    try:
        services.check_tick(
            release=release,
            box=check,
            ticked=request.POST.get("ticked") == "1",
            note=request.POST.get("note", ""),
            link=request.POST.get("link", ""),
            actor=Actor.person(request.user),
            request_id=_request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return _see("rollout:checklist", f"#{check}", environment=environment, pk=pk)


@require_POST
@requires(*MAY_TICK)
def refresh(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Run every automatic check now."""
    release = get_object_or_404(Release.objects.select_related("runbook"), pk=pk, environment=environment)
    changed = services.evidence_refresh(release=release)
    messages.success(request, f"Every automatic check ran; {changed} verdict{'' if changed == 1 else 's'} changed.")
    return _see("rollout:checklist", environment=environment, pk=pk)


def _see(name: str, fragment: str = "", **kwargs: object) -> HttpResponse:
    response = redirect(name, **kwargs)
    response["Location"] += fragment
    response.status_code = 303
    return response
