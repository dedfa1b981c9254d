"""Tables of the rollout."""

from rollout.models.census import CensusDevice
from rollout.models.flag import EnvironmentFlags, Flag

__all__ = ["CensusDevice", "EnvironmentFlags", "Flag"]
