"""The scripts as a Django app."""

from django.apps import AppConfig


class ScriptsConfig(AppConfig):
    """Catalogue and runner."""

    name = "hawkops.scripts"
    label = "scripts"

    def ready(self) -> None:
        """Make the ground floor's checks known."""
        from hawkops.scripts.checks.catalogue import register_all

        register_all()
