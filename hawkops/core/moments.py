"""Reading moments that somebody sent: in UTC and inside the calendar, whatever zone they were written in."""

from datetime import UTC, datetime

from hawkops.core.errors import InvalidInput

# before this there was nothing, and arithmetic with spans may leave the calendar
FIRST = datetime(2000, 1, 1, tzinfo=UTC)


def utc(found: datetime) -> datetime:
    """Return a moment in UTC; one without a zone is of UTC. Raises InvalidInput for one that leaves the calendar.

    PostgreSQL reads no offset of 16 hours or more, and Python writes such.
    """
    try:
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise InvalidInput(f"{found.isoformat()[:40]} is not a time inside the calendar.") from None


def past(text: str, *, now: datetime) -> datetime | None:
    """Read a past moment as the browser's field writes it, in UTC; None for nothing. Raises InvalidInput."""
    if not text.strip():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput(f"{text[:40]!r} is not a time; write 2026-01-31T14:00, in UTC.") from None
    found = utc(found)
    if found > now:
        raise InvalidInput("That is still to come; a past minute can be looked at.")
    if found < FIRST:
        raise InvalidInput("That is before anything was measured.")
    return found
