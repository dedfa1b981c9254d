"""Looking at a phase's guardrails: who is in which arm, what the panel has of them, and what each guardrail says to that.

Values count one for each device and band of ages, from the moment the band is closed (see `monitoring.domain.statistics`),
so that looking every minute costs nothing in false alarms.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db import connection

from hawkops.core.verdicts import Verdict
from monitoring.domain import criteria as criteria_domain
from monitoring.domain.arms import Arm
from monitoring.domain.cohorts import Device, Exclusion, culprits
from monitoring.domain.criteria import Aggregate, Criterion, Selection
from monitoring.domain.metrics import Kind, share
from monitoring.domain.statistics import guardrails as statistics
from monitoring.domain.statistics.means import Interval, Sample
from monitoring.domain.statistics.proportions import Events, Progress
from monitoring.domain.statistics.ratio import SampleRatio, sample_ratio, together
from monitoring.domain.statistics.reporting import Reports, judge_ratio, judge_reports
from monitoring.domain.statistics.spending import Budget, spend
from monitoring.domain.statistics.values import BAND_ENDS
from monitoring.selectors.criteria import changed_since, criteria
from monitoring.selectors.telemetry import may_judge
from rollout.domain import guardrails as domain
from rollout.domain.bucketing import bucket
from rollout.domain.evaluation import in_audience
from rollout.domain.flags import OFF
from rollout.domain.guardrails import Guardrail, Judges, Line, Role, Served, Stay
from rollout.domain.runbook import Phase
from rollout.domain.targeting import Context, Rule
from rollout.models import CensusDevice, PhaseRun
from rollout.selectors import guardrail_states, phases, releases, targeting

HOUR = timedelta(hours=1)
# where a harm is looked for besides the backend, as `cohorts.ATTRIBUTES` has them
SAID = ("device.soc", "device.gpu.driver", "os.api", "device.model.identifier")
# so many device classes, the largest ones, are looked at by themselves
CLASSES_MOST = 8
BANDS = ("1st hour", *(f"hours {low + 1} to {high}" for low, high in pairwise(BAND_ENDS)))

_SUMS = """
SELECT s.n, p.metric, p.backend_actual, p.outcome,
       width_bucket(extract(epoch FROM p.hour_at) / 3600 - s.first, %(ends)s::numeric[]) AS band,
       sum(p.total), sum(p.count)
  FROM unnest(%(ids)s::text[], %(firsts)s::bigint[], %(lasts)s::bigint[]) WITH ORDINALITY
       AS s(device_id, first, last, n)
  JOIN monitoring_panelhour AS p
    ON p.environment = %(environment)s AND p.device_id = s.device_id AND p.metric = ANY(%(metrics)s)
   AND p.hour_at >= to_timestamp(s.first * 3600) AND p.hour_at < to_timestamp(s.last * 3600)
 GROUP BY s.n, p.metric, p.backend_actual, p.outcome, band
"""
_HEARD = """
SELECT s.n, max(extract(epoch FROM p.hour_at) / 3600)::bigint, min(extract(epoch FROM p.hour_at) / 3600)::bigint
  FROM unnest(%(ids)s::text[], %(firsts)s::bigint[], %(lasts)s::bigint[]) WITH ORDINALITY
       AS s(device_id, first, last, n)
  JOIN monitoring_panelhour AS p
    ON p.environment = %(environment)s AND p.device_id = s.device_id
   AND p.hour_at >= to_timestamp(s.first * 3600) AND p.hour_at < to_timestamp(s.last * 3600)
 GROUP BY s.n
"""


@dataclass(frozen=True)
class Member:
    """A device's stay in an arm, with its class."""

    device_id: str
    device_class: str
    stay: Stay
    # what it says of itself, in the order of SAID
    said: tuple[str, ...] = ()


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


@dataclass
class Look:
    """One look at a phase: its arms, what they measured, and how alpha is shared out."""

    run: PhaseRun
    phase: Phase
    guardrails: tuple[Guardrail, ...]
    now: datetime
    members: list[Member] = field(default_factory=list)
    classes: tuple[str, ...] = ()

    @property
    def closed(self) -> int:
        """The hour, since 1970, before which every hour is closed and merged."""
        return closed(self.now)

    @property
    def steps(self) -> list[Served]:
        """The steps that were done."""
        return served(self.run)


# after the end of an hour devices may still send what they measured in it, and the panel merges what waits
CLOSED_AFTER = timedelta(minutes=5)


