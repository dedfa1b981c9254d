"""Why a guardrail says what it says: its numbers, its formula, its part of the phase's false alarms, what turns it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hawkops.core.verdicts import Verdict
from hawkops.core.why import Band, Number, Why
from monitoring.domain import criteria as criteria_domain
from monitoring.domain.criteria import Aggregate, Criterion
from monitoring.domain.statistics import ratio, spending
from monitoring.domain.statistics.spending import Budget
from monitoring.domain.why import of_what
from rollout.domain.guardrails import Guardrail, Judges, Line

_NARROW = "\u202f"
METHOD = (
    "A device has one value for each band of its ages, counted when that age is over. The interval drawn is 95\u202f% sure "
    "on either side at every look; to fail takes the far smaller chance above, so that no number of looks makes a "
    "false alarm likelier."
)


@dataclass(frozen=True)
class Said:
    """What a guardrail says at a moment, kept or looked up again. `progress` is how many devices there are and it takes.

    `would` is what it only would have done at `acted_at`; empty for one that did it.
    """

    guardrail: Guardrail
    verdict: Verdict
    sentence: str
    lines: tuple[Line, ...]
    progress: Mapping[str, Any] | None = None
    acted_at: datetime | None = None
    would: str = ""

    @property
    def acted(self) -> str:
        """What it did, or would have done, in this phase; empty where nothing."""
        if self.acted_at is None:
            return ""
        return f"would have {self.would}" if self.would else "rolled back"


def why(found: Said, criterion: Criterion | None, budget: Budget | None, *, next_at: datetime) -> Why:
    """Explain a guardrail. `budget` shares out the phase's false alarms, `next_at` is when values count next."""
    drawn = deciding(found)
    turns = list(_turns(found, criterion, next_at))
    if found.acted_at is not None and found.would:
        turns.append("It wrote that down once for this phase, and does nothing else.")
    return Why(
        title=found.guardrail.title,
        numbers=tuple(_numbers(found, drawn, criterion, budget)),
        formula=formula(found.guardrail, criterion),
        method=METHOD if found.guardrail.judges is Judges.CRITERION else "",
        turns=tuple(turns),
        bands=_bands(found.guardrail, drawn, criterion) if drawn is not None else (),
        key=found.guardrail.key,
    )


def deciding(found: Said) -> Line | None:
    """Return the line that decides, of those with an interval that can be drawn; None where there is none.

    Of all devices: the longest age that passes, otherwise the first of that verdict.
    """
    whole = [line for line in found.lines if not line.device_class and (line.estimate is not None or line.own)]
    same = [line for line in whole if line.verdict is found.verdict] or whole
    if not same:
        return None
    return same[-1 if found.verdict is Verdict.PASS else 0]


def formula(one: Guardrail, criterion: Criterion | None) -> str:
    """Write what a guardrail computes and demands."""
    if one.judges is Judges.REPORTING:
        return (
            "devices that had reported before and did not in the last closed hour, treatment against control: "
            f"p > {spending.SILENCE:g} ÷ (k · (k + 1)) in hour k of the phase, by Fisher's exact test"
        )
    if one.judges is Judges.SAMPLE_RATIO:
        return f"devices that report, treatment : control as they were drawn: p > {ratio.ALPHA:g} at any look"
    if criterion is None:
        return f"the criterion {one.criterion}, which is not stored"
    what = of_what(criterion)
    sign = "≥ −" if criterion.comparator.floor else "≤ +"
    said = f"mean of {what} per device, treatment ÷ control − 1 {sign}{_percent(one.tolerated)}"
    if (limit := _limit(criterion)) is not None:
        said += f", and of the treatment {criterion.comparator.value} {criteria_domain.shown(limit, criterion)}"
    return said


def wait(progress: Mapping[str, Any] | None) -> str:
    """Say how many devices settle it, and when they are there; empty where enough are."""
    if not progress:
        return ""
    missing = progress["need"] - progress["have"]
    if missing <= 0:
        return ""
    when = ""
    if progress["per_hour"] > 0:
        hours = max(1, round(missing / progress["per_hour"]))
        when = f", in about {hours // 24} d at their pace" if hours > 48 else f", in about {hours} h at their pace"
    return f"{_grouped(progress['have'])} of {_grouped(progress['need'])} devices that settle it{when}"


def _numbers(found: Said, drawn: Line | None, criterion: Criterion | None, budget: Budget | None) -> list[Number]:
    one = found.guardrail
    rows: list[Number] = []
    if drawn is not None:
        for name, ends in _intervals(drawn):
            if ends[1] is not None:
                rows.append((name, f"{_said(ends, criterion if name == VALUE else None)}, {drawn.band}"))
    if one.judges is Judges.CRITERION:
        rows.append(("Borne", f"{_percent(one.tolerated)} worse than the control"))
        if criterion is not None and (limit := _limit(criterion)) is not None:
            rows.append(("Limit", f"{criterion.comparator.value} {criteria_domain.shown(limit, criterion)}"))
    if found.progress:
        rows.append(("Devices", wait(found.progress) or f"{_grouped(found.progress['have'])}, enough"))
    rows.append(("False alarms", _alpha(one, budget)))
    rows.append(("If it fails", one.does))
    if found.acted_at is not None:
        rows.append(("Acted", f"{found.acted} at {found.acted_at:%d %b, %H:%M} UTC"))
    return rows


