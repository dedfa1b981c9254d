"""Tables of incidents."""

from incidents.models.notifications import Channel, Delivery, Dispatch, HeardEvent, Receipt, Route

__all__ = ["Channel", "Delivery", "Dispatch", "HeardEvent", "Receipt", "Route"]
