"""Writes on the census besides the gateway's."""

from rollout.models import CensusDevice, Exposure


def device_erase(environment: str, device_id: str) -> int:
    """Delete what a device was told and obeys, and its arms of A/B tests; return how many rows that were."""
    told = CensusDevice.objects.filter(environment=environment, device_id=device_id).delete()[0]
    return told + Exposure.objects.filter(environment=environment, device_id=device_id).delete()[0]
