"""Signing in and out."""

import re

from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from hawkops.accounts.lockout import TooManyTries, try_begin, try_failed, try_succeeded
from hawkops.accounts.models import User
from hawkops.accounts.services.break_glass import break_glass_close
from hawkops.accounts.services.signing import (
    login_link_find,
    login_link_use,
    sign_in_record,
)
from hawkops.core.errors import NotFound
from hawkops.core.htmx import request_id
from hawkops.history.actors import Actor

EMERGENCY = re.compile(r"/[a-z]+/emergency")
BACKEND = "django.contrib.auth.backends.ModelBackend"


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
        login(request, user)
        sign_in_record(user=user, request_id=request_id(request))
        safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
        return redirect(wanted if safe else "/")
    status = 422 if form.is_bound else 200
    if form.is_bound:
        try_failed(**given, request_id=request_id(request))
    # a link from elsewhere keeps an enrolled phone's cookie back; one of our own page doesn't
    emergency = wanted if EMERGENCY.fullmatch(wanted) else ""
    context = {"form": form, "next": wanted, "emergency": emergency, "pause": pause}
    answer = render(request, "accounts/login.html", context, status=pause.status if pause else status)
    if pause:
        answer["Retry-After"] = str(pause.seconds)
    return answer


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out; what a break-glass code opened ends with it."""
    if isinstance(request.user, User) and request.user.breaks_glass:
        break_glass_close(actor=Actor.person(request.user), request_id=request_id(request))
    logout(request)
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
    login(request, user, backend=BACKEND)
    return redirect("/")
