"""Signing in and out."""

import re

from django.contrib.auth import logout
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from hawkops.accounts import passkeys
from hawkops.accounts.lockout import TooManyTries, try_begin, try_failed, try_succeeded
from hawkops.accounts.models import User
from hawkops.accounts.services.break_glass import break_glass_close
from hawkops.accounts.services.factors import PASSKEY, factor_used
from hawkops.accounts.services.signing import (
    login_link_find,
    login_link_use,
    sign_out_record,
)
from hawkops.accounts.views.oidc import set_up
from hawkops.accounts.views.second import enter_person, first_step
from hawkops.core.errors import HawkOpsError, NotFound
from hawkops.core.htmx import request_id
from hawkops.history.actors import Actor

EMERGENCY = re.compile(r"/[a-z]+/emergency")


@login_not_required
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in with a password. Known and unknown names are answered alike, also when there were too many tries."""
    form = AuthenticationForm(request, request.POST or None)
    given = {"name": request.POST.get("username", ""), "address": request.META.get("REMOTE_ADDR", "")}
    pause = None
    wanted = request.POST.get("next") or request.GET.get("next") or "/"
    if form.is_bound:
        try:
            try_begin(**given)
        except TooManyTries as refusal:
            pause, form = refusal, AuthenticationForm(request, initial={"username": given["name"]})
    if form.is_bound and form.is_valid():
        user = form.get_user()
        assert isinstance(user, User)
        try_succeeded(**given)
        return first_step(request, user, by="password", wanted=wanted)
    status = 422 if form.is_bound else 200
    if form.is_bound:
        try_failed(**given, request_id=request_id(request))
    answer = _page(request, form, wanted, pause, status=pause.status if pause else status)
    if pause:
        answer["Retry-After"] = str(pause.seconds)
    return answer


def _page(
    request: HttpRequest, form: AuthenticationForm, wanted: str, refusal: HawkOpsError | None, *, status: int
) -> HttpResponse:
    # a link from elsewhere keeps an enrolled phone's cookie back; one of our own page doesn't
    emergency = wanted if EMERGENCY.fullmatch(wanted) else ""
    context = {"form": form, "next": wanted, "emergency": emergency, "refusal": refusal, "oidc": set_up()}
    return render(request, "accounts/login.html", context, status=status)


@login_not_required
@require_POST
def passkey_options(request: HttpRequest) -> HttpResponse:
    """Return what the browser needs to show any passkey of this host."""
    return JsonResponse(passkeys.options(None))


@login_not_required
@require_POST
def passkey_sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in by a passkey: its device has asked its owner, so it is both steps at once."""
    wanted = request.POST.get("next") or "/"
    # nobody is named before the answer is read, so only the address can wait
    given = {"name": "", "address": request.META.get("REMOTE_ADDR", "")}
    try:
        try_begin(**given)
        user, factor = passkeys.shown(request.POST.get("credential", ""), None)
    except TooManyTries as pause:
        return _page(request, AuthenticationForm(request), wanted, pause, status=pause.status)
    except HawkOpsError as refusal:
        try_failed(**given, request_id=request_id(request))
        return _page(request, AuthenticationForm(request), wanted, refusal, status=422)
    try_succeeded(**given)
    factor_used(factor=factor)
    return enter_person(request, user, by=PASSKEY, wanted=wanted)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out; what a break-glass code opened ends with it."""
    user = request.user
    if isinstance(user, User) and user.breaks_glass:
        break_glass_close(actor=Actor.person(user), request_id=request_id(request))
    logout(request)
    if isinstance(user, User):
        sign_out_record(user=user, request_id=request_id(request))
    return redirect("accounts:login")


@login_not_required
@require_http_methods(["GET", "POST"])
def enter(request: HttpRequest, token: str) -> HttpResponse:
    """Show the button of a one-time link; pressing it signs in. Link previews can't spend the link."""
    try:
        if request.method == "GET":
            return render(request, "accounts/enter.html", {"person": login_link_find(token=token).user})
        user = login_link_use(token=token, request_id=request_id(request))
    except NotFound as refusal:
        return render(request, "accounts/enter.html", {"refusal": refusal.message}, status=404)
    return first_step(request, user, by="login link")
