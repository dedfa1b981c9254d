"""Entries of the history as the domain reads them."""

from hawkops.history.models import HistoryEntry
from incidents.domain.news import Entry


def entry_of(entry: HistoryEntry) -> Entry:
    """Return the part of a stored entry that news is made of. Costs a query unless its personal values were fetched."""
    return Entry(
        seq=entry.seq,
        at=entry.at,
        environment=entry.environment,
        by=entry.actor_label,
        verb=entry.verb,
        subject=entry.subject,
        before=entry.before,
        after=entry.after,
        reason=entry.reason,
        hidden=entry.hidden,
    )
