"""The page behind the glass: a code and a reason, without a session; and the administrator's presses for codes."""

from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from hawkops.accounts.lockout import TooManyTries
from hawkops.accounts.models import BreakGlassCode
from hawkops.accounts.services.break_glass import (
    OPEN_FOR,
    break_glass_create,
    break_glass_open,
    break_glass_revoke,
)
from hawkops.accounts.views.people import back
from hawkops.accounts.views.signing import BACKEND
from hawkops.core.access import Role, must_everywhere, requires
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import request_id
from hawkops.history.actors import Actor


@login_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def open_glass(request: HttpRequest) -> HttpResponse:
    """Ask for a code and a reason; a right one signs in for an hour. A wrong one counts like a wrong password."""
    context = {"minutes": int(OPEN_FOR.total_seconds() // 60), "reason": request.POST.get("reason", "")}
    if request.method != "POST":
        return render(request, "accounts/break_glass.html", context)
    try:
        user, opened = break_glass_open(
            code=request.POST.get("code", ""),
            reason=request.POST.get("reason", ""),
            address=request.META.get("REMOTE_ADDR", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        status = refusal.status if isinstance(refusal, TooManyTries) else 422
        answer = render(request, "accounts/break_glass.html", {**context, "refusal": refusal.message}, status=status)
        if isinstance(refusal, TooManyTries):
            answer["Retry-After"] = str(refusal.seconds)
        return answer
    login(request, user, backend=BACKEND)
    request.session.set_expiry(opened.open_until)
    return redirect("/production/emergency")


@require_POST
@requires(Role.ADMIN)
def code_make(request: HttpRequest, environment: str) -> HttpResponse:
    """Make a code and show it once."""
    must_everywhere(request.user, Role.ADMIN)
    try:
        _, code = break_glass_create(actor=Actor.person(request.user), request_id=request_id(request))
    except HawkOpsError as refusal:
        return back(request, environment, refusal)
    request.session["shown_key"] = code
    return back(request, environment, None, "A break-glass code is made: print it, seal it, keep it apart.")


@require_POST
@requires(Role.ADMIN)
def code_revoke(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Take a sealed code back."""
    must_everywhere(request.user, Role.ADMIN)
    code = get_object_or_404(BreakGlassCode, pk=pk)
    break_glass_revoke(code=code, actor=Actor.person(request.user), request_id=request_id(request))
    return back(request, environment, None, "The code opens nothing any more.")
