"""A run as other programs read it: JSON for pipelines, JUnit for whatever shows test results."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as xml

from hawkops.core.verdicts import Verdict
from hawkops.scripts.models import Run, RunOutput
from hawkops.scripts.repeats import dispersions, together

# what XML 1.0 can't hold, not even escaped
UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def run_document(run: Run) -> dict[str, Any]:
    """Return a run with its result; `verdict` and what follows from the end are None while it is open.

    Its files are read with it: whoever loads runs prefetches them by `selectors.FILES`, without their contents.
    """
    return {
        "run": run.pk,
        "environment": run.environment,
        "script": run.script,
        "arguments": run.arguments,
        "dry_run": run.dry_run,
        "series": run.series_id,
        "subject": run.subject,
        "program_sha256": run.program_sha256 or None,
        "state": run.state,
        "verdict": run.verdict.value if run.verdict else None,
        "exit_code": run.exit_code,
        "summary": run.summary,
        "requested_by": run.requested_by,
        "requested_at": _moment(run.requested_at),
        "started_at": _moment(run.started_at),
        "finished_at": _moment(run.finished_at),
        "seconds": run.seconds,
        "attempt": run.attempt,
        "output_lines": run.output_lines,
        "synthetic_model": run.synthetic,
        "measurements": run.results,
        "files": [{"name": one.name, "bytes": one.size, "sha256": one.sha256} for one in run.files.all()],
    }


def series_document(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what the runs of a series say together; `verdict` is None while one of them is open.

    `variation` is the coefficient of variation, None for fewer than two values.
    """
    series = runs[0].series
    assert series is not None
    verdict = series_verdict(runs)
    return {
        "series": series.pk,
        "times": series.times,
        "needs": series.needs,
        "passed": sum(run.verdict is Verdict.PASS for run in runs),
        "verdict": verdict.value if verdict else None,
        "runs": [run.pk for run in runs],
        "measurements": [
            {
                "name": one.name,
                "backend": one.backend,
                "unit": one.unit,
                "values": len(one.values),
                "median": one.median,
                "lowest": min(one.values),
                "highest": max(one.values),
                "variation": one.variation,
            }
            for one in dispersions(result for run in runs for result in run.results)
        ],
    }


def series_verdict(runs: Sequence[Run]) -> Verdict | None:
    """Return what the runs of a series say together; None while one of them is open."""
    assert runs[0].series is not None
    return together([run.verdict for run in runs], runs[0].series.needs)


def series_junit(runs: Sequence[Run]) -> str:
    """Return an ended series as JUnit XML: one test case that says whether enough passed, and its measurements."""
    verdict, document = series_verdict(runs), series_document(runs)
    assert verdict is not None
    seconds = sum(run.seconds or 0.0 for run in runs)
    said = f"{document['passed']} of {document['times']} passed, {document['needs']} needed"
    suite = _suite(
        runs[0], [_case(runs[0], f"{document['needs']} of {document['times']} runs", verdict, said, seconds)]
    )
    suite.set("time", f"{seconds:.3f}")
    facts: dict[str, Any] = {"series": document["series"], "runs": " ".join(map(str, document["runs"])), "passed": said}
    for one in document["measurements"]:
        label = " ".join(part for part in (one["name"], one["backend"]) if part)
        facts |= {f"{label} {word}": one[word] for word in ("median", "lowest", "highest", "variation")}
    _properties(suite, {**facts, **_arguments(runs[0])})
    return _text(suite)


def run_junit(run: Run, lines: Iterable[RunOutput]) -> str:
    """Return an ended run as JUnit XML: a test case for its exit status, and one for each line that it judged."""
    assert run.verdict is not None
    cases = [_case(run, "exit status", run.verdict, run.summary, run.seconds or 0.0)]
    for result in run.results:
        if verdict := OUTCOMES.get(str(result.get("outcome"))):
            name = " ".join(str(part) for part in (result["name"], result.get("backend")) if part)
            cases.append(_case(run, name, verdict, _measured(result), 0.0))
    suite = _suite(run, cases)
    _properties(
        suite, {"run": run.pk, "environment": run.environment, "dry_run": str(run.dry_run).lower(), **_arguments(run)}
    )
    said: dict[str, list[str]] = {"stdout": [], "stderr": []}
    for line in lines:
        said[line.stream].append(line.text)
    xml.SubElement(suite, "system-out").text = _fit("\n".join(said["stdout"]))
    xml.SubElement(suite, "system-err").text = _fit("\n".join(said["stderr"]))
    return _text(suite)


def _suite(run: Run, cases: list[xml.Element]) -> xml.Element:
    counts = {tag: sum(case.find(tag) is not None for case in cases) for tag in ("failure", "error", "skipped")}
    suite = xml.Element(
        "testsuite",
        name=run.script,
        tests=str(len(cases)),
        failures=str(counts["failure"]),
        errors=str(counts["error"]),
        skipped=str(counts["skipped"]),
        time=f"{run.seconds or 0:.3f}",
        timestamp=_moment(run.started_at or run.requested_at) or "",
    )
    suite.extend(cases)
    return suite


def _arguments(run: Run) -> dict[str, str]:
    return {f"--{key}": value for key, value in run.arguments.items()}


def _properties(suite: xml.Element, facts: Mapping[str, object]) -> None:
    """Put facts in front of the test cases, where the schema wants them."""
    properties = xml.Element("properties")
    for name, value in facts.items():
        xml.SubElement(properties, "property", name=_fit(name), value=_fit("" if value is None else str(value)))
    suite.insert(0, properties)


def _text(suite: xml.Element) -> str:
    root = xml.Element("testsuites")
    root.append(suite)
    xml.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{xml.tostring(root, encoding="unicode")}\n'


OUTCOMES = {"pass": Verdict.PASS, "fail": Verdict.FAIL, "no_data": Verdict.NO_DATA}
# JUnit has no word for what could not be measured but "skipped"; our own breakage is an error, not a failure.
TAGS = {Verdict.FAIL: "failure", Verdict.ERROR: "error"}


def _case(run: Run, name: str, verdict: Verdict, sentence: str, seconds: float) -> xml.Element:
    case = xml.Element("testcase", classname=run.script, name=_fit(name), time=f"{seconds:.3f}")
    if verdict is not Verdict.PASS:
        xml.SubElement(case, TAGS.get(verdict, "skipped"), message=_fit(sentence), type=verdict.value)
    return case


def _measured(result: dict[str, Any]) -> str:
    words = [str(result.get("note") or "")]
    if result.get("value") is not None:
        words.append(f"measured {result['value']} {result.get('unit', '')}".strip())
    if result.get("threshold") is not None:
        words.append(f"limit {result['threshold']}")
    return ", ".join(word for word in words if word)


def _fit(text: str) -> str:
    return UNFIT.sub("\ufffd", text)


def _moment(at: Any) -> str | None:
    return at.isoformat() if at is not None else None
