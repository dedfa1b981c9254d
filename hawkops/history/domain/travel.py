"""What something was at a moment, rebuilt from what entries say of it.

The rule, in the order of the entries: a member that `after` names has its value; one that `before` names and an `after` of
the same members does not is gone; what neither names stays as it was. What no earlier entry names has the value that the
next one gives it in `before`. An entry without `after` that ends its subject leaves nothing. What the next entry's `before`
says otherwise than it was rebuilt is told: then something changed without an entry here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

ENDINGS = ("archived", "deleted", "dropped", "erased")


@dataclass(frozen=True)
class Told:
    """What one entry says of one subject; None says nothing."""

    seq: int
    at: datetime
    verb: str
    subject: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Member:
    """One member's value and the entry that says so; `later` when only an entry after the moment does, in its `before`."""

    value: Any
    seq: int
    at: datetime
    later: bool = False


@dataclass(frozen=True)
class State:
    """What is known of a subject at a moment. `ended` is the entry that ended it.

    `unlike` are (name, rebuilt, what the next entry found).
    """

    members: dict[str, Member] = field(default_factory=dict)
    last: Told | None = None
    ended: Told | None = None
    unlike: tuple[tuple[str, Any, Any], ...] = ()

    @property
    def values(self) -> dict[str, Any]:
        """The members' values."""
        return {name: member.value for name, member in self.members.items()}

    @property
    def begun(self) -> bool:
        """Whether anything is known of it at that moment."""
        return bool(self.members) or self.last is not None


@dataclass(frozen=True)
class Kind:
    """How entries speak of one kind of subject, where that is more than `subject` and members.

    `beside` gives other subjects that say something of it too; `within` begins verbs of entries that may speak of it by its
    name inside; `read` returns what an entry says of it. `names` gives all of the kind that an environment ever had, and
    is given only where each entry within says all that matters of whom it names.
    """

    read: Callable[[str, Told], Told | None]
    beside: Callable[[str, str], Sequence[str]] = lambda _environment, _name: ()
    within: tuple[str, ...] = ()
    names: Callable[[str], Sequence[str]] | None = None


KINDS: dict[str, Kind] = {}


def register(kind: str, how: Kind) -> None:
    """Say how entries speak of a kind of subject (`flag` of `flag:litert_enabled`)."""
    KINDS[kind] = how


def rebuilt(earlier: Iterable[Told], later: Iterable[Told] = ()) -> State:
    """Return the state after `earlier` entries, oldest first; `later` ones, oldest first too, only complete and check it."""
    state = State()
    for told in earlier:
        state = _after(state, told)
    following = list(later)
    return _completed(state, following) if state.ended is None else state


def ends(told: Told) -> bool:
    """Say whether an entry ends its subject: it says so, or leaves nothing after it and names nothing smaller."""
    action = told.verb.partition(".")[2]
    if action in ENDINGS:
        return True
    noun = action.rpartition("_")[0]
    return told.after is None and told.before is not None and noun in ("", told.subject.partition(":")[0])


def _after(state: State, told: Told) -> State:
    before, after = _members(told.before), _members(told.after)
    gone = set(before) - set(after) if told.after is None or set(before) & set(after) else set()
    members = {name: member for name, member in state.members.items() if name not in gone}
    members |= {name: Member(value, told.seq, told.at) for name, value in after.items()}
    ended = ends(told)
    if ended and told.after is None:
        members = {}
    says = told.before is not None or told.after is not None
    return replace(state, members=members, last=told, ended=told if ended else None if says else state.ended)


def _completed(state: State, later: Sequence[Told]) -> State:
    members, settled = dict(state.members), set(state.members)
    unlike: list[tuple[str, Any, Any]] = []
    for place, told in enumerate(later):
        if not place and state.last is None and told.before is None and told.after is not None:
            break  # it begins with this entry
        before, after = _members(told.before), _members(told.after)
        for name, value in before.items():
            known = state.members.get(name)
            if not place and known is not None and known.value != value:
                unlike.append((name, known.value, value))
            if name not in settled:
                members[name] = Member(value, told.seq, told.at, later=True)
        if not place and set(before) & set(after):
            unlike += [
                (name, state.members[name].value, None) for name in set(after) & set(state.members) - set(before)
            ]
        settled |= set(before) | set(after)
    return replace(state, members=members, unlike=tuple(sorted(unlike, key=lambda one: one[0])))


def _members(said: Any) -> dict[str, Any]:
    if said is None:
        return {}
    return said if isinstance(said, dict) else {"value": said}


def together(name: str, told: Told) -> Told | None:
    """Read an entry that may speak of several at once, `{name: state}`; None when it does not speak of this one."""
    sides = [side for side in (told.before, told.after) if side is not None]
    several = bool(sides) and all(
        isinstance(side, dict) and side and all(isinstance(value, dict) for value in side.values()) for side in sides
    )
    own = told.subject.partition(":")[2]
    if several and any(own in side for side in sides):
        before, after = ((side or {}).get(name) for side in (told.before, told.after))
        return None if before is None and after is None else replace(told, before=before, after=after)
    return told if own == name else None
