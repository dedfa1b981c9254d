"""The lines of a go/no-go decision from what was read: verdict, interval, miss. Pure, so that a bundle can be recomputed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hawkops.core.verdicts import WORST_FIRST, Verdict
from monitoring.domain import criteria as domain
from monitoring.domain import intervals, metrics
from monitoring.domain import numbers as raw
from monitoring.domain.criteria import Against, Aggregate, Criterion, Judgement, Reading
from monitoring.domain.intervals import Devices, Sureness
from monitoring.domain.numbers import Numbers
from monitoring.domain.statistics.guardrails import WORST_MISS, Miss
from rollout.domain.decision import Clause, Line, Nature
from rollout.domain.phases import spoken
from rollout.domain.validation import Clock, Critical, data_need

SECURITY_METRICS = (
    "litert.model.validations",
    "security.encryption.failures",
    "security.suspicious_events",
    metrics.HISTORY_GAP,
)
# what a phone does; everything else that is read is the health of the system around it
PERFORMANCE_PREFIXES = ("litert.", "gen_ai.")
SATISFACTION, CRASHES = "app.user.satisfaction", "app.crashes"


@dataclass(frozen=True)
class Part:
    """A device class of a profile's criterion: its numbers, and its target; None where the class has none."""

    label: str
    numbers: Numbers
    threshold: float | None


@dataclass(frozen=True)
class Measured:
    """A criterion and the raw numbers that were read for it.

    `scope` says why it is out of scope, `allowed` is false where what reports may not be judged here.
    """

    criterion: Criterion
    numbers: Numbers
    parts: tuple[Part, ...] = ()
    scope: str = ""
    allowed: bool = True
    simulated: bool = False


@dataclass(frozen=True)
class Shown:
    """A line with what people want to see beside it. `settles` is how many of its units would settle a possible miss.

    Its units are devices, except of what no device varies. `have` and `need` count what was observed, which is `observed`;
    `devices` and `devices_needed` the devices that its interval is made of, None where that is not asked.
    """

    line: Line
    criterion: Criterion | None = None
    value: str = ""
    target: str = ""
    interval: str = ""
    have: int = 0
    need: int = 0
    settles: int | None = None
    formula: str = ""
    turns: str = ""
    simulated: bool = False
    observed: str = ""
    devices: int | None = None
    devices_needed: int | None = None

    @property
    def unit(self) -> str:
        """What counts as one of its own."""
        return "devices" if self.devices_needed is not None else self.observed


def nature(one: Criterion) -> Nature:
    """Return what a criterion speaks of."""
    if one.over.metric in SECURITY_METRICS:
        return Nature.SECURITY
    if one.over.metric == CRASHES:
        return Nature.RISE if one.against is Against.CONTROL else Nature.CRASHES
    if one.over.metric == SATISFACTION:
        return Nature.FALL if one.aggregate is Aggregate.INTERVAL else Nature.SATISFACTION
    return Nature.TARGET


def clause(one: Criterion) -> Clause:
    """Return which of the runbook's reasons to proceed a criterion belongs to."""
    kind = nature(one)
    if kind is Nature.SECURITY:
        return Clause.SECURITY
    if kind in (Nature.SATISFACTION, Nature.FALL):
        return Clause.SATISFACTION
    failing = one.of is not None or bool(one.over.not_outcomes)
    if one.over.metric.startswith(PERFORMANCE_PREFIXES) and not failing:
        return Clause.PERFORMANCE
    return Clause.HEALTH


def judged(
    one: Measured, *, now: datetime, missed_most: float, live: timedelta, enough_devices: bool = True
) -> Shown:  # fmt: skip
    """Judge what was read. `live` is the time in which it came, which tells when there is enough.

    A decision takes as many devices as its intervals rest on; boxes and phases take what was observed.
    """
    criterion = one.criterion
    if criterion.threshold is None and one.parts:
        said, sure, reading = _of_parts(one, now, missed_most, enough_devices=enough_devices)
    else:
        reading = replace(raw.reading(criterion, one.numbers), scope=one.scope)
        if criterion.broken:
            reading = replace(reading, value=None)
        said = intervals.judge(criterion, reading, now=now, allowed=one.allowed)
        sure = intervals.sureness(criterion, reading, missed_most=missed_most)
        if enough_devices:
            said = intervals.limited(criterion, reading, said, sure)
    counted = intervals.devices(criterion, reading.numbers) if enough_devices else None
    if one.scope and said.in_scope:
        said = Judgement(Verdict.NO_DATA, one.scope, in_scope=False)
    need = criterion.samples
    settles = None
    if said.verdict in (Verdict.PASS, Verdict.FAIL) and sure.miss is Miss.POSSIBLE:
        times = intervals.settled(criterion, reading, missed_most=missed_most)
        now_there = reading.count if counted is None else counted.have
        settles = round(now_there * times) if times is not None else None
    known = said.verdict in (Verdict.PASS, Verdict.FAIL, Verdict.INSUFFICIENT)
    # who judges what was observed asks nothing of a miss that is only possible
    decided = not enough_devices and said.verdict in (Verdict.PASS, Verdict.FAIL)
    bound = criterion.threshold if criterion.threshold is not None else reading.threshold
    line = Line(
        key=criterion.key,
        title=criterion.title,
        nature=nature(criterion),
        clause=clause(criterion),
        verdict=said.verdict,
        sentence=said.sentence,
        miss=sure.miss if known else Miss.POSSIBLE,
        worse=sure.worse and known,
        in_scope=said.in_scope,
        missed=said.missed,
        soon="" if decided else _soon(criterion, said, sure, reading, counted, settles, live),
    )
    return Shown(
        line,
        criterion,
        domain.shown(reading.value, criterion) if reading.value is not None else "",
        f"{criterion.comparator.value} {domain.shown(bound, criterion)}" if bound is not None else "the profile",
        intervals.spoken(criterion, sure.interval) if known else "",
        reading.count,
        need,
        settles,
        intervals.formula(criterion),
        turns(criterion, reading, sure, said, missed_most),
        one.simulated,
        intervals.observed(criterion),
        counted.have if counted is not None else None,
        counted.need if counted is not None else None,
    )


