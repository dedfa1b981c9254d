"""Incidents as a Django app."""

from django.apps import AppConfig


class IncidentsConfig(AppConfig):
    """Emergency console and incidents."""

    name = "incidents"
    label = "incidents"

    def ready(self) -> None:
        """Say what an emergency explains."""
        from incidents.quieting import kill_in_force
        from monitoring.selectors.quieting import register

        register(kill_in_force)
