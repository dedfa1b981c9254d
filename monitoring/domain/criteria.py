"""Criterion → reading → verdict: one idea for every number of the runbook. Pure.

A criterion says what is read (metric, aggregate, window, scope), how it must stand to a threshold, and how many samples it
takes to say so. Alerts, gates, phases, validation and go/no-go use it unchanged; only what happens with the verdict differs.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from hawkops.core.verdicts import Verdict
from monitoring.domain import metrics
from monitoring.domain.arms import Arm, belongs
from monitoring.domain.grid import Observed
from monitoring.domain.metrics import CATALOGUE, Direction, Kind, Metric, known
from monitoring.domain.statistics.proportions import at_most

if TYPE_CHECKING:
    from monitoring.domain.numbers import Numbers

Path = tuple[str | int, ...]
BACKENDS = ("cpu", "gpu", "npu", "cloud")
SAMPLES = 30
# the time before a release that tells what is normal, and how many of its hours must have been seen to say so
BASELINE, BASELINE_HOURS_LEAST = timedelta(days=14), 100
# a breach this unlikely to be chance is one, even on fewer observations than a pass takes
SURE, SURE_EVENTS = 0.001, 3
KEY = re.compile(r"[a-z][a-z0-9-]{2,59}")
WINDOW = re.compile(r"([1-9][0-9]{0,3})(s|m|h|d)")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
WINDOW_LEAST, WINDOW_MOST = timedelta(seconds=10), timedelta(days=14)
QUANTITY = re.compile(r"(-?[0-9]+(?:[.,_\s][0-9]+)*)\s*([^0-9].*)?")
NUMBER_MOST = 1e15
_NARROW = "\u202f"


def writable(text: str) -> bool:
    """Whether a line of text holds no control character or half of a character: PostgreSQL refuses some of them."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


class Unfit(Exception):
    """A criterion can't be used as it is; `path` says which part."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


class Purpose(StrEnum):
    """Who uses the criterion."""

    ALERT = "alert"
    GATE = "gate"
    PHASE = "phase"
    VALIDATION = "validation"
    SECURITY = "security"
    DECISION = "go/no-go"


class Severity(StrEnum):
    """How urgent a breach is; the runbook's matrix says who hears of it and when."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Aggregate(StrEnum):
    """What is made of the observations in a window."""

    P5 = "p5"
    P50 = "p50"
    P95 = "p95"
    P99 = "p99"
    MEAN = "mean"
    MAX = "max"
    COUNT = "count"
    RATIO = "ratio"
    PER_DEVICE = "per device"
    # comparisons with the control, or with the time before
    TIMES = "ratio of medians"
    CHANGE = "change of means"
    RANGE = "normal range"
    INTERVAL = "interval of change"

    @property
    def compares(self) -> bool:
        """Whether it says how something stands to something else."""
        return self in (Aggregate.TIMES, Aggregate.CHANGE, Aggregate.RANGE, Aggregate.INTERVAL)

    @property
    def quantile(self) -> float | None:
        """The share of observations below; None for what isn't a percentile."""
        return {"p5": 0.05, "p50": 0.5, "p95": 0.95, "p99": 0.99}.get(self.value)

    @property
    def label(self) -> str:
        """How a sentence names it."""
        words = {
            "max": "highest",
            "count": "number",
            "ratio": "share",
            "ratio of medians": "times better in the median",
            "change of means": "change in the mean",
            "normal range": "mean",
            "interval of change": "interval of the change",
        }
        return words.get(self.value, self.value)


class Comparator(StrEnum):
    """How a reading must stand to its threshold."""

    AT_LEAST = "≥"
    BELOW = "<"
    AT_MOST = "≤"
    ABOVE = ">"

    @property
    def floor(self) -> bool:
        """Whether more is better."""
        return self in (Comparator.AT_LEAST, Comparator.ABOVE)

    def holds(self, value: float, threshold: float) -> bool:
        """Whether the value meets the threshold."""
        if self is Comparator.AT_LEAST:
            return value >= threshold
        if self is Comparator.ABOVE:
            return value > threshold
        return value < threshold if self is Comparator.BELOW else value <= threshold


