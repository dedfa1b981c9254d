"""The second step of signing in, and how a person proves a factor. Whoever has none is in after the first step."""

import time
from dataclasses import dataclass

from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.crypto import constant_time_compare
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from hawkops.accounts import passkeys
from hawkops.accounts.lockout import TooManyTries, try_begin, try_failed, try_succeeded
from hawkops.accounts.models import User
from hawkops.accounts.selectors import factors, has_factor
from hawkops.accounts.services.factors import PASSKEY, code_spend, factor_used
from hawkops.accounts.services.signing import sign_in_record
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import request_id

BACKEND = "django.contrib.auth.backends.ModelBackend"
# in the session of nobody yet: who has done the first step
WAITING = "second_step"
WAITING_SECONDS = 600


@dataclass(frozen=True)
class _Waiting:
    user: User
    by: str
    wanted: str


def first_step(request: HttpRequest, user: User, *, by: str, wanted: str = "/") -> HttpResponse:
    """Sign in whoever has no factor; ask everybody else for theirs."""
    if not has_factor(user):
        return enter_person(request, user, by=by, wanted=wanted)
    logout(request)
    request.session[WAITING] = {
        "user": user.pk,
        # a new password, too, ends what waits
        "hash": user.get_session_auth_hash(),
        "by": by,
        "wanted": wanted,
        "at": time.time(),
    }
    return redirect("accounts:second")


def enter_person(request: HttpRequest, user: User, *, by: str, factor: str = "", wanted: str = "/") -> HttpResponse:
    """Begin the session of whoever has proven what it takes."""
    request.session.pop(WAITING, None)
    login(request, user, backend=BACKEND)
    sign_in_record(user=user, by=by, factor=factor, request_id=request_id(request))
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return redirect(wanted if safe else "/")


def _waiting(request: HttpRequest) -> _Waiting | None:
    held = request.session.get(WAITING)
    if not held or time.time() - held["at"] > WAITING_SECONDS:
        return None
    user = User.objects.filter(pk=held["user"], is_active=True).first()
    if user is None or not constant_time_compare(user.get_session_auth_hash(), held["hash"]):
        return None
    return _Waiting(user, held["by"], held["wanted"])


@login_not_required
@require_http_methods(["GET", "POST"])
def second(request: HttpRequest) -> HttpResponse:
    """Ask for a code or a passkey of whoever has done the first step."""
    found = _waiting(request)
    if found is None:
        return redirect("accounts:login")
    refusal: HawkOpsError | None = None
    if request.method == "POST":
        try:
            factor = prove(request, found.user, recovery=True)
            return enter_person(request, found.user, by=found.by, factor=factor, wanted=found.wanted)
        except HawkOpsError as error:
            refusal = error
    status = 200 if refusal is None else 422 if isinstance(refusal, InvalidInput) else refusal.status
    context = {"person": found.user, "factors": factors(found.user), "refusal": refusal}
    answer = render(request, "accounts/second.html", context, status=status)
    if isinstance(refusal, TooManyTries):
        answer["Retry-After"] = str(refusal.seconds)
    return answer


@login_not_required
@require_POST
def second_options(request: HttpRequest) -> HttpResponse:
    """Return what the browser needs to show a passkey of whoever has done the first step."""
    found = _waiting(request)
    if found is None:
        raise Http404
    return JsonResponse(passkeys.options(found.user))


def prove(request: HttpRequest, user: User, *, recovery: bool = False) -> str:
    """Return the factor that a form proves. Raises InvalidInput, and TooManyTries before anything is looked at."""
    given = {"name": user.get_username(), "address": request.META.get("REMOTE_ADDR", "")}
    try_begin(**given, codes=True)
    try:
        found = _proven(request, user, recovery=recovery)
    except InvalidInput:
        try_failed(**given, codes=True, request_id=request_id(request))
        raise
    try_succeeded(**given, codes=True)
    return found


def _proven(request: HttpRequest, user: User, *, recovery: bool) -> str:
    if credential := request.POST.get("credential"):
        factor_used(factor=passkeys.shown(credential, user)[1])
        return PASSKEY
    code = request.POST.get("code", "")[:40]
    found = code_spend(user=user, code=code, recovery=recovery, request_id=request_id(request)) if code else ""
    if not found:
        raise InvalidInput("That code is wrong, or was used already. Wait for the next one.")
    return found
