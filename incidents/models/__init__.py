"""Tables of incidents."""

from incidents.models.escalation import (
    Escalation,
    EscalationPolicy,
    EscalationReading,
    EscalationStep,
    SecondPage,
    SecondPath,
    StepDelivery,
    VitalAlert,
)
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
from incidents.models.kill_clock import KillClock
from incidents.models.notifications import Channel, Delivery, Dispatch, HeardEvent, Receipt, Route
from incidents.models.oncall import BusinessHours, CalendarLink, Contact, OnCallOverride, Rotation, Swap
from incidents.models.troubleshooting import OwnProblem, Remedy

__all__ = [
    "BusinessHours",
    "CalendarLink",
    "Channel",
    "Contact",
    "Delivery",
    "Dispatch",
    "Escalation",
    "EscalationPolicy",
    "EscalationReading",
    "EscalationStep",
    "Follow",
    "HeardEvent",
    "Incident",
    "IncidentCause",
    "IncidentLink",
    "IncidentNote",
    "IncidentReview",
    "IncidentRole",
    "IncidentTask",
    "KillClock",
    "OnCallOverride",
    "OwnProblem",
    "Receipt",
    "Remedy",
    "Rotation",
    "Route",
    "SecondPage",
    "SecondPath",
    "StepDelivery",
    "Swap",
    "VitalAlert",
]
