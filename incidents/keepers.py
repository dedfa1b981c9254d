"""Incidents under the threads of notifications. An incident that alerts opened shares their thread and keeps it open."""

from hawkops.history.actors import Actor
from hawkops.history.services import change
from incidents.domain.incidents import Move, State
from incidents.domain.message import Action
from incidents.domain.news import LOCKDOWN_THREAD, incident_thread
from incidents.models import Incident
from incidents.services.acknowledging import Acknowledger, Standing
from incidents.services.incidents import incident_move


def _of(environment: str, thread: str) -> list[Incident]:
    wanted = thread.split(":", 2)[2]
    rows = Incident.objects.filter(environment=environment, resolved_at=None).order_by("pk")
    # an escalation asks for an incident by itself, whatever thread it is told under
    found = [one for one in rows if wanted in (f"incident:{one.pk}", incident_thread(one.kind, str(one.pk)))]
    # a lockdown that joined an incident of other causes is told under its own thread all the same
    if wanted == LOCKDOWN_THREAD and not found:
        found = list(rows.filter(causes__subject__startswith="lockdown:").distinct())
    return found


def _found(environment: str, thread: str) -> list[Standing]:
    return [Standing(str(one), one.severity, one.acknowledged_by) for one in _of(environment, thread)]


def _standing(environment: str, thread: str, action: Action) -> int:
    rows = _of(environment, thread)
    return sum(one.state == State.OPEN for one in rows) if action is Action.ACKNOWLEDGE else len(rows)


def _take(environment: str, thread: str, actor: Actor, reason: str, request_id: str) -> int:
    wanted = [one for one in _of(environment, thread) if one.state == State.OPEN]
    for one in wanted:
        incident_move(
            environment=environment,
            incident_id=one.pk,
            move=Move.ACKNOWLEDGE,
            actor=actor,
            reason=reason,
            request_id=request_id,
        )
    return len(wanted)


INCIDENTS = Acknowledger(_found, _standing, _take)


def with_incidents(other: Acknowledger) -> Acknowledger:
    """Return a keeper of both: of what shares its threads with incidents, and of those."""

    def found(environment: str, thread: str) -> list[Standing]:
        return [*_found(environment, thread), *other.found(environment, thread)]

    def standing(environment: str, thread: str, action: Action) -> int:
        return _standing(environment, thread, action) + other.standing(environment, thread, action)

    def take(environment: str, thread: str, actor: Actor, reason: str, request_id: str) -> int:
        # the incident first, as everywhere; one change, so that the head of the chain is locked last
        with change(actor=actor, environment=environment, reason=reason, request_id=request_id):
            mine = _take(environment, thread, actor, reason, request_id)
            return mine + other.take(environment, thread, actor, reason, request_id)

    return Acknowledger(found, standing, take)
