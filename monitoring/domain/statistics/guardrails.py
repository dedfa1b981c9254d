"""What a guardrail concludes from the values of two arms: against the concurrent control, and against an absolute limit.

A guardrail fails when the treatment is worse beyond chance, at any of however many looks, and by more than is tolerated;
it passes when it is shown, 95 % sure, not to be that bad. Between the two it says how many devices it takes.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from hawkops.core.verdicts import Verdict, worst
from monitoring.domain.criteria import SAMPLES, Comparator
from monitoring.domain.statistics import means, proportions
from monitoring.domain.statistics.means import Interval, Sample
from monitoring.domain.statistics.proportions import CONFIDENCE, Events, Progress
from monitoring.domain.statistics.ratio import SampleRatio
from monitoring.domain.statistics.spending import OF_CONTROL

Side = Sample | Events
# how much worse than the control still is "stable", and by how much more a miss is a matter of rolling back
TOLERATED, MISSED_MOST = 0.05, 0.20
_TIMES_MOST = 2**14


class Miss(StrEnum):
    """Whether a target is missed by more than MISSED_MOST: judged on the interval, not on its middle."""

    CERTAIN = "certain"
    POSSIBLE = "possible"
    SAFE = "safe"


WORST_MISS = (Miss.CERTAIN, Miss.POSSIBLE, Miss.SAFE)


@dataclass(frozen=True)
class Rule:
    """What is demanded of a value: which way is better, how much worse than the control is borne, and its limit."""

    comparator: Comparator
    limit: float | None = None
    tolerated: float = TOLERATED
    missed_most: float = MISSED_MOST
    shown: Callable[[float], str] = "{:.4g}".format


@dataclass(frozen=True)
class Line:
    """What one comparison says. `interval` is 95 % sure on either side; of the control, it is the change by a share."""

    verdict: Verdict
    sentence: str
    miss: Miss = Miss.POSSIBLE
    interval: Interval | None = None


@dataclass(frozen=True)
class Finding:
    """What a guardrail says: a line against the control and one against the limit, where there is one."""

    lines: tuple[Line, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the lines; NO_DATA without any."""
        return worst([line.verdict for line in self.lines])

    @property
    def miss(self) -> Miss:
        """The worst of the lines; possible without any, because nothing is known then."""
        return min((line.miss for line in self.lines), key=WORST_MISS.index, default=Miss.POSSIBLE)

    @property
    def sentence(self) -> str:
        """The lines, one after another."""
        return "; ".join(line.sentence for line in self.lines)


def control_percent(treatment_percent: float) -> float:
    """Return how large the concurrent control is: as large as the treatment up to half of the devices, then the rest."""
    return min(treatment_percent, 100.0 - treatment_percent)


def judge(
    rule: Rule, treatment: Side, control: Side | None, *, alpha: float, weight: float = 1.0,
    ratio: SampleRatio | None = None,
) -> Finding:  # fmt: skip
    """Judge one guardrail in one band; `alpha` is its chance of a false alarm (`spending.Budget.alpha`).

    Without a control, at 100 %, only the limit is left. `weight` is how many devices of the treatment were to come for one
    of the control. Arms that were not filled as they were shared out take a pass away, never a failure.
    """
    lines = []
    if control is not None:
        part = alpha if rule.limit is None else alpha * OF_CONTROL
        line = against_control(rule, treatment, control, alpha=part, weight=weight)
        if line.verdict is Verdict.PASS and ratio is not None and ratio.mismatch:
            wanted = " and ".join(f"{count:.0f}" for count in ratio.expected)
            has = " and ".join(map(str, ratio.counts))
            why = f"{has} devices report where {wanted} should: the arms can't be compared"
            line = replace(line, verdict=Verdict.ERROR, miss=Miss.POSSIBLE, sentence=f"{line.sentence}, but {why}")
        lines.append(line)
    if rule.limit is not None:
        part = alpha if control is None else alpha * (1 - OF_CONTROL)
        lines.append(against_limit(rule, treatment, alpha=part))
    return Finding(tuple(lines))


def against_control(rule: Rule, treatment: Side, control: Side, *, alpha: float, weight: float = 1.0) -> Line:
    """Judge the change from control to treatment."""
    if not treatment.devices or not control.devices:
        who = "treatment" if not treatment.devices else "control"
        return Line(Verdict.NO_DATA, f"no device of the {who} has a value yet")
    found = _change(treatment, control, _sure(), weight)
    counted = f"{_counted(treatment)} against {_counted(control)} of the control"
    about = f"{_percent(found.estimate)}{_span(found, _percent)}, {counted}"
    few = isinstance(treatment, Sample) and min(treatment.devices, control.devices) < SAMPLES
    if few:
        return Line(Verdict.INSUFFICIENT, f"{about}; {SAMPLES} in each needed", interval=found)
    alarm = _change(treatment, control, 2 * alpha, weight)
    sure, surely = _worse(rule, found), _worse(rule, alarm)
    miss = _miss(surely.low > rule.missed_most, sure.high <= rule.missed_most)
    if surely.low > 0 and sure.estimate > rule.tolerated:
        return Line(Verdict.FAIL, f"{about}: worse beyond chance", miss, found)
    if sure.high <= rule.tolerated:
        return Line(Verdict.PASS, f"{about}: within {_share(rule.tolerated)}", miss, found)
    return Line(Verdict.INSUFFICIENT, f"{about}: not yet told from {_share(rule.tolerated)} worse", miss, found)


