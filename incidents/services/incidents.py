"""Writes on incidents. Each locks the incident, changes it, leaves one entry, and has its pages look again."""

import secrets
from datetime import datetime, timedelta

from hawkops.accounts.models import User
from hawkops.accounts.services.credentials import secret_hash
from hawkops.core import clock
from hawkops.core.access import can
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.core.live import announce
from hawkops.history import selectors as history
from hawkops.history.actors import Actor, person_reference
from hawkops.history.models import HistoryEntry
from hawkops.history.services import Change, change
from incidents.domain.incidents import Move, RoleName, State, moved
from incidents.domain.kill_clock import kill_revision
from incidents.domain.news import DRILL, KILLED, LITERT
from incidents.models import (
    Incident,
    IncidentCause,
    IncidentLink,
    IncidentNote,
    IncidentReview,
    IncidentRole,
    IncidentTask,
)
from monitoring.domain.alerting import State as AlertState
from monitoring.domain.criteria import Severity
from monitoring.selectors.alerts import standing_alerts
from monitoring.services.alerts import alert_acknowledge
from rollout.selectors.flags import overridden
from rollout.selectors.releases import release_running, releases

TITLE_MOST, NOTE_MOST, REASON_MOST = 200, 4_000, 300
LINKS_MOST = 10
KILL_BEFORE = timedelta(hours=1)
TASKS_MOST = 100


def told(this: Change, incident: Incident, verb: str, *, before: object = None, after: object = None) -> None:
    """Record what became of an incident, and tell its pages."""
    this.record(verb, subject=incident.subject, before=before, after=after or incident.document())
    announce("incidents", incident.environment, incident=incident.pk)


def locked(environment: str, pk: int) -> Incident:
    """Return an incident, locked until the end of the transaction. Raises NotFound."""
    found = Incident.objects.select_for_update(no_key=True).filter(environment=environment, pk=pk).first()
    if found is None:
        raise NotFound(f"There is no incident {pk} in {environment}.")
    return found


def text_of(text: str, *, most: int, what: str) -> str:
    """Return what somebody typed, without blanks around it. Raises InvalidInput."""
    text = text.replace("\x00", "").strip()
    if not text:
        raise InvalidInput(f"Write a {what}.")
    if len(text) > most:
        raise InvalidInput(f"A {what} has at most {most} characters; this one has {len(text)}.")
    return text


def severity_of(text: str) -> Severity:
    """Read a severity. Raises InvalidInput."""
    try:
        return Severity(text)
    except ValueError as error:
        raise InvalidInput(f"There is no severity {text[:40]!r}; use {', '.join(Severity)}.") from error


# ---- opening and moving ----


def incident_open(
    *,
    environment: str,
    title: str,
    severity: str,
    actor: Actor,
    reason: str = "",
    kind: str = "",
    began_at: datetime | None = None,
    simulated: bool = False,
    cause: int | None = None,
    request_id: str = "",
) -> Incident:
    """Open an incident; the release under way is linked to it. Raises InvalidInput.

    `kind` is what joins it by itself; `began_at` when what caused it was first measured.
    """
    environment, now = Environment(environment).value, clock.now()
    grave = severity_of(severity)
    made = Incident(
        environment=environment,
        title=text_of(title, most=TITLE_MOST, what="title"),
        severity=grave.value,
        state=State.OPEN.value,
        kind=kind,
        simulated=simulated,
        opened_by=actor.label,
        began_at=min(began_at or now, now),
        opened_at=now,
        critical_from=now if grave is Severity.CRITICAL else None,
    )
    if (kill := kill_before(environment, now)) is not None:
        made.killed_entry, made.killed_at, made.kill_revision = kill.seq, kill.at, kill_revision(kill.after)
    reason = reason.strip()[:REASON_MOST]
    with change(actor=actor, environment=environment, reason=reason, cause=cause, request_id=request_id) as this:
        made.save()
        if release := release_running(environment):
            made.releases.add(release)
        told(this, made, Move.REOPEN.verb)
    return made


def kill_before(environment: str, now: datetime) -> HistoryEntry | None:
    """Return the kill in force that was pressed shortly before, drills aside: at night people press first. Two queries."""
    if LITERT not in {flag.key for flag in overridden(environment)}:
        return None
    rows = history.entries(environment=environment, verbs=[KILLED], since=now - KILL_BEFORE)
    return rows.exclude(reason__startswith=DRILL).order_by("-seq").first()


