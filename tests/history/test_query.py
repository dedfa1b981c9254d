"""The line an auditor types: everything in it is understood or refused, and nothing is dropped."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawkops.core.errors import InvalidInput
from hawkops.history.domain.query import MOMENTS, QUALIFIERS, Query, Term, moment, parse, written

NOW = datetime(2026, 12, 1, 12, 30, tzinfo=UTC)

values = st.text(st.characters(exclude_characters="\x00", codec="utf-8"), min_size=1, max_size=20).filter(
    lambda text: text == text.strip() and any(letter.isalnum() for letter in text)
)
terms = st.one_of(
    st.builds(
        Term,
        st.sampled_from(["actor", "verb", "subject", "request"]),
        st.lists(values, min_size=1, max_size=3).map(tuple),
        st.booleans(),
    ),
    st.builds(Term, st.just(""), st.tuples(values), st.booleans(), st.just(True)),
)


@given(st.lists(terms, max_size=6))
def test_parse__what_a_query_is_written_as__is_the_same_query(given_terms: list[Term]) -> None:
    asked = Query(tuple(given_terms))
    assert parse(str(asked), now=NOW) == asked


@given(st.text(max_size=60))
def test_parse__any_text__is_understood_whole_or_refused_with_a_sentence(text: str) -> None:
    try:
        found = parse(text, now=NOW)
    except InvalidInput as refusal:
        assert len(refusal.message) > 20
        return
    assert parse(str(found), now=NOW) == found
    kept = "".join(value for term in found.terms for value in term.values) + "".join(found.written.values())
    assert sum(map(str.isalnum, kept)) >= sum(map(str.isalnum, text)) - sum(len(name) for name in QUALIFIERS) * (
        text.count(":")
    )


def test_parse__everything_at_once() -> None:
    line = (
        "actor:mia verb:flag.killed,flag.reenabled subject:flag:litert_enabled env:production since:2026-11-01 "
        'until:"2026-11-02 14:00" cause:123 request:ab12 "exact words" -verb:run. litert_enabled'
    )
    found = parse(line, now=NOW)
    assert found.terms == (
        Term("actor", ("mia",)),
        Term("verb", ("flag.killed", "flag.reenabled")),
        Term("subject", ("flag:litert_enabled",)),
        Term("env", ("production",)),
        Term("cause", ("123",)),
        Term("request", ("ab12",)),
        Term("", ("exact words",), exact=True),
        Term("verb", ("run.",), negated=True),
        Term("", ("litert_enabled",)),
    )
    assert found.since == datetime(2026, 11, 1, tzinfo=UTC)
    assert found.until == datetime(2026, 11, 2, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    "text,since,until",
    [
        ("2h", NOW - timedelta(hours=2), NOW - timedelta(hours=2)),
        ("3d", NOW - timedelta(days=3), NOW - timedelta(days=3)),
        ("today", datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 2, tzinfo=UTC)),
        ("yesterday", datetime(2026, 11, 30, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        ("now", NOW, NOW),
        ("9:05", datetime(2026, 12, 1, 9, 5, tzinfo=UTC), datetime(2026, 12, 1, 9, 5, tzinfo=UTC)),
        ("2026-11-02", datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC)),
        (
            "2026-11-02T14:00+02:00",
            datetime(2026, 11, 2, 12, tzinfo=UTC),
            datetime(2026, 11, 2, 12, tzinfo=UTC),
        ),
    ],
)
def test_moment__days_hours_and_spans(text: str, since: datetime, until: datetime) -> None:
    assert moment(text, now=NOW) == since
    assert moment(text, now=NOW, end=True) == until


@pytest.mark.parametrize(
    "line,says",
    [
        ("actr:mia", "There is no qualifier 'actr'"),
        ("flag:litert_enabled", '"flag:litert_enabled"'),
        ("actor:", "says nothing"),
        ('subject:""', "says nothing"),
        ("since:never", "is not a time"),
        ("since:2026-02-30", "is not a time"),
        ("since:999999w", "is not a time"),
        ("since:2h since:3h", "twice"),
        ("-since:2h", "no minus"),
        ("since:2h until:3h", "nothing can lie between"),
        ("cause:one", "an entry's number"),
        ("env:moon", "no environment 'moon'"),
        ("hidden:perhaps", "no, yes or only"),
        ('"open', "quotation mark is open"),
        ("→", "holds no word"),
        ("x " * 41, "At most 40"),
        ("x" * 1_001, "longer than"),
    ],
)
def test_parse__what_can_not_be_read__is_refused_with_what_to_do(line: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says.replace("(", r"\(")):
        parse(line, now=NOW)


def test_parts__each_condition_can_be_taken_away_by_itself() -> None:
    found = parse('verb:flag. -actor:rule: since:2h "two words"', now=NOW)
    assert [part for part, _ in found.parts()] == ["verb:flag.", "-actor:rule:", '"two words"', "since:2h"]
    for part, rest in found.parts():
        assert set(rest.split(" ")) | set(part.split(" ")) == set(str(found).split(" "))


@given(st.sampled_from(sorted(set(QUALIFIERS) - {*MOMENTS, "cause", "env", "hidden"})), values)
def test_written__any_value__is_read_back(name: str, value: str) -> None:
    assert parse(written(name, value), now=NOW).terms == (Term(name, (value,)),)
