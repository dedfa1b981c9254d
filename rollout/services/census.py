"""Writes on the census besides the gateway's."""

from rollout.models import CensusDevice


def device_erase(environment: str, device_id: str) -> int:
    """Delete what a device was told and obeys; return how many rows that were."""
    return CensusDevice.objects.filter(environment=environment, device_id=device_id).delete()[0]
