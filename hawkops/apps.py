"""The roof as a Django app: it brings the commands that see everything, and Celery's app to whoever enqueues a job."""

from django.apps import AppConfig

from hawkops.celery import app as celery_app

__all__ = ["RoofConfig", "celery_app"]


class RoofConfig(AppConfig):
    """The roof."""

    name = "hawkops"
    label = "hawkops"

    def ready(self) -> None:
        """Register the readings of HawkOps' own life."""
        from hawkops.vitals.readings import register_all

        register_all()
