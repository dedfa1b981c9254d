"""The life of an alert: inactive → pending → firing → acknowledged → resolved, as a table of moves. Pure.

Silence never resolves an alert: without data it stays as it is, and the missing data is an alert of its own.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hawkops.core.verdicts import Verdict

# How long it must be well before an alert resolves: a reading that hovers at its limit would page again and again.
WELL_FOR = timedelta(seconds=60)
# How long a metric that had reported must be silent before that is an alert of its own.
SILENT_FOR = timedelta(minutes=5)
# So many times within the hour, and it flaps.
FLAPS, FLAP_SPAN = 3, timedelta(hours=1)


class State(StrEnum):
    """Where an alert stands."""

    PENDING = "pending"
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Kind(StrEnum):
    """What is wrong: a limit is missed, or nothing is heard any more."""

    BREACH = "breach"
    NO_DATA = "no data"


# What may follow what; dropping a pending alert that never fired is no move, it simply was nothing.
MOVES = {
    State.PENDING: (State.FIRING,),
    State.FIRING: (State.ACKNOWLEDGED, State.RESOLVED),
    State.ACKNOWLEDGED: (State.FIRING, State.RESOLVED),
    State.RESOLVED: (),
}


class Sign(StrEnum):
    """What one look says of a kind of alert."""

    BAD = "bad"
    WELL = "well"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Episode:
    """An alert as it stands."""

    state: State
    since: datetime
    bad_at: datetime
    acknowledged_until: datetime | None = None


class Move(StrEnum):
    """What to do now."""

    NONE = "none"
    BEGIN = "begin"
    STILL_BAD = "still bad"
    FIRE = "fire"
    FIRE_AT_ONCE = "fire at once"
    DROP = "drop"
    RESOLVE = "resolve"
    PAGE_AGAIN = "page again"


def sign(kind: Kind, verdict: Verdict, *, silent_for: timedelta | None) -> Sign:
    """Say what a verdict means for a kind of alert. `silent_for` is the age of the newest data, None without any ever."""
    if kind is Kind.NO_DATA:
        if silent_for is None:
            return Sign.UNKNOWN
        return Sign.BAD if silent_for >= SILENT_FOR else Sign.WELL
    if verdict is Verdict.FAIL:
        return Sign.BAD
    return Sign.WELL if verdict is Verdict.PASS else Sign.UNKNOWN


def step(episode: Episode | None, seen: Sign, *, for_: timedelta, now: datetime) -> Move:
    """Return the move that a look leads to."""
    if episode is None or episode.state is State.RESOLVED:
        if seen is not Sign.BAD:
            return Move.NONE
        return Move.BEGIN if for_ else Move.FIRE_AT_ONCE
    if episode.state is State.PENDING:
        if seen is Sign.WELL:
            return Move.DROP
        if seen is Sign.BAD:
            return Move.FIRE if now - episode.since >= for_ else Move.STILL_BAD
        return Move.NONE
    if seen is Sign.WELL and now - episode.bad_at >= WELL_FOR:
        return Move.RESOLVE
    if episode.state is State.ACKNOWLEDGED and episode.acknowledged_until and now >= episode.acknowledged_until:
        return Move.PAGE_AGAIN
    return Move.STILL_BAD if seen is Sign.BAD else Move.NONE


def flapping(fired: list[datetime], now: datetime) -> bool:
    """Say whether an alert fired so often lately that its limit, not the fleet, is the news."""
    return sum(now - at <= FLAP_SPAN for at in fired) >= FLAPS
