"""Facts for apps above: they subscribe when they start; the scripts call nobody by name."""

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


class RunFinished:
    """Announce that a run has ended, after its commit."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[int], None]] = []

    def subscribe(self, receive: Callable[[int], None]) -> None:
        """Call `receive(run id)` after each run; subscribing twice counts once."""
        if receive not in self._subscribers:
            self._subscribers.append(receive)

    def publish(self, run_id: int) -> None:
        """Tell every subscriber; one that fails is logged and doesn't stop the others."""
        for receive in self._subscribers:
            try:
                receive(run_id)
            except Exception:
                log.exception("run_finished.subscriber_failed", extra={"run": run_id})


run_finished = RunFinished()
