"""How often a message is tried and how long is waited: pure arithmetic, and the table of a delivery's states."""

import hashlib
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

FIRST = timedelta(seconds=5)
MOST = timedelta(minutes=15)
# What the other side may ask for; longer, and it is asked again all the same.
ASKED_MOST = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(hours=24)
SPREAD = 0.2
# Who sends holds a delivery so long; a sender that died holds it no longer.
LEASE = timedelta(seconds=60)


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    SENT = "sent"
    # the other side refused it for good
    FAILED = "failed"
    # tried for a day
    GIVEN_UP = "given up"


MOVES = {
    State.PENDING: (State.SENT, State.FAILED, State.GIVEN_UP),
    State.SENT: (),
    # a person may have it tried again
    State.FAILED: (State.PENDING,),
    State.GIVEN_UP: (State.PENDING,),
}


class Outcome(StrEnum):
    """What one attempt came to."""

    ACCEPTED = "accepted"
    AGAIN = "again"
    REFUSED = "refused"


def outcome_of(status: int) -> Outcome:
    """Read an HTTP status: what may pass is tried again, what is wrong with the message itself is final."""
    if 200 <= status < 300:
        return Outcome.ACCEPTED
    return Outcome.AGAIN if status in (408, 425, 429) or status >= 500 else Outcome.REFUSED


def wait(attempts: int, *, key: str) -> timedelta:
    """Return how long to wait after so many attempts: twice as long each time, spread by the key so that a host that
    comes back is not met by everybody at once."""
    base = min(MOST, FIRST * 2 ** min(max(attempts, 1) - 1, 20))
    digest = hashlib.sha256(f"{key}:{attempts}".encode()).digest()
    spread = SPREAD * (2 * digest[0] / 255 - 1)
    return timedelta(seconds=base.total_seconds() * (1 + spread))


def asked_wait(retry_after: str, *, now: datetime) -> timedelta | None:
    """Read Retry-After, seconds or a date; None where nothing is asked that makes sense."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), ASKED_MOST)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max(until - now, timedelta()), ASKED_MOST)


def after(
    outcome: Outcome, *, attempts: int, key: str, age: timedelta, asked: timedelta | None = None
) -> tuple[State, timedelta | None]:
    """Return the state after an attempt, and how long to wait where it is tried again."""
    if outcome is Outcome.ACCEPTED:
        return State.SENT, None
    if outcome is Outcome.REFUSED:
        return State.FAILED, None
    if age >= GIVE_UP_AFTER:
        return State.GIVEN_UP, None
    pause = wait(attempts, key=key)
    return State.PENDING, max(pause, asked) if asked is not None else pause
