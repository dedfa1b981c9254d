"""Celery's line to the broker, where it would stand still for ever."""

from typing import Any

from kombu.transport import redis


class Acknowledging(redis.QoS):
    """Counts a message as done here also when the broker could not be told.

    Else it fills the worker's only place: the line is made anew, and the worker takes no message any more. What the broker
    was not told it gives out once more after `visibility_timeout`, and every task may run twice and late.
    """

    def ack(self, delivery_tag: Any) -> None:
        """Tell the broker, and make room whether it heard or not."""
        try:
            super().ack(delivery_tag)
        except Exception:
            super(redis.QoS, self).ack(delivery_tag)
            raise


def acknowledge_always() -> None:
    """Use it for every channel of this process."""
    redis.Channel.QoS = Acknowledging
