"""The kernel as a Django app: it brings template tags and commands, no tables."""

from django.apps import AppConfig

from hawkops.core import checks


class CoreConfig(AppConfig):
    """The kernel."""

    name = "hawkops.core"
    label = "core"

    def ready(self) -> None:
        """Bring the checks of our own settings."""
        checks.register_all()
