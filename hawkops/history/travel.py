"""Time travel: anything that entries speak of, as it was at a moment. Reads are bounded, and what was left out is said."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from hawkops.history import listing
from hawkops.history.domain.travel import KINDS, Kind, State, Told, rebuilt
from hawkops.history.models import HistoryEntry

# entries read of one subject, before a moment and after it
EARLIER_MOST, LATER_MOST = 1_000, 200


@dataclass(frozen=True)
class Visit:
    """A subject at a moment. `cut` says that it has more entries before it than were read."""

    subject: str
    at: datetime
    state: State
    cut: bool
    begun_by: Told | None


def visit(environment: str, subject: str, *, at: datetime, until_seq: int | None = None) -> Visit:
    """Return a subject as it was at a moment (what was written in its very microsecond included), or after an entry."""
    found = _earlier(environment, subject, at, until_seq)
    later = _later(environment, subject, at, until_seq)
    kind, _, name = subject.partition(":")
    how = KINDS.get(kind)

    def read(rows: Sequence[HistoryEntry]) -> list[Told]:
        told = [_told(row) for row in rows]
        return [said for one in told if (said := how.read(name, one) if how else one) is not None]

    earlier = read(found[:EARLIER_MOST][::-1])
    following = read(later)
    return Visit(
        subject=subject,
        at=at,
        state=rebuilt(earlier, following),
        cut=len(found) > EARLIER_MOST,
        begun_by=following[0] if not earlier and following else None,
    )


def changes(
    environment: str, subject: str, *, before: int | None = None, since: datetime | None = None, limit: int
) -> listing.Page:
    """Return the entries that speak of a subject, newest first."""
    return listing.page(listing.Asked(_search(environment, subject), since), before=before, limit=limit)


def siblings(environment: str, subject: str, *, at: datetime, limit: int = 100) -> list[Visit]:
    """Return all of the same kind that the environment ever had, as they were at that moment; empty where nobody knows."""
    kind = subject.partition(":")[0]
    how = KINDS.get(kind)
    if how is None or how.names is None:
        return []
    names = list(how.names(environment))[:limit]
    # the newest entries of all of them are read once; only whom none of these names is looked for by itself
    rows = listing.page(
        listing.Asked(_all_of(environment, how), until=at + timedelta(microseconds=1)), limit=EARLIER_MOST
    )
    told = [_told(row) for row in reversed(rows.rows)]
    found: list[Visit] = []
    for name in names:
        own = [said for one in told if (said := how.read(name, one)) is not None]
        if rows.older_than is None or any(one.subject.startswith(f"{kind}:") for one in own):
            found.append(Visit(f"{kind}:{name}", at, rebuilt(own), rows.older_than is not None, None))
        else:
            found.append(visit(environment, f"{kind}:{name}", at=at))
    return found


def _told(row: HistoryEntry) -> Told:
    return Told(row.seq, row.at, row.verb, row.subject, row.before, row.after)


def _earlier(environment: str, subject: str, at: datetime, until_seq: int | None) -> list[HistoryEntry]:
    before = None if until_seq is None else until_seq + 1
    asked = listing.Asked(
        _search(environment, subject), until=at + timedelta(microseconds=1) if until_seq is None else None
    )
    return listing.page(asked, before=before, limit=EARLIER_MOST + 1).rows


def _later(environment: str, subject: str, at: datetime, until_seq: int | None) -> list[HistoryEntry]:
    """Return the entries after a moment, oldest first; none where there are too many to know the first of them."""
    after = {"at__gt": at} if until_seq is None else {"seq__gt": until_seq}
    if subject.partition(":")[0] not in KINDS:
        rows = HistoryEntry.objects.filter(subject=subject, environment__in=("", environment), **after)
        return list(rows.order_by("seq")[:LATER_MOST])
    since = at + timedelta(microseconds=1) if until_seq is None else None
    found = listing.page(listing.Asked(_search(environment, subject), since), limit=EARLIER_MOST)
    if found.older_than is not None:
        return []
    return [row for row in reversed(found.rows) if until_seq is None or row.seq > until_seq][:LATER_MOST]


def _search(environment: str, subject: str) -> str:
    """Return what the index is asked for entries that speak of a subject."""
    kind, _, name = subject.partition(":")
    how = KINDS.get(kind)
    subjects = [subject, *(how.beside(environment, name) if how else ())]
    own = " || ".join(listing.exact("s", one) for one in subjects)
    given: list[str] = []
    if how and how.within and name:
        verbs = " || ".join(listing.beginning("v", verb) for verb in how.within)
        own += f" || (({verbs}) && history_asked(%s, false))"
        given.append(name)
    return _expression(environment, own, given)


def _all_of(environment: str, how: Kind) -> str:
    """Return what the index is asked for entries that speak of any of a kind."""
    parts = [listing.beginning("v", verb) for verb in how.within]
    parts += [listing.exact("s", one) for one in how.beside(environment, "")]
    return _expression(environment, " || ".join(parts), [])


def _expression(environment: str, own: str, given: list[str]) -> str:
    places = f"({listing.exact('e', '')} || {listing.exact('e', environment)})"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT ({places} && ({own}))::text", given)
        return str(cursor.fetchone()[0])
