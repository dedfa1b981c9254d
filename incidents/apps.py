"""Incidents as a Django app."""

from django.apps import AppConfig


class IncidentsConfig(AppConfig):
    """Emergency console and incidents."""

    name = "incidents"
    label = "incidents"

    def ready(self) -> None:
        """Say what an emergency explains."""
        from incidents.quieting import switched_off
        from monitoring.selectors.quieting import register

        register(switched_off)
