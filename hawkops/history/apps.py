"""The history as a Django app."""

from django.apps import AppConfig


class HistoryConfig(AppConfig):
    """The change history."""

    name = "hawkops.history"
    label = "history"
