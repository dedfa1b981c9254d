"""The troubleshooting guide as it stands: problems, their symptoms read now, and what was pressed against them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hawkops.core import clock
from hawkops.core.errors import NotFound
from hawkops.core.verdicts import Verdict
from hawkops.scripts.models import Run
from incidents.domain import troubleshooting as domain
from incidents.domain.troubleshooting import (
    Diagnosis,
    Driver,
    Measured,
    Presence,
    Problem,
    ReadingKind,
    Symptom,
)
from incidents.guide.loading import problem_of, runbook_problems
from incidents.models import OwnProblem, Remedy
from monitoring.domain import criteria
from monitoring.domain.arms import Arm, belongs
from monitoring.domain.criteria import Criterion, spoken
from monitoring.domain.metrics import COMMANDS, INFERENCES, PREFILL
from monitoring.domain.windows import Window
from monitoring.selectors import by_device, patterns, telemetry
from monitoring.selectors.criteria import Evaluated, evaluate
from monitoring.selectors.criteria import criteria as stored_criteria
from monitoring.selectors.judging import counting, over
from rollout.selectors import census

HOUR = timedelta(hours=1)
REMEDIES_SHOWN = 10
DRIVER = "device.gpu.driver"


@dataclass(frozen=True)
class State:
    """A problem as it stands; `own` is the row of a team's."""

    problem: Problem
    symptoms: tuple[Measured, ...]
    own: OwnProblem | None = None

    @property
    def presence(self) -> Presence:
        """Whether it is there."""
        return domain.presence(self.symptoms)

    @property
    def worst(self) -> Measured | None:
        """The symptom that says most: one that is there, else the first that can be read."""
        known = sorted(self.symptoms, key=lambda one: (not one.there, not one.known))
        return known[0] if known else None

    @property
    def there(self) -> int:
        """How many symptoms are there."""
        return sum(one.there for one in self.symptoms)

    @property
    def devices(self) -> int:
        """How many devices were read, of the symptom with most."""
        return max((one.devices for one in self.symptoms), default=0)


# ---- which problems there are ----


def own_problems(environment: str, *, archived: bool = False) -> list[OwnProblem]:
    """Return a team's own problems, in the order in which they were made. One query."""
    return list(OwnProblem.objects.filter(environment=environment, archived_at__isnull=not archived))


def problems(environment: str) -> list[tuple[Problem, OwnProblem | None]]:
    """Return the runbook's problems, then the team's. One query."""
    own = [(problem_of(row.document), row) for row in own_problems(environment)]
    return [*((one, None) for one in runbook_problems()), *own]


def problem(environment: str, key: str) -> tuple[Problem, OwnProblem | None]:
    """Return one problem, an archived one of the team's too. Raises NotFound."""
    for one in runbook_problems():
        if one.key == key:
            return one, None
    row = OwnProblem.objects.filter(environment=environment, key=key).first()
    if row is None:
        raise NotFound(f"There is no problem {key[:40]!r} in {environment}; the guide lists them.")
    return problem_of(row.document), row


def problems_of(environment: str, *, criterion: str = "", pattern: str = "") -> list[Problem]:
    """Return the problems that a stored criterion, or a log pattern, is a symptom of. One query."""
    found = [one for one, _ in problems(environment)]
    return [one for one in found if (criterion and criterion in one.criteria) or (pattern and pattern in one.patterns)]


# ---- how their symptoms read ----


def states(environment: str, *, now: datetime | None = None) -> list[State]:
    """Return every problem with its symptoms, read together. A handful of queries, whatever the number of problems."""
    found = problems(environment)
    read = measured(environment, [one for one, _ in found], now=now)
    return [State(one, tuple(read[one.key]), own) for one, own in found]


def measured(
    environment: str, wanted: Sequence[Problem], *, now: datetime | None = None, window: timedelta | None = None
) -> dict[str, list[Measured]]:
    """Read the symptoms of problems as of a moment; with `window` all of them over that time."""
    now = now or clock.now()
    look = _Look(environment, now, window)
    look.prepare(one for problem in wanted for one in problem.symptoms)
    return {problem.key: [look.symptom(one) for one in problem.symptoms] for problem in wanted}


