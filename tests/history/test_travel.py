"""Time travel: what is rebuilt from entries is what stood there."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hawkops.history.domain.travel import Told, ends, rebuilt, together

START = datetime(2026, 12, 1, tzinfo=UTC)
names = st.sampled_from("abcdef")
states = st.dictionaries(names, st.integers(0, 3), max_size=5)


def told(seq: int, before: Any, after: Any, verb: str = "thing.changed", subject: str = "thing:1") -> Told:
    return Told(seq, START + timedelta(seconds=seq), verb, subject, before, after)


@given(st.lists(states, min_size=2, max_size=8), st.data())
def test_whole_states__at_every_moment__are_what_stood_there(stood: list[dict[str, int]], data: st.DataObject) -> None:
    """Services record all members; a member that is empty is left out, so it may come and go. One always stands."""
    written = [{**state, "revision": place} for place, state in enumerate(stood)]
    entries = [told(place, written[place - 1], after) for place, after in enumerate(written) if place]
    for place, state in enumerate(written):
        found = rebuilt(entries[:place], entries[place:])
        assert found.values == state
        assert found.unlike == ()


@given(st.randoms(use_true_random=False), states)
def test_parts__of_a_state__are_laid_over_each_other(chance: random.Random, first: dict[str, int]) -> None:
    """Services record only what they changed, with what stood before."""
    standing, stood = dict(first), [dict(first)]
    entries = [told(1, None, first)]
    for seq in range(2, 9):
        changed = chance.sample("abcdef", chance.randint(1, 3))
        before = {name: standing[name] for name in changed if name in standing} or None
        after = {name: chance.randint(4, 9) for name in changed}
        standing |= after
        entries.append(told(seq, before, after))
        stood.append(dict(standing))
    for place, state in enumerate(stood, start=1):
        found = rebuilt(entries[:place], entries[place:])
        assert {name: value for name, value in found.values.items() if not found.members[name].later} == state


def test_before_the_first_entry__what_it_found_stands_there() -> None:
    found = rebuilt([], [told(5, {"a": 1, "b": None}, {"a": 2, "b": 3}), told(6, {"c": 7}, {"c": 8})])
    assert found.values == {"a": 1, "b": None, "c": 7}
    assert all(member.later for member in found.members.values())


def test_before_it_was_made__there_is_nothing() -> None:
    found = rebuilt([], [told(5, None, {"a": 1}, "thing.created"), told(6, {"a": 1}, {"a": 2})])
    assert found.values == {}
    assert not found.begun


def test_deleted__leaves_nothing__until_it_is_made_again() -> None:
    gone = [told(1, None, {"a": 1}), told(2, {"a": 1}, None, "thing.deleted")]
    assert rebuilt(gone).ended == gone[1]
    assert rebuilt(gone).values == {}
    again = rebuilt([*gone, told(3, None, {"b": 2}, "thing.created")])
    assert again.ended is None
    assert again.values == {"b": 2}


def test_a_smaller_thing_that_ended__does_not_end_its_subject() -> None:
    assert not ends(told(1, {"owner": "mia"}, None, "check.waiver_ended", "check:1:scan"))
    assert ends(told(1, {"owner": "mia"}, None, "oncall.override_cancelled", "override:1"))
    found = rebuilt(
        [told(1, None, {"owner": "mia", "by": "ben"}), told(2, {"owner": "mia"}, None, "check.waiver_ended", "check:1")]
    )
    assert found.values == {"by": "ben"}


def test_changed_without_an_entry__is_told() -> None:
    found = rebuilt([told(1, None, {"a": 1, "b": 1})], [told(2, {"a": 5, "b": 1}, {"a": 6, "b": 1})])
    assert found.unlike == (("a", 1, 5),)


def test_used__says_nothing_of_what_it_is() -> None:
    found = rebuilt([told(1, None, None, "person.signed_in", "person:1")])
    assert found.begun
    assert found.values == {}


def test_together__each_name_gets_its_own_part() -> None:
    kill = Told(
        9,
        START,
        "flag.killed",
        "flag:litert_enabled",
        {"litert_enabled": {"p": 5}, "fallback": {"p": 0}},
        {"litert_enabled": {"p": 0}, "fallback": {"p": 100}},
    )
    assert [together(name, kill).after for name in ("litert_enabled", "fallback")] == [{"p": 0}, {"p": 100}]  # type: ignore[union-attr]
    assert together("other", kill) is None
    own = Told(9, START, "flag.percentage_set", "flag:litert_enabled", {"p": 5}, {"p": 6})
    assert together("litert_enabled", own) == own
    assert together("fallback", own) is None
