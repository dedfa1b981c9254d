"""Proposals and freeze windows: what waits for somebody's yes, what it needs, and the times in which nothing is raised."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role, can, requires
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.core.moments import utc
from hawkops.history import selectors as history
from hawkops.history.actors import Actor
from rollout.domain.runbook_diff import text_diff
from rollout.models import FreezeWindow, Proposal
from rollout.selectors import policy
from rollout.services import freezes, waivers
from rollout.services import proposals as services

MAY_PROPOSE = (Role.RELEASER, Role.OPERATOR)
MAY_APPROVE = (Role.APPROVER,)
MAY_FREEZE = (Role.RELEASER, Role.APPROVER)
SHOWN_MOST = 50


@require_safe
@requires()
def proposals(request: HttpRequest, environment: str) -> HttpResponse:
    """What waits for a yes, what was decided, and when nothing is raised."""
    found = Proposal.objects.filter(environment=environment).prefetch_related("approvals")
    context = {
        "open": list(found.filter(state="open")),
        "ended": list(found.exclude(state="open")[:SHOWN_MOST]),
        "freezes": policy.freezes(environment),
        "frozen": policy.freeze(environment),
        "may_freeze": can(request.user, environment, *MAY_FREEZE),
        "one_person": settings.ONE_PERSON_INSTALLATION,
        "now": clock.now(),
    }
    return render_page(request, "rollout/proposals.html", context)


@require_safe
@requires()
def proposal(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """One proposal: what it does, every line it needs, who said yes to what, and the presses."""
    found = get_object_or_404(Proposal, pk=pk, environment=environment)
    approvals = list(found.approvals.all())
    reference = Actor.person(request.user).reference
    context: dict[str, Any] = {
        "proposal": found,
        "approvals": approvals,
        "made_it": reference in found.makers,
        "said_yes": any(one.reference == reference and one.fell_at is None for one in approvals),
        "may_approve": can(request.user, environment, *MAY_APPROVE),
        "may_propose": can(request.user, environment, *MAY_PROPOSE),
        # the first line says only where the comparison begins
        "changes": [(one["name"], text_diff(one["before"], one["after"])[1:]) for one in found.changes],
        "payload": [(name, value) for name, value in found.payload.items() if value not in ("", [], {})],
        "entries": history.entries(environment=environment).filter(subject=f"proposal:{pk}")[:12],
        "one_person": settings.ONE_PERSON_INSTALLATION,
        "signs_for": sorted(request.user.teams()) if isinstance(request.user, User) else [],
    }
    if found.state == "open":
        try:
            context["decision"] = services.decision_of(found)
        except HawkOpsError as refusal:
            context["broken"] = refusal.message
    return render_page(request, "rollout/proposal.html", context)


@require_POST
@requires(*MAY_APPROVE)
def approve(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Say yes; the change happens at once when nothing else is missing."""
    found = get_object_or_404(Proposal, pk=pk, environment=environment)
    assert isinstance(request.user, User)
    try:
        after = services.proposal_approve(
            proposal=found,
            edition=_whole(request, "edition"),
            teams=request.user.teams(),
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        done = "Approved, and done." if after.state == "applied" else "Approved. What is still missing stands below."
        messages.success(request, done)
    return see_other("rollout:proposal", environment=environment, pk=pk)


@require_POST
@requires(*MAY_PROPOSE, *MAY_APPROVE)
def apply(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Carry an approved change out now; every line is looked at again."""
    found = get_object_or_404(Proposal, pk=pk, environment=environment)
    try:
        services.proposal_apply(proposal=found, actor=Actor.person(request.user), request_id=request_id(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"Done: {found.title}.")
    return see_other("rollout:proposal", environment=environment, pk=pk)


@require_POST
@requires(*MAY_PROPOSE)
def edit(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Change the reason, the time, a percentage, or why to disagree; every yes so far falls."""
    found = get_object_or_404(Proposal, pk=pk, environment=environment)
    try:
        payload = None
        if found.kind == "flag.percentage" and request.POST.get("percent", "").strip():
            payload = {**found.payload, "percent": _percent(request.POST["percent"])}
        disagrees = request.POST.get("disagrees", "").strip()
        if found.kind == "phase.start" and disagrees != (found.payload.get("disagrees") or ""):
            payload = {**found.payload, "disagrees": disagrees}
        services.proposal_edit(
            proposal=found,
            edition=_whole(request, "edition"),
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            scheduled_at=moment(request.POST.get("scheduled_at", ""), needed=False),
            payload=payload,
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "Saved. Whoever said yes before must look again.")
    return see_other("rollout:proposal", environment=environment, pk=pk)


@require_POST
@requires(*MAY_PROPOSE, *MAY_APPROVE)
def withdraw(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Take a proposal back, or turn it down."""
    found = get_object_or_404(Proposal, pk=pk, environment=environment)
    try:
        services.proposal_withdraw(
            proposal=found,
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return see_other("rollout:proposal", environment=environment, pk=pk)
    messages.success(request, f"Withdrawn: {found.title}.")
    return see_other("rollout:proposals", environment=environment)


@require_POST
@requires(*MAY_FREEZE)
def freeze(request: HttpRequest, environment: str) -> HttpResponse:
    """Freeze the environment for a time."""
    try:
        ends_at = moment(request.POST.get("ends_at", ""))
        assert ends_at is not None  # refused otherwise
        freezes.freeze_make(
            environment=environment,
            starts_at=moment(request.POST.get("starts_at", ""), needed=False) or clock.now(),
            ends_at=ends_at,
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "Frozen. Kills and rollbacks work as ever.")
    return see_other("rollout:proposals", environment=environment)


@require_POST
@requires(*MAY_FREEZE)
def thaw(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """End a freeze window now."""
    found = get_object_or_404(FreezeWindow, pk=pk, environment=environment)
    try:
        freezes.freeze_end(
            freeze=found,
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "The freeze has ended.")
    return see_other("rollout:proposals", environment=environment)


@require_POST
@requires(*MAY_PROPOSE)
def waive(request: HttpRequest, environment: str, pk: int, check: str) -> HttpResponse:
    """Ask that a box may stay open until a day."""
    try:
        ends = moment(request.POST.get("expires_at", ""))
        assert ends is not None  # refused otherwise
        made = services.proposal_make(
            kind="waiver",
            environment=environment,
            payload={
                "release": pk,
                "box": check,
                "owner": waivers.owner_checked(request.POST.get("owner", "")),
                "expires_at": waivers.expiry_checked(ends).isoformat(),
            },
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return see_other("rollout:checklist", f"#{check}", environment=environment, pk=pk)
    messages.success(request, "Asked. A waiver takes a second person's yes.")
    return see_other("rollout:proposal", environment=environment, pk=made.pk)


def moment(text: str, *, needed: bool = True) -> datetime | None:
    """Read a time as the browser's field writes it, in UTC. Raises InvalidInput."""
    if not text.strip() and not needed:
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput(f"{text[:40]!r} is not a time; write 2026-01-31T14:00, in UTC.") from None
    return utc(found)


def _percent(text: str) -> float:
    try:
        found = float(text.replace(",", "."))
    except ValueError:
        raise InvalidInput(f"{text[:20]!r} is no percentage; write 0 to 100.") from None
    if not 0 <= found <= 100:
        raise InvalidInput(f"{found:g} % is not a percentage; use 0 to 100.")
    return found


def _whole(request: HttpRequest, name: str) -> int:
    given = request.POST.get(name, "")
    if not given.isdecimal() or len(given) > 9:
        raise InvalidInput("The form is incomplete; open the page again.")
    return int(given)
