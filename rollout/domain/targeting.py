"""Whom a rule means: a named group, constraints on what a device says of itself, and a share of those by bucket.

Pure: no clock, no database. What a device does not say never matches, whichever way a constraint asks: a rule that can't
see is a rule that does not apply.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hawkops.core.errors import InvalidInput
from rollout.domain.bucketing import BUCKETS

VALUES_MOST = 100
VALUE_CHARACTERS_MOST = 80
CONSTRAINTS_MOST = 8
RULES_MOST = 20
PINNED_MOST = 200
TARGETING_KEY_CHARACTERS = 200


class Kind(StrEnum):
    """How values of an attribute are compared."""

    TEXT = "text"
    NUMBER = "number"
    VERSION = "version"


class Operator(StrEnum):
    """How a constraint compares; texts whatever their case, versions as versions (2.10 is above 2.9)."""

    IS = "is"
    IS_NOT = "is not"
    AT_LEAST = "is at least"
    BELOW = "is below"


@dataclass(frozen=True)
class Attribute:
    """What a device may say of itself in its evaluation context."""

    key: str
    title: str
    kind: Kind


ATTRIBUTES = {
    one.key: one
    for one in (
        Attribute("device.soc", "SoC", Kind.TEXT),
        Attribute("device.model.identifier", "Model", Kind.TEXT),
        Attribute("device.gpu", "GPU", Kind.TEXT),
        Attribute("device.gpu.driver", "GPU driver", Kind.VERSION),
        Attribute("device.npu", "NPU", Kind.TEXT),
        Attribute("device.memory_mb", "Memory in MB", Kind.NUMBER),
        Attribute("os.api", "Android API level", Kind.NUMBER),
        Attribute("app.version", "App version", Kind.VERSION),
        Attribute("model.artefact", "Model artefact present", Kind.TEXT),
        Attribute("hawkops.simulated", "Simulated", Kind.TEXT),
    )
}

Version = tuple[tuple[int, ...], tuple[int, str]]
_VERSION = re.compile(r"[vV]?(\d{1,9}(?:\.\d{1,9}){0,7})(?:[-._ ]?([A-Za-z][0-9A-Za-z.-]*))?(?:\+\S*)?")
_MALI = re.compile(r"r(\d+)p(\d+)(?:-\w+)?")


def version(text: str) -> Version | None:
    """Return what a version compares by, None when it is none; 1.4-rc1 is below 1.4, and 1.4 equals 1.4.0.

    Mali's drivers (r38p1-01eac0) count as 38.1.
    """
    text = text.strip()
    if mali := _MALI.fullmatch(text):
        text = f"{mali[1]}.{mali[2]}"
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    numbers = [int(part) for part in found[1].split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), (0, found[2].lower()) if found[2] else (1, "")


def number(value: Any) -> float | None:
    """Return a number that a device said, as number or as text; None when it is none."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found == found and abs(found) != float("inf") else None


def text(value: Any) -> str:
    """Return a value as texts are compared; true and false as JSON writes them."""
    return (str(value).lower() if isinstance(value, bool) else str(value)).strip().casefold()


@dataclass(frozen=True)
class Constraint:
    """One condition on one attribute. `IS` and `IS_NOT` take several values, the comparisons exactly one."""

    attribute: str
    operator: Operator
    values: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """How its values are compared; what the catalogue does not name is text."""
        known = ATTRIBUTES.get(self.attribute)
        return known.kind if known else Kind.TEXT

    def matches(self, attributes: Mapping[str, Any]) -> bool:
        """Say whether a device meets it."""
        said = attributes.get(self.attribute)
        if said is None or said == "":
            return False
        if self.operator in (Operator.IS, Operator.IS_NOT):
            values = said if isinstance(said, list) else [said]
            among = any(self._same(one) for one in values[:VALUES_MOST])
            return among is (self.operator is Operator.IS)
        mine, theirs = _comparable(self.kind, self.values[0]), _comparable(self.kind, said)
        if mine is None or theirs is None:
            return False
        return bool(theirs >= mine if self.operator is Operator.AT_LEAST else theirs < mine)

    def _same(self, said: Any) -> bool:
        if self.kind is Kind.TEXT:
            said = text(said)
            return any(said == text(value) for value in self.values)
        comparable = _comparable(self.kind, said)
        return comparable is not None and any(comparable == _comparable(self.kind, value) for value in self.values)

    def __str__(self) -> str:
        known = ATTRIBUTES.get(self.attribute)
        between = " or " if self.operator is Operator.IS else " nor "
        return f"{known.title if known else self.attribute} {self.operator.value} {between.join(self.values)}"


