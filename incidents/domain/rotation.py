"""Who is on call when: ordered people with handovers, overrides on top, gaps, and swaps. Pure; people are their ids."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from incidents.domain.calendar import Unfit, moment_of, zone_of

PEOPLE_MOST = 50
LENGTH_DAYS_MOST = 28
# gaps are warned of so long ahead
AHEAD = timedelta(days=14)
SHIFTS_MOST = 1_000


@dataclass(frozen=True)
class Rotation:
    """People who take turns. The first of them has the shift that begins on `begins_on` at the handover time.

    A shift lasts so many days by the calendar, not so many hours: handover is at the same clock time all year.
    """

    people: tuple[int, ...]
    begins_on: date
    handover: time
    length_days: int
    zone: str

    def __post_init__(self) -> None:
        zone_of(self.zone)
        if len(self.people) > PEOPLE_MOST:
            raise Unfit(f"A rotation has at most {PEOPLE_MOST} people.")
        if len(set(self.people)) != len(self.people):
            raise Unfit("Each person stands in the rotation once.")
        if not 1 <= self.length_days <= LENGTH_DAYS_MOST:
            raise Unfit(f"A shift lasts 1 to {LENGTH_DAYS_MOST} days.")

    def begins(self, number: int) -> datetime:
        """Return when a shift begins; numbers before the first are negative."""
        return moment_of(
            self.begins_on + timedelta(days=number * self.length_days), self.handover, zone_of(self.zone)
        )  # fmt: skip

    def number_at(self, moment: datetime) -> int:
        """Return the shift under way."""
        day = moment.astimezone(zone_of(self.zone)).date()
        number = (day - self.begins_on).days // self.length_days
        while self.begins(number) > moment:
            number -= 1
        while self.begins(number + 1) <= moment:
            number += 1
        return number

    def person(self, number: int) -> int | None:
        """Return whose shift it is; None when nobody stands in the rotation."""
        return self.people[number % len(self.people)] if self.people else None


@dataclass(frozen=True)
class Override:
    """Somebody takes a time, whoever's turn it is. Of two that overlap the one made later counts."""

    person: int
    starts_at: datetime
    ends_at: datetime
    made: int


@dataclass(frozen=True)
class Shift:
    """A time with one person, or nobody. `turn` is whose turn it would be by the rotation alone."""

    starts_at: datetime
    ends_at: datetime
    person: int | None
    turn: int | None

    @property
    def is_override(self) -> bool:
        """Whether somebody else than the one whose turn it is has it."""
        return self.person != self.turn


def schedule(
    rotation: Rotation | None, overrides: Iterable[Override], *, since: datetime, until: datetime
) -> list[Shift]:  # fmt: skip
    """Return who is on call from one moment to another, without holes: a time that nobody has says so."""
    if since >= until:
        return []
    taken = sorted(
        (one for one in overrides if one.starts_at < until and one.ends_at > since), key=lambda one: -one.made
    )
    edges = {since, until}
    edges |= {edge for one in taken for edge in (one.starts_at, one.ends_at) if since < edge < until}
    first = 0
    if rotation is not None:
        first = number = rotation.number_at(since)
        while (begins := rotation.begins(number)) < until:
            edges |= {begins} if begins > since else set()
            number += 1
            if number - first > SHIFTS_MOST:
                raise Unfit("That is too long a time.")
    ordered = sorted(edges)
    found: list[Shift] = []
    for starts, ends in itertools.pairwise(ordered):
        turn = rotation.person(rotation.number_at(starts)) if rotation is not None else None
        person = next((one.person for one in taken if one.starts_at <= starts < one.ends_at), turn)
        last = found[-1] if found else None
        if last is not None and (last.person, last.turn) == (person, turn):
            found[-1] = Shift(last.starts_at, ends, person, turn)
        else:
            found.append(Shift(starts, ends, person, turn))
    return found


def on_call(rotation: Rotation | None, overrides: Iterable[Override], *, at: datetime) -> int | None:
    """Return who is on call at a moment; None when nobody is."""
    found = schedule(rotation, overrides, since=at, until=at + timedelta(microseconds=1))
    return found[0].person


def gaps(shifts: Sequence[Shift], able: Callable[[int], bool]) -> list[Shift]:
    """Return the times that nobody covers: nobody's turn, or the turn of one who has left."""
    return [one for one in shifts if one.person is None or not able(one.person)]


def holds(shifts: Sequence[Shift], person: int) -> bool:
    """Say whether one person has the whole of a time."""
    return bool(shifts) and all(one.person == person for one in shifts)


class SwapState(StrEnum):
    """Where a proposed swap stands."""

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


SWAP_MOVES = {
    SwapState.PROPOSED: (SwapState.ACCEPTED, SwapState.DECLINED, SwapState.WITHDRAWN),
    SwapState.ACCEPTED: (),
    SwapState.DECLINED: (),
    SwapState.WITHDRAWN: (),
}
