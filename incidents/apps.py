"""incidents as a Django app."""

from django.apps import AppConfig


class IncidentsConfig(AppConfig):
    """incidents."""

    name = "incidents"
    label = "incidents"