def _alpha(one: Guardrail, budget: Budget | None) -> str:
    whole = f"of {_percent(spending.ALPHA)} for all guardrails of a phase, however often looked at"
    if one.judges is Judges.REPORTING:
        return f"{_percent(spending.SILENCE)}, {whole}"
    if one.judges is Judges.SAMPLE_RATIO:
        return f"{_percent(spending.RATIO)}, {whole}"
    if budget is None or one.key not in budget.guardrails:
        return f"a part, {whole}"
    first = budget.alpha(one.key, band=0)
    return f"{_percent(budget.guardrails[one.key])}, {whole}; {_percent(first)} for all devices in their first hour"


def _turns(found: Said, criterion: Criterion | None, next_at: datetime) -> list[str]:
    one, verdict = found.guardrail, found.verdict
    after = f"Values count when an hour is closed: next at {next_at:%H:%M} UTC."
    if verdict is Verdict.ERROR:
        return ["It changes when what can't be judged is mended: see what it says."]
    if one.judges is Judges.SAMPLE_RATIO:
        if verdict is Verdict.PASS:
            return ["It fails when devices of the treatment are missing beyond chance.", after]
        return ["It passes when as many devices report from each arm as were drawn, 30 in each at least.", after]
    if one.judges is Judges.REPORTING:
        if verdict is Verdict.PASS:
            return ["It fails when more of the treatment than of the control fall silent, beyond chance.", after]
        return ["It passes when the treatment reports at most 5 points behind the control.", after]
    borne = f"{_percent(one.tolerated)} worse"
    limited = criterion is not None and _limit(criterion) is not None
    if verdict is Verdict.PASS:
        missed = ", or when it misses the limit beyond chance" if limited else ""
        return [f"It fails when it is worse beyond chance and the middle lies beyond {borne}{missed}.", after]
    if verdict is Verdict.FAIL:
        return [f"It recovers when chance may explain it again, or the middle is back within {borne}.", after]
    passes = f"It passes when the whole interval lies within {borne}" + (" and keeps the limit." if limited else ".")
    return [passes, after]


def _limit(criterion: Criterion) -> float | None:
    """Return the limit that is held against values of devices; None where a criterion's own can't be."""
    return criterion.threshold if criterion.aggregate in (Aggregate.RATIO, Aggregate.MEAN) else None


Ends = tuple[float | None, ...]
CHANGE, VALUE = "Change", "Value"


def _intervals(line: Line) -> list[tuple[str, Ends]]:
    """Return the intervals of a line: of the change against the control, and of the value against its limit."""
    own = line.low, line.estimate, line.high
    if not line.relative:
        return [(VALUE, own)]
    return [(CHANGE, own), *([(VALUE, tuple(line.own))] if line.own else [])]


def _bands(one: Guardrail, line: Line, criterion: Criterion | None) -> tuple[Band, ...]:
    floor = criterion is not None and criterion.comparator.floor
    found = []
    for name, (low, middle, high) in _intervals(line):
        if middle is None:
            continue
        if name == CHANGE:
            edge = -one.tolerated if floor else one.tolerated
            # worse beyond chance, and by more than is borne
            bad = (
                high is not None and high < 0 and middle < edge
                if floor
                else low is not None and low > 0 and middle > edge
            )
            words = f"change {_said((low, middle, high), None)}, borne {_signed(edge)}"
            found.append(Band(low, middle, high, (edge,), words, _signed(middle), floor, 0.0, bool(bad)))
        elif criterion is not None and (limit := _limit(criterion)) is not None:
            bad = high is not None and high < limit if floor else low is not None and low > limit
            goal = f"{criterion.comparator.value} {criteria_domain.shown(limit, criterion)}"
            words = f"value {_said((low, middle, high), criterion)}, limit {goal}"
            short = criteria_domain.shown(middle, criterion)
            found.append(Band(low, middle, high, (limit,), words, short, floor, None, bool(bad)))
    return tuple(found)


def _said(ends: Ends, criterion: Criterion | None) -> str:
    """Say an interval, of a change as a share with its sign, of a value in its own unit."""

    def shown(value: float) -> str:
        return _signed(value) if criterion is None else criteria_domain.shown(value, criterion)

    low, middle, high = ends
    assert middle is not None
    words = [f"{word} {shown(value)}" for word, value in (("from", low), ("to", high)) if value is not None]
    return f"{shown(middle)} ({' '.join(words)})" if words else shown(middle)


def _percent(share: float) -> str:
    return f"{share * 100:.2g}{_NARROW}%"


def _signed(share: float) -> str:
    return f"{share * 100:+.1f}{_NARROW}%".replace("-", "−")


def _grouped(count: int) -> str:
    return f"{count:,}".replace(",", _NARROW)
