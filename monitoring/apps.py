"""monitoring as a Django app."""

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """monitoring."""

    name = "monitoring"
    label = "monitoring"

    def ready(self) -> None:
        """Say what is kept of a device, and make the checks of telemetry known."""
        # models must be loaded before this import
        from hawkops.core.erasure import register
        from monitoring.probes.catalogue import register_all
        from monitoring.services.telemetry import device_erase

        register("rows of telemetry", device_erase)
        register_all()
