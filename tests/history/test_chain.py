"""The hash chain as a pure function: any alteration is found, and named by its first bad row."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawkops.history.domain import chain

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
Link = tuple[chain.Row, str, str]


def built(count: int) -> list[Link]:
    """A good chain of `count` rows."""
    rows: list[Link] = []
    last = chain.GENESIS
    for seq in range(1, count + 1):
        row = chain.Row(
            seq=seq,
            at=START + timedelta(seconds=seq),
            environment="production",
            actor="person:1",
            verb="flag.override_set",
            subject="flag:litert_enabled",
            before='{"override":null}',
            after='{"override":"off"}',
            reason="Production incident",
            request_id="r",
            cause=seq - 1 or None,
            hidden=False,
            commitment="c" * 64,
        )
        digest = chain.row_hash(last, row)
        rows.append((row, last, digest))
        last = digest
    return rows


def head(rows: list[Link]) -> tuple[int, str]:
    """Where a good chain ends."""
    return rows[-1][0].seq, rows[-1][2]


def test_verify__untouched_chain__finds_nothing() -> None:
    rows = built(20)
    assert chain.verify(rows, head=head(rows)) is None


@pytest.mark.parametrize(
    "field,value",
    [
        ("reason", "Drill"),
        ("actor", "person:2"),
        ("after", '{"override":null}'),
        ("at", START),
        ("cause", 3),
        ("hidden", True),
        ("commitment", "d" * 64),
        ("environment", "demo"),
    ],
)
def test_verify__one_field_altered__names_that_row(field: str, value: object) -> None:
    rows = built(20)
    row, previous, digest = rows[9]
    rows[9] = (replace(row, **{field: value}), previous, digest)  # type: ignore[arg-type]
    found = chain.verify(rows, head=head(rows))
    assert found is not None
    assert found.seq == 10
    assert "altered" in found.why


@given(st.integers(min_value=0, max_value=18))
def test_verify__row_deleted__names_the_missing_one(index: int) -> None:
    rows = built(20)
    end = head(rows)
    del rows[index]
    found = chain.verify(rows, head=end)
    assert found is not None
    assert found.seq == index + 1


@given(st.integers(min_value=0, max_value=19))
def test_verify__cut_at_the_end__is_found_by_the_head(keep: int) -> None:
    rows = built(20)
    found = chain.verify(rows[:keep], head=head(rows))
    assert found is not None
    assert found.seq == keep + 1


@given(st.data())
def test_verify__two_rows_swapped__is_found(data: st.DataObject) -> None:
    rows = built(12)
    first, second = sorted(data.draw(st.sets(st.integers(0, 11), min_size=2, max_size=2)))
    end = head(rows)
    rows[first], rows[second] = rows[second], rows[first]
    found = chain.verify(rows, head=end)
    assert found is not None
    assert found.seq == first + 1


def test_verify__row_rehashed_after_alteration__breaks_at_its_successor() -> None:
    rows = built(20)
    row, previous, _ = rows[9]
    forged = replace(row, reason="Drill")
    rows[9] = (forged, previous, chain.row_hash(previous, forged))
    found = chain.verify(rows, head=head(rows))
    assert found is not None
    assert found.seq == 11


def test_masked__secret_members__are_replaced_at_any_depth() -> None:
    assert chain.masked({"name": "a", "token": "x", "in": [{"api_key": "y", "value": 1}]}) == {
        "name": "a",
        "token": chain.MASK,
        "in": [{"api_key": chain.MASK, "value": 1}],
    }


def test_gaps__silence__is_reported_with_its_length() -> None:
    times = [(1, START), (2, START + timedelta(seconds=30)), (3, START + timedelta(seconds=130))]
    assert list(chain.gaps(times, longer_than_seconds=60)) == [(3, 100.0)]
