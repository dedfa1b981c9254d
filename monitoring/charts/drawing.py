"""How readings become figures: each function makes a drawer, which answers what a board asks with a figure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from hawkops.core import charts
from hawkops.core.charts import Chart, Figure, Mark, Steps, Trace
from monitoring.charts.words import scale_of, words
from monitoring.domain import criteria, metrics
from monitoring.domain.criteria import Criterion
from monitoring.domain.metrics import Metric
from monitoring.domain.targets import Profiles, Stage
from monitoring.domain.windows import Window
from monitoring.models import Series
from monitoring.selectors import telemetry as selectors
from monitoring.selectors.profiles import profiles
from monitoring.selectors.telemetry import BACKEND_WORDS, BACKENDS, Line, Observations, Population

# A ceiling far above everything measured would flatten the lines; the caption still says it.
FAR = 3.0
BANDS_MOST = 12
FEW = 12
ARM_ORDER = ("treatment", "control", "")
ARM_WORDS = {"treatment": "treatment", "control": "control", "": "all"}
GOOD = ("", "ok", "match")
BURST, SUSTAINED = "burst", "sustained"
G = TypeVar("G", bound=Hashable)


@dataclass
class Asked:
    """What charts are asked for, and what is read for all of them together."""

    environment: str
    window: Window
    population: Population
    marks: Sequence[Mark]
    names: Sequence[str]
    now: datetime
    criteria: Mapping[str, Criterion] = field(default_factory=dict)
    devices: int = 0

    @cached_property
    def observed(self) -> Observations:
        """The rows of every metric asked for, read once."""
        return selectors.observe(
            environment=self.environment,
            names=self.names,
            window=self.window,
            population=self.population,
            now=self.now,
        )

    def lines(self, group: Callable[[Series], G | None]) -> dict[G, Line[G]]:
        """Return lines in a grouping of one's own."""
        return self.observed.lines(group)

    @cached_property
    def profiles(self) -> Profiles:
        """The floors of device classes."""
        return profiles()

    @property
    def steps(self) -> Steps:
        """Where the steps of the window begin."""
        return Steps(self.window.since, self.window.step)

    @property
    def simulated(self) -> bool:
        """Whether these are simulated devices."""
        return bool(self.population.simulated)


@dataclass(frozen=True)
class Drawer:
    """A way to draw, and the metrics whose rows it wants read beforehand."""

    names: tuple[str, ...]
    draw: Callable[[Asked], Figure]


# --- pieces -----------------------------------------------------------------------------------------------------------


def empty(asked: Asked, what: str) -> Figure:
    """Say that nobody did that in this window."""
    who = "simulated device" if asked.simulated else "device"
    return charts.empty(
        f"No {who} {what} in this window.",
        brings="It appears within 5 s of a device's report, without reloading.",
    )


def _small(title: str) -> str:
    """Return a title inside a sentence: acronyms stay as they are."""
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def figure(
    asked: Asked,
    sentence: str,
    unit: str,
    traces: Sequence[Trace],
    data_at: datetime | None,
    targets: Sequence[charts.Target] = (),
) -> Figure:
    """Build a figure over the window, with the changes in it."""
    return charts.figure(
        Chart(
            sentence=sentence,
            unit=unit,
            traces=traces,
            since=asked.window.since,
            until=asked.window.until,
            targets=targets,
            marks=asked.marks,
            data_at=data_at,
            zero_based=True,
        )
    )


def newest(lines: Mapping[G, Line[G]]) -> datetime | None:
    """Return when the newest of it was measured."""
    return max((line.last_at for line in lines.values() if line.last_at), default=None)


def drawn(values: Sequence[float | None], scale: float = 1.0) -> list[float | None]:
    """Scale values and cut them to four digits of the largest: what an eye can tell, in few bytes."""
    highest = max((abs(value) for value in values if value is not None), default=0.0) * scale
    digits = max(0, 4 - len(str(int(highest)))) if highest >= 1 else 4
    return [None if value is None else round(value * scale, digits) for value in values]


def _trace(asked: Asked, values: Sequence[float | None], *, name: str, style: str, thin: bool = False) -> Trace:
    # A single step with data between two without would be an invisible line: markers show it.
    dots = sum(value is not None for value in values) < FEW
    return charts.line(
        asked.steps, values, name=name, style=style or "treatment", thin=thin, simulated=asked.simulated, markers=dots
    )


