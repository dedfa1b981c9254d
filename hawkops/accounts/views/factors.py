"""One's own factors: the authenticator app, passkeys, recovery codes. Each press asks for a recent login."""

import base64
import io

import qrcode
from allauth.mfa.adapter import get_adapter
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST
from qrcode.image.svg import SvgPathImage

from hawkops.accounts import passkeys
from hawkops.accounts.models import User
from hawkops.accounts.services.factors import (
    app_add,
    app_remove,
    app_secret,
    passkey_add,
    passkey_remove,
    passkey_rename,
    recovery_codes_make,
)
from hawkops.accounts.views.confirming import confirm_first
from hawkops.core.errors import HawkOpsError, NotFound
from hawkops.core.htmx import request_id, see_other
from hawkops.core.recent import NeedsRecentLogin, must_be_recent
from hawkops.core.sealing import seal, unseal

# in the session, sealed: what the app is shown, and the codes until they have been seen
SECRET, SHOWN_CODES = "app_secret", "shown_codes"


@require_POST
def app_begin(request: HttpRequest) -> HttpResponse:
    """Make a secret for an authenticator app, which does not count yet."""
    must_be_recent()
    request.session[SECRET] = seal(app_secret())
    return see_other("accounts:app")


@require_http_methods(["GET", "POST"])
def app(request: HttpRequest) -> HttpResponse:
    """Show the secret as a picture and as text; a code that the app makes of it adds the app."""
    user = _user(request)
    secret = unseal(request.session.get(SECRET, ""))
    if not secret:
        return redirect("accounts:profile")
    refusal = ""
    if request.method == "POST":
        try:
            codes = app_add(
                user=user, secret=secret, code=request.POST.get("code", "")[:40], request_id=request_id(request)
            )
        except HawkOpsError as error:
            refusal = error.message
        else:
            del request.session[SECRET]
            return _added(request, codes, "The authenticator app is added: signing in asks for its code from now on.")
    url = get_adapter().build_totp_url(user, secret)
    spaced = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    context = {"picture": picture(url), "secret": spaced, "url": url, "refusal": refusal}
    return render(request, "accounts/app.html", context, status=422 if refusal else 200)


def picture(text: str) -> str:
    """Return a QR code as the address of an SVG, which the content policy lets an image have."""
    out = io.BytesIO()
    qrcode.make(text, image_factory=SvgPathImage).save(out)
    return f"data:image/svg+xml;base64,{base64.b64encode(out.getvalue()).decode()}"


@require_POST
def app_remove_press(request: HttpRequest) -> HttpResponse:
    """Remove the authenticator app."""
    try:
        app_remove(user=_user(request), request_id=request_id(request))
    except HawkOpsError as refusal:
        return _back(request, refusal)
    return _back(request, None, "The authenticator app is removed.")


@require_POST
def passkey_new_options(request: HttpRequest) -> HttpResponse:
    """Return what the browser needs to make a passkey, or where to confirm first."""
    try:
        must_be_recent()
    except NeedsRecentLogin:
        return JsonResponse({"confirm": confirm_first(request, reverse("accounts:profile") + "#factors")})
    return JsonResponse(passkeys.options_new(_user(request)))


@require_POST
def passkey_add_press(request: HttpRequest) -> HttpResponse:
    """Add the passkey that the browser has made."""
    user = _user(request)
    try:
        credential = passkeys.made(request.POST.get("credential", ""))
        name = request.POST.get("name", "")
        codes = passkey_add(user=user, name=name, credential=credential, request_id=request_id(request))
    except HawkOpsError as refusal:
        return _back(request, refusal)
    return _added(request, codes, "The passkey is added: it signs you in without a password.")


@require_POST
def passkey_rename_press(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a passkey another name."""
    try:
        passkey_rename(user=_user(request), pk=pk, name=request.POST.get("name", ""), request_id=request_id(request))
    except HawkOpsError as refusal:
        return _back(request, refusal)
    return _back(request, None, "The passkey has its new name.")


@require_POST
def passkey_remove_press(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove a passkey."""
    try:
        passkey_remove(user=_user(request), pk=pk, request_id=request_id(request))
    except HawkOpsError as refusal:
        return _back(request, refusal)
    return _back(request, None, "The passkey is removed. Remove it on its device too.")


@require_POST
def codes_make(request: HttpRequest) -> HttpResponse:
    """Make recovery codes anew."""
    try:
        codes = recovery_codes_make(user=_user(request), request_id=request_id(request))
    except HawkOpsError as refusal:
        return _back(request, refusal)
    return _added(request, codes, "Recovery codes are made anew; earlier ones count no more.")


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _added(request: HttpRequest, codes: list[str], sentence: str) -> HttpResponse:
    if codes:
        request.session[SHOWN_CODES] = seal(" ".join(codes))
    return _back(request, None, sentence)


def _back(request: HttpRequest, refusal: HawkOpsError | None, sentence: str = "") -> HttpResponse:
    if isinstance(refusal, NotFound):
        raise refusal
    if refusal is not None:
        messages.error(request, refusal.message)
    elif sentence:
        messages.success(request, sentence)
    return see_other("accounts:profile", "#factors")
