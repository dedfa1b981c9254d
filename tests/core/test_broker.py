"""A worker goes on when the broker did not hear that a message is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kombu.transport import redis

from hawkops.celery import app


class SilentChannel:
    """A channel whose broker does not answer."""

    unacked_key, unacked_index_key, do_restore = "unacked", "unacked_index", False

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        raise TimeoutError
        yield


def test_ack__broker_silent__is_said_and_the_worker_takes_the_next_message() -> None:
    assert app.conf.worker_prefetch_multiplier == 1
    waiting: Any = redis.Channel.QoS(SilentChannel(), prefetch_count=1)
    waiting._delivered["tag"] = object()
    assert not waiting.can_consume()
    with pytest.raises(TimeoutError):
        waiting.ack("tag")
    assert waiting.can_consume()
