"""Looking at a phase's guardrails: who is in which arm, what the panel has of them, and what each guardrail says to that.

Values count one for each device and band of ages, from the moment the band is closed (see `monitoring.domain.statistics`),
so that looking every minute costs nothing in false alarms.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hawkops.core.verdicts import Verdict
from hawkops.core.why import finite
from monitoring.domain import criteria as criteria_domain
from monitoring.domain.arms import Arm
from monitoring.domain.cohorts import Device, Exclusion, culprits
from monitoring.domain.criteria import Aggregate, Criterion, Selection
from monitoring.domain.metrics import Kind, share
from monitoring.domain.statistics import guardrails as statistics
from monitoring.domain.statistics.means import Interval, Sample
from monitoring.domain.statistics.proportions import Events, Progress
from monitoring.domain.statistics.ratio import SampleRatio
from monitoring.domain.statistics.reporting import Reports, judge_ratio, judge_reports
from monitoring.domain.statistics.spending import Budget, spend
from monitoring.domain.statistics.values import BAND_ENDS
from monitoring.selectors.criteria import changed_since, criteria
from rollout.domain import guardrails as domain
from rollout.domain.guardrails import Guardrail, Judges, Line, Role
from rollout.models import PhaseRun
from rollout.selectors import guardrail_states, releases
from rollout.selectors.arms import (
    CLOSED_AFTER,
    LATE_HOURS,
    Arms,
    Heard,
    Member,
    Sums,
    closed,
    drawn,
    heard,
    served,
    sums,
)

HOUR = timedelta(hours=1)
# so many device classes, the largest ones, are looked at by themselves
CLASSES_MOST = 8
BANDS = ("1st hour", *(f"hours {low + 1} to {high}" for low, high in pairwise(BAND_ENDS)))


@dataclass(frozen=True)
class Found:
    """What a guardrail says now."""

    guardrail: Guardrail
    lines: tuple[Line, ...]
    progress: Progress | None = None
    exclusion: Exclusion | None = None

    @property
    def said(self) -> tuple[Verdict, str]:
        """The verdict and the sentence that decides it."""
        return domain.together(self.lines)


@dataclass(frozen=True)
class Look:
    """One look at a phase: its arms, its guardrails, and the classes that are looked at one by one."""

    arms: Arms
    guardrails: tuple[Guardrail, ...]
    classes: tuple[str, ...] = ()


def looked(run: PhaseRun) -> datetime | None:
    """Return when a phase was looked at last; None where more than time has passed since.

    That is a step, a changed criterion, a guardrail that no look has judged yet, or one that failed and has not acted.
    """
    rows = guardrail_states.rows(run)
    states = [row.state for row in rows if row.state is not None]
    if len(states) < len(rows) or not rows:
        return None
    last = min(state.looked_at for state in states)
    if any(step.at > last for step in served(run)):
        return None
    if any(row.state is not None and not row.state.did_act for row in guardrail_states.failing(run, Role.GUARDRAIL)):
        return None
    return None if changed_since([row.guardrail.criterion for row in rows], last) else last


def look(run: PhaseRun, *, now: datetime, since: datetime | None = None) -> Look:
    """Draw up a look at a phase; `since` the last one only at what can have changed with time alone.

    Who reports changes each hour, values with the end of a band: reading them again in between would find the same.
    """
    arms = drawn(run, now=now)
    if run.classes is not None:
        classes = run.classes
    else:
        counted = Counter(one.device_class for one in arms.members if one.device_class)
        classes = sorted(name for name, _ in counted.most_common(CLASSES_MOST))
    rails = releases.runbook(run.release).guardrails
    if since is not None and not _band_ended(arms, since):
        rails = tuple(one for one in rails if not one.criterion)
    return Look(arms, rails, tuple(classes))


def _band_ended(arms: Arms, since: datetime) -> bool:
    """Say whether a band of anybody's ages was closed since a moment, or so shortly before that values still came."""
    before = closed(since) - LATE_HOURS
    firsts = {one.stay.first for one in arms.members}
    return any(before < first + end <= arms.closed for first in firsts for end in BAND_ENDS)


