"""Reading incidents: which stand, what happened in one, and what still has to be done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Case, Count, IntegerField, Prefetch, Q, QuerySet, Value, When

from hawkops.accounts.models import User
from hawkops.accounts.names import spoken
from hawkops.accounts.services.credentials import secret_hash
from hawkops.core import clock
from hawkops.core.access import can
from hawkops.core.errors import NotFound
from hawkops.history import selectors as history
from hawkops.history.models import HistoryEntry
from incidents.domain.incidents import RoleName
from incidents.domain.news import hushed, news_of
from incidents.models import Incident, IncidentLink, IncidentRole, IncidentTask
from incidents.selectors.entries import entry_of
from monitoring.domain.criteria import Severity

# what was changed shortly before is the first thing to look at
LEAD = timedelta(minutes=30)
# what may still follow from it after it is over
TAIL = timedelta(minutes=5)
ROWS_MOST = 300
OVER_SHOWN = 30
AROUND = (
    "flag.",
    "lockdown.",
    "rollback.",
    "guardrail.",
    "phase.",
    "release.",
    "decision.",
    "kill_clock.",
    "run.finished",
    "security.",
    "remedy.",
)
ALERTS = ("alert.fired", "alert.acknowledged", "alert.resolved", "alert.closed")
# their causes say the same in entries of their own
SAID_BY_CAUSES = ("incident.cause_joined", "incident.cause_ended")
ICONS = {
    "flag": "flag",
    "alert": "warning",
    "guardrail": "shield",
    "phase": "release",
    "release": "release",
    "run": "term",
    "decision": "check",
    "lockdown": "lock",
    "security": "shield",
    "kill_clock": "clock",
    "remedy": "wrench",
}
OWN_ICONS = {
    "incident.opened": "critical",
    "incident.acknowledged": "check",
    "incident.mitigated": "shield",
    "incident.resolved": "pass",
    "incident.noted": "info",
    "incident.census_reached": "phone",
}


def _graded(rows: QuerySet[Incident]) -> QuerySet[Incident]:
    worst = Case(
        When(severity=Severity.CRITICAL.value, then=Value(0)),
        When(severity=Severity.WARNING.value, then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )
    left = Count("tasks", filter=Q(tasks__done_at=None))
    commanders = IncidentRole.objects.filter(role=RoleName.COMMANDER.value).select_related("person")
    return (
        rows.annotate(worst=worst, tasks_left=left)
        .prefetch_related(Prefetch("roles", commanders, to_attr="commanders"))
        .order_by("worst", "-opened_at")
    )


def open_incidents(environment: str) -> list[Incident]:
    """Return those that stand, the gravest first. Two queries."""
    return list(_graded(Incident.objects.filter(environment=environment, resolved_at=None)))


def over_incidents(environment: str, *, limit: int = OVER_SHOWN) -> list[Incident]:
    """Return those that are over, newest first. Two queries."""
    rows = _graded(Incident.objects.filter(environment=environment, resolved_at__isnull=False))
    return list(rows.order_by("-resolved_at")[:limit])


def gravest(environment: str) -> Incident | None:
    """Return the critical incident that stands longest; None without one. One query."""
    rows = Incident.objects.filter(environment=environment, resolved_at=None, severity=Severity.CRITICAL.value)
    return rows.order_by("opened_at").first()


def incident(environment: str, pk: int) -> Incident:
    """Return one incident. Raises NotFound."""
    found = Incident.objects.select_related("merged_into", "proposed").filter(environment=environment, pk=pk).first()
    if found is None:
        raise NotFound(f"There is no incident {pk} in {environment}.")
    return found


def mergeable(found: Incident) -> list[Incident]:
    """Return the open incidents that one could be merged into."""
    return list(Incident.objects.filter(environment=found.environment, resolved_at=None).exclude(pk=found.pk))


def roles(found: Incident) -> dict[str, User | None]:
    """Return who does what; None for what nobody does."""
    held = {one.role: one.person for one in found.roles.select_related("person")}
    return {role.value: held.get(role.value) for role in RoleName}


def people(environment: str) -> list[User]:
    """Return who may be given a role or a task there."""
    rows = User.objects.filter(is_active=True).order_by("username")
    return [one for one in rows if can(one, environment)]


def holding(environment: str) -> list[IncidentTask]:
    """Return the action items that hold the next phase back. One query."""
    rows = IncidentTask.objects.filter(incident__environment=environment, blocks=True, done_at=None)
    return list(rows.select_related("incident", "owner"))


# ---- what happened ----


@dataclass(frozen=True)
class Row:
    """One line of a timeline, as it was then."""

    at: datetime
    seq: int
    verb: str
    icon: str
    title: str
    text: str
    by: str
    own: bool


def span(found: Incident) -> tuple[datetime, datetime]:
    """Return the time that an incident's timeline covers."""
    return min(found.began_at, found.opened_at) - LEAD, (found.resolved_at or clock.now()) + TAIL