ASCII = {">=": Comparator.AT_LEAST, ">": Comparator.ABOVE, "<": Comparator.BELOW, "<=": Comparator.AT_MOST}


class Against(StrEnum):
    """What a comparison compares with."""

    CONTROL = "control"
    BASELINE = "baseline"


@dataclass(frozen=True)
class Selection:
    """Which series count: a metric, and what some of its dimensions must be. Empty means any."""

    metric: str
    backends: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    not_outcomes: tuple[str, ...] = ()
    arm: Arm | None = None
    # only what ran on another backend than was asked for
    elsewhere: bool = False
    # only device classes that have run the backend they asked for: the others simply lack it
    able: bool = False

    def holds(self, *, metric: str, backend: str, outcome: str, variant: str = "", requested: str = "") -> bool:
        """Whether a series belongs to it; which classes are `able`, a single series can't tell."""
        if self.elsewhere and requested in ("", backend):
            return False
        if metric != self.metric or (self.backends and backend not in self.backends):
            return False
        if not belongs(variant, self.arm):
            return False
        if self.outcomes and outcome not in self.outcomes:
            return False
        return not self.not_outcomes or outcome not in self.not_outcomes


@dataclass(frozen=True)
class Criterion:
    """One rule. `threshold` is in the metric's own unit; None stands for the profile of the device class."""

    key: str
    title: str
    purpose: Purpose
    over: Selection
    aggregate: Aggregate
    window: timedelta
    comparator: Comparator
    threshold: float | None
    serves: str
    of: Selection | None = None
    severity: Severity = Severity.WARNING
    samples: int = SAMPLES
    for_: timedelta = timedelta()
    where_available: bool = False
    # whether its silence is an alert of its own
    no_data: bool = False
    phases: tuple[int, ...] = ()
    action: str = ""
    paused: bool = False
    against: Against | None = None
    # why what is stored can't be used; such a criterion is judged ERROR, whatever it reads
    broken: str = ""

    @property
    def metric(self) -> Metric | None:
        """The metric's entry in the catalogue; None for one that the team declared itself."""
        return CATALOGUE.get(self.over.metric)

    @property
    def unit(self) -> str:
        """The unit of the threshold; empty for a share or a count."""
        bare = self.aggregate.compares or self.aggregate in (Aggregate.RATIO, Aggregate.COUNT, Aggregate.PER_DEVICE)
        return "" if bare or self.metric is None else self.metric.unit

    def sentence(self, *, listed: bool = False) -> str:
        """Say the rule in words: `p95 of inference latency stays below 5 s over 5 min`.

        In a list that says it once, the treatment and who did not say goes without saying, and all devices do not.
        """
        if self.broken:
            return f"can't be used: {self.broken}"
        must = {
            Comparator.AT_LEAST: "is at least",
            Comparator.ABOVE: "is above",
            Comparator.BELOW: "stays below",
            Comparator.AT_MOST: "is at most",
        }[self.comparator]
        goal = "the profile of the device class" if self.threshold is None else shown(self.threshold, self)
        if self.aggregate is Aggregate.RANGE:
            must = "lies within"
            goal = f"the middle {goal} of its hourly means in the {spoken(BASELINE)} before"
        return f"{self._subject(listed=listed)} {must} {goal} over {spoken(self.window)}"

    def _whose(self, *, listed: bool) -> str:
        if self.over.arm is None:
            return " of all devices" if listed and self.over.metric not in metrics.MEASURED else ""
        if self.over.arm is not Arm.TREATMENT or self.against is Against.CONTROL:
            return f" of devices in {self.over.arm.value}"
        return "" if listed else f" of devices in {self.over.arm.value} (or that did not say)"

    def _subject(self, *, listed: bool) -> str:
        title = (self.metric.title if self.metric else self.over.metric).lower()
        if self.over.not_outcomes:
            title += " that did not end well"
        elif self.over.elsewhere:
            title += " that ran elsewhere than asked"
        elif self.over.outcomes:
            title += f" with the outcome {' or '.join(self.over.outcomes)}"
        what = f"{self.aggregate.label} of {title}"
        if self.of is not None:
            whole = CATALOGUE[self.of.metric].title.lower() if self.of.metric in CATALOGUE else self.of.metric
            what = f"{title} as a share of {whole}"
            if self.aggregate.compares:
                what = f"{self.aggregate.label} of {what}"
        elif self.aggregate is Aggregate.PER_DEVICE:
            what = f"{title} per device"
        if self.over.elsewhere:
            what += ", of classes that have what they asked for,"
        if self.over.backends:
            what += f" on {', '.join(self.over.backends)}"
        what += self._whose(listed=listed)
        if self.against is not None and self.aggregate is not Aggregate.RANGE:
            what += " against control" if self.against is Against.CONTROL else f" against {spoken(BASELINE)} before"
        if self.aggregate is Aggregate.P5 and self.comparator is Comparator.AT_LEAST:
            what += " (95\u202f% of observations reach it)"
        return what


