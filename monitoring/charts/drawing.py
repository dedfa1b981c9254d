"""How readings become figures: each function makes a drawer, which answers what a board asks with a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hawkops.core import charts
from hawkops.core.charts import Figure, Trace
from monitoring.charts.asked import (
    ARM_ORDER,
    Asked,
    Drawer,
    aimless,
    arm_word,
    empty,
    figure,
    filled,
    foot,
    limits,
    many,
    newest,
    sample,
    small,
    trace,
)
from monitoring.charts.words import spoken, words
from monitoring.domain import metrics
from monitoring.domain.criteria import Criterion
from monitoring.domain.metrics import Metric
from monitoring.models import Series
from monitoring.selectors import telemetry as selectors
from monitoring.selectors.telemetry import BACKEND_WORDS, BACKENDS, Line

BANDS_MOST = 12
GOOD = ("", "ok", "match")
BURST, SUSTAINED = "burst", "sustained"
CONTROL = "control"
ARMS = ("treatment", CONTROL)
# device classes that no profile speaks of
AIMLESS = "classes without target"


def by_arm(series: Series) -> str:
    """Name the side of the comparison a series is on, empty when its device did not say."""
    return str(selectors.arm(series) or "")


def _ordered(found: Mapping[str, Line[str]], order: Sequence[str]) -> dict[str, Line[str]]:
    return {one: found[one] for one in order if one in found}


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


def _classes(found: Mapping[str, Line[str]]) -> set[str]:
    return {name for line in found.values() for name in line.device_classes}


# --- distributions ----------------------------------------------------------------------------------------------------


def percentiles(name: str, *, by: str = "arm", backend: str = "", keys: tuple[str, ...] = (), did: str = "") -> Drawer:
    """Draw the guaranteed percentile thick and the median thin, by "arm" or by "backend" that really ran.

    By arm, what the criteria leave out (an answer from the cloud, say) is drawn for control only: it is no reading of
    theirs, and what control is compared by. Where profiles judge, classes without a floor are lines of their own.
    """
    metric = metrics.CATALOGUE[name]

    def draw(asked: Asked) -> Figure:
        wanted = asked.chosen(keys)
        judged = {one for criterion in wanted for one in criterion.over.backends}
        by_profile = any(criterion.threshold is None for criterion in wanted)

        def group(series: Series) -> str | None:
            if series.metric != name or (backend and series.backend_actual != backend):
                return None
            if by == "backend":
                return series.backend_actual
            side = by_arm(series)
            if by_profile and side != CONTROL and not asked.has_floor(series.device_class, name, backend):
                return AIMLESS
            return side if side == CONTROL or not judged or series.backend_actual in judged else None

        found = asked.lines(group)
        if by == "backend" and name in (metrics.PREFILL, metrics.DECODE):
            found.pop("", None)
        if not found:
            return empty(asked, did or f"reported its {small(metric.title)}", name, backend=backend)
        if set(found) == {AIMLESS}:
            found = {"": found[AIMLESS]}
        found = _ordered(found, (*BACKENDS, "") if by == "backend" else (*ARM_ORDER, AIMLESS))
        names = BACKEND_WORDS if by == "backend" else {one: arm_word(one, found) for one in found}
        styles = {one: backend if backend and one not in (CONTROL, AIMLESS) else one for one in found}
        return _pairs(asked, metric, found, names, {**styles, AIMLESS: "series-5"}, keys)

    return Drawer((name,), draw, keys)


def _pairs(
    asked: Asked,
    metric: Metric,
    found: Mapping[str, Line[str]],
    names: Mapping[str, str],
    styles: Mapping[str, str],
    keys: Sequence[str],
) -> Figure:
    highest = max(line.whole.high for line in found.values())
    scale, unit = asked.scale(metric, highest)
    q = metric.guaranteed
    label = "p5, 95 % reach it" if q < 0.5 else "p95"
    short = "p5" if q < 0.5 else "p95"
    alone = len(found) == 1
    traces: list[Trace] = []
    said: list[str] = []
    for key, line in found.items():
        guaranteed, median = asked.drawn(line.grid.quantiles(q), scale), asked.drawn(line.grid.quantiles(0.5), scale)
        prefix = "" if alone and key not in ARMS else f"{names[key]} "
        if alone and not asked.simulated:
            traces += _bands(asked, guaranteed, median, styles[key])
        traces.append(trace(asked, median, name=f"{prefix}p50", style=styles[key], thin=True))
        traces.append(trace(asked, guaranteed, name=f"{prefix}{label if alone else short}", style=styles[key]))
        said.append(
            f"{names[key]} {short} {words(line.whole.quantile(q), spoken(metric))}, "
            f"p50 {words(line.whole.quantile(0.5), spoken(metric))}"
        )
    lines = limits(asked, keys, scale=scale, highest=highest, classes=_classes(found))
    under = _under(asked, metric, found, aimless=aimless(lines))
    return figure(asked, f"{metric.title}: {'; '.join(said)}", unit, traces, under, lines)


def _under(asked: Asked, metric: Metric, found: Mapping[str, Line[str]], *, aimless: bool) -> charts.Foot:
    lines = found.values()
    return foot(asked, sample(metric, lines), newest(lines), filled(lines), aimless=aimless)


def burst_and_sustained(backend: str) -> Drawer:
    """Draw the first minute of work of a backend apart from what a warm device keeps up."""
    metric = metrics.CATALOGUE[metrics.PREFILL]

    def draw(asked: Asked) -> Figure:
        def group(series: Series) -> str | None:
            marked = series.outcome in (BURST, SUSTAINED) and series.backend_actual == backend
            if series.metric != metric.name or not marked:
                return None
            return f"{series.outcome} {CONTROL}" if by_arm(series) == CONTROL else series.outcome

        found = _ordered(asked.lines(group), (BURST, SUSTAINED, f"{BURST} {CONTROL}", f"{SUSTAINED} {CONTROL}"))
        if not found:
            return empty(
                asked, "", sentence=f"No device says which {BACKEND_WORDS[backend]} readings are its first 60 s of work.",
                brings="Devices mark throughput with litert.load: burst or sustained.",
            )  # fmt: skip
        styles = {BURST: "series-5", SUSTAINED: backend, f"{BURST} {CONTROL}": "series-6"}
        traces: list[Trace] = []
        said: list[str] = []
        for state, line in found.items():
            style = styles.get(state, CONTROL)
            for q, thin in ((0.5, True), (metric.guaranteed, False)):
                name = f"{state} {'p50' if thin else 'p5'}"
                traces.append(trace(asked, asked.drawn(line.grid.quantiles(q)), name=name, style=style, thin=thin))
            said.append(f"{state} p5 {words(line.whole.quantile(metric.guaranteed), spoken(metric))}")
        highest = max(line.whole.high for line in found.values())
        keys = drawer.keys_among(asked.criteria)
        lines = limits(asked, keys, scale=1.0, highest=highest, classes=_classes(found))
        under = _under(asked, metric, found, aimless=aimless(lines))
        return figure(
            asked, f"{BACKEND_WORDS[backend]} prefill: {', '.join(said)}", metric.unit, traces, under, lines
        )  # fmt: skip

    def own(one: Criterion) -> bool:
        """Each is judged apart as soon as a criterion wants that outcome of this backend."""
        over = one.over
        return over.metric == metric.name and bool(over.outcomes) and over.backends == (backend,)

    drawer = Drawer((metrics.PREFILL,), draw, (f"alert-{backend}-throughput",), own)
    return drawer


def levels(name: str, *, keys: tuple[str, ...] = (), highs: bool = False, also: tuple[str, ...] = ()) -> Drawer:
    """Draw the mean (or the highest) thick and the median thin, by arm. `also` are metrics that its criteria read."""
    metric = metrics.CATALOGUE.get(name) or metrics.declared(name)
    label = "highest" if highs else "mean"

    def draw(asked: Asked) -> Figure:
        found = _ordered(asked.lines(lambda series: by_arm(series) if series.metric == name else None), ARM_ORDER)
        if not found:
            return empty(asked, f"reported its {small(metric.title)}", name)
        highest = max(line.whole.high for line in found.values())
        scale, unit = asked.scale(metric, highest)
        traces, said = [], []
        for key, line in found.items():
            word = arm_word(key, found)
            prefix = "" if set(found) == {""} else f"{word} "
            y = line.grid.highs() if highs else line.grid.means()
            median = asked.drawn(line.grid.quantiles(0.5), scale)
            traces.append(trace(asked, median, name=f"{prefix}p50", style=key, thin=True))
            traces.append(trace(asked, asked.drawn(y, scale), name=f"{prefix}{label}", style=key))
            value = line.whole.high if highs else line.whole.mean
            said.append(
                f"{word} {label} {words(value, spoken(metric))}, p50 {words(line.whole.quantile(0.5), spoken(metric))}"
            )
        lines = limits(asked, keys, scale=scale, highest=highest, classes=_classes(found))
        under = _under(asked, metric, found, aimless=aimless(lines))
        return figure(asked, f"{metric.title}: {'; '.join(said)}", unit, traces, under, lines)

    return Drawer((name, *also), draw, keys)


def quotient(name: str, *, keys: tuple[str, ...] = ()) -> Drawer:
    """Draw how many times longer the median of control is than that of treatment."""
    metric = metrics.CATALOGUE[name]

    def draw(asked: Asked) -> Figure:
        found = asked.lines(lambda series: by_arm(series) if series.metric == name else None)
        treatment, control = found.get("treatment"), found.get(CONTROL)
        if treatment is None or control is None:
            missing = "treatment" if treatment is None else "control"
            return empty(asked, f"of {missing} reported its {small(metric.title)}", name)
        pairs = zip(control.grid.quantiles(0.5), treatment.grid.quantiles(0.5), strict=True)
        y = [above / below if above is not None and below else None for above, below in pairs]
        above, below = control.whole.quantile(0.5), treatment.whole.quantile(0.5)
        if not any(y) or not above or not below:
            return empty(asked, "of both sides reported at the same time", name)
        both = {"treatment": treatment, CONTROL: control}
        lines = limits(asked, keys, scale=1.0, highest=float("inf"), compares=True)
        said = (
            f"{above / below:.2f} times: control p50 {words(above, spoken(metric))}, "
            f"treatment p50 {words(below, spoken(metric))}"
        )
        under = _under(asked, metric, both, aimless=aimless(lines))
        line = trace(asked, asked.drawn(y), name="control ÷ treatment, p50", style="treatment")
        return figure(asked, f"Improvement: {said}", "×", [line], under, lines)

    return Drawer((name,), draw, keys)


# --- counters ---------------------------------------------------------------------------------------------------------


def ratio(part: str, whole: str, *, title: str, failed: bool = False, keys: tuple[str, ...] = ()) -> Drawer:
    """Draw one counter as a share of another, by arm, in per cent; `failed` counts only outcomes that are not good."""

    def draw(asked: Asked) -> Figure:
        def group(series: Series) -> tuple[str, bool] | None:
            if series.metric not in (part, whole):
                return None
            bad = series.outcome not in GOOD if failed else series.metric == part
            return by_arm(series), bad

        found = asked.lines(group)
        arms = [one for one in ARM_ORDER if (one, False) in found or (one, True) in found]
        if not arms or (not failed and not any((one, False) in found for one in arms)):
            return empty(asked, f"reported {small(metrics.CATALOGUE[whole].title)}", whole)
        traces: list[Trace] = []
        said: list[str] = []
        zeros = [0.0] * asked.window.steps
        nothing: list[float | None] = [None] * asked.window.steps
        of, highest = 0.0, 0.0
        percent, unit = (1.0, "1") if asked.exact else (100.0, "%")
        for key in arms:
            bad, rest = found.get((key, True)), found.get((key, False))
            above = bad.grid.totals() if bad else zeros
            below = rest.grid.totals() if rest else nothing
            if failed:
                below = [
                    None if a is None and b is None else (a or 0.0) + (b or 0.0)
                    for a, b in zip(below, bad.grid.totals() if bad else below, strict=True)
                ]
            y = [metrics.share(part, whole, a or 0.0, b or 0.0) for a, b in zip(above, below, strict=True)]
            total = (rest.whole.total if rest else 0.0) + (bad.whole.total if bad and failed else 0.0)
            share = metrics.share(part, whole, bad.whole.total if bad else 0.0, total)
            traces.append(trace(asked, asked.drawn(y, percent), name=arm_word(key, arms), style=key))
            said.append(f"{arm_word(key, arms)} {words(share, 'share')} of {words(total, '')}")
            of += total
            highest = max(highest, *(value for value in y if value is not None), 0.0)
        lines = limits(asked, keys, scale=percent, highest=highest)
        text = many(of, metrics.CATALOGUE[whole].unit.strip("{}"))
        under = foot(asked, text, newest(found.values()), filled(found.values()), aimless=aimless(lines))
        return figure(asked, f"{title}: {', '.join(said)}", unit, traces, under, lines)

    return Drawer((part, whole), draw, keys)


def counts(name: str, *, bad_only: bool = False) -> Drawer:
    """Draw how often something was counted in each step, by its outcome or pattern; control stands apart."""
    metric = metrics.CATALOGUE[name]

    def draw(asked: Asked) -> Figure:
        def group(series: Series) -> tuple[str, bool] | None:
            return (series.outcome, by_arm(series) == CONTROL) if series.metric == name else None

        everything = asked.lines(group)
        found = {key: line for key, line in everything.items() if not bad_only or key[0] not in GOOD}
        if not found:
            if everything:
                total = sum(line.whole.total for line in everything.values())
                sentence = f"None of {words(total, '')} {metric.title.lower()} failed in this window."
                return empty(asked, "", name, sentence=sentence, brings="The first that fails is drawn.")
            return empty(asked, f"reported {small(metric.title)}", name)
        mark = ", simulated" if asked.simulated else ""
        named = {
            (key or small(metric.title)) + (", control" if control else "") + mark: line
            for (key, control), line in sorted(found.items())
        }
        styles = ("", "series-5", "series-6", "gpu", "npu", "cpu", "cloud")
        traces = [
            charts.bars(asked.steps, asked.drawn(line.grid.totals()), name=key, style=styles[place % len(styles)])
            for place, (key, line) in enumerate(named.items())
        ]
        said = ", ".join(f"{key} {words(line.whole.total, '')}" for key, line in named.items())
        under = foot(asked, sample(metric, found.values()), newest(everything.values()), (), aimless=True)
        return figure(asked, f"{metric.title}: {said}", "", traces, under)

    return Drawer((name,), draw)


def rates(name: str, *, title: str) -> Drawer:
    """Draw a counter's growth by arm, per minute."""
    metric = metrics.CATALOGUE[name]

    def draw(asked: Asked) -> Figure:
        found = _ordered(asked.lines(lambda series: by_arm(series) if series.metric == name else None), ARM_ORDER)
        if not found:
            return empty(asked, f"reported {small(metric.title)}", name)
        minutes = asked.window.step.total_seconds() / 60

        def ended(totals: list[float | None]) -> list[float | None]:
            """Leave the step out that is still under way: drawn as a whole one it would look like a fall."""
            return [*totals[:-1], None] if asked.live and totals else totals

        traces = [
            trace(asked, asked.drawn(ended(line.grid.totals()), 1 / minutes), name=arm_word(key, found), style=key)
            for key, line in found.items()
        ]
        said = ", ".join(f"{arm_word(key, found)} {words(line.whole.total, '')} in all" for key, line in found.items())
        under = _under(asked, metric, found, aimless=True)
        return figure(asked, f"{title}: {said}", "/min", traces, under)

    return Drawer((name,), draw)
