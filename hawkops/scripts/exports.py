"""A run as other programs read it: JSON for pipelines, JUnit for whatever shows test results."""

import re
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree as xml

from hawkops.core.verdicts import Verdict
from hawkops.scripts.models import Run, RunOutput

# what XML 1.0 can't hold, not even escaped
UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def run_document(run: Run) -> dict[str, Any]:
    """Return a run with its result; `verdict` and what follows from the end are None while it is open."""
    return {
        "run": run.pk,
        "environment": run.environment,
        "script": run.script,
        "arguments": run.arguments,
        "dry_run": run.dry_run,
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
    }


def run_junit(run: Run, lines: Iterable[RunOutput]) -> str:
    """Return an ended run as JUnit XML: a test case for its exit status, and one for each line that it judged."""
    assert run.verdict is not None
    cases = [_case(run, "exit status", run.verdict, run.summary, run.seconds or 0.0)]
    for result in run.results:
        if verdict := OUTCOMES.get(str(result.get("outcome"))):
            name = " ".join(str(part) for part in (result["name"], result.get("backend")) if part)
            cases.append(_case(run, name, verdict, _measured(result), 0.0))
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
    properties = xml.SubElement(suite, "properties")
    facts = {"run": run.pk, "environment": run.environment, "dry_run": str(run.dry_run).lower()}
    for name, value in {**facts, **{f"--{key}": value for key, value in run.arguments.items()}}.items():
        xml.SubElement(properties, "property", name=str(name), value=_fit(str(value)))
    suite.extend(cases)
    said: dict[str, list[str]] = {"stdout": [], "stderr": []}
    for line in lines:
        said[line.stream].append(line.text)
    xml.SubElement(suite, "system-out").text = _fit("\n".join(said["stdout"]))
    xml.SubElement(suite, "system-err").text = _fit("\n".join(said["stderr"]))
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