@dataclass(frozen=True)
class Reading:
    """What was found: the number, on how many observations of how many devices, and when the newest was made."""

    value: float | None
    count: int = 0
    devices: int = 0
    at: datetime | None = None
    threshold: float | None = None
    scope: str = ""
    # what the number was made of, in words
    note: str = ""
    # and the raw numbers, where it was read from stored telemetry
    numbers: Numbers | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Judgement:
    """A verdict, the sentence with its numbers, and by which share a threshold is missed (0 when it is met)."""

    verdict: Verdict
    sentence: str
    missed: float = 0.0
    in_scope: bool = True


def judge(criterion: Criterion, reading: Reading, *, now: datetime, allowed: bool = True) -> Judgement:
    """Judge a reading. Too old and too few say so instead of passing. `allowed` is false for a wrong subject."""
    if criterion.broken:
        return Judgement(Verdict.ERROR, f"can't be used: {criterion.broken}")
    if criterion.where_available and reading.scope:
        return Judgement(Verdict.NO_DATA, reading.scope, in_scope=False)
    if not allowed:
        return Judgement(Verdict.NO_DATA, "wrong subject: simulated devices, not judged here")
    threshold = criterion.threshold if criterion.threshold is not None else reading.threshold
    if reading.value is None:
        if reading.note:
            return Judgement(Verdict.NO_DATA, reading.note)
        if reading.at is None:
            return Judgement(Verdict.NO_DATA, f"nothing reports {criterion.over.metric}")
        return Judgement(Verdict.STALE, f"no data for {spoken(now - reading.at)}")
    if threshold is None:
        return Judgement(Verdict.NO_DATA, "no absolute target for these devices")
    value, wanted = shown(reading.value, criterion), f"{criterion.comparator.value} {shown(threshold, criterion)}"
    about = f"{value}, wanted {wanted}; {_many(reading.count, 'observation')}"
    if reading.devices:
        about += f" of {_many(reading.devices, 'device')}"
    if reading.note:
        about += f"; {reading.note}"
    if reading.count < criterion.samples and not surely_missed(criterion, reading, threshold):
        return Judgement(Verdict.INSUFFICIENT, f"{about}, {criterion.samples} needed")
    if criterion.comparator.holds(reading.value, threshold):
        return Judgement(Verdict.PASS, about)
    missed = abs(reading.value - threshold) / abs(threshold) if threshold else 1.0
    return Judgement(Verdict.FAIL, f"{about}, {_miss(reading.value, threshold)}", missed)


