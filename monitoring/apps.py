"""monitoring as a Django app."""

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """monitoring."""

    name = "monitoring"
    label = "monitoring"

    def ready(self) -> None:
        """Say what is kept of a device and where rows name people, and make the checks of telemetry known."""
        # models must be loaded before this import
        from hawkops.core.erasure import person_apart, person_signed, register
        from monitoring.probes.catalogue import register_all
        from monitoring.services.telemetry import device_erase
        from monitoring.signed import APART, SIGNED

        register("rows of telemetry", device_erase)
        person_signed(*SIGNED)
        person_apart(*APART)
        register_all()
