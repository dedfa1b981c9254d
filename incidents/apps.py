"""Incidents as a Django app."""

from django.apps import AppConfig


class IncidentsConfig(AppConfig):
    """Emergency console and incidents."""

    name = "incidents"
    label = "incidents"
