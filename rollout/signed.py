"""Which columns of this app say by name who did something, and which tables speak of devices alone.

The bundle of a decision is no such column: it is proven whole by its digest in the history, and stays.
"""

from hawkops.core.erasure import Signed
from rollout import models

SIGNED = (
    Signed(models.Approval, ("by",), ("seen",)),
    Signed(models.Attestation, ("by",)),
    Signed(models.Drill, ("by", "ended_by")),
    Signed(models.Experiment, ("started_by", "ended_by")),
    Signed(models.Flag, ("override_by",), ("scoped_overrides",)),
    Signed(models.FreezeWindow, ("by",)),
    Signed(models.Lockdown, ("by", "asked_by", "lifted_by")),
    Signed(models.PhaseDecision, ("by",)),
    Signed(models.PhaseRun, ("started_by",)),
    Signed(models.Proposal, ("made_by", "ended_by"), ("payload", "changes")),
    Signed(models.Release, ("created_by",)),
    Signed(models.ReleaseComment, ("by",)),
    Signed(models.ReleaseStep, ("by", "skip_asked_by", "skip_approved_by")),
    Signed(models.Rollback, ("by", "undone_by"), ("changes", "left_alone")),
    Signed(models.RunbookApproval, ("by",)),
    Signed(models.RunbookVersion, ("made_by",)),
    Signed(models.ScanUpload, ("uploaded_by",)),
    Signed(models.Waiver, ("by", "owner")),
)
APART = (models.CensusDevice, models.DrillDevice, models.Exposure, models.GroupMember, models.GuardrailBand)
