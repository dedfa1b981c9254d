"""Reading a past minute that somebody wants to look back at."""

from datetime import UTC, datetime

from hawkops.core.errors import InvalidInput

# before this there was nothing, and arithmetic with spans may leave the calendar
FIRST = datetime(2000, 1, 1, tzinfo=UTC)


def past(text: str, *, now: datetime) -> datetime | None:
    """Read a past moment as the browser's field writes it, in UTC; None for nothing. Raises InvalidInput."""
    if not text.strip():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(f"{text[:40]!r} is not a time; write 2026-01-31T14:00, in UTC.") from None
    if found > now:
        raise InvalidInput("That is still to come; a past minute can be looked at.")
    if found < FIRST:
        raise InvalidInput("That is before anything was measured.")
    return found