def surely_missed(criterion: Criterion, reading: Reading, threshold: float) -> bool:
    """Whether a threshold is missed beyond doubt, on however few observations.

    More data can't lower a maximum or a count. A share is missed for sure when so many events would come by chance once
    in a thousand looks: the upper tail of the binomial distribution.
    """
    value = reading.value
    if value is None or criterion.comparator.holds(value, threshold):
        return False
    if criterion.aggregate in (Aggregate.MAX, Aggregate.COUNT):
        return not criterion.comparator.floor
    if criterion.aggregate is not Aggregate.RATIO:
        return False
    share = min(1.0, max(0.0, value))
    events, chance = (1 - share, 1 - threshold) if criterion.comparator.floor else (share, threshold)
    return _tail(round(events * reading.count), reading.count, chance) < SURE


def _tail(events: int, trials: int, chance: float) -> float:
    """Return how likely at least so many events are among trials that each succeed with a chance."""
    if events < SURE_EVENTS or events > trials:
        return 1.0
    return max(0.0, 1 - at_most(events - 1, trials, chance))


def samples_least(criterion: Criterion) -> int:
    """Return how many observations it takes for a pass to mean what the threshold says.

    The rule of three: without an event among n, its share is below 3 / n with 95 % certainty.
    """
    quantile, share = criterion.aggregate.quantile, criterion.threshold
    if quantile is not None and criterion.purpose is Purpose.ALERT:
        # an alert lets nothing advance: waiting for more would only let it sleep, and `for` waits chance out
        return SAMPLES
    if quantile is not None:
        return math.ceil(3 / min(quantile, 1 - quantile) - 1e-9)
    if criterion.aggregate is Aggregate.RATIO and share is not None:
        rare = 1 - share if criterion.comparator.floor else share
        return math.ceil(3 / rare - 1e-9) if rare > 0 else 1
    if criterion.aggregate in (Aggregate.MEAN, Aggregate.TIMES, Aggregate.CHANGE):
        return SAMPLES
    return 1


def read(criterion: Criterion, sketch: Observed, *, whole: Observed | None = None, devices: int = 0) -> float | None:
    """Make the number of a criterion from merged observations; `whole` is what a share is of.

    None without data, and for a comparison, which takes two sides.
    """
    if criterion.aggregate.compares:
        return None
    quantile = criterion.aggregate.quantile
    if quantile is not None:
        return sketch.quantile(quantile)
    if criterion.aggregate is Aggregate.MEAN:
        return sketch.mean
    if criterion.aggregate is Aggregate.MAX:
        return sketch.high if sketch.count else None
    if criterion.aggregate is Aggregate.RATIO:
        return share(criterion, sketch.total, whole.total) if whole is not None else None
    if criterion.aggregate is Aggregate.PER_DEVICE:
        return sketch.total / devices if devices else None
    return sketch.total


def share(criterion: Criterion, amount: float, of: float) -> float | None:
    """Return the share that a ratio is; None where there is nothing to be a share of."""
    return metrics.share(criterion.over.metric, criterion.of.metric if criterion.of else "", amount, of)


# ---- words ----


def more_than_all(criterion: Criterion, amount: float, of: float) -> str:
    """Say why a part is all of a whole that is smaller than it; empty where it is not."""
    part, whole = criterion.metric, criterion.of.metric if criterion.of else ""
    if part is None or part.part_of != whole or amount <= of:
        return ""
    said = f"{amount:,.0f} {part.title.lower()} on {of:,.0f} {CATALOGUE[whole].title.lower()}"
    return f"{said.replace(',', _NARROW)}: some began before"


def spoken(span: timedelta) -> str:
    """Say a span: `5 min`, `48 h`."""
    seconds = span.total_seconds()
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0 and (unit != "d" or seconds > 2 * 86_400):
            return f"{seconds / size:.0f}\u202f{unit}"
    return f"{seconds:.0f}\u202fs" if seconds < 120 else f"{seconds / 60:.0f}\u202fmin"


