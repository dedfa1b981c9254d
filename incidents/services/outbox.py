"""Putting a message into the outbox, in the transaction of whatever it tells of; whoever sends finds it there."""

from datetime import datetime
from uuid import uuid4

from hawkops.core import clock
from incidents.domain.message import Message
from incidents.models import Channel, Delivery


def delivery_of(channel: Channel, message: Message, *, entry: int | None = None, topic: str = "") -> Delivery:
    """Return a delivery, not saved, that is due at once. `entry` is the history entry that it tells of."""
    now: datetime = clock.now()
    return Delivery(
        channel=channel,
        entry=entry,
        key=f"msg_{uuid4().hex}",
        thread=message.thread,
        action=message.action.value,
        severity=message.severity.value,
        topic=topic,
        title=message.title[:300],
        message=message.document(),
        happened_at=message.at,
        made_at=now,
        next_at=now,
    )
