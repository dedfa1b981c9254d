"""Disabling the affected backend, and the watch of the recovery that then runs by itself."""

import logging

from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.scripts.models import Run
from hawkops.scripts.services import run_request
from incidents.selectors.degradation import WATCH
from monitoring.selectors.backends import FLAGS
from rollout.services import overrides

log = logging.getLogger(__name__)
RULE = Actor.rule("degradation")


def degraded_disable(
    *, environment: str, backend: str, actor: Actor, reason: str, request_id: str = ""
) -> HistoryEntry | None:  # fmt: skip
    """Turn a backend off on every device and watch the recovery; None when it was off already. Raises InvalidInput.

    The CPU has no flag of its own: without it LiteRT is off and the cloud answers.
    """
    if backend not in FLAGS:
        raise InvalidInput(f"There is no backend {backend[:20]!r}; use one of {', '.join(FLAGS)}.")
    if backend == "cpu":
        entry = overrides.kill(environment=environment, actor=actor, reason=reason, request_id=request_id)
    else:
        entry = overrides.backend_disable(
            environment=environment, backend=backend, actor=actor, reason=reason, request_id=request_id
        )
    if entry is not None:
        try:
            watch_recovery(environment=environment, actor=RULE, cause=entry.seq)
        except HawkOpsError as refusal:  # it is off; the page says that nobody watches, and has the press for it
            log.error("degradation.not_watched", extra={"why": refusal.message})
    return entry


def watch_recovery(*, environment: str, actor: Actor, cause: int | None = None, request_id: str = "") -> Run:
    """Run the runbook's watch: system health every ten seconds for five minutes. Raises InvalidInput, Conflict."""
    return run_request(
        environment=environment, name=WATCH, arguments={}, actor=actor, cause=cause, request_id=request_id
    )
