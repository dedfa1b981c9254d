"""Writes on the census besides the gateway's."""

from django.db.models import F

from rollout.models import CensusDevice, Drill, DrillDevice, Exposure


def device_erase(environment: str, device_id: str) -> int:
    """Delete what a device was told and obeys, and its part in drills and A/B tests; return how many rows that were."""
    told = CensusDevice.objects.filter(environment=environment, device_id=device_id).delete()[0]
    drilled = DrillDevice.objects.filter(drill__environment=environment, device_id=device_id)
    # a drill under way no longer waits for it
    Drill.objects.filter(pk__in=drilled.values("drill_id")).update(devices=F("devices") - 1)
    told += drilled.delete()[0]
    return told + Exposure.objects.filter(environment=environment, device_id=device_id).delete()[0]
