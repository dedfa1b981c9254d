"""A flag as evaluation sees it: frozen, typed, complete. A snapshot holds all flags of one environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from rollout.domain.bucketing import BUCKETS
from rollout.domain.equality import same
from rollout.domain.experiments import Experiment, moved
from rollout.domain.targeting import Constraint, Rule, constraints

ON, OFF = "on", "off"


class FlagType(StrEnum):
    """What values a flag has; answers are coerced to it, because clients are strict about 2 and 2.0."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    FLOAT = "float"
    STRING = "string"
    JSON = "json"


class Strategy(StrEnum):
    """How a percentage chooses its devices, in the runbook's words."""

    HASH_BASED = "HASH_BASED"
    TARGET_GROUPS = "TARGET_GROUPS"
    CAPABILITY_BASED = "CAPABILITY_BASED"
    GRADUAL = "GRADUAL"


@dataclass(frozen=True)
class Override:
    """An emergency override: wins over everything but a lockdown. With constraints only for devices that meet them.

    With a group it is a drill: for the group's members only, and after every override in earnest.
    """

    variant: str
    reason: str
    constraints: tuple[Constraint, ...] = ()
    group: str = ""

    @property
    def why(self) -> str:
        """What an answer by it says of itself."""
        if self.group:
            return f"drill on {self.group}: {self.reason}"
        if self.constraints:
            return f"emergency override where {' and '.join(map(str, self.constraints))}: {self.reason}"
        return f"emergency override: {self.reason}"


def scoped_override(document: Mapping[str, Any]) -> Override:
    """Read a stored override for some devices."""
    return Override(
        document["variant"], document["reason"], constraints(document["constraints"]), document.get("group", "")
    )


@dataclass(frozen=True)
class Flag:
    """One flag in one environment: pinned devices get their variant, then rules in order, then `thousandths` of all
    devices `on`, everybody else `off`."""

    key: str
    type: FlagType
    on: Any
    off: Any
    safe_variant: str
    thousandths: int
    salt: str
    requires: tuple[str, ...] = ()
    override: Override | None = None
    # those for some devices only, in the order in which they are looked at, drills last; after the one for all
    scoped: tuple[Override, ...] = ()
    lease_seconds: int = 900
    pinned: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    # the A/B test that runs on it: divides whom rules and percentage serve `on`
    experiment: Experiment | None = None

    @property
    def may_serve_on(self) -> bool:
        """Whether some device might get `on` while no override is in force and what it requires is on."""
        rules = any(rule.variant == ON and rule.thousandths for rule in self.rules)
        return bool(self.thousandths or rules or ON in self.pinned.values())

    def value(self, variant: str) -> Any:
        """Return a variant's value in the flag's own type."""
        return coerce(self.type, self.on if variant == ON else self.off)


@dataclass(frozen=True)
class Snapshot:
    """All flags of an environment at one revision. Immutable: replaced, never changed."""

    environment: str
    revision: int
    flags: Mapping[str, Flag] = field(default_factory=dict)
    lockdown: bool = False
    # targeting keys by the group's key
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)


def coerce(kind: FlagType, value: Any) -> Any:
    """Return the value in its declared type: 2 becomes 2.0 for a float flag, 2.0 becomes 2 for an integer one."""
    if kind is FlagType.FLOAT:
        return float(value)
    if kind is FlagType.INTEGER:
        return int(value)
    if kind is FlagType.BOOLEAN:
        return bool(value)
    return value


def same_values(one: Flag, other: Flag) -> bool:
    """Say whether both variants have the same values."""
    return all(same(one.value(variant), other.value(variant)) for variant in (ON, OFF))


