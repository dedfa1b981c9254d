"""monitoring as a Django app."""

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """monitoring."""

    name = "monitoring"
    label = "monitoring"
