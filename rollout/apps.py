"""The rollout as a Django app."""

from django.apps import AppConfig


class RolloutConfig(AppConfig):
    """Flags, releases, gates and evidence."""

    name = "rollout"
    label = "rollout"

    def ready(self) -> None:
        """Look at the evidence again as soon as a script run has ended; say what is kept of a device."""
        # models must be loaded before this import
        from hawkops.core.erasure import register
        from hawkops.scripts.events import run_finished
        from rollout.services.census import device_erase
        from rollout.services.releases import EVIDENCE_REFRESH

        register("census entries", device_erase)
        run_finished.subscribe(lambda _run_id: EVIDENCE_REFRESH.enqueue())
