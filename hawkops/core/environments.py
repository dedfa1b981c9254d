"""The three environments. Every page, flag, key and telemetry series belongs to exactly one."""

from enum import StrEnum


class Environment(StrEnum):
    """Where a device lives. Simulated and synthetic subjects count only in `DEMO`."""

    PRODUCTION = "production"
    STAGING = "staging"
    DEMO = "demo"
