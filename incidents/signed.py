"""Which columns of this app say by name who did something."""

from hawkops.core.erasure import Signed
from incidents import models

SIGNED = (
    Signed(models.Escalation, ("acknowledged_by", "ended_by")),
    Signed(models.EscalationStep, ("who",)),
    Signed(models.Incident, ("opened_by", "acknowledged_by")),
    Signed(models.IncidentLink, ("made_by",)),
    Signed(models.IncidentNote, ("by",)),
    Signed(models.IncidentReview, ("drafted_by",), ("facts",)),
    Signed(models.IncidentTask, ("done_by",)),
    Signed(models.KillClock, ("pressed_by",)),
    Signed(models.OnCallOverride, ("made_by",)),
    Signed(models.OwnProblem, ("made_by",)),
    Signed(models.Remedy, ("pressed_by", "undone_by")),
)
