"""The LiteRT page's charts and tiles: readings turned into lines, words and marks. Reads by selectors, draws nothing."""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.urls import reverse

from hawkops.core import charts
from hawkops.core.charts import Chart, Figure, Mark, Trace
from hawkops.core.templatetags.look import number, percent
from hawkops.core.verdicts import Verdict, worst
from hawkops.history import selectors as history
from hawkops.history.models import HistoryEntry
from monitoring.domain import metrics, targets
from monitoring.domain.sketch import Sketch
from monitoring.domain.targets import Comparator, Judgement, Stage, Target
from monitoring.domain.windows import Window
from monitoring.models import Series
from monitoring.selectors import telemetry as selectors
from monitoring.selectors.telemetry import BACKEND_WORDS as WORDS
from monitoring.selectors.telemetry import BACKENDS, Population, Reading

NBSP = "\u202f"
# A ceiling far above everything measured would flatten the lines; the caption still says it.
FAR = 3.0
BANDS_MOST = 12


# --- changes ----------------------------------------------------------------------------------------------------------


def flag_marks(environment: str, *, since: datetime) -> list[Mark]:
    """Return a mark for every change of a flag since then, oldest first. One query."""
    found = history.entries(environment=environment, verb_prefix="flag.", since=since)[: charts.MARKS_MOST]
    return [
        Mark(entry.at, _said(entry), reverse("history:entry", kwargs={"environment": environment, "seq": entry.seq}))
        for entry in reversed(list(found))
    ]


def lettered(marks: Sequence[Mark]) -> list[dict[str, str]]:
    """Give marks the letters that the charts draw."""
    return [
        {"letter": letter, "text": mark.text, "url": mark.url}
        for letter, mark in zip(string.ascii_uppercase, marks, strict=False)
    ]


def _said(entry: HistoryEntry) -> str:
    """Say a change of a flag in one sentence: what, by whom, why."""
    key = entry.subject.partition(":")[2]
    before, after = entry.before or {}, entry.after or {}
    if entry.verb == "flag.killed":
        what = "LiteRT killed, cloud fallback forced on"
    elif entry.verb == "flag.reenabled":
        what = f"{key} re-enabled"
    elif entry.verb == "flag.created":
        what = "Flags created"
    elif entry.verb == "flag.override_cleared":
        what = f"Override of {key} lifted"
    elif entry.verb == "flag.override_set":
        override = after.get("override") if isinstance(after, dict) else None
        what = f"{key} forced {override['variant']}" if isinstance(override, dict) else f"{key} overridden"
    elif entry.verb == "flag.percentage_set" and {"percentage"} <= set(before) & set(after):
        what = f"{key} {percent(before['percentage'])} to {percent(after['percentage'])}"
    else:
        what = f"{key}: {entry.verb.removeprefix('flag.').replace('_', ' ')}"
    why = f": {entry.reason}" if entry.reason else ""
    return f"{what}, {entry.actor_label}{why}"


# --- words for numbers ------------------------------------------------------------------------------------------------


def rate_words(value: float | None) -> tuple[str, str]:
    """Write tokens per second."""
    if value is None:
        return "–", ""
    return (number(round(value)) if value >= 100 else f"{value:.1f}"), "tok/s"


def seconds_words(value: float | None) -> tuple[str, str]:
    """Write a duration: milliseconds below one second."""
    if value is None:
        return "–", ""
    return (number(round(value * 1e3)), "ms") if value < 1 else (f"{value:.2f}", "s")


def bytes_words(value: float | None) -> tuple[str, str]:
    """Write a size; MB are 10^6 bytes and GB 10^9."""
    if value is None:
        return "–", ""
    return (f"{value / 1e9:.2f}", "GB") if value >= 1e9 else (number(round(value / 1e6)), "MB")


def _together(words: tuple[str, str]) -> str:
    return NBSP.join(words).strip(NBSP)