def raises_exposure(before: Flag, after: Flag) -> bool:
    """Say whether a change may move a device away from the flag's safe value.

    Everything that certainly doesn't is *lowering* and never needs approval. What can't be told without asking every
    device (a rule of another shape) counts as raising.

    Lowering is proven clause by clause: each one of `after` that serves an unsafe value lies within one of `before`, and
    everything that kept devices safe ahead of that one keeps them safe ahead of it still.

    A drill's beginning and end are neither: it forces the safe value, and its end gives back what was decided.

    Another safe value always raises: it is what a kill, a lockdown and a lost gateway serve. Another unsafe value raises
    where some device may get it.
    """
    before, after = _undrilled(before), _undrilled(after)
    unsafe_variant = OFF if after.safe_variant == ON else ON
    if not same(before.value(after.safe_variant), after.value(after.safe_variant)):
        return True
    if not same(before.value(unsafe_variant), after.value(unsafe_variant)) and _may_serve(after, unsafe_variant):
        return True
    if after.override is not None:
        unsafe = after.override.variant != after.safe_variant
        return unsafe and not (before.override is not None and before.override.variant == after.override.variant)
    ours = _clauses(after)
    if _tests_raise(before, after) and any(one.variant == ON and one.rule.thousandths for one in ours):
        return True  # an arm's value is new to some
    if set(before.requires) - set(after.requires) and any(
        one.variant != after.safe_variant and one.rule.thousandths for one in ours
    ):
        return True  # who was kept off by it may get it now
    if set(after.requires) - set(before.requires) and after.safe_variant == ON:
        return True  # where it is off, this is too
    if before.salt != after.salt and any(
        one.variant != after.safe_variant and 0 < one.rule.thousandths < BUCKETS for one in ours
    ):
        return True  # other devices fall into the share
    if before.override is not None:
        return before.override.variant == before.safe_variant and any(
            one.variant != after.safe_variant and one.rule.thousandths for one in ours
        )
    theirs = _clauses(before)
    return any(
        one.variant != after.safe_variant and one.rule.thousandths and not _within(ours, index, theirs, before)
        for index, one in enumerate(ours)
    )


def lifts_safety(before: Flag, after: Flag) -> bool:
    """Say whether a flag that was forced to its safe variant on every device no longer is."""
    return before.override is not None and before.override.variant == before.safe_variant and after.override is None


def _undrilled(flag: Flag) -> Flag:
    """Return a flag as it is without its drill."""
    kept = tuple(one for one in flag.scoped if not (one.group and one.variant == flag.safe_variant))
    return flag if kept == flag.scoped else replace(flag, scoped=kept)


def _tests_raise(before: Flag, after: Flag) -> bool:
    """Say whether an A/B test that starts, ends, or is reached again gives devices a value that is new and not safe."""
    on, safe = after.value(ON), after.value(after.safe_variant)
    forced = before.override is not None and before.override.variant == ON
    standing = None if forced else before.experiment
    return standing != after.experiment and moved(standing, after.experiment, on=on, safe=safe)


def circle(requires: Mapping[str, Iterable[str]]) -> list[str]:
    """Return flags that require each other in a circle, the first one at both ends; empty when there is none."""

    def follow(path: list[str]) -> list[str]:
        for required in requires.get(path[-1], ()):
            if required in path:
                return [*path[path.index(required) :], required]
            if found := follow([*path, required]):
                return found
        return []

    return next((found for key in sorted(requires) if (found := follow([key]))), [])


@dataclass(frozen=True)
class _Clause:
    """Who gets a variant unless an earlier clause takes them: one pinned device, or whom a rule means."""

    rule: Rule
    device: str = ""

    @property
    def variant(self) -> str:
        return self.rule.variant

    def covers(self, other: _Clause) -> bool:
        return self.device in ("", other.device) and self.rule.covers(other.rule)


def _clauses(flag: Flag) -> list[_Clause]:
    scoped = [_Clause(Rule(one.variant, group=one.group, constraints=one.constraints)) for one in flag.scoped]
    pinned = [_Clause(Rule(variant), device) for device, variant in sorted(flag.pinned.items())]
    everybody, reached = Rule(OFF), []
    for one in (*flag.rules, Rule(ON, flag.thousandths), everybody):
        reached.append(_Clause(one))
        if one.covers(everybody):
            break
    return [*scoped, *pinned, *reached]


def _may_serve(flag: Flag, variant: str) -> bool:
    """Say whether some device may get a variant. `off` is also for whom a requirement, or a missing key, keeps from on."""
    if flag.override is not None:
        return flag.override.variant == variant
    if any(one.variant == variant and one.rule.thousandths for one in _clauses(flag)):
        return True
    divided = any(rule.group or 0 < rule.thousandths < BUCKETS for rule in flag.rules)
    return variant == OFF and bool(flag.requires or divided)


def _within(ours: list[_Clause], index: int, theirs: list[_Clause], before: Flag) -> bool:
    """Say whether an unsafe clause takes only devices that had an unsafe value before."""
    keep = [one for one in ours[:index] if one.variant == before.safe_variant]
    for place, one in enumerate(theirs):
        if one.variant == ours[index].variant and one.covers(ours[index]):
            safe = [
                other for other in theirs[:place] if other.variant == before.safe_variant and other.rule.thousandths
            ]
            return all(any(kept.covers(other) for kept in keep) for other in safe)
    return False
