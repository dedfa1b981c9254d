"""Tables of incidents."""

from incidents.models.incident import (
    Follow,
    Incident,
    IncidentCause,
    IncidentLink,
    IncidentNote,
    IncidentReview,
    IncidentRole,
    IncidentTask,
)
from incidents.models.notifications import Channel, Delivery, Dispatch, HeardEvent, Receipt, Route

__all__ = [
    "Channel",
    "Delivery",
    "Dispatch",
    "Follow",
    "HeardEvent",
    "Incident",
    "IncidentCause",
    "IncidentLink",
    "IncidentNote",
    "IncidentReview",
    "IncidentRole",
    "IncidentTask",
    "Receipt",
    "Route",
]
