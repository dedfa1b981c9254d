"""Business hours in a time zone, and clock times as moments when daylight saving skips or doubles an hour. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOLIDAYS_MOST = 400
# how far ahead an open moment is looked for
HORIZON_DAYS = 800
_SECOND = timedelta(seconds=1)


class Unfit(ValueError):
    """It can't be used as it is; the message says why."""


@cache
def zones() -> frozenset[str]:
    """Return the names of all time zones; looked up once, the files are many."""
    return frozenset(available_timezones())


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name. Raises Unfit."""
    if name not in zones():
        raise Unfit(f"There is no time zone {name[:60]!r}; write it as Europe/Berlin or America/New_York.")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Unfit(f"There is no time zone {name[:60]!r}.") from error


def moment_of(day: date, clock: time, zone: ZoneInfo, *, last: bool = False) -> datetime:
    """Return the moment, in UTC, at which clocks there show a time of a day.

    A time that is skipped is the moment at which the clocks jump over it. One that comes twice is the first of the two,
    or the last where that is asked for.
    """
    wall = datetime.combine(day, clock)
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if second >= first:
        return second if last else first
    # skipped: read with the earlier offset it lies after the jump, with the later one before it
    low, high = second, first
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        shows = middle.astimezone(zone).replace(tzinfo=None)
        low, high = (low, middle) if shows >= wall else (middle, high)
    return high.replace(microsecond=0)


@dataclass(frozen=True)
class Calendar:
    """When people are at work: weekdays (Monday is 0), from when to when, and the days that are free all the same."""

    zone: str = "UTC"
    weekdays: frozenset[int] = frozenset(range(5))
    opens: time = time(9)
    closes: time = time(17)
    holidays: frozenset[date] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        zone_of(self.zone)
        if not self.weekdays or not self.weekdays <= set(range(7)):
            raise Unfit("Choose at least one weekday.")
        if self.opens >= self.closes:
            raise Unfit("Business hours begin before they end, on the same day.")
        if len(self.holidays) > HOLIDAYS_MOST:
            raise Unfit(f"At most {HOLIDAYS_MOST} holidays.")

    def hours(self, day: date) -> tuple[datetime, datetime] | None:
        """Return from when to when a day is open; None when it is not."""
        if day.weekday() not in self.weekdays or day in self.holidays:
            return None
        zone = zone_of(self.zone)
        opens, closes = moment_of(day, self.opens, zone), moment_of(day, self.closes, zone, last=True)
        return (opens, closes) if opens < closes else None

    def is_open(self, moment: datetime) -> bool:
        """Whether people are at work; the closing moment is outside."""
        found = self.hours(moment.astimezone(zone_of(self.zone)).date())
        return found is not None and found[0] <= moment < found[1]

    def next_open(self, moment: datetime) -> datetime:
        """Return the first open moment, this one included. Raises Unfit when there is none within two years."""
        day = moment.astimezone(zone_of(self.zone)).date()
        for ahead in range(HORIZON_DAYS):
            found = self.hours(day + timedelta(days=ahead))
            if found is not None and moment < found[1]:
                return max(moment, found[0])
        raise Unfit("No business hour is left within two years: look at the holidays.")


def holidays_of(lines: Sequence[str]) -> frozenset[date]:
    """Read days, one a line, `2026-12-25`, with anything after it as its name. Raises Unfit."""
    found = set()
    for line in lines:
        words = line.split()
        if not words:
            continue
        try:
            found.add(date.fromisoformat(words[0]))
        except ValueError:
            raise Unfit(f"{words[0][:40]!r} is no day; write it as 2026-12-25.") from None
    return frozenset(found)