def incident_move(
    *,
    environment: str,
    incident_id: int,
    move: Move,
    actor: Actor,
    reason: str = "",
    cause: int | None = None,
    request_id: str = "",
) -> Incident:
    """Move an incident by the table. Whoever takes it takes its firing alerts too. Raises NotFound or Conflict."""
    reason = reason.strip()[:REASON_MOST]
    with change(actor=actor, environment=environment, reason=reason, cause=cause, request_id=request_id) as this:
        found = locked(environment, incident_id)
        to = moved(State(found.state), move)
        if to is None or (move in (Move.REOPEN, Move.REVIEW) and found.merged_into_id):
            raise Conflict(_refusal(found, move))
        _allowed(found, move)
        before = found.document()
        _set(found, to, actor, clock.now())
        found.save()
        told(this, found, move.verb, before=before)
        if move is Move.ACKNOWLEDGE:
            _take_alerts(found, actor, reason, request_id)
    return found


def _refusal(found: Incident, move: Move) -> str:
    if found.merged_into_id:
        return f"Incident {found.pk} was merged into incident {found.merged_into_id}; go on there."
    by = f" by {found.acknowledged_by}" if found.state == State.ACKNOWLEDGED and found.acknowledged_by else ""
    return f"The incident is {found.state}{by}; it can't be {move.verb.partition('.')[2]} now. Look again."


def _allowed(found: Incident, move: Move) -> None:
    """Raise Conflict where the table allows a move and something else does not."""
    if move is Move.REVIEW and not IncidentReview.objects.filter(incident=found).exists():
        raise Conflict("There is no review yet: make its draft first.")
    if move is not Move.REOPEN or not found.kind or found.is_open:
        return
    other = Incident.objects.filter(environment=found.environment, kind=found.kind, resolved_at=None).first()
    if other is not None:
        raise Conflict(f"Incident {other.pk} of the same cause is open already; go on there.")


def _set(found: Incident, to: State, actor: Actor, now: datetime) -> None:
    """Write a state into the row with the times that go with it."""
    found.state = to.value
    if to is State.OPEN:
        found.acknowledged_at, found.acknowledged_by = None, ""
        found.mitigated_at = found.resolved_at = None
        if found.severity == Severity.CRITICAL:
            found.critical_from, found.critical_until = found.critical_from or now, None
    elif to is State.ACKNOWLEDGED:
        found.acknowledged_at, found.acknowledged_by = now, actor.label
    elif to is State.MITIGATED:
        found.mitigated_at = now
    elif to is State.RESOLVED:
        found.resolved_at = now
        if found.critical_from is not None and found.critical_until is None:
            found.critical_until = now
    elif to is State.REVIEWED:
        found.reviewed_at = now


def _take_alerts(found: Incident, actor: Actor, reason: str, request_id: str) -> None:
    subjects = set(found.causes.filter(ended_at=None).values_list("subject", flat=True))
    for one in standing_alerts(found.environment):
        if f"alert:{one.alert.pk}" in subjects and one.alert.state == AlertState.FIRING:
            try:
                alert_acknowledge(alert_id=one.alert.pk, actor=actor, reason=reason, request_id=request_id)
            except (Conflict, NotFound):  # it moved meanwhile
                continue


def incident_severity_set(
    *,
    environment: str,
    incident_id: int,
    severity: str,
    actor: Actor,
    reason: str = "",
    cause: int | None = None,
    request_id: str = "",
) -> bool:
    """Make an incident graver or less grave; False when it is so already. Raises NotFound, InvalidInput or Conflict."""
    wanted, now, reason = severity_of(severity), clock.now(), reason.strip()[:REASON_MOST]
    with change(actor=actor, environment=environment, reason=reason, cause=cause, request_id=request_id) as this:
        found = locked(environment, incident_id)
        if found.severity == wanted:
            return False
        if not found.is_open:
            raise Conflict(f"The incident is {found.state}; its severity stays as it was.")
        before = found.document()
        if wanted is Severity.CRITICAL:
            found.critical_from, found.critical_until = found.critical_from or now, None
        elif found.critical_from is not None and found.critical_until is None:
            found.critical_until = now
        found.severity = wanted.value
        found.save()
        told(this, found, "incident.severity_changed", before=before)
    return True


