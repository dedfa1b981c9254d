"""Runs of the runbook's scripts: their newest measurements against the box's limits, for the backends declared."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from typing import Any

from hawkops.core.verdicts import Verdict, worst
from hawkops.scripts import repeats
from hawkops.scripts import selectors as scripts
from hawkops.scripts.exports import OUTCOMES
from hawkops.scripts.models import Run
from monitoring.domain import metrics
from rollout.domain.gates import Finding, Line, measured, together
from rollout.domain.runbook import Expectation, Limit
from rollout.evidence.shape import Question

BACKEND_TITLES = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU"}
UNMEASURED, UNSAID = "the run measured nothing of it", "the run says nothing of it"
UNITS = {
    metrics.PREFILL: "{token}/s",
    metrics.MEMORY_PEAK: "By",
    metrics.SWITCH_DURATION: "s",
    metrics.FALLBACK: "s",
}


@dataclass(frozen=True)
class Result:
    """One measurement of a run."""

    run: Run
    data: dict[str, Any]

    @property
    def at(self) -> datetime:
        """When its run ended."""
        return self.run.finished_at or self.run.requested_at

    @property
    def value(self) -> float | None:
        """The measured value in base units."""
        value = self.data.get("value")
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def line(self, title: str, metric: str, limit: Limit) -> Line:
        """Judge it; what the script itself called a failure is never a pass."""
        failed = self.data.get("outcome") == "fail"
        note = str(self.data.get("note", ""))
        found = measured(title, self.value, limit, unit=UNITS.get(metric, ""), lack=note, failed=failed)
        if failed and found.verdict is Verdict.PASS:
            return Line(title, Verdict.FAIL, f"{found.sentence}; the script says it failed")
        return found


@dataclass(frozen=True)
class Ran:
    """What counts of a script: its newest run, or all runs of the series that this one belongs to."""

    runs: tuple[Run, ...]

    @property
    def needs(self) -> int:
        """How many of them must pass."""
        return self.runs[0].series.needs if self.runs[0].series else 1

    @property
    def name(self) -> str:
        """Its words in a sentence: `Run 7`, `Series 3 (2 of 3 needed)`."""
        if self.runs[0].series_id is None:
            return f"Run {self.runs[0].pk}"
        return f"Series {self.runs[0].series_id} ({self.needs} of {len(self.runs)} needed)"

    @property
    def source(self) -> str:
        """Where it can be looked up."""
        return f"run:{self.runs[-1].pk}"

    @property
    def verdict(self) -> Verdict | None:
        """What the exit statuses say together; None while the series is under way."""
        return repeats.together([run.verdict for run in self.runs], self.needs)

    @property
    def ended_at(self) -> datetime | None:
        """When the newest of them ended; None when that was not kept."""
        return max((run.finished_at for run in self.runs if run.finished_at), default=None)

    def results(self, metric: str = "", backend: str = "") -> list[Result]:
        """Return their results, all or those of one metric and backend."""
        return [
            Result(run, data)
            for run in self.runs
            for data in run.results
            if metric in ("", data.get("name")) and backend in ("", data.get("backend"))
        ]

    def line(self, title: str, metric: str, limit: Limit, backend: str = "") -> Line:
        """Judge one metric: in a series as many runs must keep the limit as must pass."""
        found = {one.run.pk: one for one in reversed(self.results(metric, backend))}
        lines = [
            found[run.pk].line(title, metric, limit) if run.pk in found else Line(title, Verdict.NO_DATA, UNMEASURED)
            for run in self.runs
        ]
        if self.runs[0].series_id is None:
            return lines[0]
        said = f"{sum(line.verdict is Verdict.PASS for line in lines)} of {len(lines)} pass, {self.needs} needed"
        values = [one.value for one in found.values() if one.value is not None]
        if values:
            middle = measured(title, median(values), limit, unit=UNITS.get(metric, ""))
            said = f"median {middle.sentence}; {said}"
        return Line(title, repeats.together([line.verdict for line in lines], self.needs), said)

    def under_way(self) -> Finding:
        """Say that the series goes on; what has ended of it says nothing by itself."""
        ended = sum(not run.is_open for run in self.runs)
        return Finding(
            Verdict.NO_DATA,
            f"{self.name} is under way: {ended} of {len(self.runs)} runs have ended.",
            {"runs": [run.pk for run in self.runs]},
            source=self.source,
        )


def _ran(asked: Question, name: str) -> Ran | None:
    found = scripts.runs_deciding(asked.environment, name, asked.box.given(asked.release.environment))
    return Ran(tuple(found)) if found else None


def ran_newest(asked: Question) -> Ran | None:
    """Return what counts of the box's script; None when it never ran as the box asks."""
    return _ran(asked, asked.box.scripts[0])


