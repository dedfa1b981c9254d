"""rollout as a Django app."""

from django.apps import AppConfig


class RolloutConfig(AppConfig):
    """rollout."""

    name = "rollout"
    label = "rollout"
