"""The rollout as a Django app."""

from django.apps import AppConfig


class RolloutConfig(AppConfig):
    """Flags, releases, gates and evidence."""

    name = "rollout"
    label = "rollout"

    def ready(self) -> None:
        """Look at the evidence, and at the app's rollbacks, again when a run has ended; say what is kept of a device.

        Which boxes a script decides, the report's check, who counts devices and how the history speaks of flags are made
        known too.
        """
        # models must be loaded before this import
        from hawkops.core.erasure import person_apart, person_signed, register
        from hawkops.history.domain import travel
        from hawkops.scripts import uses
        from hawkops.scripts.events import run_finished
        from monitoring.selectors import newcomers
        from rollout.probes.catalogue import register_all
        from rollout.selectors import census, past
        from rollout.selectors.releases import script_uses
        from rollout.services import groups, guardrails
        from rollout.services.census import device_erase
        from rollout.services.releases import EVIDENCE_REFRESH
        from rollout.services.rollback import app_followed
        from rollout.signed import APART, SIGNED

        register("census entries", device_erase)
        newcomers.register(census.newcomers)
        register("groups and pins", groups.device_erase)
        register("bands of guardrails", guardrails.device_erase)
        person_signed(*SIGNED)
        person_apart(*APART)
        uses.register(script_uses)
        travel.register("flag", past.FLAGS)
        register_all()
        run_finished.subscribe(lambda _run_id: EVIDENCE_REFRESH.enqueue())
        run_finished.subscribe(app_followed)
