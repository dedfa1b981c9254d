"""A flag's rules as a form: what stands, what was typed, and what is wrong with it. Works without JavaScript."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from hawkops.core.errors import InvalidInput
from rollout.domain.bucketing import BUCKETS
from rollout.domain.flags import Flag, Snapshot
from rollout.domain.targeting import (
    ATTRIBUTES,
    CONSTRAINTS_MOST,
    RULES_MOST,
    Operator,
    Rule,
    constraint,
    pinned_checked,
    rules_checked,
)
from rollout.models import TargetGroup

# conditions that an empty rule offers
CONDITIONS = 2
_PINNED = re.compile(r"(.+?)\s*=\s*(on|off)\s*")


@dataclass(frozen=True)
class Row:
    """A rule as it is typed: texts, whatever they say. `place` orders them; one without a percentage is left out."""

    place: str = ""
    variant: str = "on"
    percent: str = ""
    group: str = ""
    conditions: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Draft:
    """What the form holds, and the rules it makes; those are empty while something in it is unfit."""

    rows: tuple[Row, ...]
    pinned_text: str
    revision: int
    reason: str = ""
    rules: tuple[Rule, ...] = ()
    pinned: dict[str, str] = field(default_factory=dict)

    @property
    def fields(self) -> list[Row]:
        """The rows to show: those that are there, one more to add, each with room for more conditions."""
        most = len(self.rows) + (len(self.rows) < RULES_MOST)
        rows = [*self.rows, Row()][:most]
        return [
            Row(str(place), row.variant, row.percent, row.group, _with_room(row.conditions))
            for place, row in enumerate(rows, 1)
        ]


def standing(flag: Flag) -> Draft:
    """Return the form of what stands; its revision is the page's own."""
    rows = tuple(
        Row(
            variant=rule.variant,
            percent=f"{rule.percent:g}",
            group=rule.group,
            conditions=tuple((one.attribute, one.operator.value, ", ".join(one.values)) for one in rule.constraints),
        )
        for rule in flag.rules
    )
    pinned = "\n".join(f"{device} = {variant}" for device, variant in flag.pinned.items())
    return Draft(rows, pinned, 0, rules=flag.rules, pinned=dict(flag.pinned))


def typed(given: QueryDict) -> tuple[Draft, str]:
    """Return what was typed, and why it makes no rules (empty when it does)."""
    rows = sorted((row for row in _rows(given) if row.percent or row.group or row.conditions), key=_place)
    pinned_text = given.get("pinned", "")[:50_000]
    number = given.get("revision", "")
    draft = Draft(
        tuple(rows),
        pinned_text,
        int(number) if number.isdecimal() and len(number) < 18 else 0,
        given.get("reason", "")[:300],
    )
    try:
        rules = tuple(_rule(place, row) for place, row in enumerate(rows, 1))
        pinned = _pinned(pinned_text)
    except InvalidInput as unfit:
        return draft, unfit.message
    return Draft(draft.rows, pinned_text, draft.revision, draft.reason, rules, pinned), ""


def unfit(draft: Draft, environment: str) -> str:
    """Return why rules can't be kept; empty when they can."""
    groups = frozenset(TargetGroup.objects.filter(environment=environment).values_list("key", flat=True))
    try:
        rules_checked(draft.rules, groups=groups)
    except InvalidInput as why:
        return why.message
    return ""


def choices(now: Snapshot) -> dict[str, Any]:
    """Return what the form offers."""
    return {
        "groups": [(key, len(members)) for key, members in sorted(now.groups.items())],
        "attributes": list(ATTRIBUTES.values()),
        "operators": [one.value for one in Operator],
    }


def _rows(given: QueryDict) -> Iterator[Row]:
    for index in range(1, RULES_MOST + 2):
        name = f"rule-{index}"
        if f"{name}-percent" not in given or given.get(f"{name}-remove"):
            continue
        conditions = []
        for number in range(1, CONSTRAINTS_MOST + 1):
            attribute = given.get(f"{name}-attribute-{number}", "").strip()[:100]
            values = given.get(f"{name}-values-{number}", "").strip()[:10_000]
            if attribute or values:
                conditions.append((attribute, given.get(f"{name}-operator-{number}", "")[:20], values))
        yield Row(
            given.get(f"{name}-place", "").strip()[:4],
            given.get(f"{name}-variant", ""),
            given.get(f"{name}-percent", "").strip()[:12],
            given.get(f"{name}-group", "")[:60],
            tuple(conditions),
        )


def _place(row: Row) -> float:
    try:
        return float(row.place)
    except ValueError:
        return float(RULES_MOST)


def _rule(place: int, row: Row) -> Rule:
    try:
        percent = float(row.percent.replace(",", ".") or 100)
    except ValueError:
        percent = -1
    if not 0 <= percent <= 100:
        raise InvalidInput(f"Rule {place}: {row.percent!r} is no percentage; write 0 to 100.")
    if row.variant not in ("on", "off"):
        raise InvalidInput(f"Rule {place} serves on or off.")
    try:
        constraints = tuple(constraint(*condition) for condition in row.conditions)
    except InvalidInput as unfit:
        raise InvalidInput(f"Rule {place}: {unfit.message}") from None
    return Rule(row.variant, round(percent * BUCKETS / 100), row.group, constraints)


def _pinned(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        pair = _PINNED.fullmatch(line)
        if pair is None:
            raise InvalidInput(f"Pinned devices stand one on a line, as “targeting key = on”; {line[:60]!r} does not.")
        if pair[1] in found:
            raise InvalidInput(f"{pair[1]} is pinned twice.")
        found[pair[1]] = pair[2]
    return pinned_checked(found)


def _with_room(conditions: tuple[tuple[str, str, str], ...]) -> tuple[tuple[str, str, str], ...]:
    empty = max(CONDITIONS - len(conditions), 1) if len(conditions) < CONSTRAINTS_MOST else 0
    return (*conditions, *((("", Operator.IS.value, ""),) * empty))