def shown(value: float, criterion: Criterion) -> str:
    """Write a value of a criterion as people read it."""
    if criterion.aggregate is Aggregate.TIMES:
        return f"{value:.2f}".rstrip("0").rstrip(".") + "×"
    share = criterion.metric is not None and criterion.metric.is_share and criterion.aggregate is not Aggregate.COUNT
    if criterion.aggregate is Aggregate.RATIO or criterion.aggregate.compares or share:
        return f"{value * 100:.2f}".rstrip("0").rstrip(".").replace("-", "−") + "\u202f%"
    unit = criterion.unit
    if unit == "s":
        return f"{value * 1000:.0f}\u202fms" if abs(value) < 1 else f"{value:.2f}".rstrip("0").rstrip(".") + "\u202fs"
    if unit == "By":
        return f"{value / 1e9:.2f}\u202fGB" if abs(value) >= 1e9 else f"{value / 1e6:.0f}\u202fMB"
    number = f"{value:,.2f}".rstrip("0").rstrip(".") if abs(value) < 100 else f"{value:,.0f}"
    return number.replace(",", "\u202f") + (f"\u202f{unit}" if unit and unit != "1" else "")


def _miss(value: float, threshold: float) -> str:
    """Say how far beyond its threshold a value is: in percent, from twice the threshold on in times."""
    if value == threshold:
        return "exactly at the limit"
    times = value / threshold if threshold else 0.0
    if times <= 0 and value:
        return "missed"  # of nothing, or on the other side of it, there is no share
    if times < 2:
        return f"missed by {abs(times - 1) * 100:.1f}\u202f%"
    return f"{times:,.{0 if times >= 100 else 1}f} times the limit".replace(",", _NARROW)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}".replace(",", "\u202f")


# ---- from plain data, and back ----


def unusable(*, key: str, purpose: str, title: str, message: str) -> Criterion:
    """Stand in for a stored criterion that can't be read, so that it is judged ERROR instead of being missed."""
    return Criterion(
        key=key,
        title=title or key,
        purpose=Purpose(purpose) if purpose in list(Purpose) else Purpose.ALERT,
        over=Selection(""),
        aggregate=Aggregate.COUNT,
        window=timedelta(minutes=5),
        comparator=Comparator.AT_MOST,
        threshold=0.0,
        serves="",
        broken=message,
    )


FIELDS = (
    "key",
    "title",
    "purpose",
    "metric",
    "backends",
    "outcomes",
    "not_outcomes",
    "elsewhere",
    "arm",
    "of",
    "aggregate",
    "against",
    "window",
    "comparator",
    "threshold",
    "severity",
    "samples",
    "for",
    "where_available",
    "no_data",
    "phases",
    "action",
    "serves",
    "paused",
)
NEEDED = ("key", "title", "purpose", "metric", "aggregate", "window", "comparator", "threshold", "serves")
UNITS: dict[str, dict[str, float]] = {
    "s": {"ms": 1e-3, "s": 1, "min": 60},
    "By": {"kB": 1e3, "MB": 1e6, "GB": 1e9},
    "tok/s": {"tok/s": 1, "tokens/sec": 1},
    "1": {"": 1, "%": 0.01},
}
PROFILE = "profile"


