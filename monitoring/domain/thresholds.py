"""The numbers of the runbook that are no criteria: paces of health checks, times of the severity matrix, rules. Pure.

They stand in sections of `production-thresholds.yaml`, are stored, edited and versioned as criteria are.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from monitoring.domain.criteria import SECONDS, WINDOW, Path, Severity, Unfit, spoken

HEALTH, MATRIX, RULES = "health", "matrix", "rules"
SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) ?%")
CHECK = re.compile(r"[a-z][a-z0-9-]{2,59}")
# the scheduler looks every five seconds, and its workers end whatever has run for longer
INTERVAL_LEAST, TIMEOUT_MOST, INTERVAL_MOST = timedelta(seconds=10), timedelta(seconds=75), timedelta(hours=24)
SPAN_LEAST, SPAN_MOST = timedelta(seconds=1), timedelta(days=30)


@dataclass(frozen=True)
class Pace:
    """How often a health check runs, and how long it may take."""

    interval: timedelta
    timeout: timedelta


@dataclass(frozen=True)
class Response:
    """How soon somebody must have taken an alert of a severity on, and how soon it must be investigated."""

    respond: timedelta
    investigate: timedelta | None = None


@dataclass(frozen=True)
class Rules:
    """When it is time to hold, to roll back or to wake everybody."""

    # missed by more than this, certainly: roll back; by less: hold
    missed_most: float
    # more users affected within this time: page, PagerDuty, channel, commander
    users_affected: float
    users_affected_within: timedelta
    # how long targets must have been met before the next phase
    data_for: timedelta
    # how soon an emergency rollback must be over, and how long its stability is watched
    rollback_within: timedelta
    stable_for: timedelta


Paces = Mapping[str, Pace]
Matrix = Mapping[Severity, Response]


def paces(data: Any, path: Path = (HEALTH,)) -> dict[str, Pace]:
    """Read the section `health`. Raises Unfit with the place of what is wrong."""
    found = {}
    for key, row in _mapping(data, path).items():
        if not CHECK.fullmatch(str(key)):
            raise Unfit((*path, key), f"{key!r} is no key of a health check")
        here = (*path, key)
        _only(row, ("interval", "timeout"), here)
        interval = _span(row, "interval", here, least=INTERVAL_LEAST, most=INTERVAL_MOST)
        timeout = _span(row, "timeout", here, least=SPAN_LEAST, most=TIMEOUT_MOST)
        found[key] = Pace(interval, timeout)
    return found


def matrix(data: Any, path: Path = (MATRIX,)) -> dict[Severity, Response]:
    """Read the section `matrix`: every severity has a time. Raises Unfit with the place of what is wrong."""
    rows = _mapping(data, path)
    _only(rows, tuple(Severity), path)
    found = {}
    for severity in Severity:
        if severity not in rows:
            raise Unfit(path, f"{severity.value} is missing")
        here = (*path, severity.value)
        _only(rows[severity], ("respond", "investigate"), here)
        respond = _span(rows[severity], "respond", here)
        investigate = _span(rows[severity], "investigate", here) if "investigate" in rows[severity] else None
        if investigate is not None and investigate < respond:
            raise Unfit((*here, "investigate"), "nobody investigates before somebody responds")
        found[severity] = Response(respond, investigate)
    return found


def rules(data: Any, path: Path = (RULES,)) -> Rules:
    """Read the section `rules`. Raises Unfit with the place of what is wrong."""
    rows = _mapping(data, path)
    _only(rows, tuple(Rules.__dataclass_fields__), path)
    return Rules(
        missed_most=_share(rows, "missed_most", path),
        users_affected=_share(rows, "users_affected", path),
        users_affected_within=_span(rows, "users_affected_within", path),
        data_for=_span(rows, "data_for", path),
        rollback_within=_span(rows, "rollback_within", path),
        stable_for=_span(rows, "stable_for", path),
    )


def document(name: str, data: Any) -> dict[str, Any]:
    """Check a section and return it as plain data, each number written one way. Raises Unfit."""
    path = (name,)
    if name == HEALTH:
        return {
            key: {"interval": written(one.interval), "timeout": written(one.timeout)}
            for key, one in paces(data, path).items()
        }
    if name == MATRIX:
        return {
            severity.value: {"respond": written(one.respond)}
            | ({"investigate": written(one.investigate)} if one.investigate else {})
            for severity, one in matrix(data, path).items()
        }
    if name != RULES:
        raise Unfit(path, f"{name!r} is no section; there are {', '.join(SECTIONS)}")
    found = rules(data, path)
    return {
        field: written(value) if isinstance(value, timedelta) else f"{value * 100:g} %"
        for field, value in vars(found).items()
    }


SECTIONS: dict[str, Callable[[Any], Any]] = {HEALTH: paces, MATRIX: matrix, RULES: rules}


@dataclass(frozen=True)
class Difference:
    """One field in which what rules differs from the file; None where one of them does not name it."""

    field: str
    here: Any
    file: Any


def differences(here: Any, file: Any) -> list[Difference]:
    """Compare two documents field by field, sections and profiles down to their numbers."""
    mine, theirs = _flat(here), _flat(file)
    return [
        Difference(field, mine.get(field), theirs.get(field))
        for field in (*theirs, *(field for field in mine if field not in theirs))
        if mine.get(field) != theirs.get(field)
    ]


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(data, Mapping):
        return {prefix: data} if prefix and data is not None else {}
    found: dict[str, Any] = {}
    for name, value in data.items():
        found |= _flat(value, f"{prefix}.{name}" if prefix else str(name))
    return found


def written(span: timedelta) -> str:
    """Write a span as the file does: `30s`, `5m`, `4h`, `14d`."""
    seconds = int(span.total_seconds())
    for unit in ("d", "h", "m"):
        least = 2 if unit == "d" else 1
        if seconds % SECONDS[unit] == 0 and seconds > least * SECONDS[unit] - 1:
            # 48h stays hours: so the runbook says it
            if unit == "d" and seconds <= 2 * SECONDS["d"]:
                continue
            return f"{seconds // SECONDS[unit]}{unit}"
    return f"{seconds}s"


def _mapping(data: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or not data:
        raise Unfit(path, f"{path[-1]} is a mapping with at least one entry")
    return data


def _only(data: Any, names: tuple[str, ...], path: Path) -> None:
    for name in _mapping(data, path):
        if name not in names:
            raise Unfit((*path, name), f"{name!r} has no place here; there are {', '.join(names)}")


def _span(
    data: Mapping[str, Any], name: str, path: Path, *, least: timedelta = SPAN_LEAST, most: timedelta = SPAN_MOST
) -> timedelta:
    if name not in data:
        raise Unfit(path, f"{name} is missing")
    found = WINDOW.fullmatch(str(data[name]).strip())
    if found is None:
        raise Unfit((*path, name), f"{data[name]!r} is no span; write 30s, 5m, 48h or 7d")
    span = timedelta(seconds=int(found[1]) * SECONDS[found[2]])
    if not least <= span <= most:
        raise Unfit((*path, name), f"{data[name]} is outside {spoken(least)} to {spoken(most)}")
    return span


def _share(data: Mapping[str, Any], name: str, path: Path) -> float:
    if name not in data:
        raise Unfit(path, f"{name} is missing")
    found = SHARE.fullmatch(str(data[name]).strip())
    if found is None or float(found[1]) > 100:
        raise Unfit((*path, name), f"{data[name]!r} is no share; write 5 %")
    return float(found[1]) / 100