def closed(now: datetime) -> int:
    """Return the hour, since 1970, before which every hour is closed and merged at a moment."""
    return int((now - CLOSED_AFTER).timestamp()) // domain.HOUR_SECONDS


def settled(run: PhaseRun, *, now: datetime) -> bool:
    """Say whether a look would find what the last one found: no hour was closed since, no step done, no criterion changed.

    Not while something failed that has not been acted on.
    """
    rows = guardrail_states.rows(run)
    states = [row.state for row in rows if row.state is not None]
    if len(states) < len(rows) or not rows:
        return False
    last = min(state.looked_at for state in states)
    if closed(last) != closed(now) or any(step.at > last for step in served(run)):
        return False
    if any(
        row.state is not None and row.state.acted_at is None for row in guardrail_states.failing(run, Role.GUARDRAIL)
    ):
        return False
    return not changed_since([row.guardrail.criterion for row in rows], last)


def served(run: PhaseRun) -> list[Served]:
    """Return the steps of a phase as they were done."""
    return [Served(datetime.fromisoformat(one["at"]), one["thousandths"]) for one in run.served]


def look(run: PhaseRun, *, now: datetime) -> Look:
    """Draw up a look: who is in which arm. A pass over the census; the arms follow from the buckets alone."""
    phase = phases.phase_of(run.release, run.number)
    assert phase is not None  # the release keeps its runbook
    made = Look(run, phase, releases.runbook(run.release).guardrails, now)
    made.members = list(_members(run, phase))
    if run.classes is None:
        counted = Counter(one.device_class for one in made.members if one.device_class)
        made.classes = tuple(sorted(name for name, _ in counted.most_common(CLASSES_MOST)))
    else:
        made.classes = tuple(run.classes)
    return made


def findings(made: Look) -> list[Found]:
    """Judge every guardrail of the runbook. Three queries, and one for the criteria."""
    judging = [one for one in made.guardrails if one.criterion]
    known = {one.key: one for one in criteria(keys=[one.criterion for one in judging])} if judging else {}
    budget = spend({one.key: 1.0 for one in judging}, made.classes) if judging else None
    ratio, reports = _ratio_and_reports(made)
    sums = _sums(made, [one for one in known.values() if not one.broken])
    found = []
    for one in made.guardrails:
        if one.judges is Judges.SAMPLE_RATIO:
            found.append(Found(one, (_ratio_line(ratio),)))
        elif one.judges is Judges.REPORTING:
            found.append(Found(one, (_reports_line(made, reports),)))
        elif one.criterion not in known or budget is None:
            found.append(Found(one, (_line("", "", Verdict.ERROR, f"no criterion {one.criterion}"),)))
        else:
            found.append(_judged(made, one, known[one.criterion], budget, sums, ratio))
    return found


# ---- who is in which arm ----


def _members(run: PhaseRun, phase: Phase) -> Iterator[Member]:
    """Go through the devices of the phase's audience that are in an arm, once for each stay.

    Left out: whom rules before the phase's own, a pin or an override for some devices serve: they were not drawn by chance.
    """
    snapshot = targeting.snapshot(run.release.environment)
    flag = snapshot.flags.get(phase.flag)
    steps = served(run)
    if flag is None or not steps:
        return
    own = phases.own_rules(flag, phase)
    before = [rule for rule in flag.rules if rule not in own]
    known = CensusDevice.objects.filter(environment=run.release.environment, last_seen_at__gte=run.started_at)
    rows = known.values_list("device_id", "attributes", "device_class", "simulated")
    for device_id, said, device_class, simulated in rows.iterator(chunk_size=5_000):
        if not may_judge(run.release.environment, simulated=simulated) or device_id in flag.pinned:
            continue
        context = Context(device_id, said)
        if any(all(one.matches(said) for one in scoped.constraints) for scoped in flag.scoped):
            continue
        if not any(in_audience(snapshot, rule, context) for rule in own):
            continue
        place = bucket(flag.salt, device_id)
        if any(_takes(rule, place) and in_audience(snapshot, rule, context) for rule in before):
            continue
        for stay in domain.stays(place, steps):
            kind = (str(said.get("device.soc") or device_class), *(str(said.get(name) or "") for name in SAID[1:]))
            yield Member(device_id, device_class, stay, kind)


def _takes(rule: Rule, place: int) -> bool:
    return rule.variant == OFF or place < rule.thousandths


# ---- what they measured ----