# --- tiles ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tile:
    """One number with its neighbours: target, sample, age, verdict. `judged` is false for what has no verdict."""

    title: str
    figure: str
    unit: str
    meta: str
    detail: str
    at: datetime | None
    judgement: Judgement
    judged: bool
    simulated: bool
    backend: str = ""


def tiles(
    *, environment: str, found: dict[tuple[str, str], Reading], switches: float | None, switches_at: datetime | None,
    population: Population,
) -> list[Tile]:  # fmt: skip
    """Return the readings above the charts; `switches` is per device over the last hour."""
    allowed = selectors.may_judge(environment, simulated=bool(population.simulated))
    made = [_throughput_tile(found.get((metrics.PREFILL, backend)), backend) for backend in BACKENDS[:3]]
    latency = found.get((metrics.OPERATION, ""))
    cloud = found.get((metrics.OPERATION, "cloud"))
    beside = f"limit 3{NBSP}s" + (
        f", cloud {_together(seconds_words(cloud.value))}" if cloud and cloud.value is not None else ""
    )
    made.append(_tile("Latency, p95", latency, seconds_words, beside))
    made.append(_memory_tile(found.get((metrics.MEMORY_PEAK, "")), found.get((metrics.MEMORY, ""))))
    made.append(
        _tile(
            "Switch time, mean", found.get((metrics.SWITCH_DURATION, "")), seconds_words, f"limit 500{NBSP}ms", few=True
        )
    )
    judgement = targets.judge(
        value=switches,
        count=1,
        age_seconds=None if switches is None else 0.0,
        target=targets.SWITCHES_PER_HOUR,
        minimum_sample=1,
        allowed=allowed,
    )
    made.append(
        Tile(
            title="Switches, last hour",
            figure="–" if switches is None else number(round(switches, 1)),
            unit="per device",
            meta="limit 10",
            detail=judgement.sentence,
            at=switches_at,
            judgement=judgement,
            judged=True,
            simulated=bool(population.simulated),
        )
    )
    return made


def _memory_tile(peak: Reading | None, average: Reading | None) -> Tile:
    """One tile for both limits of memory; its verdict is the worse one."""
    mean = f", average {_together(bytes_words(average.value))} of 1.8{NBSP}GB" if average and average.count else ""
    tile = _tile("Memory, peak", peak, bytes_words, f"limit 2{NBSP}GB{mean}")
    if average and average.count and average.judgement.verdict is not tile.judgement.verdict:
        verdict = worst([tile.judgement.verdict, average.judgement.verdict])
        judgement = tile.judgement if verdict is tile.judgement.verdict else average.judgement
        return replace(tile, judgement=judgement, detail=judgement.sentence)
    return tile


def _throughput_tile(reading: Reading | None, backend: str) -> Tile:
    title = f"{WORDS[backend]} prefill, p5"
    if reading is None:
        nothing = Judgement(Verdict.NO_DATA, f"no device has run on the {WORDS[backend]}")
        return Tile(title, "–", "", nothing.sentence, "", None, nothing, judged=True, simulated=False, backend=backend)
    target = f"target {number(round(reading.target.threshold))}" if reading.target else "no absolute target"
    return _tile(title, reading, rate_words, target, backend=backend)


def _tile(
    title: str,
    reading: Reading | None,
    words: Callable[[float | None], tuple[str, str]],
    beside: str,
    *,
    backend: str = "",
    few: bool = False,
) -> Tile:
    if reading is None:
        nothing = Judgement(Verdict.NO_DATA, "nothing has reported yet")
        return Tile(title, "–", "", beside, nothing.sentence, None, nothing, judged=True, simulated=False)
    figure, unit = words(reading.value)
    judgement = reading.judgement
    if few and reading.judgement.verdict is Verdict.STALE and reading.count == 0:
        judgement = Judgement(Verdict.NO_DATA, "no switch in the last 5 min")
    samples = f"{number(reading.count)} samples" if reading.count else ""
    sentence = judgement.sentence if reading.target or not reading.count else ""
    detail = ", ".join(words for words in (sentence, samples) if words)
    return Tile(
        title=title,
        figure=figure,
        unit=unit,
        meta=beside,
        detail=detail,
        at=reading.at,
        judgement=judgement,
        judged=reading.target is not None,
        simulated=reading.simulated,
        backend=backend,
    )