def _bands(asked: Asked, low: Sequence[float | None], high: Sequence[float | None], style: str) -> list[Trace]:
    """Fill between two lines, one piece for each stretch without a gap: Plotly would bridge the gaps."""
    made: list[Trace] = []
    start = 0
    for step in range(len(low) + 1):
        if step == len(low) or low[step] is None or high[step] is None:
            if step - start > 1:
                made += charts.band(asked.steps.after(start), low[start:step], high[start:step], style=style)
            start = step + 1
    return made if len(made) <= 2 * BANDS_MOST else []


def limits(
    asked: Asked, keys: Sequence[str], *, scale: float, value: float | None, highest: float, classes: set[str]
) -> list[charts.Target]:
    """Return the lines of some criteria: their own thresholds, or the profile that all classes share."""
    made = []
    for key in keys:
        one = asked.criteria.get(key)
        if one is None:
            continue
        threshold = one.threshold
        if threshold is None:
            profile = asked.profiles.common(classes, asked.environment)
            stage = Stage.PREFILL if one.over.metric == metrics.PREFILL else Stage.DECODE
            target = profile.target(stage, one.over.backends[0]) if profile and one.over.backends else None
            if target is None:
                continue
            threshold = target.threshold
        ceiling = one.comparator is not criteria.Comparator.AT_LEAST
        if ceiling and threshold > highest * FAR:
            continue
        judged = selectors.may_judge(asked.environment, simulated=asked.simulated)
        missed = None if value is None or not judged else not one.comparator.holds(value, threshold)
        name = {"alert": "alert", "gate": "gate"}.get(one.purpose.value, "target")
        label = f"{name} {criteria.shown(threshold, one)}"
        made.append(charts.Target(threshold * scale, label, missed))
    return made


def _by_arm(series: Series) -> str:
    return str(selectors.arm(series) or "")


# --- drawers ----------------------------------------------------------------------------------------------------------


def percentiles(
    name: str, *, by: str = "arm", backend: str = "", local: bool = False, keys: Sequence[str] = (), did: str = ""
) -> Drawer:
    """Draw the guaranteed percentile thick and the median thin, by "arm" or by "backend" that really ran."""
    metric = metrics.CATALOGUE[name]

    def draw(asked: Asked) -> Figure:
        def group(series: Series) -> str | None:
            if series.metric != name or (backend and series.backend_actual != backend):
                return None
            if local and series.backend_actual == "cloud":
                return None
            return series.backend_actual if by == "backend" else _by_arm(series)

        found = asked.lines(group)
        if by == "backend" and name in (metrics.PREFILL, metrics.DECODE):
            found.pop("", None)
        if not found:
            return empty(asked, did or f"reported its {_small(metric.title)}")
        order = (*BACKENDS, "") if by == "backend" else ARM_ORDER
        names = BACKEND_WORDS if by == "backend" else ARM_WORDS
        return _pairs(asked, metric, {one: found[one] for one in order if one in found}, names, keys)

    return Drawer((name,), draw)


def _pairs(
    asked: Asked, metric: Metric, found: Mapping[str, Line[str]], names: Mapping[str, str], keys: Sequence[str]
) -> Figure:
    highest = max(line.whole.high for line in found.values())
    scale, unit = scale_of(metric, highest)
    q = metric.guaranteed
    label = "p5, 95 % reach it" if q < 0.5 else "p95"
    traces: list[Trace] = []
    said: list[str] = []
    for key, line in found.items():
        alone = len(found) == 1
        guaranteed, median = drawn(line.grid.quantiles(q), scale), drawn(line.grid.quantiles(0.5), scale)
        prefix = "" if alone else f"{names.get(key, key)} "
        if alone and not asked.simulated:
            traces += _bands(asked, guaranteed, median, key)
        traces.append(_trace(asked, median, name=f"{prefix}p50", style=key, thin=True))
        traces.append(_trace(asked, guaranteed, name=f"{prefix}{label}", style=key))
        said.append(
            f"{names.get(key, key)} {'p5' if q < 0.5 else 'p95'} {words(line.whole.quantile(q), metric.unit)}, "
            f"p50 {words(line.whole.quantile(0.5), metric.unit)}"
        )
    judged = [line.recent.quantile(q) for key, line in found.items() if key not in ("cloud", "control")]
    known = [value for value in judged if value is not None]
    worst = (min if q < 0.5 else max)(known) if known else None
    classes = {name for line in found.values() for name in line.device_classes}
    lines = limits(asked, keys, scale=scale, value=worst, highest=highest, classes=classes)
    return figure(asked, f"{metric.title}: {'; '.join(said)}", unit, traces, newest(found), lines)


