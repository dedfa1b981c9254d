"""Tables of the rollout."""

from rollout.models.census import CensusDevice
from rollout.models.decision import PhaseDecision
from rollout.models.drill import Drill, DrillDevice
from rollout.models.experiment import Experiment, Exposure
from rollout.models.flag import EnvironmentFlags, Flag
from rollout.models.group import GroupMember, TargetGroup
from rollout.models.guardrail import GuardrailBand, GuardrailState
from rollout.models.lockdown import Lockdown
from rollout.models.procedure import ReleaseStep
from rollout.models.proposal import Approval, FreezeWindow, PhaseRun, Proposal, ReleaseComment, Waiver
from rollout.models.release import Attestation, Evidence, Release
from rollout.models.rollback import Rollback
from rollout.models.runbook import RunbookApproval, RunbookVersion
from rollout.models.scan import ScanUpload
from rollout.models.validation import Validation

__all__ = [
    "Approval",
    "Attestation",
    "CensusDevice",
    "Drill",
    "DrillDevice",
    "EnvironmentFlags",
    "Evidence",
    "Experiment",
    "Exposure",
    "Flag",
    "FreezeWindow",
    "GroupMember",
    "GuardrailBand",
    "GuardrailState",
    "Lockdown",
    "PhaseDecision",
    "PhaseRun",
    "Proposal",
    "Release",
    "ReleaseComment",
    "ReleaseStep",
    "Rollback",
    "RunbookApproval",
    "RunbookVersion",
    "ScanUpload",
    "TargetGroup",
    "Validation",
    "Waiver",
]
