"""What leaves a rollout as a file: JUnit for whatever shows test results, a decision's bundle, a validation report."""

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as xml

from django.template.loader import render_to_string

from hawkops.core.verdicts import Verdict
from hawkops.scripts.exports import UNFIT
from rollout.domain import report as report_domain
from rollout.domain.report import Report
from rollout.selectors.advance import Advance


def advance_junit(found: Advance) -> str:
    """Return one test case for each line. Whatever does not pass fails (our own breakage is an error): it all blocks."""
    errors = [line for line in found.lines if line.verdict is Verdict.ERROR]
    suite = xml.Element(
        "testsuite",
        name=f"may_advance {found.release.environment}",
        tests=str(len(found.lines)),
        failures=str(len(found.blocking) - len(errors)),
        errors=str(len(errors)),
        skipped="0",
    )
    for line in found.lines:
        case = xml.SubElement(suite, "testcase", classname=_fit(line.group), name=_fit(line.title))
        if line.blocks:
            tag = "error" if line.verdict is Verdict.ERROR else "failure"
            said = xml.SubElement(case, tag, message=_fit(line.sentence), type=line.verdict.value)
            said.text = _fit(f"{line.verdict.label}: {line.sentence}")
    root = xml.Element("testsuites")
    root.append(suite)
    xml.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{xml.tostring(root, encoding="unicode")}\n'


def bundle_text(bundle: Mapping[str, Any]) -> str:
    """Return a decision bundle as people and programs read it."""
    return json.dumps(bundle, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _fit(text: str) -> str:
    return UNFIT.sub("\ufffd", text)


def report_json(report: Report) -> str:
    """Return a validation report as programs read it: base units, stable keys, every raw number."""
    return json.dumps(report_domain.document(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def report_html(report: Report) -> str:
    """Return a validation report as one page that stands alone."""
    return render_to_string("rollout/report.html", {"report": report})