def findings(made: Look) -> list[Found]:
    """Judge every guardrail of the runbook. Three queries, and one for the criteria."""
    judging = [one for one in made.guardrails if one.criterion]
    known = {one.key: one for one in criteria(keys=[one.criterion for one in judging])} if judging else {}
    budget = spend({one.key: 1.0 for one in judging}, made.classes) if judging else None
    said = heard(made.arms, made.classes)
    usable = [one for one in known.values() if not one.broken]
    measured = sums(made.arms, _metrics(usable))
    found = []
    for one in made.guardrails:
        if one.judges is Judges.SAMPLE_RATIO:
            found.append(Found(one, tuple(_ratio_lines(said))))
        elif one.judges is Judges.REPORTING:
            found.append(Found(one, (_reports_line(made, said.reports),)))
        elif one.criterion not in known or budget is None:
            found.append(Found(one, (_line("", "", Verdict.ERROR, f"no criterion {one.criterion}"),)))
        else:
            found.append(_judged(made, one, known[one.criterion], budget, measured, said.ratio))
    return found


def metrics(rails: Iterable[Guardrail]) -> list[str]:
    """Return the metrics that guardrails are read from, in order."""
    return _metrics(one for one in criteria(keys=[one.criterion for one in rails if one.criterion]) if not one.broken)


def _metrics(usable: Iterable[Criterion]) -> list[str]:
    return sorted({read.metric for one in usable for read in (one.over, one.of) if read is not None})


def _values(
    made: Look, criterion: Criterion, measured: Sums, budget: Budget
) -> dict[tuple[int, str, Arm], list[float]]:
    """Return the values of a criterion, one for each device, by band, class (empty for all devices) and arm."""
    found: dict[tuple[int, str, Arm], list[float]] = defaultdict(list)
    for (number, band), kept in measured.items():
        member = made.arms.members[number]
        value = _value(criterion, kept, member.stay.arm)
        if value is not None:
            for name in {"", budget.counted_as(member.device_class) if budget.classes else ""}:
                found[band, name, member.stay.arm].append(value)
    return found


def _value(criterion: Criterion, kept: dict[tuple[str, str, str], tuple[float, int]], arm: Arm) -> float | None:
    total, count = _added(criterion.over, kept, arm)
    if criterion.of is not None:
        of, _ = _added(criterion.of, kept, arm)
        found = share(criterion.over.metric, criterion.of.metric, total, of)
        return None if found is None else min(1.0, found)
    return total / count if count else None


def _added(over: Selection, kept: dict[tuple[str, str, str], tuple[float, int]], arm: Arm) -> tuple[float, int]:
    total, count = 0.0, 0
    for (metric, backend, outcome), (amount, many) in kept.items():
        # a device belongs to the arm that it was drawn for, whatever it says that it was served
        if metric != over.metric:
            continue
        # the control's inferences ran in the cloud
        if arm is Arm.TREATMENT and over.backends and backend not in over.backends:
            continue
        if (over.outcomes and outcome not in over.outcomes) or outcome in over.not_outcomes:
            continue
        total, count = total + amount, count + many
    return total, count


def fits(criterion: Criterion) -> str:
    """Say why a criterion can't be judged by one value for each device; empty when it can."""
    if criterion.broken:
        return f"{criterion.key} can't be used: {criterion.broken}"
    counter = criterion.metric is not None and criterion.metric.kind is Kind.COUNTER
    if criterion.of is None and counter:
        return f"{criterion.key} counts events; a guardrail compares means, or shares of something"
    return ""


def _judged(
    made: Look, one: Guardrail, criterion: Criterion, budget: Budget, measured: Sums, ratio: SampleRatio | None
) -> Found:
    if why := fits(criterion):
        return Found(one, (_line("", "", Verdict.ERROR, why),))
    limited = criterion.aggregate in (Aggregate.RATIO, Aggregate.MEAN)
    rule = statistics.Rule(
        criterion.comparator,
        limit=criterion.threshold if limited else None,
        tolerated=one.tolerated,
        shown=lambda value: criteria_domain.shown(value, criterion),
    )
    lines: list[Line] = []
    progress = None
    values = _values(made, criterion, measured, budget)
    for device_class in ("", *sorted({name for _band, name, _arm in values if name})):
        for band, words in enumerate(BANDS):
            treated_values = values.get((band, device_class, Arm.TREATMENT))
            if not treated_values:
                continue
            beside = values.get((band, device_class, Arm.CONTROL))
            control = _side(criterion, beside) if beside else None
            treatment = _side(criterion, treated_values)
            alpha = budget.alpha(one.key, band=band, device_class=device_class)
            # those with a value, of whatever step: a ramp changes how many are drawn for each arm
            weight = len(treated_values) / len(beside) if beside else 1.0
            said = statistics.judge(rule, treatment, control, alpha=alpha, weight=weight, ratio=ratio)
            if not said.lines:
                lines.append(_line(words, device_class, Verdict.NO_DATA, "nobody beside it measures this"))
                continue
            ends = next((line.interval for line in said.lines if line.interval is not None), None)
            made_line = _line(words, device_class, said.verdict, said.sentence, ends)
            limit = said.lines[-1].interval if control is not None and len(said.lines) > 1 else None
            own = tuple(map(finite, (limit.low, limit.estimate, limit.high))) if limit is not None else None
            lines.append(replace(made_line, relative=control is not None, own=own))
            if not device_class and not band and said.verdict is Verdict.INSUFFICIENT:
                hours = max(1.0, (made.arms.now - made.arms.run.started_at) / HOUR)
                pace = len(treated_values) / hours
                progress = statistics.progress(rule, treatment, control, alpha=alpha, weight=weight, per_hour=pace)
                if progress is None and control is not None:
                    # what never happened to either arm can't be compared, but the limit can be shown
                    progress = statistics.progress(rule, treatment, None, alpha=alpha, per_hour=pace)
    if not lines:
        lines = [_line(BANDS[0], "", Verdict.NO_DATA, _why_none(made))]
    exclusion = None
    if domain.together(lines)[0] is Verdict.FAIL:
        exclusion = _excluding(made, criterion, measured, limit=rule.limit)
    return Found(one, tuple(lines), progress, exclusion)


