"""Who is on call when: turns through both changes of daylight saving, overrides, gaps."""

import itertools
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidents.domain.calendar import Unfit
from incidents.domain.rotation import Override, Rotation, gaps, holds, on_call, schedule

ANA, BEN, CLEO = 1, 2, 3
WEEKLY = Rotation((ANA, BEN, CLEO), date(2026, 11, 23), time(9), 7, "Europe/Berlin")


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "moment,person",
    [
        ("2026-11-23T08:00", ANA),
        ("2026-11-23T07:59", CLEO),
        ("2026-11-30T07:59", ANA),
        ("2026-11-30T08:00", BEN),
        ("2026-12-07T08:00", CLEO),
        ("2026-12-14T08:00", ANA),
        # summer: the same clock time, another moment
        ("2027-03-29T06:59", CLEO),
        ("2027-03-29T07:00", ANA),
    ],
)
def test_turns(moment: str, person: int) -> None:
    assert on_call(WEEKLY, [], at=at(moment)) == person


@pytest.mark.parametrize(
    "begins,handover,number,expected,hours",
    [
        # over the skipped hour a week has 167 hours, over the doubled one 169
        (date(2026, 3, 23), time(9), 1, "2026-03-30T07:00", 167),
        (date(2026, 10, 19), time(9), 1, "2026-10-26T08:00", 169),
        # a handover within the skipped hour happens at the jump; within the doubled one the first time
        (date(2026, 3, 22), time(2, 30), 1, "2026-03-29T01:00", 167.5),
        (date(2026, 10, 18), time(2, 30), 1, "2026-10-25T00:30", 168),
    ],
)
def test_handover__daylight_saving(
    begins: date, handover: time, number: int, expected: str, hours: float
) -> None:  # fmt: skip
    rotation = Rotation((ANA, BEN), begins, handover, 7, "Europe/Berlin")
    assert rotation.begins(number) == at(expected)
    assert rotation.begins(number) - rotation.begins(number - 1) == timedelta(hours=hours)


def test_overrides__the_later_made_counts__and_the_turn_comes_back() -> None:
    overrides = [
        Override(CLEO, at("2026-12-01T00:00"), at("2026-12-03T00:00"), made=1),
        Override(ANA, at("2026-12-02T00:00"), at("2026-12-02T12:00"), made=2),
    ]
    found = schedule(WEEKLY, overrides, since=at("2026-11-30T08:00"), until=at("2026-12-07T08:00"))
    assert [(one.starts_at, one.person) for one in found] == [
        (at("2026-11-30T08:00"), BEN),
        (at("2026-12-01T00:00"), CLEO),
        (at("2026-12-02T00:00"), ANA),
        (at("2026-12-02T12:00"), CLEO),
        (at("2026-12-03T00:00"), BEN),
    ]
    assert [one.is_override for one in found] == [False, True, True, True, False]
    assert not holds(found, BEN)
    assert holds(schedule(WEEKLY, [], since=at("2026-12-01T00:00"), until=at("2026-12-02T00:00")), BEN)


def test_gaps__who_has_left_and_nobody() -> None:
    found = schedule(WEEKLY, [], since=at("2026-11-30T08:00"), until=at("2026-12-14T08:00"))
    (gap,) = gaps(found, lambda person: person != CLEO)
    assert (gap.starts_at, gap.ends_at, gap.person) == (at("2026-12-07T08:00"), at("2026-12-14T08:00"), CLEO)
    cover = Override(ANA, gap.starts_at, gap.ends_at, made=1)
    covered = schedule(WEEKLY, [cover], since=at("2026-11-30T08:00"), until=at("2026-12-14T08:00"))
    assert gaps(covered, lambda person: person != CLEO) == []
    (nobody,) = gaps(schedule(None, [], since=at("2026-12-01T00:00"), until=at("2026-12-02T00:00")), lambda _: True)
    assert nobody.person is None
    empty = Rotation((), date(2026, 11, 23), time(9), 7, "UTC")
    assert on_call(empty, [], at=at("2026-12-01T00:00")) is None


PEOPLE = st.lists(st.integers(1, 9), unique=True, max_size=5).map(tuple)
ROTATIONS = st.builds(
    Rotation,
    PEOPLE,
    st.dates(date(2026, 1, 1), date(2026, 12, 31)),
    st.times().map(lambda one: one.replace(second=0, microsecond=0)),
    st.integers(1, 28),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - naive ones are asked for
OVERRIDES = st.lists(
    st.builds(
        lambda person, starts, span, made: Override(person, starts, starts + span, made),
        st.integers(10, 19),
        MOMENTS,
        st.timedeltas(timedelta(minutes=1), timedelta(days=20)),
        st.integers(1, 100),
    ),
    max_size=4,
)


@given(ROTATIONS, OVERRIDES, MOMENTS, st.timedeltas(timedelta(minutes=1), timedelta(days=60)))
def test_schedule__has_no_hole_and_agrees_with_each_moment(
    rotation: Rotation, overrides: list[Override], since: datetime, span: timedelta
) -> None:
    found = schedule(rotation, overrides, since=since, until=since + span)
    assert found[0].starts_at == since
    assert found[-1].ends_at == since + span
    for one, after in itertools.pairwise(found):
        assert one.ends_at == after.starts_at
    for one in found:
        assert one.starts_at < one.ends_at
        assert on_call(rotation, overrides, at=one.starts_at) == one.person
    number = rotation.number_at(since)
    assert rotation.begins(number) <= since < rotation.begins(number + 1)


@pytest.mark.parametrize(
    "people,days,zone,words",
    [((1, 1), 7, "UTC", "once"), ((1,), 0, "UTC", "1 to 28"), ((1,), 7, "Nowhere", "no time zone")],
)
def test_rotation__unfit__says_why(people: tuple[int, ...], days: int, zone: str, words: str) -> None:
    with pytest.raises(Unfit, match=words):
        Rotation(people, date(2026, 11, 23), time(9), days, zone)
