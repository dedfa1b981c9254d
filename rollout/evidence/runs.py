"""Runs of the runbook's scripts: their newest measurements against the box's limits, for the backends declared."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hawkops.core.verdicts import Verdict
from hawkops.scripts import selectors as scripts
from hawkops.scripts.models import Run
from monitoring.domain import metrics
from rollout.domain.gates import Finding, Line, measured, together
from rollout.domain.runbook import Expectation, Limit
from rollout.evidence.shape import Question

BACKEND_TITLES = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU"}
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


def performance_tests(asked: Question) -> Finding:
    """The six results of the newest benchmark, those of declared backends judged."""
    name = asked.box.scripts[0]
    run = scripts.run_latest(asked.environment, name)
    if run is None:
        return Finding(Verdict.NO_DATA, f"{name} has not run in {asked.environment} yet.")
    lines = tuple(_expected(run, expected, asked.release.backends) for expected in asked.box.expects)
    results = [Result(run, data) for data in run.results]
    if not results:
        return _without_results(run)
    judged = [line for line in lines if line.verdict is not None]
    passed = sum(line.verdict is Verdict.PASS for line in judged)
    out = len(lines) - len(judged)
    scope = f", {out} not declared by this release" if out else ""
    sentence = f"Run {run.pk}: {passed} of {len(judged)} results pass{scope}."
    return _finding(together(judged), sentence, results, lines)


def _expected(run: Run, expected: Expectation, declared: Iterable[str]) -> Line:
    if expected.backend and expected.backend not in declared:
        return Line(expected.title, None, "not declared by this release, not judged")
    for data in run.results:
        if data.get("name") == expected.metric and expected.backend in ("", data.get("backend")):
            return Result(run, data).line(expected.title, expected.metric, expected.limit)
    return Line(expected.title, Verdict.NO_DATA, "the run measured nothing of it")


def backends_tested(asked: Question) -> Finding:
    """A throughput was measured on every backend the release declares."""
    lines, used = [], []
    for backend in asked.release.backends:
        title = BACKEND_TITLES.get(backend, backend)
        found = _newest(asked, metrics.PREFILL, backend)
        if found is None:
            lines.append(Line(title, Verdict.NO_DATA, "not run yet"))
            continue
        used.append(found)
        lines.append(found.line(title, metrics.PREFILL, Limit()))
    done = [line for line in lines if line.verdict is Verdict.PASS]
    names = ", ".join(line.title for line in done)
    sentence = (
        f"{len(done)} of {len(lines)} declared backends measured in {asked.environment}{': ' + names if names else ''}."
    )
    return _finding(together(lines), sentence, used, tuple(lines))


def memory_limit(asked: Question) -> Finding:
    """The newest peak memory keeps the limit."""
    return _one(asked, metrics.MEMORY_PEAK, "Peak memory")


def backend_switching(asked: Question) -> Finding:
    """The newest mean switch time keeps the limit."""
    return _one(asked, metrics.SWITCH_DURATION, "Mean switch time")


def _one(asked: Question, metric: str, title: str) -> Finding:
    found = _newest(asked, metric)
    if found is None:
        run = scripts.run_latest(asked.environment, asked.box.scripts[0])
        if run is not None:
            return _without_results(run)
        return Finding(Verdict.NO_DATA, f"{asked.box.scripts[0]} has not run in {asked.environment} yet.")
    line = found.line(title, metric, asked.box.limit)
    return _finding(line.verdict or Verdict.NO_DATA, f"Run {found.run.pk}: {line.sentence}.", [found])


def _newest(asked: Question, metric: str, backend: str = "") -> Result | None:
    """Return the newest result of the metric among the newest runs of the box's scripts."""
    found: list[Result] = []
    for name in asked.box.scripts:
        run = scripts.run_latest(asked.environment, name)
        if run is None:
            continue
        found += [
            Result(run, data)
            for data in run.results
            if data.get("name") == metric and backend in ("", data.get("backend"))
        ]
    return max(found, key=lambda one: one.at, default=None)


def _without_results(run: Run) -> Finding:
    verdict = run.verdict or Verdict.NO_DATA
    if verdict is Verdict.PASS:  # an exit status without a measurement proves nothing
        verdict = Verdict.NO_DATA
    return Finding(
        verdict,
        f"Run {run.pk} measured nothing: {run.summary}",
        {"run": run.pk},
        source=f"run:{run.pk}",
        measured_at=run.finished_at,
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
    if any(one.get("simulated_cloud") for one in data):
        subject |= {"simulated": True, "simulated_what": "simulated cloud"}
    if any(one.get("emulated") for one in data):
        subject |= {"simulated": True, "simulated_what": "an Android emulator"}
    oldest = min(used, key=lambda one: one.at)
    newest = max(used, key=lambda one: one.at)
    return Finding(verdict, sentence, subject, lines, source=f"run:{newest.run.pk}", measured_at=oldest.at)
