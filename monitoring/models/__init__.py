"""Monitoring's tables."""

from monitoring.models.telemetry import DeviceHour, PayloadDigest, RollupPartial, Series

__all__ = ["DeviceHour", "PayloadDigest", "RollupPartial", "Series"]
