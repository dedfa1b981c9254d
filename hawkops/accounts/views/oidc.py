"""Signing in by who vouches for people elsewhere (OpenID Connect): allauth speaks the protocol, we decide who it is.

Nothing here answers before `OIDC_ISSUER` is set. Its token is verified by the issuer's keys, whichever way it came.
"""

from typing import Any

import jwt
from allauth.socialaccount.internal import jwtkit
from allauth.socialaccount.models import SocialApp, SocialToken
from allauth.socialaccount.providers.base.constants import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from requests import RequestException

from hawkops.accounts.services.identities import identity_person, provider
from hawkops.accounts.views.second import first_step
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import request_id

# signatures that a public key checks
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
NAME_MOST = 150


def set_up() -> str:
    """Return the issuer's name for people; empty when none is set."""
    return str(settings.OIDC_NAME) if settings.OIDC_ISSUER and settings.OIDC_CLIENT_ID else ""


class Issuer(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """Verifies what allauth takes on trust: who the document is of, the token's signature, one subject in both answers."""

    @property
    def openid_config(self) -> Any:
        """The issuer's own document. Raises OAuth2Error."""
        found = super().openid_config
        if not isinstance(found, dict) or found.get("issuer") != settings.OIDC_ISSUER:
            raise OAuth2Error("The document is of another issuer.")
        return found

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        """Our own address."""
        return request.build_absolute_uri(reverse("accounts:oidc_return"))

    def _decode_id_token(self, app: SocialApp, id_token: str) -> dict[str, Any]:
        if jwt.get_unverified_header(id_token).get("alg") not in ALGORITHMS:
            raise OAuth2Error("The token is not signed by a public key.")
        found: dict[str, Any] = jwtkit.verify_and_decode(
            credential=id_token,
            keys_url=self.openid_config["jwks_uri"],
            issuer=settings.OIDC_ISSUER,
            audience=app.client_id,
            lookup_kid=jwtkit.lookup_kid_jwk,
        )
        return found

    def complete_login(self, request: HttpRequest, app: SocialApp, token: SocialToken, **kwargs: Any) -> Any:
        """Return who is vouched for. Raises OAuth2Error."""
        try:
            login = super().complete_login(request, app, token, **kwargs)
            said = login.account.extra_data
            if not said.get("id_token") or said["id_token"]["sub"] != said["userinfo"]["sub"]:
                raise OAuth2Error("The issuer's two answers are not of one person.")
            login.called = str(said["userinfo"].get("preferred_username") or "").strip()[:NAME_MOST]
        except (jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError, ImproperlyConfigured) as error:
            raise OAuth2Error("The issuer's answer can't be read.") from error
        # what else the issuer tells of people is not kept
        login.account.extra_data = {}
        return login


def _provider(request: HttpRequest) -> OpenIDConnectProvider:
    """The one provider there is: of the settings, never of the database. Raises Http404."""
    if not set_up():
        raise Http404
    app = SocialApp(
        provider="openid_connect",
        provider_id=provider(),
        name=settings.OIDC_NAME,
        client_id=settings.OIDC_CLIENT_ID,
        secret=settings.OIDC_CLIENT_SECRET,
        settings={"server_url": settings.OIDC_ISSUER.rstrip("/"), "oauth_pkce_enabled": True},
    )
    found = OpenIDConnectProvider(request, app=app)
    found.oauth2_adapter_class = _adapter
    return found


def _adapter(request: HttpRequest, provider_id: str) -> Issuer:
    adapter = Issuer(request, provider_id)
    adapter.get_provider = lambda: _provider(request)
    return adapter


@login_not_required
@require_POST
def begin(request: HttpRequest) -> HttpResponse:
    """Lead to the issuer by a page of ours: a form of ours may lead nowhere else, by the content policy."""
    found = _provider(request)
    try:
        answer = found.redirect(
            request, process=AuthProcess.LOGIN, next_url=request.POST.get("next") or "/", auth_params={}
        )
    except (OAuth2Error, RequestException, ValueError, KeyError) as error:
        return failed(request, None, error)
    if "Location" not in answer:
        return failed(request, None, None)
    return render(request, "accounts/oidc.html", {"target": answer["Location"], "name": settings.OIDC_NAME})


@login_not_required
@require_safe
def come_back(request: HttpRequest) -> HttpResponse:
    """Take what the issuer says. The request must be one that this browser began."""
    _provider(request)
    try:
        answer: HttpResponse = OAuth2CallbackView.adapter_view(_adapter(request, provider()))(request)
    except (OAuth2Error, RequestException, KeyError) as error:
        return failed(request, None, error)
    return answer


def vouched(request: HttpRequest, found: Any) -> HttpResponse:
    """Sign in whom the issuer vouches for, or say that nobody here is known as that."""
    verified = [one.email for one in found.email_addresses if one.verified]
    try:
        user = identity_person(
            subject=str(found.account.uid),
            email=verified[0] if verified else "",
            name=found.called if found.called.isprintable() else "",
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return render(request, "accounts/oidc.html", {"refusal": refusal.message}, status=refusal.status)
    return first_step(request, user, by=settings.OIDC_NAME, wanted=found.state.get("next") or "/")


def failed(request: HttpRequest, error: object, _exception: Exception | None) -> HttpResponse:
    """Say that it did not work; what the issuer wrote is not repeated."""
    cancelled = str(error) == "cancelled"
    sentence = (
        f"You left {settings.OIDC_NAME}; nobody is signed in."
        if cancelled
        else f"{settings.OIDC_NAME} did not answer as it should, or the request is not of this browser. Try again."
    )
    return render(request, "accounts/oidc.html", {"refusal": sentence}, status=403 if cancelled else 502)
