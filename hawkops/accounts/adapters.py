"""How allauth seals, names and refuses things here. Its sign-up, mails and pages are not used: nothing leads to them."""

from typing import Any, NoReturn

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.http import HttpRequest

from hawkops.accounts.models import User
from hawkops.core.sealing import seal, unseal


class FactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Secrets of factors are sealed as every other secret."""

    def encrypt(self, text: str) -> str:
        """Seal."""
        return seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Open. Raises Unsealable."""
        return unseal(encrypted_text)

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Passkeys belong to the host that was asked, under our name."""
        return {**super().get_public_key_credential_rp_entity(), "name": "HawkOps"}

    def _get_user_identifier(self, user: User) -> str:
        # never the mail address: the authenticator's owner knows their name here
        return user.get_username()


class IdentityAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Who was vouched for elsewhere comes to our own view, which decides; allauth's own pages are never shown."""

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> NoReturn:
        """Leave allauth's way before it signs anybody in or makes an account."""
        from hawkops.accounts.views.oidc import vouched  # the views need the adapter's settings

        raise ImmediateHttpResponse(vouched(request, sociallogin))

    def on_authentication_error(self, request: HttpRequest, provider: Any, **given: Any) -> NoReturn:
        """Say it on our page."""
        from hawkops.accounts.views.oidc import failed

        raise ImmediateHttpResponse(failed(request, given.get("error"), given.get("exception")))

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """Nobody signs up."""
        return False
