"""`/api/v1/ENVIRONMENT/history`: entries newest first, page by page. Who may read is said where it is mounted."""

from datetime import UTC, datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router, Schema

from hawkops.core.access import Scope
from hawkops.core.api import WHOLE_MOST, documented
from hawkops.core.errors import NotFound
from hawkops.history import selectors
from hawkops.history.models import HistoryEntry

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
    q: Annotated[str, Query(max_length=200, description="Words that all occur")] = "",
    hidden: Annotated[bool, Query(description="Heartbeats too")] = False,
    before: Annotated[int, Query(ge=0, le=NEWEST, description="Only entries with a smaller number")] = NEWEST,
    limit: Annotated[int, Query(ge=1, le=ROWS_MOST)] = ROWS,
) -> EntriesOut:
    """Entries of the environment and those that belong to none, newest first. Times without a zone are UTC."""
    found = selectors.entries(
        environment=environment,
        verb_prefixes=verb.split(),
        subject=subject.strip(),
        actor=actor.strip(),
        since=_utc(since),
        until=_utc(until),
        words=q,
        hidden=hidden,
    )
    rows = list(found.filter(seq__lt=before)[: limit + 1])
    more = len(rows) > limit
    return EntriesOut(entries=[_entry(row) for row in rows[:limit]], older_than=rows[limit - 1].seq if more else None)


@router.get("/{environment}/history/{int:seq}", response=EntryOut, openapi_extra=documented(Scope.READ))
def entry(request: HttpRequest, environment: str, seq: int) -> EntryOut:
    """One entry of the environment, or of none."""
    found = HistoryEntry.objects.select_related("personal").filter(pk=seq, environment__in=("", environment)).first()
    if found is None:
        raise NotFound(f"There is no entry {seq} in {environment}.")
    return _entry(found)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


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
