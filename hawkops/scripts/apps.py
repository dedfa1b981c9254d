"""The scripts as a Django app."""

from django.apps import AppConfig


class ScriptsConfig(AppConfig):
    """Catalogue and runner."""

    name = "hawkops.scripts"
    label = "scripts"
