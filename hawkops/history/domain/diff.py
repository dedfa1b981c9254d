"""Before and after: what went, what came and what stayed, member by member, with the words that differ."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

Part = tuple[str, str]  # (kind: "", "del" or "add"; text)
# a text beyond this is folded; and a longer one is not compared word by word
LONG, COMPARED_MOST = 240, 1_500
ROWS_MOST = 2_000


@dataclass(frozen=True)
class Row:
    """One place in a nested value: where it is, and its two sides as parts, marked where the other side lacks them."""

    path: str
    kind: str  # "add", "del", "change" or "same"
    before: tuple[Part, ...] = ()
    after: tuple[Part, ...] = ()

    @property
    def same(self) -> bool:
        """Whether both sides agree."""
        return self.kind == "same"

    @property
    def long(self) -> bool:
        """Whether a side is better folded."""
        return any(sum(len(text) for _, text in side) > LONG for side in (self.before, self.after))


def said(value: Any) -> str:
    """Return a value as people read it: a text as it is unless it is empty, anything else as JSON."""
    return value if isinstance(value, str) and value else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def is_long(value: Any) -> bool:
    """Say whether a value is better folded."""
    return len(said(value)) > LONG


def changes(before: Any, after: Any) -> list[Row]:
    """Return every place at which two states differ or agree, by its path: `rules[0].percentage`."""
    rows: list[Row] = []
    for row in _rows("", before, after, before is not None, after is not None):
        if len(rows) == ROWS_MOST:
            rows.append(Row("…", "change", (("", "more than is shown here"),), (("", "more than is shown here"),)))
            break
        rows.append(row)
    return rows


def _rows(path: str, before: Any, after: Any, had: bool, has: bool) -> Iterator[Row]:
    if had and has and _json(before) == _json(after):
        yield Row(path, "same", (("", said(before)),), (("", said(after)),))
    elif isinstance(before, dict | None) and isinstance(after, dict | None) and (before or after):
        left, right = before or {}, after or {}
        for name in sorted({*left, *right}):
            yield from _rows(
                f"{path}.{name}" if path else str(name), left.get(name), right.get(name), name in left, name in right
            )
    elif isinstance(before, list) and isinstance(after, list):
        yield from _items(path, before, after)
    elif not has:
        if had:
            yield Row(path, "del", (("del", said(before)),))
    elif not had:
        yield Row(path, "add", (), (("add", said(after)),))
    else:
        as_read = said if said(before) != said(after) else _json  # "1" and 1
        yield Row(path, "change", *_words(as_read(before), as_read(after)))


def _items(path: str, before: list[Any], after: list[Any]) -> Iterator[Row]:
    """Items that stayed are found wherever they moved; those between are compared in their order."""
    left, right = ([json.dumps(item, sort_keys=True, default=str) for item in side] for side in (before, after))
    for tag, a, b, c, d in SequenceMatcher(a=left, b=right, autojunk=False).get_opcodes():
        for offset in range(max(b - a, d - c)):
            old, new = a + offset, c + offset
            had, has = old < b, new < d
            place = f"{path}[{new if has else old}]"
            if tag == "equal":
                yield Row(place, "same", (("", said(before[old])),), (("", said(after[new])),))
            else:
                yield from _rows(place, before[old] if had else None, after[new] if has else None, had, has)


def _words(before: str, after: str) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    if len(before) + len(after) > COMPARED_MOST:
        return (("del", before),), (("add", after),)
    left, right = re.findall(r"\w+|\W", before), re.findall(r"\w+|\W", after)
    sides: tuple[list[Part], list[Part]] = ([], [])
    for tag, a, b, c, d in SequenceMatcher(a=left, b=right, autojunk=False).get_opcodes():
        same = tag == "equal"
        for side, kind, text in ((0, "del", "".join(left[a:b])), (1, "add", "".join(right[c:d]))):
            if text:
                sides[side].append(("" if same else kind, text))
    return tuple(sides[0]), tuple(sides[1])
