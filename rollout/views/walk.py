"""A release's whole walk on one page: gates, procedure, phases; what blocks, who can unblock it, what happens next."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from hawkops.core import clock
from hawkops.core.access import Role, can, requires
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.history.actors import Actor
from rollout.domain import gates
from rollout.domain import phases as domain
from rollout.domain.runbook import Phase
from rollout.models import PhaseRun, Proposal, Release, ReleaseComment
from rollout.selectors import census, policy, procedure, report, targeting, validation
from rollout.selectors import phases as selectors
from rollout.selectors import releases as release_selectors
from rollout.services import phases as services
from rollout.services import proposals as proposal_services
from rollout.services.releases import comment_add, release_model_set
from rollout.views import guardrails

MAY_WALK = (Role.RELEASER,)
MAY_STOP = (Role.RELEASER, Role.OPERATOR)


@dataclass(frozen=True)
class Step:
    """One step of a phase on the rail."""

    percent: float
    done: bool
    now: bool
    due_at: datetime | None


@dataclass(frozen=True)
class Stage:
    """One phase on the rail: how it went, or when it may come."""

    phase: Phase
    run: PhaseRun | None
    steps: tuple[Step, ...]
    lasted: str = ""
    overdue: bool = False

    @property
    def state(self) -> str:
        """Its state in one word; empty for one that is to come."""
        return self.run.state if self.run else ""


@require_safe
@requires()
def release(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """The whole walk of one release."""
    found = _release(environment, pk)
    groups = release_selectors.checklist(found)
    summary = release_selectors.Summary(found, groups, request.path)
    run = selectors.run_under_way(found)
    following = selectors.following(found)
    now = clock.now()
    context: dict[str, Any] = {
        "release": found,
        "groups": groups,
        "summary": summary,
        "run": run,
        "following": following,
        "stages": _stages(found, now),
        "headline": _headline(found, run, following, summary),
        "digest": gates.short(found.model_digest),
        "runbook": release_selectors.runbook(found),
        "overdue": release_selectors.runbook(found).next_review < now.date(),
        "comments": list(ReleaseComment.objects.filter(release=found)[:20]),
        "entries": release_selectors.walked(found)[:14],
        "freeze": policy.freeze(environment),
        "procedure": procedure.procedure(found).summary,
        "may_walk": can(request.user, environment, *MAY_WALK),
        "may_stop": can(request.user, environment, *MAY_STOP),
        "one_person": settings.ONE_PERSON_INSTALLATION,
        "others_asked": policy.others_asked(environment),
        "later": [
            phase for phase in release_selectors.runbook(found).phases if following and phase.number > following.number
        ],
    }
    if run is not None:
        context |= _under_way(run, now)
    if (latest := validation.newest(found)) is not None:
        context |= {"validated": validation.state(found, latest, now=now), "report": report.newest(found)}
    if (coming := selectors.next_of(found)) is not None:
        context |= {"waiting": coming.waiting, "decision": coming.decision}
        context["recommendation"] = next((one for one in coming.decision.needs if one.key == "recommendation"), None)
    return render_page(request, "rollout/release.html", context)


def _under_way(run: PhaseRun, now: datetime) -> dict[str, Any]:
    """What the page says of the phase under way: whom it serves, both ways, and how its criteria stand."""
    progress = selectors.progress(run, now=now)
    environment = run.release.environment
    snapshot = targeting.snapshot(environment)
    served = targeting.reach(snapshot, progress.phase.flag, snapshot.flags[progress.phase.flag])
    return {
        "progress": progress,
        "audience": selectors.audience(environment, progress.phase),
        "served": served,
        "reached": census.reach(environment, progress.phase.flag),
        "criteria": selectors.criteria_rows(run.release, progress.phase, now=now, since=run.started_at),
        "guardrails": guardrails.shown(run),
        "late": progress.overdue(now),
        "lasted": domain.spoken(progress.lasted(now)),
    }


def _stages(release: Release, now: datetime) -> list[Stage]:
    runs = {run.number: run for run in PhaseRun.objects.filter(release=release).exclude(state="aborted")}
    found = []
    for phase in release_selectors.runbook(release).phases:
        run = runs.get(phase.number)
        if run is None:
            steps = tuple(Step(percent, False, False, None) for percent in domain.percents(phase))
            found.append(Stage(phase, None, steps))
            continue
        run.release = release
        progress = selectors.progress(run, now=run.ended_at or now)
        interval = timedelta(seconds=run.interval_seconds)
        steps = tuple(
            Step(
                percent,
                index < run.step,
                index == run.step - 1 and run.ended_at is None,
                run.next_at + interval * (index - run.step) if run.next_at and index >= run.step else None,
            )
            for index, percent in enumerate(run.percents)
        )
        late = run.ended_at is None and progress.overdue(now)
        found.append(Stage(phase, run, steps, domain.spoken(progress.lasted(run.ended_at or now)), late))
    return found


def _headline(
    release: Release, run: PhaseRun | None, following: Phase | None, summary: release_selectors.Summary
) -> str:
    name = f"{release.name} {release.app_version}"
    if not release.running:
        return f"{name} was superseded"
    if run is not None:
        phase = selectors.phase_of(release, run.number)
        title = phase.title.lower() if phase else ""
        return f"{name} is in phase {run.number}, {title}" + (", paused" if run.state == "paused" else "")
    if following is None:
        return f"{name} has passed every phase"
    if count := summary.gates_open:
        return f"{name} cannot start phase {following.number} yet: {count} gate{'s are' if count > 1 else ' is'} open"
    return f"{name} is before phase {following.number}"


@require_POST
@requires(*MAY_WALK)
def phase_start(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Start a phase, or propose it where others must say yes. A jump always needs them."""
    found = _release(environment, pk)
    try:
        number = _number(request)
        jump = request.POST.get("jump") == "1"
        payload = services.phase_payload(found, number, jump=jump, disagrees=request.POST.get("disagrees", ""))
        given: dict[str, Any] = {
            "kind": "phase.start",
            "environment": environment,
            "payload": payload,
            "actor": Actor.person(request.user),
            "reason": request.POST.get("reason", ""),
            "request_id": request_id(request),
        }
        proposes = jump or (policy.others_asked(environment) and not settings.ONE_PERSON_INSTALLATION)
        made = proposal_services.proposal_make(**given) if proposes else proposal_services.change_or_propose(**given)
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return _back(environment, pk)
    if isinstance(made, Proposal):
        messages.success(request, "Proposed. It starts when every line is met and each team has said yes.")
        return see_other("rollout:proposal", environment=environment, pk=made.pk)
    messages.success(request, f"Phase {number} has started.")
    return _back(environment, pk)


