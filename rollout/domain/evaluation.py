"""Evaluate a flag for a device: a pure function of (snapshot, context). No clock, no database, no request.

Order: lockdown → emergency override → drill → prerequisite flags → pinned devices → targeting rules in order →
percentage → off; whoever a rule or the percentage serves `on` is then divided among the arms of the A/B test that runs on
the flag.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rollout.domain.bucketing import BUCKETS, bucket, included
from rollout.domain.experiments import Arm, Experiment
from rollout.domain.flags import OFF, ON, Flag, Override, Snapshot, coerce
from rollout.domain.targeting import Context, Rule

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
    # the place of the rule that served it, from 1; 0 when none did
    rule: int = 0
    # the arm of the A/B test that chose the value; `variant` says whether that is the `off` value or another
    arm: str = ""

    @property
    def told(self) -> str:
        """The variant as the device is told it."""
        return self.arm or self.variant


@dataclass(frozen=True)
class Step:
    """One thing that evaluation looked at, in order; the last one that applied gave the answer."""

    sentence: str
    applied: bool


class KeyMissing(Exception):
    """The flag divides devices by their targeting key, and there is none: not eligible, never random."""


class UnknownFlag(Exception):
    """There is no such flag in the environment."""


def evaluate(snapshot: Snapshot, key: str, context: Context) -> Evaluation:
    """Evaluate one flag. Raises UnknownFlag, or KeyMissing where the answer depends on the key."""
    flag = snapshot.flags.get(key)
    if flag is None:
        raise UnknownFlag(key)
    return _evaluate(snapshot, flag, context)


def evaluate_all(snapshot: Snapshot, context: Context) -> list[Evaluation]:
    """Evaluate every flag; without a key the ones that need it serve their off variant."""
    answers = []
    for flag in snapshot.flags.values():
        try:
            answers.append(_evaluate(snapshot, flag, context))
        except KeyMissing:
            answers.append(_not_eligible(flag))
    return answers


def explain(snapshot: Snapshot, key: str, context: Context) -> tuple[Evaluation, list[Step]]:
    """Evaluate one flag and return everything that was looked at on the way, by the same code. Raises UnknownFlag."""
    flag = snapshot.flags.get(key)
    if flag is None:
        raise UnknownFlag(key)
    steps: list[Step] = []
    try:
        answer = _evaluate(snapshot, flag, context, lambda sentence, applied: steps.append(Step(sentence, applied)))
    except KeyMissing:
        answer = _not_eligible(flag)
        steps.append(Step("It names no targeting key, so it is in no group and in no bucket", True))
    return answer, steps


def safe(flag: Flag) -> Evaluation:
    """Return what a gateway serves that has been cut off from PostgreSQL for longer than the lease."""
    return _answer(flag, flag.safe_variant, DISABLED, "safe value: the gateway lost its database")


def _not_eligible(flag: Flag) -> Evaluation:
    return _answer(flag, OFF, UNKNOWN, "no targeting key: not eligible")


def _answer(flag: Flag, variant: str, reason: str, why: str) -> Evaluation:
    return Evaluation(flag.key, variant, flag.value(variant), reason, why)


Note = Callable[[str, bool], None]


def _evaluate(snapshot: Snapshot, flag: Flag, context: Context, note: Note | None = None) -> Evaluation:
    if snapshot.lockdown:
        return _said(flag, flag.safe_variant, DISABLED, "lockdown", note)
    if flag.override is not None:
        reason = DISABLED if flag.override.variant == OFF else STATIC
        return _said(flag, flag.override.variant, reason, flag.override.why, note)
    for scoped in flag.scoped:
        if in_audience(snapshot, scoped, context):
            reason = DISABLED if scoped.variant == OFF else STATIC
            return _said(flag, scoped.variant, reason, scoped.why, note)
        if note:
            note(_passed_over(scoped), False)
    for required in flag.requires:
        other = snapshot.flags.get(required)
        if other is None or _evaluate(snapshot, other, context).variant != ON:
            return _said(flag, OFF, DISABLED, f"requires {required}", note)
        if note:
            note(f"Requires {required}, which is on", False)
    key = context.targeting_key
    if key and key in flag.pinned:
        return _said(flag, flag.pinned[key], TARGETING_MATCH, "pinned device", note)
    unkeyed = False
    for place, rule in enumerate(flag.rules, 1):
        found = _means(snapshot, flag, rule, context)
        if found:
            said = _said(flag, rule.variant, TARGETING_MATCH, f"rule {place}: {rule}", note)
            return _divided(flag, context, replace(said, rule=place), note)
        unkeyed = unkeyed or found is None
        if note:
            note(f"Rule {place}, {rule}: {_why_not(snapshot, flag, rule, context)}", False)
    if unkeyed:
        raise KeyMissing(flag.key)
    if flag.thousandths <= 0:
        return _said(flag, OFF, STATIC, "0 % of devices", note)
    if flag.thousandths >= BUCKETS:
        return _divided(flag, context, _said(flag, ON, STATIC, "100 % of devices", note), note)
    if not key:
        raise KeyMissing(flag.key)
    if included(flag.salt, key, flag.thousandths):
        return _divided(flag, context, _said(flag, ON, SPLIT, "bucket within the percentage", note), note)
    return _said(flag, OFF, SPLIT, "bucket beyond the percentage", note)


def _passed_over(scoped: Override) -> str:
    """Say which override for some devices does not mean the device."""
    if scoped.group:
        return f"Drill on {scoped.group}: it is not in that group"
    return f"Emergency override where {' and '.join(map(str, scoped.constraints))}: it does not meet that"


def _said(flag: Flag, variant: str, reason: str, why: str, note: Note | None) -> Evaluation:
    if note:
        note(f"{why[0].upper()}{why[1:]}", True)
    return _answer(flag, variant, reason, why)


def _divided(flag: Flag, context: Context, said: Evaluation, note: Note | None) -> Evaluation:
    """Put a device that gets `on` into its arm; one without a key can't be, and keeps `on`."""
    if flag.experiment is None or said.variant != ON or not context.targeting_key:
        return said
    answer = in_arm(flag, flag.experiment, flag.experiment.arm(context.targeting_key), said)
    if note:
        note(f"A/B test {flag.experiment.key}: arm {answer.arm}", True)
    return answer


