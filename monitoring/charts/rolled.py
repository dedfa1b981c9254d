"""Figures of what was counted in the time before each moment, and of the silences of the history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from hawkops.core.charts import Figure
from hawkops.core.templatetags.look import spoken
from monitoring.charts.asked import (
    ARM_ORDER,
    Asked,
    Drawer,
    aimless,
    arm_word,
    empty,
    figure,
    foot,
    limits,
    many,
    trace,
)
from monitoring.charts.words import words
from monitoring.domain import metrics
from monitoring.models import Series
from monitoring.selectors import telemetry as selectors
from monitoring.selectors.history_gaps import history_gaps
from monitoring.selectors.telemetry import Rolled


def running(name: str, *, title: str, key: str) -> Drawer:
    """Draw how much was counted in the criterion's own window before each moment, by arm, with its limit."""
    metric = metrics.CATALOGUE[name]

    def draw(asked: Asked) -> Figure:
        one = asked.criteria.get(key)
        span = one.window if one else timedelta(hours=1)

        def counts(series: Series) -> bool:
            if one is None:
                return series.metric == name
            return one.over.holds(metric=series.metric, backend=series.backend_actual, outcome=series.outcome)

        rolled = selectors.rolling(
            environment=asked.environment,
            names=(name,),
            counts=counts,
            window=asked.window,
            span=span,
            population=asked.population,
            now=asked.clock_at,
        )
        unit = metric.unit.strip("{}")
        return _drawn(asked, rolled, title=f"{title} in {spoken(span)}", unit="", sample=unit, keys=(key,))

    return Drawer((), draw, (key,))


def per_device_hour(name: str, *, title: str, keys: tuple[str, ...] = ()) -> Drawer:
    """Draw a counter's growth in the hour before each moment, per device, by arm."""

    def draw(asked: Asked) -> Figure:
        rolled = selectors.per_device_hour(
            environment=asked.environment,
            metric=name,
            window=asked.window,
            population=asked.population,
            now=asked.clock_at,
        )
        unit = metrics.CATALOGUE[name].unit.strip("{}")
        return _drawn(asked, rolled, title=f"{title} per device and hour", unit="/h", sample=unit, keys=keys)

    return Drawer((), draw, keys)


def _drawn(
    asked: Asked, rolled: Mapping[str, Rolled], *, title: str, unit: str, sample: str, keys: tuple[str, ...]
) -> Figure:
    known = {
        side: [value for value in rolled[side].values if value is not None] for side in ARM_ORDER if side in rolled
    }
    known = {side: values for side, values in known.items() if values}
    if len(known) > 1 and not rolled.get("", Rolled([])).total:
        known.pop("", None)  # of devices whose side is not said, only what they counted is news
    if not known:
        return empty(asked, "reported")
    highest = max(max(values) for values in known.values())
    traces = [trace(asked, asked.drawn(rolled[side].values), name=arm_word(side, known), style=side) for side in known]
    lines = limits(asked, keys, scale=1.0, highest=float("inf"))
    said = ", ".join(f"{arm_word(side, known)} now {words(values[-1], '')}" for side, values in known.items())
    text = f"{many(sum(rolled[side].total for side in known), sample)} in this window"
    last_at = max((one.last_at for one in rolled.values() if one.last_at), default=None)
    steps = sorted({n for one in rolled.values() for n, value in enumerate(one.values) if value is not None})
    under = foot(asked, text, last_at, steps, aimless=aimless(lines))
    return figure(asked, f"{title}: {said}; at most {words(highest, '')}", unit, traces, under, lines)


def gaps(*, key: str) -> Drawer:
    """Draw the longest time without a history entry that ended, or still lasts, in each step."""

    def draw(asked: Asked) -> Figure:
        found = history_gaps(window=asked.window, now=asked.now)
        known = [value for value in found.longest if value is not None]
        if not known:
            return empty(asked, "", sentence="The history has no entry up to the end of this window.")
        lines = limits(asked, (key,), scale=1.0, highest=float("inf"))
        said = f"Silence of the history: at most {words(max(known), 's')}"
        under = foot(
            asked, many(found.entries, "history entry"), found.last_at, range(len(known)), aimless=aimless(lines)
        )
        line = trace(asked, asked.drawn(found.longest), name="longest silence", style="")
        return figure(asked, said, "s", [line], under, lines)

    return Drawer((), draw, (key,))