@require_POST
@requires(*MAY_STOP)
def phase_pause(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Pause the phase under way."""
    found = _release(environment, pk)
    try:
        run = services.phase_pause(release=found, **_common(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"Phase {run.number} is paused." if run else "It is paused already.")
    return _back(environment, pk)


@require_POST
@requires(*MAY_WALK)
def phase_resume(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Go on with the plan."""
    found = _release(environment, pk)
    try:
        run = services.phase_resume(release=found, **_common(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"Phase {run.number} goes on.")
    return _back(environment, pk)


@require_POST
@requires(*MAY_STOP)
def phase_abort(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """End the walk and serve nobody."""
    found = _release(environment, pk)
    try:
        run = services.phase_abort(release=found, **_common(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"Phase {run.number} is aborted; the flag serves nobody.")
    return _back(environment, pk)


@require_POST
@requires(*MAY_WALK)
def model(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Give the release another model."""
    found = _release(environment, pk)
    try:
        moved = release_model_set(
            release=found,
            model_name=request.POST.get("model_name", ""),
            model_digest=request.POST.get("model_digest", ""),
            **_common(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        said = "Changed. Evidence of the model before is stale." if moved else "It has that model already."
        messages.success(request, said)
    return _back(environment, pk)


@require_POST
@requires(*MAY_WALK)
def complete(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Say that the last phase has passed."""
    found = _release(environment, pk)
    try:
        services.release_complete(release=found, disagrees=request.POST.get("disagrees", ""), **_common(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "The last phase has passed.")
    return _back(environment, pk)


@require_POST
@requires(*MAY_STOP, Role.APPROVER, Role.AUDITOR)
def comment(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Say something about the release."""
    found = _release(environment, pk)
    try:
        comment_add(
            release=found,
            text=request.POST.get("text", ""),
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return _back(environment, pk, "#comments")


def _common(request: HttpRequest) -> dict[str, Any]:
    return {
        "actor": Actor.person(request.user),
        "reason": request.POST.get("reason", ""),
        "request_id": request_id(request),
    }


def _number(request: HttpRequest) -> int:
    given = request.POST.get("number", "")
    if not given.isdecimal() or len(given) > 2:
        raise InvalidInput("Say which phase.")
    return int(given)


def _release(environment: str, pk: int) -> Release:
    return get_object_or_404(Release.objects.select_related("runbook"), pk=pk, environment=environment)


def _back(environment: str, pk: int, fragment: str = "") -> HttpResponse:
    return see_other("rollout:release", fragment, environment=environment, pk=pk)