# (member's number from 0, band) → metric, backend, outcome → (total, count)
Sums = dict[tuple[int, int], dict[tuple[str, str, str], tuple[float, int]]]


def _stays(made: Look) -> dict[str, Any]:
    """Return the members' stays as columns; hours that are not closed are left out."""
    return {
        "environment": made.run.release.environment,
        "ids": [one.device_id for one in made.members],
        "firsts": [one.stay.first for one in made.members],
        "lasts": [_last(made, one) for one in made.members],
    }


def _last(made: Look, one: Member) -> int:
    """Return the hour before which a member's hours count."""
    return made.closed if one.stay.end is None else min(one.stay.end, made.closed)


def _sums(made: Look, known: Sequence[Criterion]) -> Sums:
    names = {one.over.metric for one in known} | {one.of.metric for one in known if one.of is not None}
    sums: Sums = defaultdict(dict)
    if not made.members or not names:
        return sums
    with connection.cursor() as cursor:
        cursor.execute(_SUMS, {**_stays(made), "metrics": sorted(names), "ends": list(BAND_ENDS)})
        for number, metric, backend, outcome, band, total, count in cursor.fetchall():
            member = made.members[number - 1]
            # a band counts when all its hours are closed and were spent in the arm
            if band < len(BAND_ENDS) and member.stay.first + BAND_ENDS[band] <= _last(made, member):
                sums[number - 1, band][metric, backend, outcome] = (total, int(count))
    return sums


def _values(made: Look, criterion: Criterion, sums: Sums, budget: Budget) -> dict[tuple[int, str, Arm], list[float]]:
    """Return the values of a criterion, one for each device, by band, class (empty for all devices) and arm."""
    found: dict[tuple[int, str, Arm], list[float]] = defaultdict(list)
    for (number, band), kept in sums.items():
        member = made.members[number]
        value = _value(criterion, kept)
        if value is not None:
            for name in {"", budget.counted_as(member.device_class) if budget.classes else ""}:
                found[band, name, member.stay.arm].append(value)
    return found


def _value(criterion: Criterion, kept: dict[tuple[str, str, str], tuple[float, int]]) -> float | None:
    total, count = _added(criterion.over, kept)
    if criterion.of is not None:
        of, _ = _added(criterion.of, kept)
        found = share(criterion.over.metric, criterion.of.metric, total, of)
        return None if found is None else min(1.0, found)
    return total / count if count else None


def _added(over: Selection, kept: dict[tuple[str, str, str], tuple[float, int]]) -> tuple[float, int]:
    total, count = 0.0, 0
    for (metric, backend, outcome), (amount, many) in kept.items():
        # a device belongs to the arm that it was drawn for, whatever it says that it was served
        if metric != over.metric or (over.backends and backend not in over.backends):
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
    made: Look, one: Guardrail, criterion: Criterion, budget: Budget, sums: Sums, ratio: SampleRatio | None
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
    treated, controls = made.steps[-1].weights
    weight = treated / controls if controls else 1.0
    lines: list[Line] = []
    progress = None
    values = _values(made, criterion, sums, budget)
    for device_class in ("", *sorted({name for _band, name, _arm in values if name})):
        for band, words in enumerate(BANDS):
            treated_values = values.get((band, device_class, Arm.TREATMENT))
            if not treated_values:
                continue
            beside = values.get((band, device_class, Arm.CONTROL))
            control = _side(criterion, beside) if beside else None
            treatment = _side(criterion, treated_values)
            alpha = budget.alpha(one.key, band=band, device_class=device_class)
            said = statistics.judge(rule, treatment, control, alpha=alpha, weight=weight, ratio=ratio)
            if not said.lines:
                lines.append(_line(words, device_class, Verdict.NO_DATA, "nobody beside it measures this"))
                continue
            ends = next((line.interval for line in said.lines if line.interval is not None), None)
            made_line = _line(words, device_class, said.verdict, said.sentence, ends)
            lines.append(replace(made_line, relative=control is not None))
            if not device_class and not band and said.verdict is Verdict.INSUFFICIENT:
                hours = max(1.0, (made.now - made.run.started_at) / HOUR)
                pace = len(treated_values) / hours
                progress = statistics.progress(rule, treatment, control, alpha=alpha, weight=weight, per_hour=pace)
                if progress is None and control is not None:
                    # what never happened to either arm can't be compared, but the limit can be shown
                    progress = statistics.progress(rule, treatment, None, alpha=alpha, per_hour=pace)
    if not lines:
        lines = [_line(BANDS[0], "", Verdict.NO_DATA, _why_none(made))]
    exclusion = None
    if domain.together(lines)[0] is Verdict.FAIL:
        exclusion = _excluding(made, criterion, sums, limit=rule.limit)
    return Found(one, tuple(lines), progress, exclusion)


