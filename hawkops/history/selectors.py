"""Reading the history."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import reduce
from itertools import pairwise
from operator import or_

from django.db.models import Q, QuerySet

from hawkops.history.models import HEARTBEAT, Head, HistoryEntry, Verification

CHUNK_ROWS = 5_000


def entries(
    *,
    environment: str | None = None,
    verb_prefixes: Sequence[str] = (),
    verbs: Iterable[str] = (),
    subject: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    hidden: bool = False,
) -> QuerySet[HistoryEntry]:
    """Return entries newest first; `environment` also brings those that belong to none. One query when iterated.

    What people ask is found by `listing`.
    """
    found = HistoryEntry.objects.select_related("personal")
    if not hidden:
        found = found.filter(hidden=False)
    if environment is not None:
        found = found.filter(Q(environment=environment) | Q(environment=""))
    if verb_prefixes:
        found = found.filter(reduce(or_, (Q(verb__startswith=prefix) for prefix in verb_prefixes)))
    if verbs:
        found = found.filter(verb__in=list(verbs))
    if subject:
        found = found.filter(subject=subject)
    if since is not None:
        found = found.filter(at__gte=since)
    if until is not None:
        found = found.filter(at__lt=until)
    return found


def whole_chain(*, until_seq: int) -> Iterator[HistoryEntry]:
    """Give every entry up to one, oldest first. Reads in chunks, so that no statement runs for long."""
    last = 0
    while chunk := list(HistoryEntry.objects.filter(seq__gt=last, seq__lte=until_seq).order_by("seq")[:CHUNK_ROWS]):
        yield from chunk
        last = chunk[-1].seq


def longest_silence(*, since: datetime, now: datetime) -> timedelta:
    """Return the longest time without an entry since then, the silence before `now` included. One query.

    The entry before `since` counts as the beginning of the first silence.
    """
    before = HistoryEntry.objects.filter(at__lt=since).order_by("-seq").values_list("at", flat=True).first()
    moments = list(HistoryEntry.objects.filter(at__gte=since, at__lte=now).order_by("seq").values_list("at", flat=True))
    start = [max(before, since)] if before else []
    return max((later - earlier for earlier, later in pairwise([*start, *moments, now])), default=timedelta())


def head() -> Head:
    """Return the end of the chain."""
    return Head.objects.get(pk=1)


def last_entry_at() -> datetime | None:
    """Return when anything was last written (heartbeats included); None on an empty chain."""
    return HistoryEntry.objects.order_by("-seq").values_list("at", flat=True).first()


def last_heartbeat_at() -> datetime | None:
    """Return when the heartbeat was last written, which only beat and a worker together do; None before the first."""
    found = HistoryEntry.objects.filter(verb=HEARTBEAT).order_by("-at")
    return found.values_list("at", flat=True).first()


def verification_latest() -> Verification | None:
    """Return the newest result of the verifier, or None if it never ran."""
    return Verification.objects.order_by("-at").first()