def performance_tests(asked: Question) -> Finding:
    """The six results of the newest benchmark, those of declared backends judged."""
    name = asked.box.scripts[0]
    ran = _ran(asked, name)
    if ran is None:
        return Finding(Verdict.NO_DATA, f"{name} has not run in {asked.environment} yet.")
    if ran.verdict is None:
        return ran.under_way()
    lines = tuple(_expected(ran, expected, asked.release.backends) for expected in asked.box.expects)
    results = ran.results()
    if not results:
        return _without_results(ran)
    judged = [line for line in lines if line.verdict is not None]
    passed = sum(line.verdict is Verdict.PASS for line in judged)
    out = len(lines) - len(judged)
    scope = f", {out} not declared by this release" if out else ""
    sentence = f"{ran.name}: {passed} of {len(judged)} results pass{scope}."
    verdicts = [together(judged)]
    if ran.runs[0].series_id is not None:
        # each line may have had enough passes, and yet too few runs of which all lines passed
        verdicts.append(ran.verdict)
        sentence += f" Together they say {ran.verdict.label}."
    return _finding(worst(verdicts), sentence, results, lines)


def _expected(ran: Ran, expected: Expectation, declared: Iterable[str]) -> Line:
    if expected.backend and expected.backend not in declared:
        return Line(expected.title, None, "not declared by this release, not judged")
    if not ran.results(expected.metric, expected.backend):
        return Line(expected.title, Verdict.NO_DATA, UNMEASURED)
    return ran.line(expected.title, expected.metric, expected.limit, expected.backend)


def backends_tested(asked: Question) -> Finding:
    """A throughput was measured on every backend the release declares."""
    lines: list[Line] = []
    used: list[Result] = []
    for backend in asked.release.backends:
        title = BACKEND_TITLES.get(backend, backend)
        ran = _newest(asked, metrics.PREFILL, backend)
        if ran is None:
            lines.append(Line(title, Verdict.NO_DATA, "not run yet"))
        elif ran.verdict is None:
            lines.append(Line(title, Verdict.NO_DATA, ran.under_way().sentence))
        else:
            used += ran.results(metrics.PREFILL, backend)
            lines.append(ran.line(title, metrics.PREFILL, Limit(), backend))
    done = [line for line in lines if line.verdict is Verdict.PASS]
    names = ", ".join(line.title for line in done)
    sentence = (
        f"{len(done)} of {len(lines)} declared backends measured in {asked.environment}{': ' + names if names else ''}."
    )
    return _finding(together(lines), sentence, used, tuple(lines))


def script_passed(asked: Question) -> Finding:
    """The newest run of the box's script passed, with every line that it judged.

    For scripts that look at this installation. Where a line names a model, the evidence is bound to it. What the box
    expects by the titles of lines must be among them, and hold: a script that no longer looks proves nothing.
    """
    ran = ran_newest(asked)
    if ran is None:
        return Finding(Verdict.NO_DATA, f"{_typed(asked)} has not run in {asked.environment} yet.")
    return said_by(ran, asked.box.expects)


def said_by(ran: Ran, expects: Iterable[Expectation] = ()) -> Finding:
    """Return what a script's run or series says, line by line, what is expected of it first."""
    if ran.verdict is None:
        return ran.under_way()
    if not ran.results():
        return _without_results(ran)
    said = tuple(
        Line(
            str(data.get("title") or data.get("name")),
            OUTCOMES.get(str(data.get("outcome"))),
            str(data.get("note", "")),
        )
        for data in ran.runs[-1].results
    )
    wanted = tuple(_of_lines(expected, said) for expected in expects if expected.lines)
    lines = (*wanted, *said)
    verdicts = [ran.verdict]
    if ran.runs[0].series_id is None:
        verdicts.append(together(lines))
    elif any(line.sentence == UNSAID for line in wanted):
        # in a series the last run's lines decide nothing by themselves, but what it does not look at nobody knows
        verdicts.append(Verdict.NO_DATA)
    return _finding(worst(verdicts), f"{ran.name}: {ran.runs[-1].summary}", ran.results(), lines)


