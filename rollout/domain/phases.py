"""The arithmetic of a phase: its steps, the rules that each one sets, and what must be true before it ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hawkops.core.verdicts import Verdict, worst
from hawkops.core.why import Why
from rollout.domain.bucketing import BUCKETS
from rollout.domain.flags import OFF, ON
from rollout.domain.policy import Need
from rollout.domain.runbook import Phase
from rollout.domain.targeting import Rule

# A group as phase 1's audience may be this share of the active fleet, or this many devices.
INTERNAL_SHARE, INTERNAL_DEVICES = 0.01, 100


def percents(phase: Phase) -> list[float]:
    """Return the percentages of a phase's steps, the first one set when it starts; equal steps up to its end."""
    span = phase.to_percent - phase.from_percent
    return [round(phase.from_percent + span * (index + 1) / phase.steps, 3) for index in range(phase.steps)]


def interval(phase: Phase) -> timedelta:
    """Return the time between two steps: they are spread over the phase's minimum duration."""
    return phase.at_least / phase.steps


@dataclass(frozen=True)
class Audience:
    """How many active devices there are, and how many of them a phase speaks of."""

    fleet: int
    devices: int


def thousandths(phase: Phase, percent: float, audience: Audience) -> int:
    """Return the share of the audience, in buckets of 100 000, that a step serves.

    A phase of groups alone (the first) serves the whole group. A percentage of the fleet is served within the audience, as
    far as that goes.
    """
    if phase.strategy == "TARGET_GROUPS":
        return BUCKETS
    if phase.of_fleet:
        if not audience.devices:
            return 0
        return min(BUCKETS, round(percent / 100 * audience.fleet / audience.devices * BUCKETS))
    return round(percent / 100 * BUCKETS)


def rules(phase: Phase, share: int) -> tuple[Rule, ...]:
    """Return the rules with which a phase serves a share of its audience, in buckets of 100 000."""
    if phase.groups:
        return tuple(Rule(ON, share, group, phase.where) for group in phase.groups)
    return (Rule(ON, share, "", phase.where),)


def merged(standing: Iterable[Rule], ours: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return a flag's rules with a plan's: what keeps devices off stays first; what could never be reached is left out."""
    found: list[Rule] = []
    for rule in (*(rule for rule in standing if rule.variant == OFF), *ours):
        if rule.thousandths and not any(earlier.covers(rule) for earlier in found):
            found.append(rule)
    return tuple(found)


def internal_fits(audience: Audience) -> bool:
    """Say whether phase 1's group is small enough: 1 % of the active fleet, or 100 devices."""
    return audience.devices <= max(INTERNAL_DEVICES, INTERNAL_SHARE * audience.fleet)


@dataclass(frozen=True)
class Judged:
    """A success criterion of a phase as it reads now. `in_scope` is false where nobody has what it judges."""

    title: str
    verdict: Verdict
    sentence: str
    in_scope: bool = True
    links: tuple[str, ...] = ()
    # of each criterion behind it, where somebody asked
    whys: tuple[Why, ...] = ()


def together(title: str, parts: Iterable[Judged]) -> Judged:
    """Return one row of several criteria: the worst of those in scope; none at all is NO_DATA."""
    found = list(parts)
    counted = [one for one in found if one.in_scope]
    whys = tuple(why for one in found for why in one.whys)
    if found and not counted:
        return Judged(title, Verdict.NO_DATA, f"Not in scope: {found[0].sentence}", in_scope=False, whys=whys)
    if not counted:
        return Judged(title, Verdict.NO_DATA, "No criterion judges it; look at the thresholds.")
    verdict = worst([one.verdict for one in counted])
    said = [one for one in counted if one.verdict is verdict] if verdict is not Verdict.PASS else counted
    links = tuple(link for one in found for link in one.links)
    return Judged(title, verdict, " ".join(_full(one.sentence) for one in said), links=links, whys=whys)


def _full(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!")) else f"{sentence[:1].upper()}{sentence[1:]}."


@dataclass(frozen=True)
class Progress:
    """A phase under way: when it started, how long it was paused, how far its steps are, whom it serves."""

    phase: Phase
    started_at: datetime
    paused: timedelta
    steps_done: int
    served: int
    # how long it had lasted when its validation began, and when the hours of data were full; None before
    validated_from: timedelta | None = None
    validated_after: timedelta | None = None

    def lasted(self, now: datetime) -> timedelta:
        """Return how long it has run, pauses left out."""
        return max(timedelta(), now - self.started_at - self.paused)

    def towards_maximum(self, now: datetime) -> timedelta:
        """Return what of that counts towards its maximum: the time of its validation does not."""
        lasted = self.lasted(now)
        if self.validated_from is None:
            return lasted
        after = lasted - self.validated_after if self.validated_after is not None else timedelta()
        return self.validated_from + max(timedelta(), after)

    def overdue(self, now: datetime) -> bool:
        """Say whether it outlives its maximum."""
        return self.towards_maximum(now) > self.phase.at_most


def ending(progress: Progress, criteria: Iterable[Judged], now: datetime) -> tuple[Need, ...]:
    """Return what must be true before a phase may end: its minimum time, all steps, its sample, its criteria."""
    phase, lasted = progress.phase, progress.lasted(now)
    left = phase.at_least - lasted
    time = Need(
        "time",
        "Minimum time",
        left <= timedelta(),
        f"Phase {phase.number} takes at least {spoken(phase.at_least)}"
        + (f"; {spoken(left)} to go." if left > timedelta() else "."),
        f"{spoken(lasted)} of {spoken(phase.at_least)}",
    )
    steps = Need(
        "steps",
        "Steps",
        progress.steps_done >= phase.steps,
        f"{progress.steps_done} of {phase.steps} done.",
        f"{progress.steps_done} of {phase.steps}",
    )
    sample = Need(
        "sample",
        "Sample",
        progress.served >= phase.sample,
        f"{progress.served} device{'s' if progress.served != 1 else ''} served on now, {phase.sample} wanted.",
        f"{progress.served} of {phase.sample} devices",
    )
    rows = [one for one in criteria if one.in_scope]
    failing = [one for one in rows if one.verdict is not Verdict.PASS]
    said = "; ".join(f"{one.title} {one.verdict.label}" for one in failing)
    met = bool(rows) and not failing
    judged = Need(
        "criteria",
        "Criteria",
        met,
        f"{said}." if said else ("All pass." if met else "None is in scope, so nothing speaks for it."),
        f"{len(rows) - len(failing)} of {len(rows)} pass",
    )
    return (time, steps, sample, judged)


def spoken(span: timedelta) -> str:
    """Say a span: `3 d 9 h`, `41 h`, `12 min`."""
    minutes = max(0, int(span.total_seconds() // 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 72:
        return f"{hours} h {minutes} min" if minutes and hours < 12 else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