def _excluding(made: Look, criterion: Criterion, sums: Sums, *, limit: float | None) -> Exclusion | None:
    """Find the smallest exclusion that restores a guardrail; None where the values can't tell, for want of a control.

    A device counts by its first band. The backend is looked at only where the control ran on the same ones.
    """
    rows: list[tuple[Member, str, float]] = []
    for (number, band), kept in sums.items():
        value = _value(criterion, kept)
        if not band and value is not None:
            ran = Counter({backend: many for (_metric, backend, _outcome), (_total, many) in kept.items() if backend})
            rows.append((made.members[number], ran.most_common(1)[0][0] if ran else "", value))
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
    treated = [one for one in made.members if one.stay.arm is Arm.TREATMENT]
    if not treated:
        return "no device of the phase's audience is known"
    first = min(one.stay.first for one in treated) + BAND_ENDS[0]
    at = datetime.fromtimestamp(first * domain.HOUR_SECONDS, tz=UTC) + CLOSED_AFTER
    if at > made.now:
        return f"the first values count from {at:%d %b, %H:%M} UTC, when their hour is closed"
    return f"none of {len(treated)} devices of the treatment reports it"


def _side(criterion: Criterion, values: list[float]) -> statistics.Side:
    return Events.of(values) if criterion.of is not None else Sample.of(values)


def _line(
    band: str, device_class: str, verdict: Verdict, sentence: str, ends: Interval | None = None
) -> Line:  # fmt: skip
    if ends is None:
        return Line(band, device_class, verdict, sentence)
    low, estimate, high = (value if abs(value) < OPEN else None for value in (ends.low, ends.estimate, ends.high))
    return Line(band, device_class, verdict, sentence, low, estimate, high)


# an end of an interval beyond this says nothing; NaN is beyond anything
OPEN = 1e12


# ---- who reports ----


def _ratio_and_reports(made: Look) -> tuple[SampleRatio | None, dict[Arm, Reports]]:
    """Return whether as many devices report from each arm as were drawn, and how many reported in the last closed hour."""
    empty = {arm: Reports(0, 0) for arm in Arm}
    if not made.members:
        return None, empty
    last = made.closed - 1
    known: Counter[Arm] = Counter()
    heard: Counter[Arm] = Counter()
    reported: list[Member] = []
    with connection.cursor() as cursor:
        cursor.execute(_HEARD, _stays(made))
        for number, newest, oldest in cursor.fetchall():
            member = made.members[number - 1]
            reported.append(member)
            # of those that are still in their arm and had reported before the hour
            if member.stay.end is None and oldest < last:
                known[member.stay.arm] += 1
                heard[member.stay.arm] += newest >= last
    return _ratio(made, reported), {arm: Reports(known[arm], heard[arm]) for arm in Arm}


def _ratio(made: Look, reported: Iterable[Member]) -> SampleRatio | None:
    """Compare who reports with who was drawn, for each step's newcomers; None while no step has two arms."""
    came: dict[int, Counter[Arm]] = defaultdict(Counter)
    for member in reported:
        came[member.stay.first][member.stay.arm] += 1
    before, found = (0, 0), []
    for step in made.steps:
        weights = step.weights
        fresh = tuple(now - then for now, then in zip(weights, before, strict=True))
        first = -(-int(step.at.timestamp()) // domain.HOUR_SECONDS)
        counts = came.get(first, Counter())
        if min(fresh) > 0:
            found.append(sample_ratio([counts[Arm.TREATMENT], counts[Arm.CONTROL]], list(fresh)))
        before = weights
    return together(found) if found else None


def _ratio_line(ratio: SampleRatio | None) -> Line:
    if ratio is None:
        return _line("all devices", "", Verdict.NO_DATA, "there is no control beside this phase")
    said = judge_ratio(ratio)
    return _line("all devices", "", said.verdict, said.sentence)


def _reports_line(made: Look, reports: dict[Arm, Reports]) -> Line:
    hour = made.closed - int(made.run.started_at.timestamp()) // domain.HOUR_SECONDS
    said = judge_reports(reports[Arm.TREATMENT], reports[Arm.CONTROL], look=max(1, hour))
    return _line("last hour", "", said.verdict, said.sentence)
