"""Accounts as a Django app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People, roles, login links, device keys."""

    name = "hawkops.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Follow sign-ins."""
        from hawkops.accounts import confirming  # needs the models

        confirming.connect()
