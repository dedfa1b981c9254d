"""The readings above a dashboard's charts, and why one that is missed here raises no alert."""

from dataclasses import dataclass
from datetime import datetime

from hawkops.core.verdicts import Verdict
from monitoring.charts.asked import limit_word, many
from monitoring.domain import criteria
from monitoring.selectors.criteria import Evaluated

_SAID = {Verdict.PASS: "it passes", Verdict.FAIL: "it fails"}


@dataclass(frozen=True)
class Tile:
    """A criterion with what was read for it. `aside` says where alerts see it differently."""

    title: str
    figure: str
    unit: str
    rule: str
    detail: str
    at: datetime | None
    verdict: Verdict
    simulated: bool
    key: str
    backend: str
    aside: str


def tile(one: Evaluated, *, live: bool, aside: str) -> Tile:
    """Write a reading, its rule, on how much it rests and how old it is: each once."""
    criterion, reading, verdict = one.criterion, one.reading, one.judgement.verdict
    figure, unit = "–", ""
    if reading.value is not None:
        figure, unit = _parted(criteria.shown(reading.value, criterion))
    threshold = criterion.threshold if criterion.threshold is not None else reading.threshold
    over = f"{criterion.aggregate.label} over {criteria.spoken(criterion.window)}"
    rule = f"{over}, no absolute target"
    if threshold is not None:
        wanted = f"{criterion.comparator.value} {criteria.shown(threshold, criterion)}"
        rule = f"{limit_word(criterion)} {wanted}, {over}"
    return Tile(
        title=criterion.title,
        figure=figure,
        unit=unit,
        rule=rule,
        detail=_detail(one, live=live),
        # how long there is no data is said already
        at=reading.at if live and verdict is not Verdict.STALE else None,
        verdict=verdict,
        simulated=one.simulated,
        key=criterion.key,
        backend=criterion.over.backends[0] if len(criterion.over.backends) == 1 else "",
        aside=aside,
    )


def aside(here: Evaluated, by_alerts: Evaluated | None, why_silent: str) -> str:
    """Say why no alert goes with what the page shows, or why one does; empty where both say the same."""
    verdict = here.judgement.verdict
    if why_silent:
        return f"{why_silent[:1].upper()}{why_silent[1:]}." if verdict is Verdict.FAIL else ""
    if by_alerts is None or by_alerts.judgement.verdict is verdict:
        return ""
    theirs = by_alerts.judgement.verdict
    if Verdict.FAIL not in (verdict, theirs):
        return ""
    said = _SAID.get(theirs, "nothing can be said")
    return f"Alerts look at all devices that it names, and there {said}: {by_alerts.judgement.sentence}."


def _detail(one: Evaluated, *, live: bool) -> str:
    reading = one.reading
    if reading.value is None:
        return one.judgement.sentence if live else "no data in that window"
    if one.judgement.verdict is Verdict.ERROR or not one.judgement.in_scope:
        return one.judgement.sentence
    detail = many(reading.count, "observation")
    if one.judgement.verdict is Verdict.INSUFFICIENT:
        detail += f", {one.criterion.samples} needed"
    return f"{detail}; {reading.note}" if reading.note else detail


def _parted(text: str) -> tuple[str, str]:
    """Part a number from its unit: the unit begins after the last space before letters."""
    head, _, tail = text.rpartition("\u202f")
    return (head, tail) if head and not tail[:1].isdigit() else (text, "")
