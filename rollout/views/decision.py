"""The page of the go/no-go decision after a phase: what is recommended and why, what was decided, and the bundle."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from hawkops.core import clock
from hawkops.core.access import Role, can, requires
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.core.moments import past
from hawkops.history.actors import Actor
from rollout.domain import decision as domain
from rollout.domain.decision import Decided, Recommendation
from rollout.domain.policy import SIGNING
from rollout.exports import bundle_text
from rollout.models import PhaseDecision, Release
from rollout.selectors import decision as selectors
from rollout.selectors import decision_reasons, phases, policy
from rollout.services import decisions as services

MAY_DECIDE = (Role.APPROVER,)


@require_safe
@requires()
def decision(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """What is recommended after the phase under way, every line with its numbers, and what was decided before."""
    return _page(request, environment, _release(environment, pk))


@require_POST
@requires(*MAY_DECIDE)
def no_go(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Keep a no-go, with its reason; what is refused comes back as it was given."""
    found = _release(environment, pk)
    try:
        kept = services.decision_no_go(
            release=found,
            decided=_decided(request.POST.get("decided", "")),
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _page(request, environment, found, refusal)
    messages.success(
        request, f"Kept: {kept.decided} after phase {kept.number}. It moves no device; pause or abort does."
    )
    return see_other("rollout:decision", environment=environment, pk=pk)


@require_safe
@requires()
def bundle(request: HttpRequest, environment: str, pk: int, number: int) -> HttpResponse:
    """The bundle of a decision, to be verified on any machine."""
    kept = get_object_or_404(PhaseDecision, pk=number, release_id=pk, release__environment=environment)
    response = HttpResponse(bundle_text(selectors.bundle_proven(kept)), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="decision-{environment}-{pk}-{number}.json"'
    return response


def _page(
    request: HttpRequest, environment: str, release: Release, refusal: HawkOpsError | None = None
) -> HttpResponse:
    asked, wrong = request.GET.get("at", ""), ""
    try:
        at = past(asked, now=clock.now())
    except InvalidInput as error:
        at, wrong = None, error.message
    run = selectors.run_judged(release, at=at)
    context: dict[str, Any] = {
        "release": release,
        "run": run,
        "at": at,
        "asked": asked,
        "wrong": wrong,
        "table": domain.TABLE,
        "decisions": selectors.decisions(release),
        "may_decide": can(request.user, environment, *MAY_DECIDE),
        "refusal": refusal.message if refusal else "",
        "given": request.POST,
        "one_person": settings.ONE_PERSON_INSTALLATION,
        "in_production": environment == Environment.PRODUCTION,
        "teams": [team.value for team in SIGNING],
    }
    if run is not None and (found := selectors.state(release, run, now=at or run.ended_at)) is not None:
        context |= _said(found)
        context["under_way"] = run.ended_at is None and at is None
    if run is not None and (following := phases.phase_of(release, run.number + 1)) is not None:
        waiting = policy.proposed(release, following.number)
        context |= {"following": following, "waiting": waiting}
        context["signatures"] = list(waiting.approvals.filter(fell_at=None)) if waiting else []
    return render_page(request, "rollout/decision.html", context, status=422 if refusal else 200)


def _said(found: selectors.State) -> dict[str, Any]:
    """What the page says of a decision: a line stands under the reason to proceed that it belongs to."""
    applies = {one.line.key: one.row for one in found.recommended.reasons if one.line is not None}
    recommended = found.recommended.recommendation
    whys = decision_reasons.whys(found)
    shown = [(one, applies.get(one.line.key), whys[one.line.key]) for one in found.shown]
    return {
        "state": found,
        "recommended": found.recommended,
        "proceeds": recommended is Recommendation.PROCEED,
        "simulated": any(one.simulated for one in found.measured),
        "some_simulated": not all(one.simulated for one in found.measured),
        "rolls_back": recommended is Recommendation.ROLL_BACK,
        "clauses": [(clause, [rows for rows in shown if rows[0].line.clause is clause]) for clause in domain.Clause],
        "applied": {row.key: sum(one.row is row for one in found.recommended.reasons) for row in domain.TABLE},
    }


def _decided(text: str) -> Decided:
    try:
        return Decided(text)
    except ValueError:
        raise InvalidInput("Say whether it is a no-go or a roll back.") from None


def _release(environment: str, pk: int) -> Release:
    try:
        return Release.objects.select_related("runbook").get(pk=pk, environment=environment)
    except Release.DoesNotExist:
        raise Http404 from None
