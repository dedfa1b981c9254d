"""Alerts under the threads of notifications: a group of alerts is one thread."""

from hawkops.core.errors import Conflict, NotFound
from hawkops.history.actors import Actor
from incidents.domain.message import Action
from incidents.domain.news import alerts_thread
from incidents.services.acknowledging import Acknowledger, Standing
from monitoring.domain.alerting import State
from monitoring.selectors.alerts import Shown, standing_alerts
from monitoring.services.alerts import alert_acknowledge


def _of(environment: str, thread: str) -> list[Shown]:
    wanted = thread.split(":", 2)[2]
    return [one for one in standing_alerts(environment) if alerts_thread(one.alert.group) == wanted]


def _found(environment: str, thread: str) -> list[Standing]:
    return [
        Standing(one.alert.title, one.alert.severity, one.alert.acknowledged_by)
        for one in _of(environment, thread)
        if not one.hushed_by
    ]


def _standing(environment: str, thread: str, action: Action) -> int:
    rows = [one for one in _of(environment, thread) if not one.hushed_by]
    if action is Action.ACKNOWLEDGE:
        return sum(one.alert.state == State.FIRING for one in rows)
    return len(rows)


def _take(environment: str, thread: str, actor: Actor, reason: str, request_id: str) -> int:
    taken = 0
    for one in _of(environment, thread):
        if one.alert.state != State.FIRING or one.hushed_by:
            continue
        try:
            alert_acknowledge(alert_id=one.alert.pk, actor=actor, reason=reason, request_id=request_id)
        except (Conflict, NotFound):  # it moved meanwhile
            continue
        taken += 1
    return taken


ALERTS = Acknowledger(_found, _standing, _take)