# --- charts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What a chart is asked for."""

    environment: str
    window: Window
    population: Population
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Panel:
    """A chart's place on the page."""

    name: str
    title: str
    caption: str
    draw: Callable[[Asked], Figure]
    backend: str = ""
    topics: str = "telemetry history"


def _empty(asked: Asked, what: str) -> Figure:
    who = {True: "simulated device", False: "device", None: "device"}[asked.population.simulated]
    return charts.empty(
        f"No {who} {what} in this window.",
        brings="It appears within 5 s of a device's report, without reloading.",
    )


def _grouped(asked: Asked, name: str, *, backend: str = "") -> dict[str, selectors.Line[str]]:
    def group(series: Series) -> str | None:
        if not asked.population.holds(series) or (backend and series.backend_actual != backend):
            return None
        return series.backend_actual

    return selectors.lines(environment=asked.environment, names=(name,), window=asked.window, group=group)


def _pair(asked: Asked, line: selectors.Line[str], metric: metrics.Metric, *, scale: float, alone: bool) -> list[Trace]:
    """Draw the guaranteed percentile thick and the median thin; alone, with the band between them."""
    x = asked.window.starts()
    q = metric.guaranteed

    def read(quantile: float) -> Callable[[Sketch], float | None]:
        def at(sketch: Sketch) -> float | None:
            value = sketch.quantile(quantile)
            return None if value is None else round(value * scale, 4)

        return at

    guaranteed, median = line.values(asked.window, read(q)), line.values(asked.window, read(0.5))
    simulated = bool(asked.population.simulated)
    style = line.group or "treatment"
    label = f"{WORDS.get(line.group, line.group)} " if not alone else ""
    name = "p5, 95 % reach it" if q < 0.5 else "p95"
    # A single step with data between two without would be an invisible line: markers show it.
    dots = sum(value is not None for value in median) < 12
    return [
        *(_bands(x, guaranteed, median, style) if alone and not simulated else ()),
        charts.line(x, median, name=f"{label}p50", style=style, thin=True, simulated=simulated, markers=dots),
        charts.line(x, guaranteed, name=f"{label}{name}", style=style, simulated=simulated, markers=dots),
    ]


def _bands(x: Sequence[datetime], low: Sequence[float | None], high: Sequence[float | None], style: str) -> list[Trace]:
    """Fill between two lines, one piece for each stretch without a gap: Plotly would bridge the gaps."""
    made: list[Trace] = []
    start = 0
    for step in range(len(x) + 1):
        if step == len(x) or low[step] is None or high[step] is None:
            if step - start > 1:
                made += charts.band(x[start:step], low[start:step], high[start:step], style=style)
            start = step + 1
    return made if len(made) <= 2 * BANDS_MOST else []


def _throughput(asked: Asked, name: str, *, backend: str = "") -> Figure:
    stage = Stage.PREFILL if name == metrics.PREFILL else Stage.DECODE
    found = _grouped(asked, name, backend=backend)
    found.pop("", None)
    if not found:
        where = f"ran {stage} on the {WORDS[backend]}" if backend else f"reported {stage} throughput"
        return _empty(asked, where)
    metric = metrics.CATALOGUE[name]
    traces: list[Trace] = []
    lines: list[charts.Target] = []
    said: list[str] = []
    for actual in [one for one in BACKENDS if one in found]:
        line = found[actual]
        traces += _pair(asked, line, metric, scale=1.0, alone=len(found) == 1)
        profile = targets.common_profile(line.device_classes, environment=asked.environment)
        target = profile.target(stage, actual) if profile else None
        value = line.whole.quantile(metric.guaranteed)
        if target is not None:
            prefix = f"{WORDS[actual]} " if len(found) > 1 else ""
            lines.append(
                _line(f"{prefix}target {number(round(target.threshold))}", target, _last(line, metric), 1.0, asked)
            )
        median = line.whole.quantile(0.5)
        said.append(
            f"{WORDS[actual]} {stage} p5 {_together(rate_words(value))}, p50 {_together(rate_words(median))}"
            + (f", target {number(round(target.threshold))}" if target else ", no absolute target")
        )
    return _figure(asked, "; ".join(said), "tok/s", traces, found.values(), lines, zero=True)


