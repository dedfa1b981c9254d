"""How two versions of the runbook differ, for people: per box, phase and field, before and after. Pure.

It walks the runbook's own dataclasses, so that whatever the runbook learns to hold is compared without a word here.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from rollout.domain.runbook import GROUPS, Box, Group, Limit, Runbook

# fields whose name in the code is not what a person would say
WORDS = {
    "by": "ticked by the check",
    "comes_with": "by hand until",
    "dated": "date",
    "updated": "last updated",
    "gates": "a gate",
    "at_least": "minimum",
    "at_most": "maximum",
    "from_percent": "from",
    "to_percent": "to",
    "next_review": "next review",
}
SECTIONS = {"versions": "Version table", "phases": "Phases"}
# the groups of boxes of each member that has some, and the boxes in them
HEADINGS = {
    "checklist": ("Groups of the checklist", "Boxes and gates"),
    "compliance": ("Groups of compliance", "Boxes of compliance"),
    "validation": ("Groups of the validation", "Boxes of the validation"),
    "conclusion": ("Groups at the end of a phase", "Boxes at the end of a phase"),
}
PERCENTS = ("from_percent", "to_percent")
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class Kind(StrEnum):
    """What happened to one thing."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True)
class Line:
    """One field; the side that lacks it is empty."""

    label: str
    before: str
    after: str


@dataclass(frozen=True)
class Change:
    """One thing that differs, with its fields."""

    kind: Kind
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Section:
    """The changes under one heading."""

    title: str
    changes: tuple[Change, ...]

    def count(self, kind: str) -> int:
        """How many things were added, removed or changed here."""
        return sum(change.kind == kind for change in self.changes)


def diff(before: Runbook, after: Runbook) -> tuple[Section, ...]:
    """Return the sections in which the versions differ, in the runbook's order; none when they say the same."""
    document: list[Line] = []
    sections = []
    # a group keeps the name it had: a new title for it is no move of its boxes
    names = {group.key: group.title for group in (*after.groups, *before.groups)}
    for field in fields(Runbook):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name in GROUPS:
            groups, boxes = HEADINGS[field.name]
            sections += [
                Section(groups, tuple(_things([*map(_Heading.of, old)], [*map(_Heading.of, new)]))),
                Section(boxes, tuple(_things(_placed(old, names), _placed(new, names)))),
            ]
        elif _many(old) or _many(new):
            sections.append(Section(SECTIONS.get(field.name, _word(field.name).capitalize()), tuple(_things(old, new))))
        else:
            document += _lines(field.name, old, new, "")
    head = Section("The document", (Change(Kind.CHANGED, "About it", tuple(document)),) if document else ())
    return tuple(section for section in (head, *sections) if section.changes)


def text_diff(before: str, after: str, *, context: int = 3) -> list[tuple[str, str]]:
    """Return the unified diff as (kind, line): `add`, `del`, `at` (where a hunk stands, whole), or empty."""
    kinds = {"+": "add", "-": "del", " ": ""}
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), n=context, lineterm="")
    return [(kinds[line[0]], line[1:]) if line[0] in kinds else ("at", line) for line in list(found)[2:]]


@dataclass(frozen=True)
class _Heading:
    """A group without its boxes, which are compared by themselves: a box may move to another group."""

    key: str
    title: str
    measured_in: str
    gates: bool

    @classmethod
    def of(cls, group: Group) -> "_Heading":
        return cls(group.key, group.title, group.measured_in, group.gates)


@dataclass(frozen=True)
class _Placed:
    """A box with the group it stands in."""

    group: str
    box: Box

    @property
    def key(self) -> str:
        return self.box.key

    @property
    def title(self) -> str:
        return self.box.title


def _placed(groups: Iterable[Group], names: dict[str, str]) -> list[_Placed]:
    return [_Placed(names[group.key], box) for group in groups for box in group.boxes]


def _many(value: Any) -> bool:
    return isinstance(value, tuple | list) and bool(value) and is_dataclass(value[0])


def _identity(index: int, item: Any) -> str:
    for name in ("key", "number", "version"):
        if hasattr(item, name):
            return str(getattr(item, name))
    return str(index + 1)


def _named(items: Any) -> dict[str, Any]:
    return {_identity(index, item): item for index, item in enumerate(items)}


def _title(identity: str, item: Any) -> str:
    title = str(getattr(item, "title", ""))
    if not title:
        return identity
    return f"{identity}. {title}" if identity.isdecimal() else title