def incident_merge(
    *, environment: str, incident_id: int, into_id: int, actor: Actor, reason: str = "", request_id: str = ""
) -> Incident:
    """End a duplicate: what caused it goes on in the other one. Raises NotFound, Conflict or InvalidInput."""
    if incident_id == into_id:
        raise InvalidInput("An incident can't be merged into itself.")
    with change(
        actor=actor, environment=environment, reason=reason.strip()[:REASON_MOST], request_id=request_id
    ) as this:
        # always in the same order, so that two merges can't wait for each other
        rows = {pk: locked(environment, pk) for pk in sorted((incident_id, into_id))}
        found, into = rows[incident_id], rows[into_id]
        if not found.is_open or not into.is_open:
            over = found if not found.is_open else into
            raise Conflict(f"Incident {over.pk} is {over.state}; only open ones are merged.")
        before = found.document()
        _set(found, State.RESOLVED, actor, clock.now())
        found.merged_into = into
        found.save()
        for one in found.causes.filter(ended_at=None):
            IncidentCause.objects.get_or_create(
                incident=into, subject=one.subject, defaults={"title": one.title, "joined_at": one.joined_at}
            )
        told(this, found, Move.RESOLVE.verb, before=before)
        announce("incidents", environment, incident=into.pk)
    return into


# ---- people, notes, tasks, releases ----


def incident_role_set(
    *, environment: str, incident_id: int, role: str, username: str, actor: Actor, request_id: str = ""
) -> bool:
    """Give a role to somebody, or (empty) to nobody; False when it is so already. Raises NotFound or InvalidInput."""
    if role not in list(RoleName):
        raise InvalidInput(f"There is no role {role[:40]!r}; use {', '.join(RoleName)}.")
    person = person_of(environment, username) if username else None
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        found = locked(environment, incident_id)
        held = IncidentRole.objects.filter(incident=found, role=role).select_related("person").first()
        if (held.person_id if held else None) == (person.pk if person else None):
            return False
        before = {"role": role, "person": person_reference(held.person) if held else ""}
        if person is None:
            IncidentRole.objects.filter(incident=found, role=role).delete()
        else:
            IncidentRole.objects.update_or_create(incident=found, role=role, defaults={"person": person})
        told(
            this,
            found,
            "incident.role_set",
            before=before,
            after={"role": role, "person": person_reference(person) if person else ""},
        )
    return True


def person_of(environment: str, username: str) -> User:
    """Return somebody who may look there. Raises NotFound."""
    found = User.objects.filter(username=username.strip(), is_active=True).first()
    if found is None or not can(found, environment):
        raise NotFound(f"There is nobody called {username[:80]!r} in {environment}.")
    return found


def incident_note(
    *, environment: str, incident_id: int, text: str, actor: Actor, public: bool = False, request_id: str = ""
) -> IncidentNote:
    """Write into the timeline; a public note stands on the page for people outside. Raises NotFound or InvalidInput."""
    text = text_of(text, most=NOTE_MOST, what="note")
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        found = locked(environment, incident_id)
        note = IncidentNote.objects.create(incident=found, text=text, public=public, by=actor.label, at=clock.now())
        told(this, found, "incident.noted", after={"text": text, "public": public})
    return note


def incident_task_add(
    *,
    environment: str,
    incident_id: int,
    title: str,
    actor: Actor,
    owner: str = "",
    blocks: bool = False,
    request_id: str = "",
) -> IncidentTask:
    """Add something to do; what `blocks` holds the next phase back, so it needs an owner. Raises InvalidInput, NotFound."""
    title = text_of(title, most=TITLE_MOST, what="task")
    person = person_of(environment, owner) if owner.strip() else None
    if blocks and person is None:
        raise InvalidInput("Say whose it is: what holds the next phase back needs an owner.")
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        found = locked(environment, incident_id)
        if found.tasks.count() >= TASKS_MOST:
            raise Conflict(f"An incident has at most {TASKS_MOST} tasks.")
        task = IncidentTask.objects.create(
            incident=found, title=title, owner=person, blocks=blocks, made_at=clock.now()
        )  # fmt: skip
        told(this, found, "incident.task_added", after=_task(task))
    return task


def incident_task_set(
    *, environment: str, task_id: int, done: bool, actor: Actor, request_id: str = ""
) -> IncidentTask:  # fmt: skip
    """Say that a task is done, or that it is not. Raises NotFound; Conflict when it is so already."""
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        task = task_of(environment, task_id)
        found = locked(environment, task.incident_id)
        task = IncidentTask.objects.select_for_update(no_key=True, of=("self",)).select_related("owner").get(pk=task_id)
        if (task.done_at is not None) == done:
            raise Conflict(f"The task is {'done' if done else 'open'} already.")
        before = _task(task)
        task.done_at, task.done_by = (clock.now(), actor.label) if done else (None, "")
        task.save()
        told(this, found, "incident.task_done" if done else "incident.task_reopened", before=before, after=_task(task))
    return task


def task_of(environment: str, task_id: int) -> IncidentTask:
    """Return a task. Raises NotFound."""
    rows = IncidentTask.objects.select_related("incident", "owner").filter(incident__environment=environment)
    found = rows.filter(pk=task_id).first()
    if found is None:
        raise NotFound(f"There is no task {task_id} in {environment}.")
    return found


