"""Presses for the keys of devices, the tokens of programs and enrolled phones."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from hawkops.accounts.models import ApiToken, DeviceKey, EnrolledPhone, User
from hawkops.accounts.services.credentials import (
    api_token_create,
    api_token_revoke,
    api_token_rotate,
    device_key_create,
    device_key_revoke,
    device_key_rotate,
)
from hawkops.accounts.services.phones import phone_revoke
from hawkops.accounts.views.people import back
from hawkops.core.access import Role, Scope, must_everywhere, requires
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import request_id
from hawkops.history.actors import Actor


@require_POST
@requires(Role.ADMIN)
def key_add(request: HttpRequest, environment: str) -> HttpResponse:
    """Create a device key and show it once."""
    make = partial(
        device_key_create,
        environment=environment,
        name=request.POST.get("name", ""),
        lifetime=None if request.POST.get("never") == "1" else _days(request.POST.get("days", "")),
    )
    return _shown_once(request, environment, make, "The key {} is made.")


def _shown_once(
    request: HttpRequest, environment: str, make: Callable[..., tuple[DeviceKey | ApiToken, str]], said: str
) -> HttpResponse:
    """Make a key or token and show its secret this once, with the sentence about its name; or say why not."""
    try:
        made, secret = make(actor=Actor.person(request.user), request_id=request_id(request))
    except HawkOpsError as refusal:
        return back(request, environment, refusal)
    request.session["shown_key"] = secret
    return back(request, environment, None, said.format(made.name))


def _days(text: str) -> timedelta:
    """Read a number of days; what is none is refused by whoever is given a negative one."""
    return timedelta(days=int(text) if text.isdecimal() and len(text) < 5 else -1)


@require_POST
@requires(Role.ADMIN)
def key_rotate(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Make a key's successor and show it once; both live for some days."""
    key = get_object_or_404(DeviceKey, pk=pk, environment=environment)
    make = partial(device_key_rotate, key=key, overlap=_days(request.POST.get("days", "")))
    return _shown_once(
        request, environment, make, "{} has a successor; devices that carry the old one have until then."
    )


@require_POST
@requires(Role.ADMIN)
def token_rotate(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Make a token's successor and show it once; both live for some days."""
    token = get_object_or_404(ApiToken, pk=pk, environment__in=("", environment))
    if not token.environment:
        must_everywhere(request.user, Role.ADMIN)
    assert isinstance(request.user, User)
    overlap = _days(request.POST.get("days", ""))
    make = partial(api_token_rotate, token=token, overlap=overlap, created_by=request.user)
    return _shown_once(
        request, environment, make, "{} has a successor; give it to the program before the old one ends."
    )


@require_POST
@requires(Role.ADMIN)
def key_revoke(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Revoke a device key."""
    key = get_object_or_404(DeviceKey, pk=pk, environment=environment)
    device_key_revoke(
        key=key,
        actor=Actor.person(request.user),
        reason=request.POST.get("reason", ""),
        request_id=request_id(request),
    )
    return back(request, environment, None, f"The key {key.name} is revoked in every gateway.")


@require_POST
@requires(Role.ADMIN)
def token_add(request: HttpRequest, environment: str) -> HttpResponse:
    """Create an API token for this environment, or for all by who administers all of them, and show it once."""
    everywhere = request.POST.get("everywhere") == "1"
    if everywhere:
        must_everywhere(request.user, Role.ADMIN)
    assert isinstance(request.user, User)
    make = partial(
        api_token_create,
        environment="" if everywhere else environment,
        name=request.POST.get("name", ""),
        scopes=[scope for scope in Scope if scope.value in request.POST.getlist("scopes")],
        lifetime=_days(request.POST.get("days", "")),
        created_by=request.user,
    )
    return _shown_once(request, environment, make, "The token {} is made.")


@require_POST
@requires(Role.ADMIN)
def token_revoke(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Revoke an API token; one that counts in all environments by who administers all of them."""
    token = get_object_or_404(ApiToken, pk=pk, environment__in=("", environment))
    if not token.environment:
        must_everywhere(request.user, Role.ADMIN)
    api_token_revoke(
        token=token,
        actor=Actor.person(request.user),
        reason=request.POST.get("reason", ""),
        request_id=request_id(request),
    )
    return back(request, environment, None, f"The token {token.name} is revoked.")


@require_POST
@requires(Role.ADMIN)
def phone_revoke_any(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Revoke somebody's enrolled phone."""
    phone = get_object_or_404(EnrolledPhone, pk=pk, environment=environment)
    phone_revoke(
        phone=phone,
        actor=Actor.person(request.user),
        reason=request.POST.get("reason", ""),
        request_id=request_id(request),
    )
    return back(request, environment, None, f"{phone.name} of {phone.user.username} is revoked.")
