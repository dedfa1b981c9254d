"""Incidents that open, join and end by themselves: entries of the history after a stored position, read in order.

What an entry leads to is written in the transaction that moves the position: whatever dies in between, nothing is lost and
nothing is done twice. After that the census of kills is read, whose moments are derived from the devices' own.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import DataError, IntegrityError, transaction

from hawkops.core import clock
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import Change, change
from incidents.domain.incidents import Cause, Move, Sign, State, cause_of, graver
from incidents.domain.kill_clock import kill_revision
from incidents.domain.news import DRILL, KILLED
from incidents.models import Follow, Incident, IncidentCause
from incidents.services import incidents as services
from incidents.services.commanding import commanders_propose
from incidents.services.lockdown import lockdowns_respond
from monitoring.domain.criteria import Severity
from rollout.selectors import census

log = logging.getLogger(__name__)
RULE = Actor.rule("incidents")
CHUNK = 200
# what fires again so soon after it was over goes on in the same incident
AGAIN_WITHIN = timedelta(hours=1)
SHARES = (50, 95, 99, 100)


def incidents_follow() -> int:
    """Read on until the end of the history, ask for what lockdowns lead to, look who obeys, and propose commanders.

    Returns how many entries were read.
    """
    total = 0
    while True:
        read = follow()
        total += read
        if read < CHUNK:
            break
    lockdowns_respond()
    census_follow()
    commanders_propose()
    return total


def follow() -> int:
    """Read one chunk of entries; return how many. Where another reads just now it is left to them."""
    with transaction.atomic():
        place = Follow.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=1).first()
        if place is None:
            return 0
        entries = list(
            HistoryEntry.objects.select_related("personal").filter(seq__gt=place.seq).order_by("seq")[:CHUNK]
        )
        if not entries:
            return 0
        place.seq = entries[-1].seq
        place.save(update_fields=["seq"])
        # one change, so that the head of the chain is locked once and last
        with change(actor=RULE) as this:
            for entry in entries:
                _read(this, entry)
    return len(entries)


def _read(this: Change, entry: HistoryEntry) -> None:
    """Do what an entry leads to. One that can't be understood or carried out is logged: it must hold up no other.

    What a lock or the network stopped is read again with its whole chunk.
    """
    if entry.hidden or not entry.environment:
        return
    known = len(this.drafts)
    try:
        with transaction.atomic():
            if entry.verb == KILLED and not entry.reason.startswith(DRILL):
                _killed(entry)
            elif (cause := cause_of(entry.verb, entry.subject, entry.after)) is not None:
                _caused(entry, cause)
    except (TypeError, ValueError, KeyError, AttributeError, HawkOpsError, DataError, IntegrityError):
        del this.drafts[known:]
        log.exception("incidents.entry_not_followed", extra={"seq": entry.seq})


def _caused(entry: HistoryEntry, cause: Cause) -> None:
    if cause.sign is Sign.BEGAN:
        _began(entry, cause)
    elif cause.sign is Sign.TAKEN:
        _taken(entry, cause)
    else:
        _ended(entry, cause)


def _began(entry: HistoryEntry, cause: Cause) -> None:
    home = _home(entry.environment, cause, entry.at)
    where: dict[str, Any] = {"environment": entry.environment, "actor": RULE, "cause": entry.seq}
    if home is None:
        home = services.incident_open(
            title=cause.title[: services.TITLE_MOST],
            severity=cause.severity,
            kind=cause.kind,
            began_at=_began_at(entry),
            simulated=cause.simulated,
            reason=entry.reason,
            **where,
        )
        # what opened it is part of that: the entry before says so
        IncidentCause.objects.create(
            incident=home, subject=cause.subject, title=home.title, joined_at=clock.now()
        )  # fmt: skip
        _to_do(entry, cause, home)
        return
    this: dict[str, Any] = {**where, "incident_id": home.pk}
    joined = services.incident_cause_join(
        incident=home,
        subject=cause.subject,
        title=cause.title,
        actor=RULE,
        cause=entry.seq,
        reason=entry.reason,
    )
    if joined and home.state in (State.MITIGATED, State.RESOLVED):
        services.incident_move(move=Move.REOPEN, reason=f"It fires again: {cause.title}", **this)
    _to_do(entry, cause, home)
    worst = graver(Severity(home.severity), cause.severity)
    if worst.value != home.severity:
        services.incident_severity_set(severity=worst, reason=cause.title, **this)


def _to_do(entry: HistoryEntry, cause: Cause, home: Incident) -> None:
    """Add what the runbook wants done about a broken security metric, once."""
    title = cause.task[: services.TITLE_MOST]
    if title and not home.tasks.filter(title=title, done_at=None).exists():
        services.incident_task_add(environment=entry.environment, incident_id=home.pk, title=title, actor=RULE)


def _home(environment: str, cause: Cause, at: datetime) -> Incident | None:
    """Return the incident that takes more of a kind: the open one, the one it was merged into, or one just over.

    Before one that is over comes the open one of the kind that it joins.
    """
    here = Incident.objects.filter(environment=environment).select_related("merged_into").order_by("-pk")
    rows, others = here.filter(kind=cause.kind), here.filter(kind=cause.joins, resolved_at=None)
    newest = rows.filter(resolved_at=None).first() or (others.first() if cause.joins else None) or rows.first()
    if newest is None:
        return None
    while newest.merged_into is not None:
        newest = newest.merged_into
    newest = services.locked(environment, newest.pk)
    if newest.is_open:
        return newest
    again = newest.state == State.RESOLVED and newest.resolved_at is not None and at - newest.resolved_at < AGAIN_WITHIN
    return newest if again else None


def _began_at(entry: HistoryEntry) -> datetime:
    """Return when the data of an alert's first bad look was measured."""
    state = entry.after if isinstance(entry.after, dict) else {}
    return entry.at - timedelta(seconds=float(state.get("detection_seconds") or 0))


