"""Erasing a person's name from the history: the name goes, its commitment stays, and with it the proof."""

from django.db import connection
from django.db.models import Q

from hawkops.core.erasure import Named, Signed
from hawkops.history.models import ActorName, Checkpoint, HistoryEntry, Personal, Verification

SIGNED = (Signed(Verification, ("requested_by",)),)
# read by the index, by whose they are, or not at all
APART = (HistoryEntry, Personal, ActorName, Checkpoint)
# so that a statement ends long before its time is over
BATCH = 5_000


def names_forget(named: Named) -> int:
    """Drop the person's name from every entry of theirs, and the address from what locked them out.

    Returns how many entries said it. Each entry's hash covers a salted commitment in its place, which proves nothing of a
    name that is gone.
    """
    theirs = Q(entry__actor=named.reference) | Q(entry__subject=named.reference, entry__actor="rule:lockout")
    erased = 0
    while keys := list(Personal.objects.filter(theirs).values_list("pk", flat=True)[:BATCH]):
        erased += Personal.objects.filter(pk__in=keys).delete()[0]
    return erased


def entries_naming(named: Named) -> list[int]:
    """Return the entries whose text holds the name as a word, oldest first: what was hashed can't be taken back.

    The index finds those that may, and each of them is read.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT history_asked(%s, false)::text", [named.name])
        if not cursor.fetchone()[0]:
            return []
        cursor.execute(
            "SELECT seq FROM history_historyentry WHERE search @@ history_asked(%s, false) ORDER BY seq", [named.name]
        )
        may = [int(row[0]) for row in cursor.fetchall()]
    found: list[int] = []
    for start in range(0, len(may), BATCH):
        rows = HistoryEntry.objects.filter(pk__in=may[start : start + BATCH]).order_by("seq")
        columns = ("seq", "subject", "before_text", "after_text", "reason")
        found += [seq for seq, *texts in rows.values_list(*columns) if any(named.mentioned(one or "") for one in texts)]
    return found