def _of_parts(
    one: Measured, now: datetime, missed_most: float, *, enough_devices: bool
) -> tuple[Judgement, Sureness, Reading]:
    """Judge each device class by its own target; the worst speaks for all, and of equal verdicts the worst miss."""
    plain = replace(one.criterion, where_available=False)
    found: list[tuple[str, Judgement, Sureness, Reading]] = []
    for part in one.parts:
        if part.threshold is None:
            continue
        reading = replace(raw.reading(plain, part.numbers), threshold=part.threshold)
        sure = intervals.sureness(plain, reading, missed_most=missed_most)
        judgement = domain.judge(plain, reading, now=now)
        if enough_devices:
            judgement = intervals.limited(plain, reading, judgement, sure)
        found.append((part.label, judgement, sure, reading))
    if not found:
        reading = replace(raw.reading(one.criterion, one.numbers), scope=one.scope)
        said = domain.judge(one.criterion, reading, now=now, allowed=one.allowed)
        return said, intervals.sureness(one.criterion, reading, missed_most=missed_most), reading
    label, said, sure, reading = min(
        found, key=lambda part: (WORST_FIRST.index(part[1].verdict), WORST_MISS.index(part[2].miss), part[0])
    )
    # a class that is certainly far off is no better for another one that is silent
    miss = min((part[2].miss for part in found), key=WORST_MISS.index)
    sentence = f"{label}: {said.sentence}"
    if len(found) > 1:
        sentence += f"; {sum(part[1].verdict is Verdict.PASS for part in found)} of {len(found)} judged classes pass"
    if without := len(one.parts) - len(found):
        sentence += f"; {without} without absolute target"
    return replace(said, sentence=sentence), replace(sure, miss=miss), reading


def turns(one: Criterion, reading: Reading, sure: Sureness, said: Judgement, missed_most: float) -> str:
    """Say what would change a line."""
    bound = one.threshold if one.threshold is not None else reading.threshold
    if not said.in_scope:
        return "It counts as soon as one device reports it."
    if said.verdict in (Verdict.NO_DATA, Verdict.STALE):
        return "It changes when devices report it."
    if said.verdict is Verdict.ERROR or bound is None:
        return "It changes when the criterion is mended."
    share = f"{missed_most * 100:g}\u202f%"
    if said.verdict is Verdict.INSUFFICIENT:
        counted = intervals.devices(one, reading.numbers)
        if counted is not None and not counted.enough:
            return f"It takes {_number(counted.need)} devices: those of one device are alike, so that each counts once."
        return f"It takes {_number(one.samples)} {intervals.observed(one)}."
    if one.aggregate in (Aggregate.CHANGE, Aggregate.INTERVAL):
        edge = f"{share} worse than the control"
    elif one.aggregate is Aggregate.RANGE:
        edge = f"{share} beyond what is normal"
    else:
        far = abs(bound) * missed_most
        edge = domain.shown(bound - far if one.comparator.floor else bound + far, one)
    if sure.miss is Miss.CERTAIN:
        return f"The whole interval lies beyond {edge}."
    if sure.miss is Miss.POSSIBLE:
        return f"It is possible that it lies beyond {edge}, until the interval ends before."
    if said.verdict is Verdict.FAIL:
        return f"It passes at {one.comparator.value} {domain.shown(bound, one)}; certainly beyond {edge} it rolls back."
    return f"It fails beyond {domain.shown(bound, one)}, and rolls back when the whole interval lies beyond {edge}."