def _last(line: selectors.Line[str], metric: metrics.Metric) -> float | None:
    """Read the newest full picture: the last three steps with data, merged."""
    recent = Sketch()
    for step in sorted(line.steps)[-3:]:
        recent.merge(line.steps[step])
    return recent.quantile(metric.guaranteed)


def _line(label: str, target: Target, value: float | None, scale: float, asked: Asked) -> charts.Target:
    judged = selectors.may_judge(asked.environment, simulated=bool(asked.population.simulated))
    missed = None if value is None or not judged else not target.comparator.holds(value, target.threshold)
    return charts.Target(target.threshold * scale, label, missed)


def _near(target: Target, highest: float) -> bool:
    return target.comparator is Comparator.AT_LEAST or target.threshold <= highest * FAR


def _figure(
    asked: Asked,
    sentence: str,
    unit: str,
    traces: Sequence[Trace],
    found: object,
    lines: Sequence[charts.Target] = (),
    *,
    zero: bool = False,
) -> Figure:
    last = [line.last_at for line in found if line.last_at]  # type: ignore[attr-defined]
    return charts.figure(
        Chart(
            sentence=sentence,
            unit=unit,
            traces=traces,
            since=asked.window.since,
            until=asked.window.until,
            targets=lines,
            marks=asked.marks,
            data_at=max(last, default=None),
            zero_based=zero,
        )
    )


def prefill(asked: Asked) -> Figure:
    """Prefill tokens per second on every backend that ran."""
    return _throughput(asked, metrics.PREFILL)


def prefill_cpu(asked: Asked) -> Figure:
    """Prefill on the CPU."""
    return _throughput(asked, metrics.PREFILL, backend="cpu")


def prefill_gpu(asked: Asked) -> Figure:
    """Prefill on the GPU."""
    return _throughput(asked, metrics.PREFILL, backend="gpu")


def prefill_npu(asked: Asked) -> Figure:
    """Prefill on the NPU."""
    return _throughput(asked, metrics.PREFILL, backend="npu")


def decode(asked: Asked) -> Figure:
    """Decode tokens per second on every backend that ran."""
    return _throughput(asked, metrics.DECODE)


def latency(asked: Asked) -> Figure:
    """Inference latency by where it ran, with the gate and the alert limit when they are near."""
    found = _grouped(asked, metrics.OPERATION)
    if not found:
        return _empty(asked, "reported an inference")
    metric = metrics.CATALOGUE[metrics.OPERATION]
    highest = max(line.whole.high for line in found.values())
    scale, unit = (1.0, "s") if highest >= 1 else (1e3, "ms")
    traces: list[Trace] = []
    said: list[str] = []
    for actual in [one for one in (*BACKENDS, "") if one in found]:
        traces += _pair(asked, found[actual], metric, scale=scale, alone=len(found) == 1)
        said.append(f"{WORDS[actual]} p95 {_together(seconds_words(found[actual].whole.quantile(0.95)))}")
    local = [line for actual, line in found.items() if actual != "cloud"]
    worst = max((value for line in local if (value := _last(line, metric)) is not None), default=None)
    lines = [
        _line(f"{target.label} {target.threshold:g} s", target, worst, scale, asked)
        for target in (targets.LATENCY_GATE, targets.LATENCY_ALERT)
        if _near(target, highest)
    ]
    return _figure(asked, "Latency: " + ", ".join(said), unit, traces, found.values(), lines, zero=True)


