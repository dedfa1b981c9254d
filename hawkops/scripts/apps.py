"""The scripts as a Django app."""

from django.apps import AppConfig


class ScriptsConfig(AppConfig):
    """Catalogue and runner."""

    name = "hawkops.scripts"
    label = "scripts"

    def ready(self) -> None:
        """Make the ground floor's checks known, and where rows name people."""
        from hawkops.core.erasure import person_signed
        from hawkops.scripts.checks.catalogue import register_all
        from hawkops.scripts.signed import SIGNED

        register_all()
        person_signed(*SIGNED)