def in_arm(flag: Flag, running: Experiment, arm: Arm, said: Evaluation) -> Evaluation:
    """Return the answer of a device in an arm, which got `on` by what is said."""
    value = coerce(flag.type, arm.value)
    variant = OFF if value == flag.value(OFF) else ON
    why = f"{said.why}; A/B test {running.key}: arm {arm.variant}"
    return Evaluation(flag.key, variant, value, SPLIT, why, said.rule, arm.variant)


def in_audience(snapshot: Snapshot, rule: Rule | Override, context: Context) -> bool:
    """Say whether a rule, or an override for some devices, speaks of the device, whatever its bucket."""
    for constraint in rule.constraints:
        if not constraint.matches(context.attributes):
            return False
    return not rule.group or context.targeting_key in snapshot.groups.get(rule.group, ())


def _means(snapshot: Snapshot, flag: Flag, rule: Rule, context: Context) -> bool | None:
    """Say whether a rule means the device; None when that depends on a targeting key that it does not name."""
    if not context.targeting_key and (rule.group or 0 < rule.thousandths < BUCKETS):
        return None if in_audience(snapshot, replace(rule, group=""), context) else False
    return in_audience(snapshot, rule, context) and _in_share(flag, rule, context)


def _in_share(flag: Flag, rule: Rule, context: Context) -> bool:
    return rule.thousandths >= BUCKETS or (
        rule.thousandths > 0 and included(flag.salt, context.targeting_key, rule.thousandths)
    )


def _why_not(snapshot: Snapshot, flag: Flag, rule: Rule, context: Context) -> str:
    """Say what kept a rule from meaning the device."""
    for constraint in rule.constraints:
        if not constraint.matches(context.attributes):
            said = context.attributes.get(constraint.attribute)
            return f"it says {said}" if said not in (None, "") else f"it does not say its {constraint.attribute}"
    if not context.targeting_key:
        return "it names no targeting key"
    if rule.group and context.targeting_key not in snapshot.groups.get(rule.group, ()):
        return f"it is not in {rule.group}"
    return f"its bucket {bucket(flag.salt, context.targeting_key)} is not below {rule.thousandths}"
