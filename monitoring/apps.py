"""monitoring as a Django app."""

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """monitoring."""

    name = "monitoring"
    label = "monitoring"

    def ready(self) -> None:
        """Say what is kept of a device."""
        # models must be loaded before this import
        from hawkops.core.erasure import register
        from monitoring.services.telemetry import device_erase

        register("rows of telemetry", device_erase)
