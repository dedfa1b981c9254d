"""The kernel as a Django app: it brings template tags and commands, no tables."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """The kernel."""

    name = "hawkops.core"
    label = "core"