def criterion(data: Any, path: Path = ()) -> Criterion:
    """Read a criterion from plain data. Raises Unfit with the place of what is wrong."""
    if not isinstance(data, Mapping):
        raise Unfit(path, "a criterion is a mapping")
    for name in data:
        if name not in FIELDS:
            raise Unfit((*path, name), f"{name!r} is no part of a criterion; there are {', '.join(FIELDS)}")
    for name in NEEDED:
        if data.get(name) in (None, ""):
            raise Unfit(path, f"{name} is missing")
    key = _text(data, "key", path)
    if not KEY.fullmatch(key):
        raise Unfit((*path, "key"), f"{key!r} is no key: small letters, digits and dashes, 3 to 60")
    aggregate = _one_of(Aggregate, data, "aggregate", path)
    over = Selection(
        _metric(data, path),
        _list(data, "backends", path, BACKENDS),
        _list(data, "outcomes", path),
        _list(data, "not_outcomes", path),
        _one_of(Arm, data, "arm", path) if data.get("arm") else None,
        _yes(data, "elsewhere", path),
        _yes(data, "elsewhere", path),
    )
    of = None
    if aggregate is Aggregate.RATIO and not data.get("of"):
        raise Unfit(path, "a ratio needs `of`: the metric it is a share of")
    if data.get("of") and aggregate in (Aggregate.RATIO, Aggregate.CHANGE, Aggregate.INTERVAL):
        of = Selection(_known(str(data["of"]), (*path, "of")), over.backends, arm=over.arm, able=over.able)
    elif data.get("of"):
        raise Unfit((*path, "of"), "only a ratio, or the change of one, is of something")
    made = Criterion(
        key=key,
        title=_text(data, "title", path)[:120],
        purpose=_one_of(Purpose, data, "purpose", path),
        over=over,
        aggregate=aggregate,
        window=_span(data["window"], (*path, "window")),
        comparator=_comparator(data, path),
        threshold=0.0,
        serves=_text(data, "serves", path)[:200],
        of=of,
        severity=_one_of(Severity, data, "severity", path) if data.get("severity") else Severity.WARNING,
        samples=_whole(data, "samples", path, SAMPLES),
        for_=_span(data["for"], (*path, "for"), least=timedelta()) if data.get("for") else timedelta(),
        where_available=_yes(data, "where_available", path),
        no_data=_yes(data, "no_data", path),
        phases=_phases(data, path),
        action=_text(data, "action", path)[:200] if data.get("action") else "",
        paused=_yes(data, "paused", path),
        against=_one_of(Against, data, "against", path) if data.get("against") else None,
    )
    _sensible(made, path)
    return replace(made, threshold=_threshold(data["threshold"], made, (*path, "threshold")))


def document(made: Criterion) -> dict[str, Any]:
    """Write a criterion as the plain data it can be read from again; what is usual is left out."""
    data: dict[str, Any] = {
        "key": made.key,
        "title": made.title,
        "purpose": made.purpose.value,
        "metric": made.over.metric,
        "aggregate": made.aggregate.value,
        "window": written(made.window),
        "comparator": next(text for text, one in ASCII.items() if one is made.comparator),
        "threshold": PROFILE if made.threshold is None else _quantity(made.threshold, made),
        "severity": made.severity.value,
        "serves": made.serves,
    }
    if made.of is not None:
        data["of"] = made.of.metric
    for name, value in (
        ("backends", list(made.over.backends)),
        ("elsewhere", made.over.elsewhere),
        ("arm", made.over.arm.value if made.over.arm else ""),
        ("against", made.against.value if made.against else ""),
        ("outcomes", list(made.over.outcomes)),
        ("not_outcomes", list(made.over.not_outcomes)),
        ("phases", list(made.phases)),
        ("action", made.action),
        ("where_available", made.where_available),
        ("no_data", made.no_data),
        ("paused", made.paused),
    ):
        if value:
            data[name] = value
    if made.samples != SAMPLES:
        data["samples"] = made.samples
    if made.for_:
        data["for"] = written(made.for_)
    return {name: data[name] for name in FIELDS if name in data}


def _sensible(made: Criterion, path: Path) -> None:
    metric = made.metric
    floor = made.comparator.floor
    _comparison(made, path)
    if metric is None:
        return
    if made.aggregate.quantile is not None and metric.kind is Kind.COUNTER:
        raise Unfit((*path, "aggregate"), f"{metric.name} is a counter: it has no percentile")
    if made.aggregate in (Aggregate.COUNT, Aggregate.RATIO, Aggregate.PER_DEVICE) and metric.kind is not Kind.COUNTER:
        raise Unfit((*path, "aggregate"), f"{metric.name} is no counter: it can't be counted up")
    better = metric.direction
    directed = made.aggregate.quantile is not None or (made.aggregate is Aggregate.CHANGE and made.of is None)
    if directed and better is not Direction.NEITHER and floor is not (better is Direction.HIGHER):
        raise Unfit(
            (*path, "comparator"), f"{better.value} is better for {metric.name}; this would demand the opposite"
        )
    if made.aggregate is Aggregate.P95 and floor:
        raise Unfit((*path, "aggregate"), "a floor that 95 % of observations reach is the 5th percentile: write p5")


