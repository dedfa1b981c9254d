"""Rows that the door writes besides rollups, in the order of their tables' columns."""

from datetime import datetime
from typing import Any, NamedTuple


class Line(NamedTuple):
    """One log record."""

    environment: str
    at: datetime
    received_at: datetime
    device_id: str
    device_class: str
    app_version: str
    severity: int
    event_name: str
    body: str
    exception_type: str
    exception_message: str
    stack_digest: str
    crash: bool
    simulated: bool


class Note(NamedTuple):
    """What was understood and dropped of a device's payload."""

    environment: str
    device_id: str
    signal: str
    received_at: datetime
    device_class: str
    simulated: bool
    accepted: int
    rejected: int
    details: dict[str, Any]