def burst_and_sustained(name: str = metrics.PREFILL) -> Drawer:
    """Draw the first minute of work apart from what a warm device keeps up, on the backend that ran most."""
    metric = metrics.CATALOGUE[name]

    def draw(asked: Asked) -> Figure:
        found = asked.lines(
            lambda series: (
                (series.backend_actual, series.outcome)
                if series.metric == name and series.outcome in (BURST, SUSTAINED)
                else None
            )
        )
        if not found:
            return charts.empty(
                "No device says which readings are its first 60 s of work.",
                brings="Devices mark throughput with litert.load: burst or sustained.",
            )
        counts: dict[str, int] = {}
        for (backend, _), line in found.items():
            counts[backend] = counts.get(backend, 0) + line.whole.count
        most = max(counts, key=lambda one: counts[one])
        traces: list[Trace] = []
        said: list[str] = []
        for state, style in ((BURST, "series-5"), (SUSTAINED, most)):
            chosen = found.get((most, state))
            if chosen is None:
                continue
            for q, thin in ((0.5, True), (metric.guaranteed, False)):
                label = "p50" if thin else "p5"
                traces.append(
                    _trace(asked, drawn(chosen.grid.quantiles(q)), name=f"{state} {label}", style=style, thin=thin)
                )
            said.append(f"{state} p5 {words(chosen.whole.quantile(metric.guaranteed), metric.unit)}")
        return figure(asked, f"{BACKEND_WORDS[most]} prefill: {', '.join(said)}", metric.unit, traces, newest(found))

    return Drawer((name,), draw)


def means(name: str, *, keys: Sequence[str] = (), highs: bool = False) -> Drawer:
    """Draw the mean (or the highest) by arm."""
    metric = metrics.CATALOGUE[name]

    def draw(asked: Asked) -> Figure:
        found = asked.lines(lambda series: _by_arm(series) if series.metric == name else None)
        if not found:
            return empty(asked, f"reported its {_small(metric.title)}")
        highest = max(line.whole.high for line in found.values())
        scale, unit = scale_of(metric, highest)
        traces, said = [], []
        values: list[float] = []
        for key in [one for one in ARM_ORDER if one in found]:
            line = found[key]
            value = line.whole.high if highs else line.whole.mean
            y = drawn(line.grid.highs() if highs else line.grid.means(), scale)
            traces.append(_trace(asked, y, name=f"{ARM_WORDS[key]} {'highest' if highs else 'mean'}", style=key))
            said.append(f"{ARM_WORDS[key]} {words(value, metric.unit)}")
            if key != "control" and value is not None:
                values.append(value)
        lines = limits(
            asked, keys, scale=scale, value=values[0] if values else None, highest=highest,
            classes={name for line in found.values() for name in line.device_classes},
        )  # fmt: skip
        return figure(asked, f"{metric.title}: {', '.join(said)}", unit, traces, newest(found), lines)

    return Drawer((name,), draw)


def _memory(asked: Asked) -> Figure:
    """Draw memory in use (mean) and its peak (highest), with the limits when they are near."""
    wanted = {metrics.MEMORY_PEAK: "peak", metrics.MEMORY: "average"}
    found = asked.lines(lambda series: series.metric if series.metric in wanted else None)
    if not found:
        return empty(asked, "reported its memory")
    highest = max(line.whole.high for line in found.values())
    scale, unit = scale_of(metrics.CATALOGUE[metrics.MEMORY], highest)
    traces, said = [], []
    for name, label in wanted.items():
        line = found.get(name)
        if line is None:
            continue
        peak = name == metrics.MEMORY_PEAK
        y = drawn(line.grid.highs() if peak else line.grid.means(), scale)
        traces.append(_trace(asked, y, name=label, style="", thin=not peak))
        said.append(f"{label} {words(line.whole.high if peak else line.whole.mean, 'By')}")
    keys = ("gate-memory-peak", "validation-memory-average")
    lines = limits(asked, keys, scale=scale, value=highest, highest=highest, classes=set())
    return figure(asked, "Memory: " + ", ".join(said), unit, traces, newest(found), lines)


MEMORY = Drawer((metrics.MEMORY, metrics.MEMORY_PEAK), _memory)


