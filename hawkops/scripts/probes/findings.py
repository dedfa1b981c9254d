"""What a check found, line by line: printed for people, kept in the result file, judged together."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hawkops.scripts.probes.measuring import Exit
from hawkops.scripts.probes.results import OUTCOMES

MARKS = {Exit.PASSED: "✅", Exit.FAILED: "❌", Exit.UNMEASURED: "⚪", None: "➖"}


@dataclass(frozen=True)
class Finding:
    """One line of a check. `value` is in base units; None when the line is not a number.

    The outcome None says that the line is out of scope here: it is listed, and no part of the verdict. `synthetic` says
    that what was read is no real device with a real model; `about` names what was read, as a result does.
    """

    title: str
    outcome: Exit | None
    sentence: str
    value: float | None = None
    unit: str = ""
    name: str = ""
    synthetic: bool = False
    about: Mapping[str, str | bool] = field(default_factory=dict)


def passed(title: str, sentence: str, *, value: float | None = None, unit: str = "", name: str = "") -> Finding:
    """Return a line that holds."""
    return Finding(title, Exit.PASSED, sentence, value, unit, name)


def failed(title: str, sentence: str, *, value: float | None = None, unit: str = "", name: str = "") -> Finding:
    """Return a line that does not hold."""
    return Finding(title, Exit.FAILED, sentence, value, unit, name)


def unmeasured(title: str, sentence: str) -> Finding:
    """Return a line that could not be checked; the sentence says what is missing."""
    return Finding(title, Exit.UNMEASURED, sentence)


def not_judged(title: str, sentence: str) -> Finding:
    """Return a line that is out of scope here; the sentence says why."""
    return Finding(title, None, sentence)


def of(subject: Mapping[str, str | bool], found: Iterable[Finding]) -> Iterator[Finding]:
    """Give lines with what they speak of, so that a gate can tell a generated model from a product's."""
    for finding in found:
        yield replace(finding, about={**subject, **finding.about})


def together(outcomes: Iterable[Exit | None]) -> Exit:
    """Judge lines together: any failure fails, else any lack leaves it unmeasured. No line in scope at all is a lack."""
    found = set(outcomes) - {None}
    if Exit.FAILED in found:
        return Exit.FAILED
    return Exit.PASSED if found == {Exit.PASSED} else Exit.UNMEASURED


def report(findings: Iterable[Finding]) -> Exit:
    """Print each line as it comes, keep it in the result file, and judge all of them."""
    outcomes = []
    for finding in findings:
        outcomes.append(finding.outcome)
        print(f"{MARKS[finding.outcome]} {finding.title}: {finding.sentence}", flush=True)
        _keep(finding)
    return together(outcomes)


def _keep(finding: Finding) -> None:
    target = os.environ.get("HAWKOPS_RESULT")
    if not target:
        return
    line = {
        "name": finding.name or finding.title,
        **({"title": finding.title} if finding.name else {}),
        "value": finding.value,
        "unit": finding.unit,
        "backend": "",
        "outcome": OUTCOMES[finding.outcome] if finding.outcome is not None else "out_of_scope",
        "note": finding.sentence,
        **finding.about,
        **({"synthetic": True} if finding.synthetic else {}),
    }
    with Path(target).open("a") as file:
        file.write(json.dumps(line) + "\n")


def first_failure_ends(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Give lines up to the first one that fails: what comes after could do harm."""
    for finding in findings:
        yield finding
        if finding.outcome is Exit.FAILED:
            return