class _Look:
    """One look at an environment, for whatever symptoms."""

    def __init__(self, environment: str, now: datetime, window: timedelta | None) -> None:
        self.environment, self.now, self.window = environment, now, window
        self.evaluated: dict[Criterion, Evaluated] = {}
        self.stored: dict[str, Criterion] = {}
        self.broken: dict[str, str] = {}
        self.patterns: dict[str, patterns.Shown] = {}

    def prepare(self, symptoms: Iterable[Symptom]) -> None:
        """Read what the symptoms need, together."""
        given = list(symptoms)
        keys = {one.criterion for one in given if one.criterion}
        self.stored = {one.key: one for one in stored_criteria(keys=keys)} if keys else {}
        wanted = {found for one in given if (found := self._criterion(one)) is not None}
        population = counting(self.environment)
        read = evaluate(self.environment, list(wanted), population=population, now=self.now) if wanted else []
        self.evaluated = {one.criterion: one for one in read}
        if any(one.pattern for one in given):
            self.patterns = {one.pattern.key: one for one in patterns.shown(self.environment, now=self.now)}

    def _criterion(self, symptom: Symptom) -> Criterion | None:
        one = symptom.reads or self.stored.get(symptom.criterion)
        if one is None:
            return None
        try:
            one = domain.limited(one, symptom.limit)
        except criteria.Unfit as unfit:
            self.broken[symptom.key] = unfit.message
            return None
        return over(one, self.window) if self.window is not None else one

    def symptom(self, symptom: Symptom) -> Measured:
        """Return how one symptom reads."""
        if not symptom.title:
            symptom = replace(symptom, title=self._title(symptom))
        if symptom.reading is not None:
            return self._reading(symptom)
        if symptom.pattern:
            return self._pattern(symptom)
        one = self._criterion(symptom)
        if one is None:
            why = self.broken.get(symptom.key) or f"there is no criterion {symptom.criterion} any more"
            return Measured(symptom.key, symptom.title, Verdict.ERROR, why)
        return _of_criterion(symptom, self.evaluated[one])

    def _title(self, symptom: Symptom) -> str:
        if symptom.criterion in self.stored:
            return self.stored[symptom.criterion].title
        found = self.patterns.get(symptom.pattern)
        return found.pattern.title if found is not None else symptom.criterion or symptom.pattern

    def _pattern(self, symptom: Symptom) -> Measured:
        found = self.patterns.get(symptom.pattern)
        if found is None:
            why = f"there is no log pattern {symptom.pattern} any more"
            return Measured(symptom.key, symptom.title, Verdict.ERROR, why)
        limit = int(symptom.limit) if symptom.limit else found.pattern.limit or 1
        read = {one.source for one in patterns.read_states(self.environment, now=self.now) if not one.why}
        lines = found.in_window
        verdict = Verdict.FAIL if lines >= limit else Verdict.PASS
        if found.pattern.paused or (not lines and not read & set(found.pattern.sources)):
            verdict = Verdict.NO_DATA
        span = spoken(found.pattern.window)
        return Measured(
            symptom.key, symptom.title, verdict,
            f"{lines} lines within {span}, wanted < {limit}" if verdict is not Verdict.NO_DATA else "no source is read",
            value=float(lines) if verdict is not Verdict.NO_DATA else None, limit=float(limit),
            said=f"{lines} lines", wanted=f"< {limit} within {span}", count=lines, lines=True,
        )  # fmt: skip

    # ---- what no single criterion says ----

    def _reading(self, symptom: Symptom) -> Measured:
        limit = domain.limit_of(symptom.limit) or 0.0
        read = self._cloud_share if symptom.reading is ReadingKind.CLOUD_SHARE else self._gpu_against_cpu
        return read(symptom, limit)

    @property
    def _span(self) -> timedelta:
        return self.window or domain.WINDOW

    def _observed(self, metric: str) -> telemetry.Observations:
        window = Window(self.now - self._span, 1, self._span + timedelta(seconds=10))
        return telemetry.observe(
            environment=self.environment, names=(metric,), window=window, population=counting(self.environment),
            now=self.now,
        )  # fmt: skip

    def _cloud_share(self, symptom: Symptom, limit: float) -> Measured:
        """The share of inferences that the cloud answered on devices that LiteRT is served to."""
        lines = self._observed(INFERENCES).lines(
            lambda one: (
                one.backend_actual == "cloud"
                if belongs(one.variant, Arm.TREATMENT)
                and telemetry.may_judge(self.environment, simulated=one.simulated)
                else None
            )
        )
        cloud, local = (lines[key].whole.total if key in lines else 0.0 for key in (True, False))
        count = round(cloud + local)
        if not count:
            why = f"no inference was reported in {spoken(self._span)} by devices that LiteRT is served to"
            return Measured(symptom.key, symptom.title, Verdict.NO_DATA, why, limit=limit)
        devices = {
            one.device_id: one.backend == "cloud"
            for one in sorted(self._amounts(INFERENCES), key=lambda one: one.backend == "cloud")
            if belongs(one.variant, Arm.TREATMENT) and one.count
        }
        share = cloud / (cloud + local)
        verdict = Verdict.FAIL if share >= limit else Verdict.PASS
        if count < domain.SAMPLES:
            verdict = Verdict.INSUFFICIENT
        on = sum(devices.values())
        wanted = f"< {_percent(limit)}"
        sentence = f"{_percent(share)}, wanted {wanted}; {count} inferences"
        if devices:
            sentence += f"; {on} of {len(devices)} devices asked the cloud within the hour"
        if verdict is Verdict.INSUFFICIENT:
            sentence += f", {domain.SAMPLES} needed"
        return Measured(
            symptom.key, symptom.title, verdict, sentence, share, limit, _percent(share), wanted, count, len(devices)
        )

    def _gpu_against_cpu(self, symptom: Symptom, limit: float) -> Measured:
        """Of the device classes that report both, the one whose GPU does worst against its CPU, in the median."""
        lines = self._observed(PREFILL).lines(
            lambda one: (
                (one.device_class, one.backend_actual)
                if telemetry.may_judge(self.environment, simulated=one.simulated)
                else None
            )
        )
        found = []
        for (name, backend), gpu in lines.items():
            cpu = lines.get((name, "cpu"))
            mine, theirs = gpu.whole.quantile(0.5), cpu.whole.quantile(0.5) if cpu is not None else None
            if backend == "gpu" and mine is not None and theirs:
                assert cpu is not None
                found.append((mine / theirs, name, mine, theirs, gpu.whole.count, cpu.whole.count))
        if not found:
            why = f"no device class reports both GPU and CPU within {spoken(self._span)}"
            return Measured(symptom.key, symptom.title, Verdict.NO_DATA, why, limit=limit)
        enough = [one for one in found if min(one[4:]) >= domain.SAMPLES]
        times, name, mine, theirs, many, beside = min(enough or found)
        devices = {one.device_id for one in self._amounts(PREFILL) if one.backend == "gpu" and one.device_class == name}
        wanted = f"≥ {limit:g} times the CPU"
        sentence = (
            f"{name}: GPU {mine:.0f} tok/s, CPU {theirs:.0f} tok/s in the median; {many} and {beside} observations"
            f"{f', GPU on {len(devices)} device' + 's' * (len(devices) != 1) if devices else ''}"
        )
        if not enough:
            sentence, verdict = f"{sentence}, {domain.SAMPLES} of each needed", Verdict.INSUFFICIENT
        else:
            verdict = Verdict.PASS if times >= limit else Verdict.FAIL
            below = sum(one[0] < limit for one in enough)
            sentence += f"; {below} of {len(enough)} device classes below {limit:g} times the CPU"
        said = f"{times:.2f} times the CPU"
        return Measured(symptom.key, symptom.title, verdict, sentence, times, limit, said, wanted, many, len(devices))

    def _amounts(self, metric: str) -> list[by_device.Amount]:
        return by_device.amounts(
            self.environment, metric, since=self.now - HOUR, until=self.now, population=counting(self.environment)
        )


