"""Facts for apps above: they subscribe when they start; who announces calls nobody by name."""

import logging
from collections.abc import Callable
from typing import Generic, ParamSpec

from django.db import transaction

P = ParamSpec("P")
log = logging.getLogger(__name__)


class Fact(Generic[P]):
    """Something that happened. Announced after its commit; a subscriber that fails stops neither it nor the others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._subscribers: list[Callable[P, None]] = []

    def subscribe(self, receive: Callable[P, None]) -> None:
        """Call `receive` from now on; subscribing twice counts once."""
        if receive not in self._subscribers:
            self._subscribers.append(receive)

    def publish(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Tell every subscriber now."""
        for receive in self._subscribers:
            try:
                receive(*args, **kwargs)
            except Exception:
                log.exception("fact.subscriber_failed", extra={"fact": self.name})

    def announce(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Tell every subscriber once the present transaction has committed."""
        transaction.on_commit(lambda: self.publish(*args, **kwargs))