def _comparison(made: Criterion, path: Path) -> None:
    if made.aggregate.compares is not (made.against is not None):
        word = "needs" if made.aggregate.compares else "has no"
        raise Unfit((*path, "against"), f"{made.aggregate.value} {word} `against`: control or baseline")
    if made.against is Against.CONTROL and made.over.arm is not Arm.TREATMENT:
        raise Unfit((*path, "arm"), "what is compared with the control is the treatment: write arm: treatment")
    if made.aggregate is Aggregate.RANGE and made.against is not Against.BASELINE:
        raise Unfit((*path, "against"), "what is normal is told by the time before: write against: baseline")
    if made.against is Against.BASELINE and made.aggregate is not Aggregate.RANGE:
        counter = made.metric is not None and made.metric.kind is Kind.COUNTER
        if made.aggregate is not Aggregate.CHANGE or made.of is not None or counter:
            raise Unfit((*path, "against"), "only a mean or a normal range is compared with the time before")
    if made.aggregate is Aggregate.INTERVAL and made.against is not Against.CONTROL:
        raise Unfit((*path, "against"), "an interval is of the change against control")
    if made.aggregate in (Aggregate.TIMES, Aggregate.RANGE) and made.metric and made.metric.kind is Kind.COUNTER:
        raise Unfit((*path, "aggregate"), f"{made.over.metric} is a counter: it has neither median nor range")
    if made.comparator is Comparator.ABOVE and made.aggregate is not Aggregate.INTERVAL:
        raise Unfit((*path, "comparator"), "only an interval lies above something; write >=")


def _text(data: Mapping[str, Any], name: str, path: Path) -> str:
    value = data[name]
    if not isinstance(value, str) or not value.strip():
        raise Unfit((*path, name), f"{name} must be a text")
    if not writable(value):
        raise Unfit((*path, name), f"{name} has a character that can't be stored: a control character")
    return value.strip()


def _one_of(kind: type[Any], data: Mapping[str, Any], name: str, path: Path) -> Any:
    try:
        return kind(str(data[name]))
    except ValueError:
        raise Unfit((*path, name), f"{data[name]!r} is no {name}; use {', '.join(one.value for one in kind)}") from None


def _comparator(data: Mapping[str, Any], path: Path) -> Comparator:
    text = str(data["comparator"]).strip()
    if text in ASCII:
        return ASCII[text]
    try:
        return Comparator(text)
    except ValueError:
        raise Unfit((*path, "comparator"), f"{text!r} is no comparator; use {', '.join(ASCII)}") from None


def _metric(data: Mapping[str, Any], path: Path) -> str:
    return _known(_text(data, "metric", path), (*path, "metric"))


def _known(name: str, path: Path) -> str:
    if not known(name) and name not in CATALOGUE:
        raise Unfit(path, f"{name!r} is not in the catalogue of metrics")
    return name


def _list(data: Mapping[str, Any], name: str, path: Path, allowed: tuple[str, ...] = ()) -> tuple[str, ...]:
    value = data.get(name) or []
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) and writable(one) for one in value):
        raise Unfit((*path, name), f"{name} is a list of texts")
    for index, one in enumerate(value):
        if allowed and one not in allowed:
            raise Unfit((*path, name, index), f"{one!r} is not one of {', '.join(allowed)}")
    return tuple(value)