def _standing(environment: str, subject: str) -> list[IncidentCause]:
    rows = IncidentCause.objects.filter(
        incident__environment=environment, incident__resolved_at=None, subject=subject, ended_at=None
    )
    return list(rows.select_related("incident"))


def _taken(entry: HistoryEntry, cause: Cause) -> None:
    """Whoever takes an alert has its incident."""
    by = Actor(entry.actor, entry.actor_label)
    for one in _standing(entry.environment, cause.subject):
        if services.locked(entry.environment, one.incident_id).state == State.OPEN:
            services.incident_move(
                environment=entry.environment,
                incident_id=one.incident_id,
                move=Move.ACKNOWLEDGE,
                actor=by,
                reason=entry.reason,
                cause=entry.seq,
            )


def _ended(entry: HistoryEntry, cause: Cause) -> None:
    """When all is well again the incident is mitigated; one not critical, not taken and without tasks is over."""
    for one in _standing(entry.environment, cause.subject):
        found = services.locked(entry.environment, one.incident_id)
        if services.incident_cause_end(one=one, actor=RULE, cause=entry.seq) or not found.is_open:
            continue
        left = found.tasks.filter(done_at=None).exists()
        untouched = found.state == State.OPEN and found.severity != Severity.CRITICAL and not left
        move = Move.RESOLVE if untouched else Move.MITIGATE
        if not untouched and found.state == State.MITIGATED:
            continue
        services.incident_move(
            environment=entry.environment,
            incident_id=found.pk,
            move=move,
            actor=RULE,
            reason="Everything that caused it is well again",
            cause=entry.seq,
        )


def _killed(entry: HistoryEntry) -> None:
    revision = kill_revision(entry.after)
    rows = Incident.objects.filter(environment=entry.environment, resolved_at=None, killed_entry=None)
    for found in rows.order_by("pk"):
        services.incident_kill_join(incident=found, at=entry.at, revision=revision, actor=RULE, entry=entry.seq)


# ---- who obeys a kill ----


def census_follow() -> int:
    """Note when which share of the devices obeyed the kill of an incident; return how many were noted."""
    noted = 0
    since = clock.now() - AGAIN_WITHIN
    rows = Incident.objects.filter(kill_revision__isnull=False, killed_at__gte=since).order_by("pk")
    for found in list(rows):
        for share in SHARES:
            if str(share) not in found.obeyed:
                noted += _obeyed(found, share)
    return noted


def _obeyed(found: Incident, share: int) -> bool:
    assert found.kill_revision is not None
    reached = census.obeyed_share_at(found.environment, found.kill_revision, share / 100)
    if reached is None:
        return False
    at, devices, of = reached
    with change(actor=RULE, environment=found.environment, cause=found.killed_entry) as this:
        row = services.locked(found.environment, found.pk)
        if str(share) in row.obeyed:
            return False
        row.obeyed = {**row.obeyed, str(share): at.isoformat()}
        row.save(update_fields=["obeyed"])
        after = {"share": share, "devices": devices, "of": of, "revision": found.kill_revision, "at": at.isoformat()}
        services.told(this, row, "incident.census_reached", after=after)
        found.obeyed = row.obeyed
    return True
