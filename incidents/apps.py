"""Incidents as a Django app."""

from django.apps import AppConfig


class IncidentsConfig(AppConfig):
    """Emergency console and incidents."""

    name = "incidents"
    label = "incidents"

    def ready(self) -> None:
        """Say what an emergency explains, which channels a release's box looks at, what can be acknowledged, which
        incidents and action items hold a release, how the security team was told, and what is kept of a person."""
        # models must be loaded before this import
        from hawkops.core.erasure import person_register, person_signed
        from hawkops.scripts.checks import notifying
        from incidents.alerts import ALERTS
        from incidents.critical import action_items, critical
        from incidents.keepers import INCIDENTS, with_incidents
        from incidents.quieting import switched_off
        from incidents.selectors.notifications import endpoints
        from incidents.selectors.security import security_addresses, security_told
        from incidents.services import acknowledging, forgetting
        from incidents.signed import SIGNED
        from monitoring.selectors import quieting
        from rollout.selectors import actions
        from rollout.selectors import critical as rollout_critical
        from rollout.selectors import endpoints as rollout_endpoints

        person_register("channels of their own", forgetting.channels_forget)
        person_register("rows of the contact table", forgetting.contacts_forget)
        person_register("addresses of calendars", forgetting.calendars_forget)
        person_register("swaps that waited", forgetting.swaps_forget)
        person_signed(*SIGNED)
        quieting.register(switched_off)
        rollout_endpoints.register(endpoints)
        acknowledging.register("alerts", with_incidents(ALERTS))
        acknowledging.register("incident", INCIDENTS)
        acknowledging.register("guardrail", INCIDENTS)
        acknowledging.register("lockdown", INCIDENTS)
        rollout_critical.register(critical)
        actions.register(action_items)
        notifying.register(security_told, security_addresses)
