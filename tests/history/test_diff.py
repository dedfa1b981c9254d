"""Differences by place: everything of both sides stands in some row, and what agrees is marked as such."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hawkops.history.domain.diff import changes

leaves = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text("ab c", max_size=8))
values: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text("xyz", min_size=1, max_size=2), inner, max_size=4)
    ),
    max_leaves=12,
)


def text(parts: tuple[tuple[str, str], ...]) -> str:
    return "".join(said for _, said in parts)


@given(values)
def test_changes__the_same_twice__differ_nowhere(value: Any) -> None:
    assert all(row.same for row in changes(value, value))


@given(values, values)
def test_changes__two_values__differ_exactly_when_they_are_not_the_same(before: Any, after: Any) -> None:
    rows = changes(before, after)
    alike = json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    if before is not None and after is not None:
        assert all(row.same for row in rows) == alike
    for row in rows:
        assert bool(row.before) == (row.kind in ("del", "change", "same"))
        assert bool(row.after) == (row.kind in ("add", "change", "same"))
        assert row.same == (row.before == row.after)


def test_changes__nested__are_named_by_path_with_the_words_that_differ() -> None:
    before = {"rules": [{"percent": 5, "group": "internal"}, {"percent": 9}], "note": "memory looks well", "same": 1}
    after = {
        "rules": [{"percent": 10, "group": "internal"}, {"percent": 9}],
        "note": "memory looks bad",
        "new": None,
        "same": 1,
    }
    rows = {row.path: row for row in changes(before, after)}
    assert rows["rules[0].percent"].kind == "change"
    assert rows["rules[0].group"].same
    assert rows["rules[1]"].same
    assert rows["note"].before == (("", "memory looks "), ("del", "well"))
    assert rows["note"].after == (("", "memory looks "), ("add", "bad"))
    assert (rows["new"].kind, text(rows["new"].after)) == ("add", "null")
    assert rows["same"].same


def test_changes__an_item_before_all_others__is_one_that_came() -> None:
    rows = changes(["b", "c"], ["a", "b", "c"])
    assert [(row.path, row.kind) for row in rows] == [("[0]", "add"), ("[1]", "same"), ("[2]", "same")]


def test_changes__huge_values__are_bounded() -> None:
    rows = changes({str(number): number for number in range(9_000)}, {"text": "word " * 50_000})
    assert len(rows) <= 2_001
