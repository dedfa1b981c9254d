"""The validation report: one HTML file that stands alone, every line with its verdict and its numbers."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from django.template.loader import render_to_string

from hawkops.core.errors import InvalidInput
from hawkops.scripts.probes import findings
from hawkops.scripts.probes.findings import Finding
from hawkops.scripts.probes.measuring import Exit
from monitoring.probes.lines import summary

WORDS = {Exit.PASSED: "PASS", Exit.FAILED: "FAIL", Exit.UNMEASURED: "NO DATA", None: "not in scope"}
HTML = (".html", ".htm")


def place(path: Path, *, data: Path) -> Path:
    """Return where a report goes: where it is asked for, and of a run, whose folder holds programs, under the data.

    Raises InvalidInput for a name that is no HTML file's, or a folder that is missing.
    """
    if path.suffix.lower() not in HTML:
        raise InvalidInput(f"{path} is no name of a report; it ends in .html.")
    if "HAWKOPS_RESULT" in os.environ:
        folder = data / "reports"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / path.name
    if not path.absolute().parent.is_dir():
        raise InvalidInput(f"The folder {path.absolute().parent} is missing.")
    return path.absolute()


def write(path: Path, parts: Mapping[str, Sequence[Finding]], *, environment: str, at: datetime) -> str:
    """Write the report and return its sentence. Raises InvalidInput when it can't be written."""
    every = [finding for found in parts.values() for finding in found]
    sentence = summary(every, good="Validated")
    rows = {
        name: [(findings.MARKS[one.outcome], WORDS[one.outcome], one) for one in found] for name, found in parts.items()
    }
    verdict = WORDS[findings.together(one.outcome for one in every)]
    text = render_to_string(
        "monitoring/validation_report.html",
        {"parts": rows, "environment": environment, "at": at, "sentence": sentence, "verdict": verdict},
    )
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise InvalidInput(f"{path} can't be written: {error.strerror}.") from error
    return sentence
