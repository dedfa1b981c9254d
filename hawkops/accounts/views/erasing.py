"""Erasing a person: the page that says what goes and what stays, and the press; and what holds it."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from hawkops.accounts.models import User
from hawkops.accounts.services.erasing import REASON_MOST, person_erase
from hawkops.accounts.services.holds import hold_lift, hold_of, hold_set
from hawkops.core.access import Role, requires_everywhere
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import request_id
from hawkops.history.actors import Actor


@require_safe
@requires_everywhere(Role.ADMIN)
def before(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """What goes, what stays, and the form."""
    return _form(request, get_object_or_404(User, pk=pk, is_active=True))


@require_POST
@requires_everywhere(Role.ADMIN)
def press(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Forget somebody for good, when their name is typed; then say what remains. Nothing is redirected: it is said once."""
    person = get_object_or_404(User, pk=pk, is_active=True)
    if request.POST.get("name", "").strip() != person.username:
        return _form(request, person, "Type the name as it stands here: what is erased can't be had back.")
    try:
        found = person_erase(
            user=person,
            reason=request.POST.get("reason", ""),
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _form(request, person, refusal.message)
    return render(request, "accounts/erase.html", {"erased": found})


@require_POST
@requires_everywhere(Role.ADMIN)
def hold(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Hold what is kept of somebody: a case needs it."""
    return _held(request, environment, pk, hold_set)


@require_POST
@requires_everywhere(Role.ADMIN)
def lift(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Lift somebody else's hold."""
    return _held(request, environment, pk, hold_lift)


def _held(request: HttpRequest, environment: str, pk: int, press: Callable[..., object]) -> HttpResponse:
    person = get_object_or_404(User, pk=pk, is_active=True)
    try:
        press(
            user=person,
            reason=request.POST.get("hold_reason", ""),
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return redirect("accounts:person_erase", environment=environment, pk=pk)


def _form(request: HttpRequest, person: User, refusal: str = "") -> HttpResponse:
    context = {
        "person": person,
        "refusal": refusal,
        "reason": request.POST.get("reason", ""),
        "reason_most": REASON_MOST,
        "held": hold_of(person),
    }
    return render(request, "accounts/erase.html", context, status=422 if refusal else 200)