def ratio(part: str, whole: str, *, title: str, failed: bool = False, keys: Sequence[str] = ()) -> Drawer:
    """Draw one counter as a share of another, by arm, in per cent; `failed` counts only outcomes that are not good."""

    def draw(asked: Asked) -> Figure:
        def group(series: Series) -> tuple[str, bool] | None:
            if series.metric not in (part, whole):
                return None
            bad = series.outcome not in GOOD if failed else series.metric == part
            return _by_arm(series), bad

        found = asked.lines(group)
        arms = [one for one in ARM_ORDER if (one, False) in found or (one, True) in found]
        if not arms or (not failed and not any((one, False) in found for one in arms)):
            return empty(asked, f"reported {_small(metrics.CATALOGUE[whole].title)}")
        traces: list[Trace] = []
        said: list[str] = []
        shares: dict[str, float | None] = {}
        zeros = [0.0] * asked.window.steps
        highest = 0.0
        for key in arms:
            bad, rest = found.get((key, True)), found.get((key, False))
            above = bad.grid.totals() if bad else zeros
            below = rest.grid.totals() if rest else [None] * asked.window.steps
            if failed:
                below = [
                    None if a is None and b is None else (a or 0.0) + (b or 0.0)
                    for a, b in zip(below, bad.grid.totals() if bad else below, strict=True)
                ]
            y = [100 * (a or 0.0) / b if b else None for a, b in zip(above, below, strict=True)]
            total = (rest.whole.total if rest else 0.0) + (bad.whole.total if bad and failed else 0.0)
            shares[key] = (bad.whole.total if bad else 0.0) / total if total else None
            traces.append(_trace(asked, drawn(y), name=ARM_WORDS[key], style=key))
            said.append(f"{ARM_WORDS[key]} {words(shares[key], 'share')} of {words(total, '')}")
            highest = max(highest, *(value / 100 for value in y if value is not None), 0.0)
        judged = next((shares[key] for key in arms if key != "control"), None)
        lines = limits(asked, keys, scale=100.0, value=judged, highest=highest, classes=set())
        return figure(asked, f"{title}: {', '.join(said)}", "%", traces, newest(found), lines)

    return Drawer((part, whole), draw)


def counts(name: str, *, bad_only: bool = False, did: str = "") -> Drawer:
    """Draw how often something was counted in each step, by its outcome or pattern."""
    metric = metrics.CATALOGUE[name]

    def draw(asked: Asked) -> Figure:
        everything = asked.lines(lambda series: series.outcome if series.metric == name else None)
        found = {key: line for key, line in everything.items() if not bad_only or key not in GOOD}
        if not found:
            if everything:
                total = sum(line.whole.total for line in everything.values())
                return charts.empty(f"None of {words(total, '')} {metric.title.lower()} failed in this window.")
            return empty(asked, did or f"reported its {_small(metric.title)}")
        traces = [
            charts.bars(asked.steps, drawn(line.grid.totals()), name=key or metric.title.lower(), style=style)
            for (key, line), style in zip(
                sorted(found.items()), ("", "series-5", "series-6", "gpu", "npu", "cpu", "cloud") * 4, strict=False
            )
        ]
        said = ", ".join(f"{key or 'in all'} {words(line.whole.total, '')}" for key, line in sorted(found.items()))
        return figure(asked, f"{metric.title}: {said}", "", traces, newest(found))

    return Drawer((name,), draw)


def rates(name: str, *, title: str) -> Drawer:
    """Draw a counter's growth by arm, per minute."""

    def draw(asked: Asked) -> Figure:
        found = asked.lines(lambda series: _by_arm(series) if series.metric == name else None)
        if not found:
            return empty(asked, f"reported {_small(metrics.CATALOGUE[name].title)}")
        minutes = asked.window.step.total_seconds() / 60
        traces = [
            _trace(asked, drawn(found[key].grid.totals(), 1 / minutes), name=ARM_WORDS[key], style=key)
            for key in ARM_ORDER
            if key in found
        ]
        said = ", ".join(f"{ARM_WORDS[key]} {words(line.whole.total, '')} in all" for key, line in found.items())
        return figure(asked, f"{title}: {said}", "/min", traces, newest(found))

    return Drawer((name,), draw)


def per_device_hour(name: str, *, title: str, keys: Sequence[str] = ()) -> Drawer:
    """Draw a counter's growth in the hour before each moment, per device."""

    def draw(asked: Asked) -> Figure:
        values, last_at = selectors.per_device_hour(
            environment=asked.environment,
            metric=name,
            window=asked.window,
            population=asked.population,
            devices=asked.devices,
            now=asked.now,
        )
        known = [value for value in values if value is not None]
        if not known:
            return empty(asked, "reported")
        trace = _trace(asked, drawn(values), name="in the hour before", style="")
        lines = limits(asked, keys, scale=1.0, value=known[-1], highest=float("inf"), classes=set())
        sentence = f"{title} per device and hour: now {known[-1]:.1f}, at most {max(known):.1f}"
        return figure(asked, sentence, "/h", [trace], last_at, lines)

    return Drawer((), draw)