def _percent(share: float) -> str:
    return f"{share * 100:.1f}".rstrip("0").rstrip(".") + "\u202f%"


def _of_criterion(symptom: Symptom, found: Evaluated) -> Measured:
    one, reading, judged = found.criterion, found.reading, found.judgement
    limit = one.threshold if one.threshold is not None else reading.threshold
    shown = criteria.shown(reading.value, one) if reading.value is not None else ""
    wanted = f"{one.comparator.value} {criteria.shown(limit, one)}" if limit is not None else ""
    if judged.verdict is Verdict.PASS and not judged.in_scope:
        judged = replace(judged, verdict=Verdict.NO_DATA)
    return Measured(
        symptom.key, symptom.title, judged.verdict, judged.sentence, reading.value, limit, shown, wanted,
        reading.count, reading.devices,
    )  # fmt: skip


# ---- what the live data propose ----


def drivers(environment: str, *, now: datetime | None = None) -> list[Driver]:
    """Return the GPU drivers that devices report, with their throughput of the last hour, the slowest first.

    Each device counts once; the CPU's side is the mean of the devices of its class. Two queries.
    """
    now = now or clock.now()
    rows = by_device.amounts(environment, PREFILL, since=now - HOUR, until=now, population=counting(environment))
    of_class: dict[str, list[float]] = {}
    gpu: dict[str, tuple[str, float]] = {}
    for one in rows:
        if one.count and one.backend == "cpu":
            of_class.setdefault(one.device_class, []).append(one.total / one.count)
        elif one.count and one.backend == "gpu":
            gpu[one.device_id] = (one.device_class, one.total / one.count)
    said = census.said(environment, DRIVER)
    found: dict[str, list[tuple[float, float]]] = {}
    for device, (name, speed) in gpu.items():
        if device in said and name in of_class:
            found.setdefault(said[device], []).append((speed, sum(of_class[name]) / len(of_class[name])))
    rows_of = [
        Driver(version, len(pairs), sum(a for a, _ in pairs) / len(pairs), sum(b for _, b in pairs) / len(pairs))
        for version, pairs in found.items()
    ]
    return sorted(rows_of, key=lambda one: one.gpu / one.cpu if one.cpu else 1.0)