def _things(before: Any, after: Any) -> Iterator[Change]:
    old, new = _named(before), _named(after)
    for identity in [*new, *(one for one in old if one not in new)]:
        was, now = old.get(identity), new.get(identity)
        whole = was is None or now is None  # then its title is the heading
        lines = tuple(line for line in _fields(was, now, "") if not (whole and line.label == "title"))
        if was is None:
            yield Change(Kind.ADDED, _title(identity, now), lines)
        elif now is None:
            yield Change(Kind.REMOVED, _title(identity, was), lines)
        elif lines:
            yield Change(Kind.CHANGED, _title(identity, now), lines)
    if moved := _order(old, new):
        yield Change(Kind.CHANGED, "Order", (moved,))


def _order(old: dict[str, Any], new: dict[str, Any]) -> Line | None:
    """Say how what both hold is ordered; None when it is ordered alike."""
    were, are = [one for one in old if one in new], [one for one in new if one in old]
    if were == are:
        return None
    return Line(
        "order", ", ".join(_title(one, old[one]) for one in were), ", ".join(_title(one, new[one]) for one in are)
    )


def _fields(before: Any, after: Any, prefix: str) -> Iterator[Line]:
    """Compare two things field by field; None on a side means that it is not there."""
    for field in fields(before if before is not None else after):
        old, new = (getattr(one, field.name) if one is not None else None for one in (before, after))
        yield from _fields(old, new, prefix) if field.name == "box" else _lines(field.name, old, new, prefix)


def _lines(name: str, old: Any, new: Any, prefix: str) -> Iterator[Line]:
    label = f"{prefix}{_word(name)}"
    if old == new:
        return
    if _many(old) or _many(new):
        were, are = _named(old or ()), _named(new or ())
        for identity in [*are, *(one for one in were if one not in are)]:
            was, now = were.get(identity), are.get(identity)
            inner = f"{label}, {_title(identity, now if now is not None else was)}"
            if was is None or now is None:  # whole, it is one line
                yield Line(inner, _whole(was), _whole(now))
            else:
                yield from _fields(was, now, f"{inner}: ")
        if moved := _order(were, are):
            yield Line(f"{label}, order", moved.before, moved.after)
    elif isinstance(old, tuple) or isinstance(new, tuple):
        yield from _listed(label, old or (), new or ())
    elif not isinstance(old, Limit) and not isinstance(new, Limit) and (is_dataclass(old) or is_dataclass(new)):
        yield from _fields(old, new, f"{label}, ")
    else:
        was, now = _text(name, old), _text(name, new)
        if was != now:
            yield Line(label, was, now)


def _listed(label: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> Iterator[Line]:
    """Compare lists of texts: what went and what came stand in pairs, a mere change of order as one line."""
    gone = [_item(one) for one in old if one not in new]
    come = [_item(one) for one in new if one not in old]
    if old and new and not gone and not come:
        yield Line(f"{label}, order", ", ".join(map(_item, old)), ", ".join(map(_item, new)))
    for index in range(max(len(gone), len(come))):
        yield Line(label, gone[index] if index < len(gone) else "", come[index] if index < len(come) else "")


def _item(one: Any) -> str:
    """Say one of a list; an argument of a script is a pair."""
    return f"--{one[0]}={one[1]}" if isinstance(one, tuple) else str(one)


def _whole(item: Any) -> str:
    """Say all that an item inside another one holds; its title when it holds nothing else."""
    if item is None:
        return ""
    said = [line.after for line in _fields(None, item, "") if line.label not in ("key", "title")]
    return ", ".join(said) or str(getattr(item, "title", "")) or "yes"


def _word(name: str) -> str:
    return WORDS.get(name, name.replace("_", " "))


def _text(name: str, value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, Limit):
        return bounds(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, timedelta):
        return span(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int | float):
        return f"{value:,.12g}".replace(",", "\u202f") + ("\u202f%" if name in PERCENTS else "")
    return str(value)


def bounds(limit: Limit) -> str:
    """Say a limit in words, in its base unit; empty without one."""
    at_least = "" if limit.at_least is None else f"at least {_text('', limit.at_least)}"
    below = "" if limit.below is None else f"below {_text('', limit.below)}"
    return ", ".join(filter(None, (at_least, below)))


def span(value: timedelta) -> str:
    """Say a span in the largest unit that holds it whole, with 24 h and 48 h in hours as the runbook does."""
    seconds = int(value.total_seconds())
    if seconds % 3_600 == 0 and 0 < seconds <= 48 * 3_600:
        return f"{seconds // 3_600} h"
    size, unit = next(((size, unit) for size, unit in UNITS if seconds % size == 0), UNITS[-1])
    return f"{seconds // size} {unit}"