def _span(value: Any, path: Path, *, least: timedelta = WINDOW_LEAST) -> timedelta:
    found = WINDOW.fullmatch(str(value).strip())
    if found is None:
        raise Unfit(path, f"{value!r} is no span; write 30s, 5m, 48h or 7d")
    span = timedelta(seconds=int(found[1]) * SECONDS[found[2]])
    if not least <= span <= WINDOW_MOST:
        raise Unfit(path, f"{value} is outside {spoken(least)} to {spoken(WINDOW_MOST)}")
    return span


def written(span: timedelta) -> str:
    """Write a span as forms and documents take it: `30s`, `5m`, `24h`."""
    seconds = int(span.total_seconds())
    for unit in ("h", "m"):
        if seconds % SECONDS[unit] == 0:
            return f"{seconds // SECONDS[unit]}{unit}"
    return f"{seconds}s"


def _whole(data: Mapping[str, Any], name: str, path: Path, usual: int) -> int:
    value = data.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000_000:
        raise Unfit((*path, name), f"{name} is a whole number from 1")
    return value


def _yes(data: Mapping[str, Any], name: str, path: Path) -> bool:
    value = data.get(name, False)
    if not isinstance(value, bool):
        raise Unfit((*path, name), f"{name} is true or false")
    return value


def _phases(data: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    value = data.get("phases") or []
    if not isinstance(value, list | tuple):
        raise Unfit((*path, "phases"), f"{value!r} is no list of phases; write [1, 4]")
    for index, one in enumerate(value):
        if isinstance(one, bool) or one not in (1, 2, 3, 4):
            raise Unfit((*path, "phases", index), f"{one!r} is no phase; there are 1 to 4")
    return tuple(map(int, value))


def _threshold(value: Any, made: Criterion, path: Path) -> float | None:
    if value == PROFILE:
        if made.unit != "tok/s":
            raise Unfit(path, "only throughput has profiles of device classes")
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unfit(path, f"{value!r} is no threshold; write a number with its unit")
    found = QUANTITY.fullmatch(str(value).strip())
    if found is None:
        raise Unfit(path, f"{value!r} is no threshold; write a number with its unit")
    number, unit = _number(found[1], path), (found[2] or "").strip()
    if made.aggregate is Aggregate.TIMES:
        allowed = {"": 1.0, "x": 1.0, "×": 1.0}
    elif made.aggregate is Aggregate.RATIO or made.aggregate.compares:
        allowed = {"%": 0.01, "": 1.0}
    elif made.aggregate in (Aggregate.COUNT, Aggregate.PER_DEVICE):
        allowed = {"": 1.0}
    else:
        allowed = UNITS.get(made.unit, {"": 1.0, made.unit: 1.0})
    if unit not in allowed:
        units = " or ".join(one or "no unit" for one in allowed)
        raise Unfit(path, f"{(unit or 'a number without a unit')!r} does not fit {made.over.metric}; use {units}")
    return number * allowed[unit]


def _number(text: str, path: Path) -> float:
    try:
        number = float(re.sub(r"[,_\s]", "", text))
    except ValueError:
        raise Unfit(path, f"{text!r} is no number") from None
    if abs(number) > NUMBER_MOST:
        raise Unfit(path, f"{text[:20]} is beyond {NUMBER_MOST:.0e}")
    return number


def _quantity(value: float, made: Criterion) -> str | int | float:
    """Write a threshold in the unit people use for it."""
    if made.aggregate is not Aggregate.TIMES and (made.aggregate is Aggregate.RATIO or made.aggregate.compares):
        return f"{_plain(value * 100)} %"
    factor, unit = {"s": (1e3, "ms"), "By": (1e-6, "MB"), "tok/s": (1.0, "tok/s")}.get(made.unit, (1.0, ""))
    if unit:
        return f"{_plain(value * factor)} {unit}"
    return int(value) if value == int(value) else value


def _plain(value: float) -> str:
    """Write a number with nine digits and no exponent."""
    return format(Decimal(f"{value:.9g}"), "f")
