"""The chart of a log pattern: matches in each step, the limit where it fits, a mark for every change. Draws nothing."""

from datetime import datetime, timedelta

from django.urls import reverse

from hawkops.core import charts, clock
from hawkops.core.charts import Chart, Figure, Foot, Mark, Target
from hawkops.core.templatetags.look import number, spoken
from hawkops.history import selectors as history
from monitoring.charts.marks import change_marks
from monitoring.domain.patterns import Pattern
from monitoring.domain.windows import Window
from monitoring.models import StoredPattern
from monitoring.selectors import patterns as selectors


def pattern_marks(row: StoredPattern, environment: str, *, since: datetime) -> list[Mark]:
    """Return a mark for every change of the pattern and of a flag since then, oldest first. Two queries."""
    subject = f"pattern:{row.key}"
    found = history.entries(environment=environment, verb_prefixes=("pattern.",), subject=subject, since=since)
    own = [
        Mark(
            entry.at,
            f"{row.key} {entry.verb.partition('.')[2]}, {entry.actor_label}: {entry.reason}",
            reverse("history:entry", kwargs={"environment": environment, "seq": entry.seq}),
        )
        for entry in found[: charts.MARKS_MOST]
        if entry.subject == subject
    ]
    both = sorted([*own, *change_marks(environment, since=since)], key=lambda mark: mark.at)
    return both[-charts.MARKS_MOST :]


def matches(row: StoredPattern, one: Pattern, environment: str, window: Window) -> Figure:
    """Draw how many lines matched in each step; lines of simulated devices stand apart."""
    real, simulated = (selectors.series(row, environment, window, simulated=kind) for kind in (False, True))
    total = sum(real) + sum(simulated)
    read_at = selectors.read_at(environment, one.sources)
    if not total:
        brings = "A line that matches appears here within 10 s."
        if one.paused:
            brings = "The pattern is paused: nothing is counted."
        elif read_at is None:
            brings = "Nothing it looks at has been read yet."
        return charts.empty(f"No line matched in the last {spoken(window.span)}.", brings=brings)
    x = [start + window.step / 2 for start in window.starts()]
    limit = one.limit if window.step == one.window else None
    step = spoken(window.step)
    traces = [charts.bars(x, real, name=f"matches in {step}", limit=None if limit is None else limit - 1)]
    if any(simulated):
        traces.append(charts.bars(x, simulated, name="matches, simulated", style="simulated"))
    highest = max(a + b for a, b in zip(real, simulated, strict=True))
    targets = [Target(limit, f"limit {number(limit)}", highest >= limit)] if limit is not None else []
    return charts.figure(
        Chart(
            sentence=f"{one.title}: {number(total)} matches in {spoken(window.span)}, at most {number(highest)} in {step}",
            unit="lines",
            traces=traces,
            since=window.since,
            until=window.until,
            targets=targets,
            marks=pattern_marks(row, environment, since=window.since),
            data_at=read_at,
            foot=Foot(
                sample="1 line matched" if total == 1 else f"{number(total)} lines matched",
                data_at=read_at,
                age=max(clock.now() - read_at, timedelta()) if read_at else None,
                due=selectors.LATE,
                note="" if one.limit is not None else "no limit",
            ),
            zero_based=True,
        )
    )