def _soon(
    one: Criterion, said: Judgement, sure: Sureness, reading: Reading, counted: Devices | None, settles: int | None,
    live: timedelta,
) -> str:  # fmt: skip
    """Say when what is missing will be there."""
    if not said.in_scope:
        return ""
    if said.verdict is Verdict.INSUFFICIENT:
        if counted is not None and not counted.enough:
            return _devices_when(counted, counted.need, live)
        return _when(reading.count, one.samples, live, intervals.observed(one))
    if said.verdict in (Verdict.NO_DATA, Verdict.STALE):
        if reading.note and one.aggregate is Aggregate.RANGE:
            return "It does not come any more: what is normal is told by the 14 days before the release."
        if reading.note and one.against is Against.CONTROL:
            return "It comes when devices in control report it."
        return "Nobody can say when: nothing comes."
    if said.verdict is Verdict.ERROR or sure.miss is not Miss.POSSIBLE:
        return ""
    if settles is None:
        return "More of the same would not settle it."
    if counted is not None:
        return _devices_when(counted, settles, live, about=True)
    return _when(reading.count, settles, live, intervals.observed(one), about=True)


def _when(have: int, need: int, live: timedelta, what: str, *, about: bool = False) -> str:
    word = "About " if about else ""
    if have <= 0 or live <= timedelta():
        return f"{word}{_number(need)} {what} are needed; none comes yet."
    left = live * (max(0, need - have) / have)
    return f"{word}{_number(need)} {what} are needed, in about {_span(left)} at this pace."


def _devices_when(counted: Devices, need: int, live: timedelta, *, about: bool = False) -> str:
    """Say when so many devices will be there, if new ones go on coming as in the later half of the time."""
    said = f"{'About ' if about else ''}{_number(need)} devices are needed"
    if not counted.have:
        return f"{said}; none has a value of its own yet."
    if counted.coming <= 0 or live <= timedelta():
        return f"{said}; {_number(counted.have)} report, and no more come unless more are served."
    left = live / 2 * (max(0, need - counted.have) / counted.coming)
    return f"{said}, in about {_span(left)} at the pace at which new ones come."


def _span(left: timedelta) -> str:
    return spoken(max(left, timedelta(minutes=1)))


def _number(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")


# ---- what is no criterion ----


@dataclass(frozen=True)
class RolledBack:
    """Something that was rolled back: what, when, and its entry of the history."""

    title: str
    at: datetime
    entry: int = 0


def hours_line(clock: Clock | None, needed: timedelta, number: int) -> Shown:
    """Return the line of the hours of live data."""
    said = data_need(clock, needed, number)
    soon = ""
    if not said.met and clock is not None and clock.expected_at is not None:
        soon = f"Full on {clock.expected_at:%d %b, %H:%M} UTC if data goes on."
    verdict = said.verdict or Verdict.INSUFFICIENT
    line = Line("hours", said.title, Nature.HOURS, Clause.PERFORMANCE, verdict, said.sentence, soon=soon)
    turn = "Full after so many hours in which data flowed; a critical incident sets it to zero."
    return Shown(
        line, value=said.have, formula="Steps of ten minutes with data since the target percentage.", turns=turn
    )


def incidents_line(found: Sequence[Critical], since: datetime) -> Shown:
    """Return the line of the critical incidents since a phase began."""
    open_now = [one for one in found if one.ended_at is None]
    named = ", ".join(f"“{one.title}”" for one in found[:3])
    if not found:
        sentence = f"None since {since:%d %b, %H:%M} UTC."
    else:
        sentence = f"{len(found)} since {since:%d %b, %H:%M} UTC, {len(open_now)} open: {named}."
    verdict = Verdict.FAIL if found else Verdict.PASS
    line = Line("incidents", "Critical incidents", Nature.INCIDENTS, Clause.QUIET, verdict, sentence)
    return Shown(
        line,
        value=str(len(found)),
        target="none",
        have=len(found),
        formula="Critical incidents that were open at any moment since the phase began.",
        turns="It counts from the start of the phase: the next phase begins at none.",
    )


def rollbacks_line(found: Iterable[RolledBack], since: datetime) -> Shown:
    """Return the line of what was rolled back since a phase began."""
    rows = list(found)
    named = ", ".join(f"{one.title} at {one.at:%d %b, %H:%M} UTC" for one in rows[:3])
    sentence = f"{named}." if rows else f"None since {since:%d %b, %H:%M} UTC."
    verdict = Verdict.FAIL if rows else Verdict.PASS
    line = Line("rollbacks", "Rollbacks", Nature.ROLLBACKS, Clause.QUIET, verdict, sentence)
    return Shown(
        line,
        value=str(len(rows)),
        target="none",
        have=len(rows),
        formula="Kills, switches forced to their safe value and app versions rolled back since the phase began; no drills.",
        turns="It counts from the start of the phase: the next phase begins at none.",
    )
