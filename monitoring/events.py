"""What monitoring announces after it is committed; apps above subscribe."""

from dataclasses import dataclass

from hawkops.core.facts import Fact
from monitoring.domain.alerting import Action


@dataclass(frozen=True)
class AlertMoved:
    """An alert moved: fired, paged again, was explained, silenced or uncovered, acknowledged, updated, resolved, closed.

    `loud` says whether somebody must act now: it fires, nothing explains it, nobody silenced it. An alert that fired
    while it was explained is told of again, loud, as `alert.uncovered` when the explanation ends. `entry` is the
    history entry, the cause of whatever follows.
    """

    alert_id: int
    verb: str
    environment: str
    group: str
    severity: str
    action: Action | None
    loud: bool
    entry: int | None


alert_moved: Fact[[AlertMoved]] = Fact("alert_moved")
