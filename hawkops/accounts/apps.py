"""Accounts as a Django app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People, roles, login links, device keys."""

    name = "hawkops.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Follow sign-ins, and say how the history speaks of a person's roles: an entry tells those of one environment."""
        from allauth.mfa.models import Authenticator

        from hawkops.accounts.past import PEOPLE
        from hawkops.accounts.signed import SIGNED
        from hawkops.accounts.views import confirming  # needs the models
        from hawkops.core.erasure import person_signed
        from hawkops.core.sealing import sealed_inside
        from hawkops.history.domain import travel

        confirming.connect()
        person_signed(*SIGNED)
        travel.register("person", PEOPLE)
        sealed_inside(Authenticator, "data", "secret", "seed")
