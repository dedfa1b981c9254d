"""Monitoring's tables."""

from monitoring.models.alert import Alert, Evaluation, Silence
from monitoring.models.criteria import StoredCriterion, StoredProfile, StoredSection
from monitoring.models.health import HealthResult
from monitoring.models.links import DashboardLink
from monitoring.models.logs import LogLine
from monitoring.models.patterns import LogCursor, PatternCount, PatternSample, StoredPattern
from monitoring.models.pulses import Pulse
from monitoring.models.streams import CumulativeStream, DeviceNote, DoorTotal
from monitoring.models.telemetry import (
    DeviceHour,
    DeviceHourCount,
    FoldedSeries,
    PanelHour,
    PanelReport,
    PanelSlot,
    PayloadDigest,
    RolledUp,
    RollupPartial,
    Series,
)

__all__ = [
    "Alert",
    "CumulativeStream",
    "DashboardLink",
    "DeviceHour",
    "DeviceHourCount",
    "DeviceNote",
    "DoorTotal",
    "Evaluation",
    "FoldedSeries",
    "HealthResult",
    "LogCursor",
    "LogLine",
    "PanelHour",
    "PanelReport",
    "PanelSlot",
    "PatternCount",
    "PatternSample",
    "PayloadDigest",
    "Pulse",
    "RolledUp",
    "RollupPartial",
    "Series",
    "Silence",
    "StoredCriterion",
    "StoredPattern",
    "StoredProfile",
    "StoredSection",
]
