"""A flag as evaluation sees it: frozen, typed, complete. A snapshot holds all flags of one environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rollout.domain.bucketing import BUCKETS

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
    """An emergency override: wins over everything but a lockdown."""

    variant: str
    reason: str


@dataclass(frozen=True)
class Flag:
    """One flag in one environment. `thousandths` of the devices get `on`, everybody else `off`."""

    key: str
    type: FlagType
    on: Any
    off: Any
    safe_variant: str
    thousandths: int
    salt: str
    requires: tuple[str, ...] = ()
    override: Override | None = None
    lease_seconds: int = 900

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


def coerce(kind: FlagType, value: Any) -> Any:
    """Return the value in its declared type: 2 becomes 2.0 for a float flag, 2.0 becomes 2 for an integer one."""
    if kind is FlagType.FLOAT:
        return float(value)
    if kind is FlagType.INTEGER:
        return int(value)
    if kind is FlagType.BOOLEAN:
        return bool(value)
    return value


def raises_exposure(flag: Flag, *, thousandths: int | None = None, override: Override | None = None) -> bool:
    """Say whether a change moves any device away from the flag's safe value.

    Everything that doesn't is *lowering* and never needs approval. `override=None` means that none is in force after.
    """
    after = flag.thousandths if thousandths is None else thousandths

    def unsafe(count: int, forced: Override | None) -> int:
        if forced is not None:
            return 0 if forced.variant == flag.safe_variant else BUCKETS
        return BUCKETS - count if flag.safe_variant == ON else count

    return unsafe(after, override) > unsafe(flag.thousandths, flag.override)
