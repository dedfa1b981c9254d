"""scripts as a Django app."""

from django.apps import AppConfig


class ScriptsConfig(AppConfig):
    """scripts."""

    name = "hawkops.scripts"
    label = "scripts"