# ---- what was run and pressed ----


def diagnosed(environment: str, wanted: Iterable[Diagnosis]) -> list[tuple[Diagnosis, Run | None]]:
    """Return each diagnosis with its newest run that had these arguments. One query for each."""
    found: list[tuple[Diagnosis, Run | None]] = []
    for one in wanted:
        rows = Run.objects.filter(environment=environment, script=one.script, dry_run=False)
        found.append((one, rows.filter(arguments=dict(one.arguments)).first()))
    return found


def run_of(environment: str, script: str, arguments: Mapping[str, str], *, dry: bool) -> Run | None:
    """Return the newest run of a script with these arguments, a dry one or not."""
    rows = Run.objects.filter(environment=environment, script=script, dry_run=dry)
    return rows.filter(arguments=dict(arguments)).first()


def remedies(environment: str, key: str = "", *, limit: int = REMEDIES_SHOWN) -> list[Remedy]:
    """Return what was pressed, against one problem or any, newest first."""
    rows = Remedy.objects.filter(environment=environment)
    return list((rows.filter(problem=key) if key else rows)[:limit])


def remedy(environment: str, pk: int) -> Remedy:
    """Return one press. Raises NotFound."""
    found = Remedy.objects.filter(environment=environment, pk=pk).first()
    if found is None:
        raise NotFound(f"Nothing was pressed in {environment} that has the number {pk}.")
    return found


def commanded(
    environment: str, outcomes: Sequence[str], *, since: datetime, now: datetime | None = None
) -> dict[str, int]:
    """Return how many commands devices reported since a moment, by outcome. Three queries."""
    now = now or clock.now()
    span = max(timedelta(seconds=10), now - since)
    read = telemetry.observe(environment=environment, names=(COMMANDS,), window=Window(since, 1, span), now=now)
    lines = read.lines(lambda one: one.outcome if one.outcome in outcomes else None)
    return {name: round(line.whole.total) for name, line in lines.items()}
