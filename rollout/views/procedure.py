"""The page of a release's deployment procedure: its steps in order, each with one thing to press. Plain forms throughout."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can, requires
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import render_page
from hawkops.history.actors import Actor
from hawkops.scripts import selectors as scripts
from rollout.models import Release
from rollout.selectors import procedure as selectors
from rollout.selectors.configuration import configuration
from rollout.services import procedure as services

MAY_DO = (Role.RELEASER, Role.OPERATOR)
TAIL_LINES = 5


@require_safe
@requires()
def procedure(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """The three phases with their steps: what each does, where it stands, what it waits for."""
    release = _release(environment, pk)
    found = selectors.procedure(release)
    runs = [row.run for row in found.rows if row.run is not None]
    context = {
        "release": release,
        "procedure": found,
        "summary": found.summary,
        "tails": {
            run.pk: scripts.output(run, after=max(0, run.output_lines - TAIL_LINES), limit=TAIL_LINES) for run in runs
        },
        "configuration": configuration(environment),
        "second_person": selectors.second_person_needed(release),
        "me": Actor.person(request.user).reference,
        "may_do": can(request.user, environment, *MAY_DO),
        "may_approve": can(request.user, environment, Role.APPROVER),
    }
    return render_page(request, "rollout/procedure.html", context)


@require_POST
@requires(*MAY_DO)
def start(request: HttpRequest, environment: str, pk: int, step: str) -> HttpResponse:
    """Run a step's program, or its dry run."""
    dry_run = request.POST.get("dry_run") == "1"
    return _pressed(
        request,
        environment,
        pk,
        step,
        lambda release, actor, request_id: services.step_start(
            release=release, step=step, dry_run=dry_run, actor=actor, request_id=request_id
        ),
        "The dry run is asked for; this page follows it." if dry_run else "The run is asked for; this page follows it.",
    )


@require_POST
@requires(*MAY_DO)
def attest(request: HttpRequest, environment: str, pk: int, step: str) -> HttpResponse:
    """Confirm the settings that were read back."""
    return _pressed(
        request,
        environment,
        pk,
        step,
        lambda release, actor, request_id: services.step_attest(
            release=release,
            step=step,
            digest=request.POST.get("digest", ""),
            note=request.POST.get("note", ""),
            actor=actor,
            request_id=request_id,
        ),
        "Confirmed, in your name.",
    )


@require_POST
@requires(*MAY_DO)
def flags(request: HttpRequest, environment: str, pk: int, step: str) -> HttpResponse:
    """Set the step's flags to 0 %."""
    return _pressed(
        request,
        environment,
        pk,
        step,
        lambda release, actor, request_id: services.step_flags(
            release=release, step=step, actor=actor, request_id=request_id
        ),
        "The flags are at 0 %.",
    )


@require_POST
@requires(*MAY_DO)
def drill(request: HttpRequest, environment: str, pk: int, step: str) -> HttpResponse:
    """Press the switches, or lift what the drill pressed."""
    lift = request.POST.get("lift") == "1"
    act = services.step_drill_end if lift else services.step_drill
    return _pressed(
        request,
        environment,
        pk,
        step,
        lambda release, actor, request_id: act(release=release, step=step, actor=actor, request_id=request_id),
        "The drill is over and its switches are lifted." if lift else "The switches are pressed. Lift them below.",
    )


@require_POST
@requires(*MAY_DO)
def skip(request: HttpRequest, environment: str, pk: int, step: str) -> HttpResponse:
    """Ask to skip a step."""
    return _pressed(
        request,
        environment,
        pk,
        step,
        lambda release, actor, request_id: services.step_skip_ask(
            release=release, step=step, reason=request.POST.get("reason", ""), actor=actor, request_id=request_id
        ),
        "The reason is kept. A second person with the role approver decides."
        if selectors.second_person_needed(_release(environment, pk))
        else "The step is skipped, in your name.",
    )


@require_POST
@requires(Role.APPROVER)
def approve(request: HttpRequest, environment: str, pk: int, step: str) -> HttpResponse:
    """Agree that a step is skipped, as the second person."""
    return _pressed(
        request,
        environment,
        pk,
        step,
        lambda release, actor, request_id: services.step_skip_approve(
            release=release, step=step, actor=actor, request_id=request_id
        ),
        "The step is skipped, in both your names.",
    )


def _pressed(
    request: HttpRequest,
    environment: str,
    pk: int,
    step: str,
    act: Callable[[Release, Actor, str], object],
    words: str,
) -> HttpResponse:
    """Do what was pressed, and show the page with what came of it."""
    release = _release(environment, pk)
    try:
        act(release, Actor.person(request.user), str(getattr(request, "request_id", "")))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, words)
    url = reverse("rollout:procedure", kwargs={"environment": environment, "pk": pk})
    response = HttpResponseRedirect(f"{url}#{step}")
    response.status_code = 303
    return response


def _release(environment: str, pk: int) -> Release:
    return get_object_or_404(Release.objects.select_related("runbook"), pk=pk, environment=environment)
