"""Why a criterion says what it says: its numbers, its formula, and what would change it. Pure.

Made from the criterion, what was read for it, and what that was judged to be.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

from hawkops.core.verdicts import Verdict
from hawkops.core.why import Band, Number, Why, finite
from monitoring.domain import alerting, intervals
from monitoring.domain import criteria as domain
from monitoring.domain import numbers as raw
from monitoring.domain.alerting import Episode, Sign, State
from monitoring.domain.arms import Arm
from monitoring.domain.criteria import Against, Aggregate, Comparator, Criterion, Judgement, Reading
from monitoring.domain.metrics import Direction, Kind
from monitoring.domain.statistics.guardrails import Miss
from monitoring.domain.statistics.means import Interval


def why(
    one: Criterion, reading: Reading, said: Judgement, *, now: datetime, since: datetime | None = None,
    found: Interval | None = None,
) -> Why:  # fmt: skip
    """Explain what a criterion says.

    `since` is from when data can have come where that is later than the window begins: then time alone brings more.
    `found` is the interval where it was computed by other means than the reading's own numbers tell.
    """
    bound = one.threshold if one.threshold is not None else reading.threshold
    if one.broken:
        return Why(one.title, turns=(f"It changes when the criterion is mended: {one.broken}.",), key=one.key)
    interval = _known(one, reading, found) if said.in_scope and bound is not None else None
    return Why(
        title=one.title,
        numbers=_numbers(one, reading, interval, bound, now),
        formula=formula(one, bound),
        method=intervals.formula(one),
        turns=turns(one, reading, said, now=now, since=since, found=interval),
        bands=_bands(one, reading, said, interval, bound),
        key=one.key,
    )


# ---- the formula ----


def formula(one: Criterion, bound: float | None) -> str:
    """Write a rule as what is computed, over which time, on whom, and how it must stand to its limit.

    `p5 of litert.prefill.throughput on gpu over 5 min, on devices that LiteRT is served to ≥ 243 tok/s`.
    """
    goal = "its device class's profile" if bound is None else domain.shown(bound, one)
    said = f"{_computed(one)} over {domain.spoken(one.window)}{_whom(one)} {one.comparator.value}\u00a0{goal}"
    return f"{said}, missed for {domain.spoken(one.for_)} before it alerts" if one.for_ else said


def of_what(one: Criterion) -> str:
    """Say what is read, without what is made of it: `litert.inferences without outcome ok ÷ litert.inferences`."""
    part = _named(one)
    return f"{part} ÷ {one.of.metric}" if one.of is not None else part


def _computed(one: Criterion) -> str:
    part, side = _named(one), of_what(one)
    if one.aggregate is Aggregate.RATIO:
        return side
    if one.aggregate is Aggregate.COUNT:
        return f"number of {part}"
    if one.aggregate is Aggregate.PER_DEVICE:
        return f"{part} ÷ devices"
    if one.aggregate is Aggregate.RANGE:
        return f"middle part of the hourly means of {domain.spoken(domain.BASELINE)} before in which the mean of {part} lies"
    other = "control" if one.against is Against.CONTROL else f"{domain.spoken(domain.BASELINE)} before"
    if one.aggregate is Aggregate.TIMES:
        lower = one.metric is not None and one.metric.direction is Direction.LOWER
        halves = (other, "treatment") if lower else ("treatment", other)
        return f"median of {part}, {halves[0]} ÷ {halves[1]}"
    if one.aggregate in (Aggregate.CHANGE, Aggregate.INTERVAL):
        counter = one.metric is not None and one.metric.kind is Kind.COUNTER
        what = side if one.of is not None else f"{part} ÷ devices" if counter else f"mean of {part}"
        now = "treatment" if one.against is Against.CONTROL else "now"
        said = f"{what}, {now} ÷ {other} − 1"
        return f"interval of ({said})" if one.aggregate is Aggregate.INTERVAL else said
    return f"{one.aggregate.value} of {part}"


def _named(one: Criterion) -> str:
    over, said = one.over, one.over.metric
    if over.not_outcomes:
        said += f" without outcome {' or '.join(name or 'unsaid' for name in over.not_outcomes)}"
    if over.outcomes:
        said += f" with outcome {' or '.join(name or 'unsaid' for name in over.outcomes)}"
    if over.elsewhere:
        said += " that ran elsewhere than asked"
    return f"{said} on {', '.join(over.backends)}" if over.backends else said


def _whom(one: Criterion) -> str:
    if one.against is Against.CONTROL or one.over.arm is None:
        return ""
    if one.over.arm is Arm.TREATMENT:
        return ", on devices that LiteRT is served to"
    return ", on devices of the control"


# ---- the numbers ----


def _known(one: Criterion, reading: Reading, found: Interval | None) -> Interval | None:
    """Return the interval of a reading; None where nothing is known, or where it is read from other numbers."""
    if found is not None:
        return found
    # what judges an interval has read it already, from one value of each device
    if reading.numbers is None or reading.value is None or one.aggregate is Aggregate.INTERVAL:
        return None
    found = intervals.interval(one, reading.numbers)
    return found if math.isfinite(found.estimate) else None


def _numbers(
    one: Criterion, reading: Reading, found: Interval | None, bound: float | None, now: datetime
) -> tuple[Number, ...]:
    rows: list[Number] = []
    if reading.value is not None:
        rows.append(("Value", domain.shown(reading.value, one)))
    if bound is not None:
        rows.append(("Limit", f"{one.comparator.value} {domain.shown(bound, one)}"))
    if found is not None and (said := intervals.spoken(one, found)):
        exact = found.low == found.high
        rows.append(
            ("Interval", "exact: nothing is estimated" if exact else f"{said.strip('()')}, 95\u202f% on either side")
        )
    if reading.note:
        rows.append(("Made of", reading.note))
    if reading.value is not None or reading.count:
        rows.append(("Observations", f"{_grouped(reading.count)} of {_grouped(one.samples)} needed"))
    if reading.devices:
        rows.append(("Devices", _grouped(reading.devices)))
    rows.append(("Window", f"{domain.spoken(one.window)}, {_moment(now - one.window, now)} to {_moment(now, now)} UTC"))
    if one.over.arm is not None:
        rows.append(("Read on", _read_on(one)))
    if reading.at is not None:
        rows.append(("Newest", f"{_moment(reading.at, now)} UTC, {_span(now - reading.at)} old"))
    return tuple(rows)


def _read_on(one: Criterion) -> str:
    if one.against is Against.CONTROL:
        return "devices in treatment, beside those in control"
    if one.over.arm is Arm.TREATMENT:
        return "devices in treatment, or that did not say their side"
    return "devices in control"


def _bands(
    one: Criterion, reading: Reading, said: Judgement, found: Interval | None, bound: float | None
) -> tuple[Band, ...]:
    if found is None or bound is None or said.verdict in (Verdict.NO_DATA, Verdict.STALE, Verdict.ERROR):
        return ()
    limits: tuple[float, ...] = (bound,)
    about = f"limit {one.comparator.value} {domain.shown(bound, one)}"
    short = domain.shown(found.estimate, one)
    if one.aggregate is Aggregate.RANGE:
        if reading.numbers is None or not reading.numbers.usual:
            return ()
        limits = raw.normal(reading.numbers.usual)
        short = raw.as_read(found.estimate, one)
        about = f"normal from {raw.as_read(limits[0], one)} to {raw.as_read(limits[1], one)}"
    zero = 0.0 if one.aggregate in (Aggregate.CHANGE, Aggregate.INTERVAL) else None
    span = intervals.spoken(one, found)
    words = f"{short} {span}, {about}" if span else f"{short}, {about}"
    ends = finite(found.low), finite(found.high)
    bad = said.verdict is Verdict.FAIL
    return (Band(ends[0], found.estimate, ends[1], limits, words, short, one.comparator.floor, zero, bad),)


# ---- what would change it ----


def turns(
    one: Criterion, reading: Reading, said: Judgement, *, now: datetime, since: datetime | None = None,
    found: Interval | None = None,
) -> tuple[str, ...]:  # fmt: skip
    """Say what would change a verdict: how far the limit is, how sure that is, and how much data is missing until when."""
    bound = one.threshold if one.threshold is not None else reading.threshold
    if not said.in_scope:
        return ("It counts as soon as one device reports it.",)
    if said.verdict is Verdict.NO_DATA:
        return (_without(one, reading, said, bound),)
    if said.verdict is Verdict.STALE:
        last = f"; the last came at {_moment(reading.at, now)} UTC" if reading.at is not None else ""
        return (f"It is known again with the next {one.over.metric}{last}.",)
    if said.verdict is Verdict.INSUFFICIENT:
        return _too_little(one, reading, now, since)
    if said.verdict is Verdict.ERROR or bound is None or reading.value is None:
        return ()
    return tuple(
        filter(None, (_edge(one, reading.value, bound, said.verdict), _sure(one, reading, bound, found, said)))
    )


def _without(one: Criterion, reading: Reading, said: Judgement, bound: float | None) -> str:
    """Say what is missing where nothing can be judged."""
    if said.sentence.startswith("wrong subject"):
        return f"It counts when real devices report {one.over.metric}."
    if one.aggregate is Aggregate.RANGE and reading.note:
        return "It does not come any more: what is normal is told by the time before the release."
    if reading.note and one.against is Against.CONTROL:
        return f"It comes when devices in control report {one.over.metric}."
    if reading.note:
        return f"It comes when that changes: {reading.note}."
    if reading.value is not None and bound is None:
        return "It is judged when a profile gives these device classes a target."
    on = f" on {' or '.join(one.over.backends)}" if one.over.backends else ""
    whom = ", from a device that LiteRT is served to" if one.over.arm is Arm.TREATMENT else ""
    return f"It comes with the first {one.over.metric}{on}{whom}. Nobody can say when: none has come yet."


def _too_little(one: Criterion, reading: Reading, now: datetime, since: datetime | None) -> tuple[str, ...]:
    missing = one.samples - reading.count
    if missing <= 0:
        return ("Enough came, but the interval still holds both; more of it settles that.",)
    have = f"{_grouped(reading.count)} of {_grouped(one.samples)} are there"
    said = f"{_grouped(missing)} more observations are missing within {domain.spoken(one.window)}: {have}."
    if not reading.count:
        return (said,)
    if since is not None and now > since > now - one.window:
        left = (now - since) * (missing / reading.count)
        if (now - since) + left <= one.window:
            return (said, f"At this pace they are there in {_span(left)}, about {_moment(now + left, now)} UTC.")
    times = one.samples / reading.count
    return (said, f"At this pace they never are: it takes {times:.1f} times as many devices, or a longer window.")


def _edge(one: Criterion, value: float, bound: float, verdict: Verdict) -> str:
    """Say where the verdict turns, and how far that is from what was read."""
    limit, far = domain.shown(bound, one), _far(one, value, bound)
    if verdict is Verdict.FAIL:
        return f"It passes at {one.comparator.value} {limit}: {far} away."
    words = {
        Comparator.AT_LEAST: f"below {limit}",
        Comparator.ABOVE: f"at {limit} or less",
        Comparator.BELOW: f"at {limit} or more",
        Comparator.AT_MOST: f"above {limit}",
    }
    return f"It fails {words[one.comparator]}: {far} away."


def _far(one: Criterion, value: float, bound: float) -> str:
    gap = abs(value - bound)
    shares = one.aggregate is Aggregate.RATIO or one.aggregate.compares
    if one.aggregate is Aggregate.TIMES:
        shares = False
    said = domain.shown(gap, one)
    if shares:
        said = said.replace("\u202f%", " points")
    return f"{said} ({gap / abs(bound) * 100:.3g}\u202f% of the limit)" if bound else said


def _sure(one: Criterion, reading: Reading, bound: float, found: Interval | None, said: Judgement) -> str:
    """Say whether chance may be behind it, and how many observations tell."""
    if found is None or found.low == found.high or one.aggregate is Aggregate.INTERVAL:
        return ""
    edge = _beyond(one, bound)
    miss = intervals.sureness(one, reading, missed_most=edge).miss
    fails = said.verdict is Verdict.FAIL
    if miss is (Miss.CERTAIN if fails else Miss.SAFE):
        if fails:
            return "Chance does not explain it: the whole interval lies beyond the limit."
        return "It is sure: the whole interval lies within the limit."
    if miss is not Miss.POSSIBLE:
        return ""
    times = intervals.settled(one, reading, missed_most=edge)
    if times is None:
        return "Chance may be behind it, and more of the same would not tell: the value is too close to the limit."
    need = f"About {_grouped(round(reading.count * times))} observations tell; {_grouped(reading.count)} are there."
    return f"Chance may be behind it: the interval holds both. {need}"


def _beyond(one: Criterion, bound: float) -> float:
    """Return the miss that is asked of the interval so that it is held against the limit itself."""
    if one.aggregate in (Aggregate.CHANGE, Aggregate.INTERVAL):
        return -bound if one.comparator.floor else bound
    return 0.0


# ---- alerts ----


def life(episode: Episode | None, seen: Sign, *, for_: timedelta, now: datetime) -> tuple[str, ...]:
    """Say until when it must hold for an alert to fire or resolve, by the table of moves."""
    every = f"It is looked at every {_span(alerting.EVERY)}"
    lasts = f"once it was missed for {_span(for_)} without a break" if for_ else "with the first look that misses"
    if episode is None or episode.state is State.RESOLVED:
        return (f"{every}, and fires {lasts}.",)
    if episode.state is State.PENDING:
        at = _moment(episode.since + for_, now)
        return (f"It fires at {at} UTC if every look until then misses; one that does not ends it.",)
    well = _span(alerting.WELL_FOR)
    found = []
    if episode.well_at is not None:
        at = _moment(episode.well_at + alerting.WELL_FOR, now)
        found.append(f"It resolves at {at} UTC if it stays well until then.")
    elif seen is Sign.UNKNOWN:
        found.append(f"It stays while nothing is known; it resolves once it was well for {well} without a break.")
    else:
        found.append(f"It resolves once it was well for {well} without a break.")
    if episode.state is State.ACKNOWLEDGED and episode.acknowledged_until is not None:
        found.append(f"It pages again at {_moment(episode.acknowledged_until, now)} UTC.")
    return tuple(found)


def with_life(found: Why, lines: tuple[str, ...]) -> Why:
    """Put what makes an alert fire or resolve behind what would change its reading."""
    return replace(found, turns=(*found.turns, *lines))


# ---- words ----


def _grouped(count: int) -> str:
    return f"{count:,}".replace(",", "\u202f")


def _moment(at: datetime, now: datetime) -> str:
    return f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%d %b, %H:%M}"


def _span(span: timedelta) -> str:
    """Say a length of time in its two largest units."""
    seconds = max(0, round(span.total_seconds()))
    for size, unit, small, lesser in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // small
            return f"{seconds // size}\u202f{unit}" + (f" {rest}\u202f{lesser}" if rest else "")
    return f"{seconds}\u202fs"
