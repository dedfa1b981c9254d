"""Why each line of a decision says what it says, in the one shape that every verdict has. Reads nothing."""

from dataclasses import replace

from hawkops.core.why import Why
from monitoring.domain import intervals
from monitoring.domain import numbers as raw
from monitoring.domain.criteria import Judgement, Reading
from monitoring.domain.why import why
from rollout.domain.decision import row_of
from rollout.domain.lines import Measured, Shown
from rollout.selectors.decision import State


def whys(state: State) -> dict[str, Why]:
    """Return the why of every line, by its key."""
    measured = {one.criterion.key: one for one in state.measured}
    return {one.line.key: _why(state, one, measured.get(one.line.key)) for one in state.shown}


def _why(state: State, one: Shown, measured: Measured | None) -> Why:
    row = row_of(one.line) if one.line.in_scope else None
    turns = tuple(filter(None, (row.when if row is not None else "", one.turns, one.line.soon)))
    if one.criterion is None or measured is None:
        numbers = tuple(pair for pair in (("Value", one.value), ("Wanted", one.target)) if pair[1])
        return Why(one.line.title, numbers, one.formula, turns=turns, key=one.line.key)
    reading = _reading(one, measured)
    said = Judgement(one.line.verdict, one.line.sentence, one.line.missed, in_scope=one.line.in_scope)
    interval = None
    if reading.value is not None and reading.numbers is not None:
        interval = intervals.interval(one.criterion, reading.numbers)
    made = why(one.criterion, reading, said, now=state.at, since=state.since, found=interval)
    return replace(made, turns=turns)


def _reading(one: Shown, measured: Measured) -> Reading:
    """Return what the line was judged by: of a profile the device class that speaks for all."""
    criterion = measured.criterion
    for part in measured.parts if criterion.threshold is None else ():
        if part.threshold is not None and one.line.sentence.startswith(f"{part.label}: "):
            return replace(raw.reading(criterion, part.numbers), threshold=part.threshold)
    return replace(raw.reading(criterion, measured.numbers), scope=measured.scope)