def memory(asked: Asked) -> Figure:
    """Memory in use (mean) and its peak (highest), with the limits when they are near."""

    def group(series: Series) -> str | None:
        return series.metric if asked.population.holds(series) else None

    found = selectors.lines(
        environment=asked.environment, names=(metrics.MEMORY, metrics.MEMORY_PEAK), window=asked.window, group=group
    )
    if not found:
        return _empty(asked, "reported its memory")
    highest = max(line.whole.high for line in found.values())
    scale, unit = (1e-9, "GB") if highest >= 1e9 else (1e-6, "MB")
    simulated = bool(asked.population.simulated)
    x = asked.window.starts()
    traces: list[Trace] = []
    said: list[str] = []
    lines: list[charts.Target] = []
    for name, label, target in (
        (metrics.MEMORY_PEAK, "peak", targets.MEMORY_PEAK),
        (metrics.MEMORY, "average", targets.MEMORY_AVERAGE),
    ):
        line = found.get(name)
        if line is None:
            continue
        read: Callable[[Sketch], float | None] = (
            (lambda sketch: round(sketch.high * scale, 4))
            if name == metrics.MEMORY_PEAK
            else (lambda sketch: round((sketch.mean or 0.0) * scale, 4))
        )
        y = line.values(asked.window, read)
        dots = sum(value is not None for value in y) < 12
        thin = name == metrics.MEMORY
        traces.append(charts.line(x, y, name=label, thin=thin, simulated=simulated, markers=dots))
        now = line.whole.high if name == metrics.MEMORY_PEAK else line.whole.mean
        said.append(f"{label} {_together(bytes_words(now))}")
        if _near(target, highest) and (name == metrics.MEMORY_PEAK or 2 * (now or 0.0) > target.threshold):
            lines.append(_line(f"{target.label} {target.threshold / 1e9:g} GB", target, now, scale, asked))
    return _figure(asked, "Memory: " + ", ".join(said), unit, traces, found.values(), lines, zero=True)


def switches(asked: Asked) -> Figure:
    """Backend switches in the hour before each moment, per device, against the limit."""
    devices = selectors.devices_in(selectors.device_classes(asked.environment), asked.population)
    values, last_at = selectors.switches_per_hour(
        environment=asked.environment, window=asked.window, population=asked.population, devices=devices
    )
    known = [value for value in values if value is not None]
    if not known:
        return _empty(asked, "reported")
    simulated = bool(asked.population.simulated)
    dots = len(known) < 12
    rounded = [None if value is None else round(value, 3) for value in values]
    trace = charts.line(
        asked.window.starts(), rounded, name="switches in the hour before", simulated=simulated, markers=dots
    )
    limit = targets.SWITCHES_PER_HOUR
    return charts.figure(
        Chart(
            sentence=f"Switches per device and hour: now {known[-1]:.1f}, at most {max(known):.1f}, limit 10",
            unit="/h",
            traces=[trace],
            since=asked.window.since,
            until=asked.window.until,
            targets=[_line("limit 10 an hour", limit, known[-1], 1.0, asked)],
            marks=asked.marks,
            data_at=last_at,
            zero_based=True,
        )
    )


PANELS = (
    Panel("prefill-cpu", "CPU prefill, tok/s", "p5: 95 % of inferences are faster", prefill_cpu, "cpu"),
    Panel("prefill-gpu", "GPU prefill, tok/s", "p5: 95 % of inferences are faster", prefill_gpu, "gpu"),
    Panel("prefill-npu", "NPU prefill, tok/s", "p5: 95 % of inferences are faster", prefill_npu, "npu"),
    Panel("decode", "Decode, tok/s", "p5 by the backend that really ran", decode),
    Panel("latency", "Inference latency", "By where it really ran. Gate 3 s, alert 5 s at p95", latency),
    Panel("memory", "Memory", "Limits: 2 GB peak, 1.8 GB average", memory),
    Panel("switches", "Switches an hour, per device", "In the hour before each moment. Limit 10", switches),
)
CHARTS: dict[str, Callable[[Asked], Figure]] = {"prefill": prefill, **{panel.name: panel.draw for panel in PANELS}}
