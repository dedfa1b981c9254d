"""The roof as a Django app: it brings the commands that see everything (seed, bench)."""

from django.apps import AppConfig


class RoofConfig(AppConfig):
    """The roof."""

    name = "hawkops"
    label = "hawkops"