def against_limit(rule: Rule, treatment: Side, *, alpha: float) -> Line:
    """Judge the treatment's own mean or share by the rule's limit, which must be there."""
    limit = rule.limit
    assert limit is not None
    wanted = f"wanted {rule.comparator.value} {rule.shown(limit)}"
    if not treatment.devices:
        return Line(Verdict.NO_DATA, f"no device of the treatment has a value yet, {wanted}")
    found = _own(treatment, _sure())
    about = f"{rule.shown(found.estimate)}{_span(found, rule.shown)}, {wanted}, {_counted(treatment)}"
    if isinstance(treatment, Sample) and treatment.devices < SAMPLES:
        return Line(Verdict.INSUFFICIENT, f"{about}; {SAMPLES} needed", interval=found)
    alarm = _own(treatment, 2 * alpha)
    edge = limit * (1 - rule.missed_most if rule.comparator.floor else 1 + rule.missed_most)
    if rule.comparator.floor:
        misses, holds = alarm.high < limit, found.low >= limit
        miss = _miss(alarm.high < edge, found.low >= edge)
    else:
        misses, holds = alarm.low > limit, found.high <= limit
        miss = _miss(alarm.low > edge, found.high <= edge)
    if misses:
        return Line(Verdict.FAIL, f"{about}: missed beyond chance", miss, found)
    if holds:
        return Line(Verdict.PASS, about, miss, found)
    return Line(Verdict.INSUFFICIENT, f"{about}: not yet told from the limit", miss, found)


def progress(
    rule: Rule, treatment: Side, control: Side | None, *, alpha: float, weight: float = 1.0, per_hour: float = 0.0
) -> Progress | None:
    """Return how many devices of the treatment there are and how many settle the guardrail, if they go on alike.

    `per_hour` is how many more of them come in an hour. None where even sixteen thousand times as many would not do, and
    without any. Costs some twenty judgements: ask for what is shown, not for every class.
    """
    if not treatment.devices or (control is not None and not control.devices):
        return None

    def settled(times: float) -> bool:
        more = None if control is None else _times(control, times)
        found = judge(rule, _times(treatment, times), more, alpha=alpha, weight=weight).lines
        return any(line.verdict is Verdict.FAIL for line in found) or all(
            line.verdict is Verdict.PASS for line in found
        )

    low, high = 0.0, 1.0
    while not settled(high):
        if high >= _TIMES_MOST:
            return None
        low, high = high, high * 2
    if not low:
        return Progress(treatment.devices, treatment.devices, per_hour)
    while (high - low) * treatment.devices > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return Progress(treatment.devices, _times(treatment, high).devices, per_hour)


def _sure() -> float:
    """Return the alpha of an interval each of whose sides errs with the chance 1 - CONFIDENCE."""
    return 2 * (1 - CONFIDENCE)


def _change(treatment: Side, control: Side, alpha: float, weight: float) -> Interval:
    if isinstance(treatment, Sample) and isinstance(control, Sample):
        return means.change(treatment, control, alpha=alpha)
    if isinstance(treatment, Events) and isinstance(control, Events):
        return proportions.change(treatment, control, alpha=alpha, weight=weight)
    raise TypeError("Both arms are samples, or both are counted events.")


def _own(arm: Side, alpha: float) -> Interval:
    return means.mean(arm, alpha=alpha) if isinstance(arm, Sample) else proportions.share(arm, alpha=alpha)


def _worse(rule: Rule, found: Interval) -> Interval:
    """Return by which share the treatment is worse: the change itself where less is better."""
    return Interval(-found.estimate, -found.high, -found.low) if rule.comparator.floor else found


def _miss(certain: bool, safe: bool) -> Miss:
    if certain:
        return Miss.CERTAIN
    return Miss.SAFE if safe else Miss.POSSIBLE


def _times(arm: Side, times: float) -> Side:
    devices = -int(-arm.devices * times // 1)
    if isinstance(arm, Sample):
        return replace(arm, devices=devices)
    return Events(arm.events * times, devices)


# ---- words ----


def _share(value: float) -> str:
    return f"{value * 100:g}\u202f%"


def _percent(value: float) -> str:
    if math.isnan(value):
        return "no change known"
    return f"{value * 100:+.1f}\u202f%".replace("-", "−") if abs(value) < 100 else "many times more"


def _span(found: Interval, shown: Callable[[float], str]) -> str:
    """Say an interval; nothing where it says nothing."""
    ends = [f"{word} {shown(end)}" for word, end in _ends(found)]
    return f" ({' '.join(ends)})" if ends else ""


def _ends(found: Interval) -> Iterator[tuple[str, float]]:
    if abs(found.low) < 1e12:
        yield "from", found.low
    if abs(found.high) < 1e12:
        yield "to", found.high


def _counted(side: Side) -> str:
    of = f"{side.events:g} of " if isinstance(side, Events) else ""
    return f"{of}{side.devices:,} device{'' if side.devices == 1 else 's'}".replace(",", "\u202f")
