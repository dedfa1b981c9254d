"""Monitoring's tables."""

from monitoring.models.logs import LogLine
from monitoring.models.streams import CumulativeStream, DeviceNote
from monitoring.models.telemetry import DeviceHour, PayloadDigest, RollupPartial, Series

__all__ = ["CumulativeStream", "DeviceHour", "DeviceNote", "LogLine", "PayloadDigest", "RollupPartial", "Series"]