def _excluding(made: Look, criterion: Criterion, measured: Sums, *, limit: float | None) -> Exclusion | None:
    """Find the smallest exclusion that restores a guardrail; None where the values can't tell, for want of a control.

    A device counts by its first band. The backend is looked at only where the control ran on the same ones.
    """
    rows: list[tuple[Member, str, float]] = []
    for (number, band), kept in measured.items():
        value = _value(criterion, kept, made.arms.members[number].stay.arm)
        if not band and value is not None:
            ran = Counter({backend: many for (_metric, backend, _outcome), (_total, many) in kept.items() if backend})
            rows.append((made.arms.members[number], ran.most_common(1)[0][0] if ran else "", value))
    beside = {backend for member, backend, _ in rows if member.stay.arm is Arm.CONTROL}
    treated = {backend for member, backend, _ in rows if member.stay.arm is Arm.TREATMENT}
    alike = bool(beside & treated)
    bounded = limit if criterion.of is not None else None
    devices = [
        Device(
            (backend if alike else "", *member.said),
            member.stay.arm is Arm.TREATMENT,
            _worse(value, share=criterion.of is not None, floor=criterion.comparator.floor),
        )
        for member, backend, value in rows
    ]
    try:
        return culprits(devices, limit=bounded, counted=criterion.of is not None)
    except ValueError:
        return None


def _worse(value: float, *, share: bool, floor: bool) -> float:
    """Return a value of which more is worse: what is missing of a share, the reciprocal of a speed."""
    if not floor:
        return value
    if share:
        return 1.0 - value
    return 1.0 / value if value > 0 else 0.0


def _why_none(made: Look) -> str:
    treated = [one for one in made.arms.members if one.stay.arm is Arm.TREATMENT]
    if not treated:
        return "no device of the phase's audience is known"
    first = min(one.stay.first for one in treated) + BAND_ENDS[0]
    at = datetime.fromtimestamp(first * domain.HOUR_SECONDS, tz=UTC) + CLOSED_AFTER
    if at > made.arms.now:
        return f"the first values count from {at:%d %b, %H:%M} UTC, when their hour is closed"
    return f"none of {len(treated)} devices of the treatment reports it"


def _side(criterion: Criterion, values: list[float]) -> statistics.Side:
    return Events.of(values) if criterion.of is not None else Sample.of(values)


def _line(
    band: str, device_class: str, verdict: Verdict, sentence: str, ends: Interval | None = None
) -> Line:  # fmt: skip
    if ends is None:
        return Line(band, device_class, verdict, sentence)
    low, estimate, high = finite(ends.low), finite(ends.estimate), finite(ends.high)
    return Line(band, device_class, verdict, sentence, low, estimate, high)


def _ratio_lines(said: Heard) -> Iterator[Line]:
    if said.ratio is None:
        yield _line("all devices", "", Verdict.NO_DATA, "there is no control beside this phase")
        return
    for name, ratio in {"": said.ratio, **said.by_class}.items():
        judged = judge_ratio(ratio)
        yield _line("all its devices" if name else "all devices", name, judged.verdict, judged.sentence)


def _reports_line(made: Look, heard: dict[Arm, Reports]) -> Line:
    hour = made.arms.closed - int(made.arms.run.started_at.timestamp()) // domain.HOUR_SECONDS
    said = judge_reports(heard[Arm.TREATMENT], heard[Arm.CONTROL], look=max(1, hour))
    return _line("last hour", "", said.verdict, said.sentence)
