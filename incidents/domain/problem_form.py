"""A team's problem as a form types it, and back: rows of symptoms, diagnosis and solutions. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hawkops.core.errors import InvalidInput
from incidents.domain.troubleshooting import ITEMS_MOST, Problem, SolutionKind
from rollout.domain.flags import ON, FlagType
from rollout.domain.targeting import ATTRIBUTES, Operator
from rollout.domain.values import typed, value_typed

ROWS = 4
WHERE = re.compile(
    rf"(\S+)\s+({'|'.join(sorted((re.escape(one.value) for one in Operator), key=len, reverse=True))})\s+(\S.*)"
)
YES, NO = ("true", "on", "yes", "1"), ("false", "off", "no", "0")


def document_typed(given: Mapping[str, Sequence[str]], types: Mapping[str, FlagType]) -> dict[str, Any]:
    """Return a problem's document from a form's fields; `types` are those of the flags. Raises InvalidInput.

    Whether what it names is there is asked afterwards.
    """
    title = _one(given, "title")
    key = _one(given, "key") or re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:40]
    return {
        "key": key,
        "title": title,
        "symptoms": [_symptom(number, *row) for number, row in _rows(given, "symptom", "limit")],
        "diagnosis": [
            {"script": script, **({"arguments": given_to(words)} if words else {})}
            for _, (script, words) in _rows(given, "script", "arguments")
        ],
        "solutions": [
            _solution(number, what, value, name, types)
            for number, (what, value, name) in _rows(given, "solution", "value", "name")
        ],
    }


def _one(given: Mapping[str, Sequence[str]], name: str) -> str:
    values = given.get(name, [])
    return values[0].strip() if values else ""


def _rows(given: Mapping[str, Sequence[str]], *names: str) -> list[tuple[int, tuple[str, ...]]]:
    """Return the rows whose first field says something, numbered."""
    columns = [[value.strip() for value in given.get(name, [])] for name in names]
    many = len(columns[0])
    padded = [[*column, *[""] * (many - len(column))][:many] for column in columns]
    rows = [row for row in zip(*padded, strict=True) if row[0]]
    return list(enumerate(rows[: ITEMS_MOST + 1], 1))


def _symptom(number: int, what: str, limit: str) -> dict[str, Any]:
    kind, _, key = what.partition(":")
    if kind not in ("criterion", "pattern") or not key:
        raise InvalidInput(f"Symptom {number}: choose a criterion or a log pattern.")
    return {"key": f"s{number}", kind: key, **({"limit": limit} if limit else {})}


def given_to(words: str) -> dict[str, str]:
    """Read a script's arguments as they are typed: `--duration=10m --force`. Raises InvalidInput."""
    found = {}
    for word in words.split():
        name, has_value, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise InvalidInput(f"{word[:40]!r} is no argument; write --name=value, or --name.")
        found[name] = value if has_value else "on"
    return found


def _solution(number: int, what: str, value: str, name: str, types: Mapping[str, FlagType]) -> dict[str, Any]:
    kind, _, key = what.partition(":")
    made: dict[str, Any] = {"key": f"p{number}", "kind": kind}
    if kind == SolutionKind.SCRIPT:
        made |= {"script": key, **({"arguments": given_to(value)} if value else {})}
    elif kind == SolutionKind.FLAG:
        made |= {"flag": key, "value": _value(number, key, value, types)}
    elif kind == SolutionKind.SCOPED:
        made |= {"flag": key, **_where(number, value)}
    else:
        raise InvalidInput(f"Solution {number}: choose a flag, a flag for some devices, or a script.")
    return {**made, "title": name or _title(made, value)}


def _title(made: Mapping[str, Any], value: str) -> str:
    if made["kind"] == SolutionKind.SCRIPT:
        return f"Run {made['script']}"
    return f"{made['flag']}: {value}"[:120]


def _value(number: int, key: str, value: str, types: Mapping[str, FlagType]) -> Any:
    kind = types.get(key)
    if kind is None:
        raise InvalidInput(f"There is no flag {key!r} here.")
    if not value:
        raise InvalidInput(f"Solution {number}: say which value {key} gets.")
    if kind is FlagType.BOOLEAN:
        if value.lower() not in (*YES, *NO):
            raise InvalidInput(f"Solution {number}: {key} is true or false, not {value[:40]!r}.")
        return value.lower() in YES
    return value_typed(kind, ON, value)


def _where(number: int, value: str) -> dict[str, Any]:
    variant, _, rest = value.partition(" where ")
    found = WHERE.fullmatch(rest.strip())
    if variant.strip() not in ("on", "off") or found is None:
        example = "off where device.gpu.driver is below 512"
        raise InvalidInput(f"Solution {number}: write on or off, and for which devices: {example}.")
    if found[1] not in ATTRIBUTES:
        raise InvalidInput(f"Solution {number}: devices say {', '.join(ATTRIBUTES)}, not {found[1][:40]!r}.")
    return {"variant": variant.strip(), "attribute": found[1], "operator": found[2], "bound": found[3].strip()}


def fields(problem: Problem | None) -> dict[str, Any]:
    """Return a problem as its form shows it, with empty rows to fill."""
    if problem is None:
        empty = range(ROWS)
        return {
            "title": "",
            "symptoms": [("", "")] * len(empty),
            "diagnosis": [("", "")] * len(empty),
            "solutions": [("", "", "")] * len(empty),
        }
    symptoms = [
        (f"criterion:{one.criterion}" if one.criterion else f"pattern:{one.pattern}", one.limit)
        for one in problem.symptoms
    ]
    diagnosis = [(one.script, one.words.removeprefix(one.script).strip()) for one in problem.diagnosis]
    solutions = []
    for one in problem.solutions:
        if one.kind is SolutionKind.SCRIPT:
            row = (f"script:{one.script}", one.words.removeprefix(one.script).strip(), one.title)
        elif one.kind is SolutionKind.SCOPED:
            row = (f"scoped:{one.flag}", f"{one.variant} where {one.attribute} {one.operator} {one.bound}", one.title)
        else:
            row = (f"flag:{one.flag}", _shown(one.value), one.title)
        solutions.append(row)
    return {
        "title": problem.title,
        "symptoms": [*symptoms, ("", ""), ("", "")],
        "diagnosis": [*diagnosis, ("", ""), ("", "")],
        "solutions": [*solutions, ("", "", ""), ("", "", "")],
    }


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else typed(value)


def typed_fields(given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return what was typed as its form shows it again after a refusal."""

    def rows(*names: str) -> list[tuple[str, ...]]:
        columns = [list(given.get(name, [])) for name in names]
        many = max([ROWS, *map(len, columns)])
        return list(zip(*([*column, *[""] * (many - len(column))] for column in columns), strict=True))

    return {
        "title": _one(given, "title"),
        "symptoms": rows("symptom", "limit"),
        "diagnosis": rows("script", "arguments"),
        "solutions": rows("solution", "value", "name"),
    }
