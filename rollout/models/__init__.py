"""Tables of the rollout."""

from rollout.models.census import CensusDevice
from rollout.models.flag import EnvironmentFlags, Flag
from rollout.models.group import GroupMember, TargetGroup
from rollout.models.procedure import ReleaseStep
from rollout.models.release import Attestation, Evidence, Release, RunbookVersion

__all__ = [
    "Attestation",
    "CensusDevice",
    "EnvironmentFlags",
    "Evidence",
    "Flag",
    "GroupMember",
    "Release",
    "ReleaseStep",
    "RunbookVersion",
    "TargetGroup",
]