def _comparable(kind: Kind, value: Any) -> Any:
    return version(str(value)) if kind is Kind.VERSION else number(value)


@dataclass(frozen=True)
class Context:
    """A device as evaluation sees it. Without a targeting key it is in no group and in no bucket."""

    targeting_key: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


def kept(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the census keeps of a context: the attributes that rules know, short, and nothing else."""
    found: dict[str, Any] = {}
    for key, value in context.items():
        if key not in ATTRIBUTES:
            continue
        if isinstance(value, str):
            found[key] = value.replace("\x00", "")[:VALUE_CHARACTERS_MOST]
        elif isinstance(value, bool | int | float):
            if number(value) is not None:
                found[key] = value
        elif isinstance(value, list):
            texts = [one for one in value[:VALUES_MOST] if isinstance(one, str)]
            found[key] = [one.replace("\x00", "")[:VALUE_CHARACTERS_MOST] for one in texts]
    return found


@dataclass(frozen=True)
class Rule:
    """Serve a variant to a share (in buckets of 100 000) of the devices in a group that meet every constraint."""

    variant: str
    thousandths: int = BUCKETS
    group: str = ""
    constraints: tuple[Constraint, ...] = ()

    @property
    def percent(self) -> float:
        """Its share as people say it."""
        return self.thousandths * 100 / BUCKETS

    @property
    def audience(self) -> str:
        """Whom it speaks of, in words."""
        parts = [f"in {self.group}"] if self.group else []
        parts += [str(one) for one in self.constraints]
        return "devices " + ", ".join(parts) if parts else "all devices"

    def __str__(self) -> str:
        share = "" if self.thousandths == BUCKETS else f"{self.thousandths / 1000:g} % of "
        return f"serve {self.variant} to {share}{self.audience}"

    def covers(self, other: "Rule") -> bool:
        """Say whether certainly every device that the other means is meant by this one too."""
        return (
            self.group in ("", other.group)
            and set(self.constraints) <= set(other.constraints)
            and self.thousandths >= other.thousandths
        )

    def document(self) -> dict[str, Any]:
        """The rule as it is stored."""
        return {
            "variant": self.variant,
            "thousandths": self.thousandths,
            "group": self.group,
            "constraints": constraints_document(self.constraints),
        }


def rule(document: Mapping[str, Any]) -> Rule:
    """Read a stored rule; it was checked when it was saved."""
    return Rule(
        variant=document["variant"],
        thousandths=document["thousandths"],
        group=document["group"],
        constraints=constraints(document["constraints"]),
    )


def constraints_document(given: tuple[Constraint, ...]) -> list[list[Any]]:
    """Return constraints as they are stored."""
    return [[one.attribute, one.operator.value, list(one.values)] for one in given]


def constraints(document: list[list[Any]]) -> tuple[Constraint, ...]:
    """Read stored constraints; they were checked when they were saved."""
    return tuple(Constraint(attribute, Operator(operator), tuple(values)) for attribute, operator, values in document)


def constraint(attribute: str, operator: str, values: str) -> Constraint:
    """Make a constraint from what a person typed, values separated by commas. Raises InvalidInput with a sentence."""
    attribute = attribute.strip()
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,80}", attribute):
        raise InvalidInput("Name the attribute by letters, digits, dots, dashes and underscores.")
    if operator not in list(Operator):
        raise InvalidInput(f"{operator!r} compares nothing; use one of: {', '.join(Operator)}.")
    given = tuple(dict.fromkeys(one.strip() for one in values.split(",") if one.strip()))
    made = Constraint(attribute, Operator(operator), given)
    if not given:
        raise InvalidInput(f"Say what {attribute} {operator}.")
    if len(given) > VALUES_MOST or any(len(one) > VALUE_CHARACTERS_MOST or not one.isprintable() for one in given):
        raise InvalidInput(
            f"{attribute}: at most {VALUES_MOST} values of {VALUE_CHARACTERS_MOST} printable characters."
        )
    if made.operator in (Operator.AT_LEAST, Operator.BELOW):
        if made.kind is Kind.TEXT:
            raise InvalidInput(f"{attribute} is text: it {Operator.IS} or {Operator.IS_NOT} something.")
        if len(given) > 1:
            raise InvalidInput(f"{attribute} {operator} one value, not {len(given)}.")
    if made.kind is not Kind.TEXT and (bad := [one for one in given if _comparable(made.kind, one) is None]):
        raise InvalidInput(f"{bad[0]!r} is no {made.kind.value}, which {attribute} is compared by.")
    return made


def rules_checked(rules: tuple[Rule, ...], *, groups: frozenset[str]) -> tuple[Rule, ...]:
    """Return rules that can be kept. Raises InvalidInput for one that names an unknown group or can never match."""
    if len(rules) > RULES_MOST:
        raise InvalidInput(f"A flag has at most {RULES_MOST} rules.")
    for place, one in enumerate(rules, 1):
        if one.group and one.group not in groups:
            raise InvalidInput(f"Rule {place}: there is no group {one.group!r}; make it first.")
        if len(one.constraints) > CONSTRAINTS_MOST:
            raise InvalidInput(f"Rule {place}: at most {CONSTRAINTS_MOST} conditions.")
        if not 0 <= one.thousandths <= BUCKETS:
            raise InvalidInput(f"Rule {place}: a percentage is from 0 to 100.")
        if why := _impossible(one.constraints):
            raise InvalidInput(f"Rule {place} can never match: {why}.")
        for earlier, other in enumerate(rules[: place - 1], 1):
            if other.covers(one):
                raise InvalidInput(f"Rule {place} is never reached: rule {earlier} takes every device that it means.")
    return rules


def pinned_checked(pinned: Mapping[str, str]) -> dict[str, str]:
    """Return variants of single devices that can be kept. Raises InvalidInput."""
    if len(pinned) > PINNED_MOST:
        raise InvalidInput(f"A flag has at most {PINNED_MOST} pinned devices; more are a group.")
    for device, variant in pinned.items():
        targeting_key_checked(device)
        if variant not in ("on", "off"):
            raise InvalidInput(f"{device} is pinned to {variant!r}; write on or off.")
    return dict(sorted(pinned.items()))


def targeting_key_checked(key: str) -> str:
    """Return a targeting key as devices may send it. Raises InvalidInput."""
    if not key or len(key) > TARGETING_KEY_CHARACTERS or not key.isprintable():
        raise InvalidInput(f"{key[:40]!r} is no targeting key: 1 to {TARGETING_KEY_CHARACTERS} printable characters.")
    return key


def _impossible(constraints: tuple[Constraint, ...]) -> str:
    """Return why no device can meet all of them; empty when one might."""
    for index, one in enumerate(constraints):
        for other in constraints[:index]:
            if one.attribute == other.attribute and not _together(other, one):
                return f"{other} and {one} exclude each other"
    return ""


def _together(one: Constraint, other: Constraint) -> bool:
    operators = {one.operator, other.operator}
    if operators == {Operator.AT_LEAST, Operator.BELOW}:
        low, high = (one, other) if one.operator is Operator.AT_LEAST else (other, one)
        return bool(_comparable(low.kind, low.values[0]) < _comparable(high.kind, high.values[0]))
    if one.attribute == "model.artefact":  # a device has several
        return True
    if Operator.IS in operators:
        named, against = (one, other) if one.operator is Operator.IS else (other, one)
        return any(against.matches({named.attribute: value}) for value in named.values)
    return True
