"""Evaluate a flag for a device: a pure function of (snapshot, targeting key). No clock, no database, no request.

Order: lockdown → emergency override → prerequisite flags → percentage → off variant.
"""

from dataclasses import dataclass
from typing import Any

from rollout.domain.bucketing import BUCKETS, included
from rollout.domain.flags import OFF, ON, Flag, Snapshot

# The protocol's closed list of reasons.
STATIC, TARGETING_MATCH, SPLIT, DISABLED, UNKNOWN = "STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN"


@dataclass(frozen=True)
class Evaluation:
    """The answer for one flag: its variant, value, the protocol's reason, and our own words for why."""

    key: str
    variant: str
    value: Any
    reason: str
    why: str


class KeyMissing(Exception):
    """The flag divides devices by their targeting key, and there is none: not eligible, never random."""


class UnknownFlag(Exception):
    """There is no such flag in the environment."""


def evaluate(snapshot: Snapshot, key: str, targeting_key: str | None) -> Evaluation:
    """Evaluate one flag. Raises UnknownFlag, or KeyMissing where the answer depends on the key."""
    flag = snapshot.flags.get(key)
    if flag is None:
        raise UnknownFlag(key)
    return _evaluate(snapshot, flag, targeting_key)


def evaluate_all(snapshot: Snapshot, targeting_key: str | None) -> list[Evaluation]:
    """Evaluate every flag; without a key the ones that need it serve their off variant."""
    answers = []
    for flag in snapshot.flags.values():
        try:
            answers.append(_evaluate(snapshot, flag, targeting_key))
        except KeyMissing:
            answers.append(_answer(flag, OFF, UNKNOWN, "no targeting key: not eligible"))
    return answers


def safe(flag: Flag) -> Evaluation:
    """Return what a gateway serves that has been cut off from PostgreSQL for longer than the lease."""
    return _answer(flag, flag.safe_variant, DISABLED, "safe value: the gateway lost its database")


def _answer(flag: Flag, variant: str, reason: str, why: str) -> Evaluation:
    return Evaluation(flag.key, variant, flag.value(variant), reason, why)


def _evaluate(snapshot: Snapshot, flag: Flag, targeting_key: str | None) -> Evaluation:
    if snapshot.lockdown:
        return _answer(flag, flag.safe_variant, DISABLED, "lockdown")
    if flag.override is not None:
        reason = DISABLED if flag.override.variant == OFF else STATIC
        return _answer(flag, flag.override.variant, reason, f"emergency override: {flag.override.reason}")
    for required in flag.requires:
        other = snapshot.flags.get(required)
        if other is None or _evaluate(snapshot, other, targeting_key).variant != ON:
            return _answer(flag, OFF, DISABLED, f"requires {required}")
    if flag.thousandths <= 0:
        return _answer(flag, OFF, STATIC, "0 % of devices")
    if flag.thousandths >= BUCKETS:
        return _answer(flag, ON, STATIC, "100 % of devices")
    if not targeting_key:
        raise KeyMissing(flag.key)
    if included(flag.salt, targeting_key, flag.thousandths):
        return _answer(flag, ON, SPLIT, "bucket within the percentage")
    return _answer(flag, OFF, SPLIT, "bucket beyond the percentage")
