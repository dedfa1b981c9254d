"""Monitoring's tables."""

from monitoring.models.alert import Alert, Silence
from monitoring.models.criteria import StoredCriterion, StoredProfile
from monitoring.models.health import HealthResult
from monitoring.models.links import DashboardLink
from monitoring.models.logs import LogLine
from monitoring.models.patterns import LogCursor, PatternCount, PatternSample, StoredPattern
from monitoring.models.streams import CumulativeStream, DeviceNote
from monitoring.models.telemetry import (
    DeviceHour,
    PanelHour,
    PanelReport,
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
    "DeviceNote",
    "HealthResult",
    "LogCursor",
    "LogLine",
    "PanelHour",
    "PanelReport",
    "PatternCount",
    "PatternSample",
    "PayloadDigest",
    "RolledUp",
    "RollupPartial",
    "Series",
    "Silence",
    "StoredCriterion",
    "StoredPattern",
    "StoredProfile",
]
