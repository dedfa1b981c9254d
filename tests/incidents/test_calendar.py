"""Business hours and clock times, through both changes of daylight saving."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidents.domain.calendar import Calendar, Unfit, holidays_of, moment_of, zone_of

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]
# both changes of 2026 lie in it, north and south
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - naive ones are asked for


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "day,clock,zone,last,expected",
    [
        (date(2026, 1, 15), time(9), BERLIN, False, "2026-01-15T08:00"),
        (date(2026, 7, 15), time(9), BERLIN, False, "2026-07-15T07:00"),
        # 02:00 to 03:00 is skipped: the moment of the jump
        (date(2026, 3, 29), time(2, 30), BERLIN, False, "2026-03-29T01:00"),
        (date(2026, 3, 29), time(2), BERLIN, True, "2026-03-29T01:00"),
        (date(2026, 3, 29), time(3), BERLIN, False, "2026-03-29T01:00"),
        (date(2026, 3, 29), time(1, 59), BERLIN, False, "2026-03-29T00:59"),
        (date(2026, 3, 8), time(2, 1), NEW_YORK, False, "2026-03-08T07:00"),
        # 02:00 to 03:00 comes twice
        (date(2026, 10, 25), time(2, 30), BERLIN, False, "2026-10-25T00:30"),
        (date(2026, 10, 25), time(2, 30), BERLIN, True, "2026-10-25T01:30"),
        (date(2026, 11, 1), time(1, 15), NEW_YORK, True, "2026-11-01T06:15"),
        # a whole day was skipped
        (date(2011, 12, 30), time(9), ZoneInfo("Pacific/Apia"), False, "2011-12-30T10:00"),
    ],
)
def test_clock_time__as_a_moment(day: date, clock: time, zone: ZoneInfo, last: bool, expected: str) -> None:
    assert moment_of(day, clock, zone, last=last) == at(expected)


@pytest.mark.parametrize(
    "calendar,moment,opens",
    [
        (Calendar(), "2026-11-30T09:00", "2026-11-30T09:00"),
        (Calendar(), "2026-11-30T08:59", "2026-11-30T09:00"),
        (Calendar(), "2026-11-30T17:00", "2026-12-01T09:00"),
        (Calendar(), "2026-11-28T12:00", "2026-11-30T09:00"),
        (Calendar(holidays=frozenset({date(2026, 11, 30)})), "2026-11-28T12:00", "2026-12-01T09:00"),
        # the evening before, in another zone, is the same morning here
        (Calendar(zone="America/New_York"), "2026-11-30T13:59", "2026-11-30T14:00"),
        # hours that begin in what is skipped begin at the jump
        (Calendar("Europe/Berlin", frozenset({6}), time(2, 30), time(4)), "2026-03-29T00:00", "2026-03-29T01:00"),
        # hours that end in what comes twice end the second time
        (Calendar("Europe/Berlin", frozenset({6}), time(1), time(2, 30)), "2026-10-25T01:29", "2026-10-25T01:29"),
        (Calendar("Europe/Berlin", frozenset({6}), time(1), time(2, 30)), "2026-10-25T01:30", "2026-11-01T00:00"),
    ],
)
def test_next_open(calendar: Calendar, moment: str, opens: str) -> None:
    assert calendar.next_open(at(moment)) == at(opens)


CALENDARS = st.builds(
    lambda zone, days, opens, length, holidays: Calendar(
        zone,
        frozenset(days),
        time(opens // 60, opens % 60),
        time((opens + length) // 60, (opens + length) % 60),
        holidays,
    ),
    st.sampled_from(ZONES),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 23 * 60),
    st.integers(1, 59),
    st.frozensets(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=5),
)


@given(CALENDARS, MOMENTS)
def test_next_open__is_never_before__and_never_outside(calendar: Calendar, moment: datetime) -> None:
    opens = calendar.next_open(moment)
    assert opens >= moment
    assert calendar.is_open(opens)
    there = opens.astimezone(zone_of(calendar.zone))
    assert there.weekday() in calendar.weekdays
    assert there.date() not in calendar.holidays
    assert calendar.is_open(moment) == (opens == moment), "an open moment is its own next one"
    assert not calendar.is_open(opens - timedelta(microseconds=1)) or opens == moment, "none is passed over"


@pytest.mark.parametrize(
    "make,words",
    [
        (lambda: Calendar(zone="Mars/Olympus"), "no time zone"),
        (lambda: Calendar(zone="../etc/passwd"), "no time zone"),
        (lambda: Calendar(weekdays=frozenset()), "weekday"),
        (lambda: Calendar(opens=time(17), closes=time(9)), "begin before"),
        (lambda: holidays_of(["christmas"]), "no day"),
    ],
)
def test_unfit__says_why(make: object, words: str) -> None:
    with pytest.raises(Unfit, match=words):
        make()  # type: ignore[operator]


def test_no_hour_left__says_so() -> None:
    every = frozenset(date(2026, 1, 1) + timedelta(days=7 * week) for week in range(200))
    with pytest.raises(Unfit, match="holidays"):
        Calendar(weekdays=frozenset({3}), holidays=every).next_open(at("2026-01-01T00:00"))


def test_holidays__by_lines_with_their_names() -> None:
    assert holidays_of(["2026-12-25 Christmas", "", "2027-01-01"]) == {date(2026, 12, 25), date(2027, 1, 1)}
