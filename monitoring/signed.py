"""Which columns of this app say by name who did something, and which tables speak of devices alone."""

from hawkops.core.erasure import Signed
from monitoring import models
from monitoring.models import Alert, Silence, StoredCriterion, StoredPattern, StoredProfile, StoredSection

SIGNED = (
    Signed(Alert, ("acknowledged_by", "closed_by")),
    Signed(Silence, ("owner",)),
    *(Signed(model, ("changed_by",)) for model in (StoredCriterion, StoredPattern, StoredProfile, StoredSection)),
)
APART = (
    models.CumulativeStream,
    models.DeviceHour,
    models.DeviceHourCount,
    models.DeviceNote,
    models.FoldedSeries,
    models.LogLine,
    models.PanelHour,
    models.PanelReport,
    models.PanelSlot,
    models.PatternCount,
    models.PatternSample,
    models.PayloadDigest,
    models.RolledUp,
    models.RollupPartial,
    models.Series,
)
