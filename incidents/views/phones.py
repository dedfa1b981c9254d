"""Enrolling this browser, and the one small page that an enrolled phone gets once its session has expired."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from hawkops.accounts.models import EnrolledPhone, User
from hawkops.accounts.services.phones import LIFETIME, MAY_USE, phone_enrol, phone_find, phone_refusal
from hawkops.core.access import requires, stops
from hawkops.core.errors import HawkOpsError, NotAllowed
from hawkops.core.htmx import request_id, see_other
from hawkops.history.actors import Actor
from incidents import reasons
from incidents.services.phones import phone_kill

COOKIE = "hawkops_phone"
View = Callable[..., HttpResponse]


def door(view: View) -> View:
    """Let a stranger's enrolled phone have the small page; every other stranger signs in, and people see the page."""

    @login_not_required
    @wraps(view)
    def guarded(request: HttpRequest, environment: str) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, environment=environment)
        phone = phone_of(request, environment)
        # a page that is still open asks for its parts: it hears that the session is over, and comes back whole
        whole = request.method in ("GET", "HEAD") and "part" not in request.GET
        if phone is None or phone_refusal(phone) or not whole:
            return redirect_to_login(request.get_full_path())
        return _small(request, {"phone": phone, "reasons": reasons.KILL})

    return guarded


def phone_of(request: HttpRequest, environment: str) -> EnrolledPhone | None:
    """Return the phone that this browser is enrolled as, live or not; None for none. One query."""
    return phone_find(secret=request.COOKIES.get(COOKIE, ""), environment=environment)


def this_phone(request: HttpRequest, environment: str) -> dict[str, Any]:
    """Return what the page says of this browser."""
    phone = phone_of(request, environment)
    return {"phone": phone, "phone_refusal": phone_refusal(phone) if phone is not None else ""}


def _small(request: HttpRequest, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    response = render(request, "incidents/phone.html", context, status=status)
    response["Cache-Control"] = "no-store"
    return response


@stops
@login_not_required
@require_POST
def phone_kill_press(request: HttpRequest, environment: str) -> HttpResponse:
    """Kill, by an enrolled phone. Asks for the cookie alone, so that it works when nothing else does."""
    phone = phone_of(request, environment)
    if phone is None:
        return redirect_to_login(request.get_full_path().removesuffix("/phone/kill"))
    given = reasons.reason(request.POST.get("reason", ""), "", otherwise="Production incident")
    try:
        entry = phone_kill(phone=phone, reason=given, request_id=request_id(request))
    except NotAllowed as refusal:
        return _small(request, {"refusal": refusal.message}, status=refusal.status)
    return _small(request, {"phone": phone, "done": True, "killed": entry is not None})


@require_POST
@requires(*MAY_USE)
def enrol(request: HttpRequest, environment: str) -> HttpResponse:
    """Enrol this browser."""
    assert isinstance(request.user, User)
    back = see_other("incidents:emergency", "#phone", environment=environment)
    try:
        phone, secret = phone_enrol(
            user=request.user,
            environment=environment,
            name=request.POST.get("name", ""),
            replaces=request.COOKIES.get(COOKIE, ""),
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return back
    back.set_cookie(
        COOKIE,
        secret,
        max_age=int(LIFETIME.total_seconds()),
        path=f"/{environment}/emergency",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )
    messages.success(
        request, f"{phone.name} is enrolled until {phone.expires_at:%d %B}: it may kill without a session."
    )
    return back