def _task(task: IncidentTask) -> dict[str, object]:
    return {
        "task": task.pk,
        "title": task.title,
        "owner": person_reference(task.owner) if task.owner else "",
        "blocks": task.blocks,
        "done": task.done_at is not None,
    }


def incident_release_set(
    *, environment: str, incident_id: int, release_id: int, linked: bool, actor: Actor, request_id: str = ""
) -> bool:
    """Link a release to an incident, or take the link away; False when it is so already. Raises NotFound."""
    release = next((one for one in releases(environment) if one.pk == release_id), None)
    if release is None:
        raise NotFound(f"There is no release {release_id} in {environment}.")
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        found = locked(environment, incident_id)
        if found.releases.filter(pk=release.pk).exists() == linked:
            return False
        (found.releases.add if linked else found.releases.remove)(release)
        after = {"release": release.pk, "name": f"{release.name} {release.app_version}"}
        told(this, found, f"incident.release_{'linked' if linked else 'unlinked'}", after=after)
    return True


# ---- what joins and leaves by itself ----


def incident_cause_join(
    *, incident: Incident, subject: str, title: str, actor: Actor, cause: int, reason: str = ""
) -> bool:
    """Let an alert or guardrail join an incident; False when it stands there already."""
    with change(actor=actor, environment=incident.environment, reason=reason[:REASON_MOST], cause=cause) as this:
        found = locked(incident.environment, incident.pk)
        one, new = IncidentCause.objects.get_or_create(
            incident=found, subject=subject, defaults={"title": title[:TITLE_MOST], "joined_at": clock.now()}
        )
        if not new and one.ended_at is None:
            return False
        one.ended_at = None
        one.save(update_fields=["ended_at"])
        told(this, found, "incident.cause_joined", after={"subject": subject, "title": title})
    return True


def incident_cause_end(*, one: IncidentCause, actor: Actor, cause: int) -> int:
    """Note that what caused an incident is well again; return how many causes still stand."""
    with change(actor=actor, environment=one.incident.environment, cause=cause) as this:
        found = locked(one.incident.environment, one.incident_id)
        one.ended_at = clock.now()
        one.save(update_fields=["ended_at"])
        told(this, found, "incident.cause_ended", after={"subject": one.subject, "title": one.title})
    return found.causes.filter(ended_at=None).count()


def incident_kill_join(*, incident: Incident, at: datetime, revision: int, actor: Actor, entry: int) -> None:
    """Note that a kill was pressed while an incident is open: from then on it is counted who obeys."""
    with change(actor=actor, environment=incident.environment, cause=entry) as this:
        found = locked(incident.environment, incident.pk)
        if found.killed_entry is not None:
            return
        found.killed_entry, found.killed_at, found.kill_revision = entry, at, revision
        found.save(update_fields=["killed_entry", "killed_at", "kill_revision"])
        told(this, found, "incident.kill_joined", after={"entry": entry, "revision": revision})


# ---- the page for people outside ----


def incident_link_make(
    *, environment: str, incident_id: int, actor: Actor, request_id: str = ""
) -> tuple[IncidentLink, str]:
    """Make a link to the page for people outside; the second value is its secret, shown this once. Raises Conflict."""
    secret = secrets.token_urlsafe(24)
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        found = locked(environment, incident_id)
        if found.links.filter(revoked_at=None).count() >= LINKS_MOST:
            raise Conflict(f"{LINKS_MOST} links lead there; revoke one first.")
        link = IncidentLink.objects.create(
            incident=found, token_hash=secret_hash(secret), made_at=clock.now(), made_by=actor.label
        )
        told(this, found, "incident.link_made", after={"link": link.pk})
    return link, secret


def link_of(environment: str, link_id: int) -> IncidentLink:
    """Return a link. Raises NotFound."""
    rows = IncidentLink.objects.select_related("incident").filter(incident__environment=environment)
    found = rows.filter(pk=link_id).first()
    if found is None:
        raise NotFound(f"There is no link {link_id} in {environment}.")
    return found


def incident_link_revoke(*, environment: str, link_id: int, actor: Actor, request_id: str = "") -> IncidentLink:
    """Take a link back: from now on nobody sees anything through it. Raises NotFound or Conflict."""
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        link = link_of(environment, link_id)
        found = locked(environment, link.incident_id)
        if not IncidentLink.objects.filter(pk=link_id, revoked_at=None).update(revoked_at=clock.now()):
            raise Conflict("The link is revoked already.")
        told(this, found, "incident.link_revoked", after={"link": link_id})
    return link