def timeline(found: Incident, *, limit: int = ROWS_MOST) -> list[Row]:
    """Return what happened in it and around it, newest first. A few queries."""
    since, until = span(found)
    merged = [one.subject for one in found.merged.all()]
    causes = list(found.causes.values_list("subject", flat=True))
    own = Q(subject__in=[found.subject, *merged, *causes])
    around = Q(at__gte=since, at__lte=until) & (
        Q(verb__in=ALERTS) | _any(Q(verb__startswith=prefix) for prefix in AROUND)
    )
    entries = history.entries(environment=found.environment).filter(own | around).order_by("-seq")[: 2 * limit]
    rows = [row for one in entries if (row := _row(one, found.subject, {*merged, *causes})) is not None][:limit]
    said = spoken(text for row in rows for text in (row.title, row.text))
    return [replace(row, title=said(row.title), text=said(row.text)) for row in rows]


def _any(terms: Iterable[Q]) -> Q:
    found = Q()
    for term in terms:
        found |= term
    return found


def _row(entry: HistoryEntry, subject: str, related: set[str]) -> Row | None:
    noun = entry.verb.partition(".")[0]
    if entry.verb in SAID_BY_CAUSES:
        return None
    if noun == "incident":
        return _own(entry) if entry.subject in {subject, *related} else None
    # alerts that something explains or somebody silenced are no part of it
    if noun == "alert" and entry.subject not in related and hushed(entry.after):
        return None
    try:
        news = news_of(entry_of(entry))
    except (TypeError, ValueError, KeyError, AttributeError):
        news = None
    if news is None:
        return None
    text = " ".join(one for one in news.sentences if one != news.title)
    icon = "power" if entry.verb == "flag.killed" else ICONS.get(noun, "clock")
    return Row(entry.at, entry.seq, entry.verb, icon, news.title, text, entry.actor_label, entry.subject in related)


def _own(entry: HistoryEntry) -> Row:
    state = entry.after if isinstance(entry.after, dict) else {}
    before = entry.before if isinstance(entry.before, dict) else {}
    what = entry.verb.partition(".")[2]
    number, task = entry.subject.partition(":")[2], state.get("title")
    person = state.get("person") or "nobody"
    titles = {
        "opened": "Opened again" if before else f"Incident {number} opened: {task}",
        "acknowledged": f"{entry.actor_label} has it",
        "mitigated": "Mitigated",
        "resolved": f"Merged into incident {state['merged_into']}" if state.get("merged_into") else "Resolved",
        "reviewed": "Reviewed",
        "severity_changed": f"Severity {before.get('severity')} to {state.get('severity')}",
        "role_set": f"{str(state.get('role')).capitalize()}: {person}",
        "commander_proposed": f"Proposed as commander: {person}",
        "noted": "Public note" if state.get("public") else "Note",
        "task_added": f"Task: {task}",
        "task_done": f"Done: {task}",
        "task_reopened": f"Not done after all: {task}",
        "kill_joined": "LiteRT was killed during it",
        "census_reached": f"{state.get('share')} % obey: {state.get('devices')} of {state.get('of')} devices",
        "release_linked": f"Linked: release {state.get('name')}",
        "release_unlinked": f"No longer linked: release {state.get('name')}",
        "link_made": "A link for people outside was made",
        "link_revoked": "A link for people outside was revoked",
        "review_drafted": "Draft of the review made",
        "review_saved": "Review written",
    }
    text = str(state.get("text") or "") if what == "noted" else entry.reason
    title = titles.get(what, what.replace("_", " ").capitalize())
    at = datetime.fromisoformat(state["at"]) if what == "census_reached" and state.get("at") else entry.at
    icon = OWN_ICONS.get(entry.verb, "clock")
    return Row(at, entry.seq, entry.verb, icon, title, text, entry.actor_label, own=True)


# ---- the page for people outside ----


def incident_by_secret(secret: str) -> Incident | None:
    """Return the incident that a link shows; None for one that is unknown or revoked. One query."""
    link = IncidentLink.objects.select_related("incident__merged_into").filter(
        token_hash=secret_hash(secret), revoked_at=None
    )
    found = link.first()
    return found.incident if found else None


def links(found: Incident) -> Sequence[IncidentLink]:
    """Return the links that lead to the page for people outside, newest first."""
    return list(found.links.all())
