"""Before and after as lines: what went, what came, what stayed."""

import json
from difflib import SequenceMatcher
from typing import Any

Line = tuple[str, str]  # (kind: "", "del" or "add"; text)


def lines(value: Any) -> list[str]:
    """Return a state as readable lines; None as no line at all."""
    if value is None:
        return []
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).splitlines()


def diff(before: Any, after: Any) -> tuple[list[Line], list[Line]]:
    """Return the two sides, each line marked when the other side lacks it."""
    left, right = lines(before), lines(after)
    sides: tuple[list[Line], list[Line]] = ([], [])
    for tag, a, b, c, d in SequenceMatcher(a=left, b=right, autojunk=False).get_opcodes():
        same = tag == "equal"
        sides[0].extend(("" if same else "del", text) for text in left[a:b])
        sides[1].extend(("" if same else "add", text) for text in right[c:d])
    return sides
