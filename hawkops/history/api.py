"""`/api/v1/ENVIRONMENT/history`: entries newest first, page by page, and any subject at a moment.

Who may read is said where it is mounted.
"""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router, Schema

from hawkops.core import clock
from hawkops.core.access import Scope
from hawkops.core.api import WHOLE_MOST, documented
from hawkops.core.errors import InvalidInput, NotFound
from hawkops.core.htmx import request_id
from hawkops.core.moments import past, utc
from hawkops.history import listing, travel
from hawkops.history.domain import query
from hawkops.history.models import HistoryEntry
from hawkops.history.reading import looked_up, people_asked

ROWS, ROWS_MOST = 50, 500
# an entry number beyond every other: pages begin at the newest
NEWEST = WHOLE_MOST

router = Router(tags=["History"])


class EntryOut(Schema):
    """One change: who did what to what, before and after, why, what led to it, and its place in the chain."""

    entry: int
    at: datetime
    environment: str
    actor: str
    actor_name: str
    verb: str
    subject: str
    before: Any
    after: Any
    reason: str
    request_id: str
    cause: int | None
    hash: str
    previous_hash: str


class EntriesOut(Schema):
    """A page; `older_than` is the `before` of the next one, None on the last."""

    entries: list[EntryOut]
    older_than: int | None


@router.get("/{environment}/history", response=EntriesOut, openapi_extra=documented(Scope.READ))
def entries(
    request: HttpRequest,
    environment: str,
    verb: Annotated[
        str, Query(max_length=200, description="Beginnings of verbs, separated by spaces: flag. run.")
    ] = "",
    subject: Annotated[str, Query(max_length=200)] = "",
    actor: Annotated[str, Query(max_length=150)] = "",
    since: datetime | None = None,
    until: datetime | None = None,
    q: Annotated[
        str,
        Query(
            max_length=query.LENGTH_MOST,
            description='The search of the page: actor:mia verb:flag. -verb:run. since:2h "exact words"',
        ),
    ] = "",
    hidden: Annotated[bool, Query(description="Heartbeats too")] = False,
    before: Annotated[int, Query(ge=0, le=NEWEST, description="Only entries with a smaller number")] = NEWEST,
    limit: Annotated[int, Query(ge=1, le=ROWS_MOST)] = ROWS,
) -> EntriesOut:
    """Entries of the environment and those that belong to none, newest first. Times without a zone are UTC."""
    asked = query.parse(_line(q, verb=verb, subject=subject, actor=actor, hidden=hidden), now=clock.now())
    since, until = _utc(since) or asked.since, _utc(until) or asked.until
    if since and until and since >= until:
        raise InvalidInput("since is not before until, so nothing can lie between them.")
    wanted = listing.asked(replace(asked, since=since, until=until), environment=environment, readable=[environment])
    found = listing.page(wanted, before=before, limit=limit)
    for one in people_asked(asked):
        looked_up(one, environment=environment, **_by(request))
    return EntriesOut(entries=[_entry(row) for row in found.rows], older_than=found.older_than)


@router.get("/{environment}/history/{int:seq}", response=EntryOut, openapi_extra=documented(Scope.READ))
def entry(request: HttpRequest, environment: str, seq: int) -> EntryOut:
    """One entry of the environment, or of none."""
    found = HistoryEntry.objects.select_related("personal").filter(pk=seq, environment__in=("", environment)).first()
    if found is None:
        raise NotFound(f"There is no entry {seq} in {environment}.")
    looked_up(found.subject, environment=environment, **_by(request))
    return _entry(found)


class MemberOut(Schema):
    """One member's value, and the entry that says so; `later` when only a later one does, in its `before`."""

    name: str
    value: Any
    entry: int
    at: datetime
    later: bool


class DifferentOut(Schema):
    """What the next entry found otherwise than it was rebuilt: it changed without an entry of its own."""

    name: str
    rebuilt: Any
    found: Any


class SubjectOut(Schema):
    """A subject at a moment: `last` is the entry that spoke of it last, `ended_by` the one that ended it."""

    subject: str
    environment: str
    at: datetime
    state: dict[str, Any]
    members: list[MemberOut]
    last: int | None
    ended_by: int | None
    begins_with: int | None
    different: list[DifferentOut]
    whole: bool


@router.get("/{environment}/history/subjects/{path:subject}", response=SubjectOut, openapi_extra=documented(Scope.READ))
def subject_at(
    request: HttpRequest,
    environment: str,
    subject: str,
    at: Annotated[str, Query(max_length=40, description="A past moment, 2026-11-30T14:00; without a zone UTC")] = "",
) -> SubjectOut:
    """A subject (flag:litert_enabled) as it was at a moment, rebuilt from its entries; now when no moment is given.

    `whole` is false where more entries came before than were read.
    """
    now = clock.now()
    found = travel.visit(environment, subject[:200], at=past(at, now=now) or now)
    if not found.state.begun and found.begun_by is None:
        raise NotFound(f"No entry of {environment} speaks of {subject[:200]!r}.")
    looked_up(found.subject, environment=environment, **_by(request))
    state = found.state
    return SubjectOut(
        subject=found.subject,
        environment=environment,
        at=found.at,
        state=state.values,
        members=[
            MemberOut(name=name, value=one.value, entry=one.seq, at=one.at, later=one.later)
            for name, one in sorted(state.members.items())
        ],
        last=state.last.seq if state.last else None,
        ended_by=state.ended.seq if state.ended else None,
        begins_with=found.begun_by.seq if found.begun_by else None,
        different=[DifferentOut(name=name, rebuilt=was, found=said) for name, was, said in state.unlike],
        whole=not found.cut,
    )


def _by(request: HttpRequest) -> dict[str, Any]:
    """Return what `looked_up` wants to know of the reader, whom the mount has let in."""
    return {"actor": request.auth.actor, "request_id": request_id(request)}  # type: ignore[attr-defined]


def _line(q: str, *, verb: str, subject: str, actor: str, hidden: bool) -> str:
    """Return the parameters as one line."""
    parts = [q.strip()]
    if verbs := verb.replace(",", " ").split():
        parts.append("verb:" + ",".join(query.written_value(one) for one in verbs))
    for name, value in (("subject", subject.strip()), ("actor", actor.strip())):
        if value:
            parts.append(query.written(name, value))
    if hidden:
        parts.append("hidden:yes")
    return " ".join(part for part in parts if part)


def _utc(moment: datetime | None) -> datetime | None:
    return utc(moment) if moment else None


def _entry(row: HistoryEntry) -> EntryOut:
    return EntryOut(
        entry=row.seq,
        at=row.at,
        environment=row.environment,
        actor=row.actor,
        actor_name=row.actor_label,
        verb=row.verb,
        subject=row.subject,
        before=row.before,
        after=row.after,
        reason=row.reason,
        request_id=row.request_id,
        cause=row.cause_id,
        hash=row.hash,
        previous_hash=row.previous_hash,
    )
