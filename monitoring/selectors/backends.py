"""Each backend judged by itself: which one is affected. The script `check-backend-performance` and pages ask this alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from hawkops.core.why import Band
from monitoring.domain.arms import Arm, belongs
from monitoring.domain.criteria import Criterion, Purpose, shown
from monitoring.domain.metrics import INFERENCES, PREFILL, SWITCHES
from monitoring.domain.windows import Window
from monitoring.models import Series
from monitoring.selectors import reasons
from monitoring.selectors.criteria import Evaluated, criteria, evaluate
from monitoring.selectors.judging import Judged, counting, judged, on_backend, over
from monitoring.selectors.telemetry import BACKEND_WORDS, Population, may_judge, observe

LOCAL = ("cpu", "gpu", "npu")
THROUGHPUT = ("alert-cpu-throughput", "alert-gpu-throughput", "alert-npu-throughput")
LATENCY, ERRORS = "alert-latency", "alert-error-rate"
# read on each backend alone
EACH = (LATENCY, ERRORS)
WHOLE = ("alert-silent-fallback", "alert-wrong-results")
# the flag that turns each off; the CPU has none of its own
FLAGS = {"gpu": "litert_gpu_backend", "npu": "litert_npu_backend", "cpu": "litert_enabled"}
NOW, HOUR, DAY = timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)
# the panel keeps hours: the one that has begun, and the one before
PANEL = timedelta(hours=2)


@dataclass(frozen=True)
class Backend:
    """The lines of one backend, as its alerts judge them."""

    name: str
    judged: Judged

    @property
    def word(self) -> str:
        """How pages call it."""
        return BACKEND_WORDS[self.name]

    @property
    def lines(self) -> list[Evaluated]:
        """Throughput, latency and failures, as far as rules are stored."""
        return self.judged.lines

    @property
    def in_scope(self) -> list[Evaluated]:
        """The lines that say something of it: somebody uses it."""
        return [one for one in self.lines if one.judgement.in_scope]

    @property
    def failing(self) -> list[Evaluated]:
        """What makes it the affected one."""
        return [one for one in self.in_scope if one.judgement.verdict is Verdict.FAIL]

    @property
    def affected(self) -> bool:
        """Whether it is affected: one line that fails is enough."""
        return bool(self.failing)

    @property
    def lacking(self) -> list[Evaluated]:
        """What says neither that it is well nor that it is not."""
        return [one for one in self.in_scope if one.judgement.verdict not in (Verdict.PASS, Verdict.FAIL)]

    @property
    def measured(self) -> bool:
        """Whether anything was read of it just now."""
        return any(one.reading.value is not None for one in self.in_scope)

    @property
    def verdict(self) -> Verdict:
        """Whether it passes."""
        if self.affected:
            return Verdict.FAIL
        if not self.measured:
            return Verdict.NO_DATA
        return Verdict.INSUFFICIENT if self.lacking else Verdict.PASS

    @property
    def state(self) -> str:
        """The verdict as one word or two."""
        words = {Verdict.FAIL: "affected", Verdict.NO_DATA: "no data", Verdict.INSUFFICIENT: "not known"}
        return words.get(self.verdict, "not affected")

    @property
    def says(self) -> str:
        """The verdict in words."""
        if self.affected:
            return f"Affected: {', '.join(one.criterion.title for one in self.failing)}"
        if all(one.reading.at is None for one in self.in_scope):
            return "Nobody uses it, so nothing is known of it"
        if not self.measured:
            return f"Not known: {self.in_scope[0].judgement.sentence}"
        if self.lacking:
            return f"Not known: {', '.join(one.criterion.title for one in self.lacking)}"
        return f"Not affected: {len(self.in_scope)} of {len(self.in_scope)} lines pass"

    def line(self, key: str) -> Evaluated | None:
        """Return one of its lines."""
        return next((one for one in self.lines if one.criterion.key == key), None)


@dataclass(frozen=True)
class Backends:
    """Every backend, and what can be said of all of them together only."""

    each: tuple[Backend, ...]
    whole: Judged

    @property
    def affected(self) -> list[Backend]:
        """The backends that are affected, those with most failing lines first."""
        return sorted((one for one in self.each if one.affected), key=lambda one: -len(one.failing))

    @property
    def known(self) -> bool:
        """Whether anybody reports anything of any of them."""
        return any(one.measured for one in self.each)


def backends(environment: str, *, now: datetime) -> Backends:
    """Judge each backend by itself, in the windows of its alerts. Some queries each."""
    rules = {one.key: one for one in criteria(keys=(*THROUGHPUT, *EACH, *WHOLE))}
    each = tuple(Backend(name, judged(environment, _wanted(rules, name), now=now)) for name in LOCAL)
    return Backends(each, judged(environment, [rules[key] for key in WHOLE if key in rules], now=now))


def _wanted(rules: dict[str, Criterion], backend: str) -> list[Criterion]:
    own = [rules[key] for key in THROUGHPUT if key in rules and rules[key].over.backends == (backend,)]
    return own + [on_backend(rules[key], backend) for key in EACH if key in rules]


# ---- figures ----


@dataclass(frozen=True)
class Figures:
    """What one backend did in the five minutes before a moment, and in the day before those. None is not known."""

    backend: str
    tokens: float | None
    tokens_day: float | None
    target: float | None
    # how the guaranteed share of the class that counts stands to its target, in words; classes differ in theirs
    target_says: str
    latency: str
    failures: str
    switches: float
    devices: int
    exact: bool
    bands: tuple[tuple[str, Band], ...] = ()

    @property
    def word(self) -> str:
        """How pages call it."""
        return BACKEND_WORDS[self.backend]

    @property
    def against_day(self) -> float | None:
        """By how many percent the median differs from the day before."""
        if self.tokens is None or not self.tokens_day:
            return None
        return 100 * (self.tokens / self.tokens_day - 1)


def figures(environment: str, found: Backends, *, at: datetime) -> dict[str, Figures]:
    """Return the figures of each backend as of a moment, beside how it was judged then. A dozen queries."""
    population = counting(environment)
    now = _throughputs(environment, population, since=at - NOW, span=NOW)
    day = _throughputs(environment, population, since=at - NOW - DAY, span=DAY)
    away = _switches(environment, population, at)
    sure = _sure(environment, population, at)
    return {one.name: _figures(one, now, day, away, sure.get(one.name, [])) for one in found.each}


def _figures(
    one: Backend, now: dict[str, float | None], day: dict[str, float | None], away: dict[str, float],
    sure: Sequence[Evaluated],
) -> Figures:  # fmt: skip
    own = next((line for line in one.lines if line.criterion.key in THROUGHPUT), None)
    panel = next((line.reading.numbers.own.panel for line in sure if line.reading.numbers is not None), None)
    devices = round(panel.devices * panel.stands_for) if panel is not None else 0
    bands = tuple(
        (line.criterion.title.partition(",")[0], band)
        for line in sure
        for band in reasons.of(line, now=clock.now()).bands
    )
    return Figures(
        backend=one.name,
        tokens=now.get(one.name),
        tokens_day=day.get(one.name),
        target=own.reading.threshold if own is not None else None,
        target_says=own.judgement.sentence if own is not None and own.judgement.in_scope else "",
        latency=_shown(one.line(LATENCY)),
        failures=_shown(one.line(ERRORS)),
        switches=away.get(one.name, 0.0),
        devices=devices,
        exact=panel is None or panel.stands_for == 1.0,
        bands=bands,
    )


def _shown(line: Evaluated | None) -> str:
    if line is None or line.reading.value is None:
        return ""
    return shown(line.reading.value, line.criterion)


def _throughputs(
    environment: str, population: Population | None, *, since: datetime, span: timedelta
) -> dict[str, float | None]:  # fmt: skip
    """Return the median tokens a second of each backend over a span, of the devices that LiteRT is served to."""
    found = observe(
        environment=environment, names=(PREFILL,), window=Window(since, 1, span), population=population, now=clock.now()
    ).lines(lambda one: one.backend_actual if _counts(environment, one) else None)
    return {backend: line.whole.quantile(0.5) for backend, line in found.items()}


def _switches(environment: str, population: Population | None, at: datetime) -> dict[str, float]:
    """Return how often devices that had asked for a backend left it, in the hour before a moment."""
    found = observe(
        environment=environment, names=(SWITCHES,), window=Window(at - HOUR, 1, HOUR), population=population,
        now=clock.now(),
    ).lines(
        lambda one: one.backend_requested
        if one.backend_requested != one.backend_actual and _counts(environment, one)
        else None
    )  # fmt: skip
    return {backend: line.whole.total for backend, line in found.items()}


def _counts(environment: str, one: Series) -> bool:
    return may_judge(environment, simulated=one.simulated) and belongs(one.variant, Arm.TREATMENT)


def _sure(environment: str, population: Population | None, at: datetime) -> dict[str, list[Evaluated]]:
    """Return failures and latency read device by device over two hours: how sure a number is, devices alone can say."""
    rules = [over(one, PANEL) for one in criteria(keys=(ERRORS, LATENCY)) if not one.broken]
    wanted = [on_backend(replace(one, purpose=Purpose.PHASE), backend) for one in rules for backend in LOCAL]
    if not wanted:
        return {}
    found: dict[str, list[Evaluated]] = {}
    for one in evaluate(environment, wanted, population=population, now=at, by_device=True):
        found.setdefault(one.criterion.over.backends[0], []).append(one)
    # who failed is counted of all inferences, so it comes first: its devices are those of the backend
    return {
        backend: sorted(lines, key=lambda one: one.criterion.over.metric != INFERENCES)
        for backend, lines in found.items()
    }