def _of_lines(expected: Expectation, said: Iterable[Line]) -> Line:
    """Judge what is expected by the lines that speak of it; none of them is NO_DATA."""
    found = [line for line in said if expected.speaks_of(line.title) and line.verdict is not None]
    if not found:
        return Line(expected.title, Verdict.NO_DATA, UNSAID)
    passing = sum(line.verdict is Verdict.PASS for line in found)
    open_ = ", ".join(line.title for line in found if line.verdict is not Verdict.PASS)
    return Line(expected.title, together(found), f"{passing} of {len(found)} lines pass{open_ and f'; not: {open_}'}")


def model_script_passed(asked: Question) -> Finding:
    """The same for scripts that look at a model: every run says which one, or it proves nothing of this release's."""
    found = script_passed(asked)
    if found.verdict is not Verdict.PASS or found.subject.get("model_digest"):
        return found
    return replace(found, verdict=Verdict.NO_DATA, sentence=f"It says of no model by its digest. {found.sentence}")


def _typed(asked: Question) -> str:
    """Name the box's script with its arguments, as people say it."""
    given = asked.box.given(asked.release.environment)
    return " ".join([asked.box.scripts[0], *(f"--{key}={value}" for key, value in given.items())])


def memory_limit(asked: Question) -> Finding:
    """The newest peak memory keeps the limit."""
    return _one(asked, metrics.MEMORY_PEAK, "Peak memory")


def backend_switching(asked: Question) -> Finding:
    """The newest mean switch time keeps the limit."""
    return _one(asked, metrics.SWITCH_DURATION, "Mean switch time")


def _one(asked: Question, metric: str, title: str) -> Finding:
    ran = _newest(asked, metric)
    if ran is None:
        ran = _ran(asked, asked.box.scripts[0])
        if ran is not None:
            return ran.under_way() if ran.verdict is None else _without_results(ran)
        return Finding(Verdict.NO_DATA, f"{asked.box.scripts[0]} has not run in {asked.environment} yet.")
    if ran.verdict is None:
        return ran.under_way()
    line = ran.line(title, metric, asked.box.limit)
    return _finding(line.verdict or Verdict.NO_DATA, f"{ran.name}: {line.sentence}.", ran.results(metric))


def _newest(asked: Question, metric: str, backend: str = "") -> Ran | None:
    """Return what measured the metric last among what counts of the box's scripts."""
    found: list[tuple[datetime, Ran]] = []
    for name in asked.box.scripts:
        ran = _ran(asked, name)
        if ran is not None and (results := ran.results(metric, backend)):
            found.append((max(one.at for one in results), ran))
    return max(found, key=lambda one: one[0])[1] if found else None


def _without_results(ran: Ran) -> Finding:
    verdict = ran.verdict or Verdict.NO_DATA
    if verdict is Verdict.PASS:  # an exit status without a measurement proves nothing
        verdict = Verdict.NO_DATA
    return Finding(
        verdict,
        f"{ran.name} measured nothing: {ran.runs[-1].summary}",
        {"run": ran.runs[-1].pk},
        source=ran.source,
        measured_at=ran.ended_at,
    )


def _finding(verdict: Verdict, sentence: str, used: list[Result], lines: tuple[Line, ...] = ()) -> Finding:
    """Bind what was found to everything that was measured: one wrong part spoils the whole."""
    if not used:
        return Finding(verdict, sentence, lines=lines)
    data = [one.data for one in used]
    digests = sorted({str(one.get("model_digest", "")) for one in data} - {""})
    hosts = [str(one["host"]) for one in data if one.get("host")]
    subject: dict[str, Any] = {
        "model": next((str(one["model"]) for one in data if one.get("model")), ""),
        "model_digest": digests[0] if len(digests) == 1 else ", ".join(digests),
        "synthetic": any(one.get("synthetic") for one in data),
        "target": "host" if any(one.get("target") == "host" for one in data) else str(data[0].get("target", "")),
        "host": hosts[0] if hosts else "",
        "runs": sorted({one.run.pk for one in used}),
    }
    if programs := {one.run.script: one.run.program_sha256 for one in used if one.run.program_sha256}:
        subject["programs"] = programs
    if any(one.get("simulated_cloud") for one in data):
        subject |= {"simulated": True, "simulated_what": "simulated cloud"}
    if any(one.get("emulated") for one in data):
        subject |= {"simulated": True, "simulated_what": "an Android emulator"}
    oldest = min(used, key=lambda one: one.at)
    newest = max(used, key=lambda one: one.at)
    return Finding(verdict, sentence, subject, lines, source=f"run:{newest.run.pk}", measured_at=oldest.at)
