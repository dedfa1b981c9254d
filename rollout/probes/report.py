"""The validation report as a check: judges every line of the validation, writes them down, ends as what stands in it.

A run keeps the report with itself, under a name that no other has; on a command line it is written where it is asked.
"""

import argparse
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.scripts.probes.findings import Finding, not_judged, unmeasured
from hawkops.scripts.probes.measuring import Exit
from monitoring.probes.lines import EXITS, add_environment, head
from monitoring.probes.validation import beyond
from rollout.domain.report import Beside, Reading, Report
from rollout.exports import report_html, report_json
from rollout.selectors import report as selectors

HTML, JSON = (".html", ".htm"), ".json"
STEM_MOST, SLUG_MOST = 40, 50
VERDICTS = {Exit.PASSED: Verdict.PASS, Exit.FAILED: Verdict.FAIL, Exit.UNMEASURED: Verdict.NO_DATA}


def report_options(parser: argparse.ArgumentParser) -> None:
    """Add where it is written."""
    add_environment(parser)
    parser.add_argument(
        "--output", type=Path, default=None, help="FILE.html, with FILE.json beside it, or FILE.json alone"
    )


def report_write(given: argparse.Namespace) -> Iterator[Finding]:
    """Judge every line of the validation, write them down as one page and as JSON, and end as what stands in it."""
    now = clock.now()
    environment = given.environment
    asked = _asked(given.output or Path(f"validation-report-{environment}-{now:%Y%m%d}.html"))
    head(environment, "every line of the validation", now=now)
    beside = list(beyond(environment))
    run = os.environ.get("HAWKOPS_RUN", "")
    run_id = int(run) if run.isdecimal() else None
    made = selectors.report(environment, now=now, beside=[_beside(one) for one in beside], run_id=run_id)
    written = _write(_place(asked, made), made)
    yield from findings(made)
    yield from beside
    yield _kept(made, written)
    for path, data in written:
        place = f"with run {made.run}: {path.name}" if "HAWKOPS_FILES" in os.environ and made.run else str(path)
        print(f"Written: {place}, {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}", flush=True)
    print(f"The report says: {made.verdict.label}. {made.sentences[0]}", flush=True)


def findings(made: Report) -> Iterator[Finding]:
    """Give every criterion of a report as a line; none at all is a lack."""
    if not made.measured:
        yield unmeasured("Criteria", "no such rule is stored: `manage.py seed` takes them from the threshold file")
    if made.left_out:
        words = f"{', '.join(made.left_out)} ran the generated model, which says nothing of {made.environment}"
        yield not_judged("Wrong subject", words)
    seen = set()
    for one in (reading for line in made.lines for reading in line.readings):
        if one.criterion not in seen:
            seen.add(one.criterion)
            yield _finding(one, synthetic=made.unreal)


def _finding(one: Reading, *, synthetic: bool) -> Finding:
    """Write a reading as a line: only a pass passes, only a breach fails, everything else is a lack."""
    if not one.in_scope:
        return not_judged(one.title, one.sentence)
    unreal, sentence = synthetic or one.simulated, one.sentence
    if one.verdict not in EXITS:
        sentence = f"{one.verdict.label}: {sentence}"
    elif unreal:
        sentence += "; simulated or synthetic devices"
    outcome = EXITS.get(one.verdict, Exit.UNMEASURED)
    return Finding(one.title, outcome, sentence, one.value, one.unit, one.criterion, unreal)


def _beside(one: Finding) -> Beside:
    return Beside(one.title, VERDICTS[one.outcome] if one.outcome is not None else None, one.sentence)


def _kept(made: Report, written: Sequence[tuple[Path, bytes]]) -> Finding:
    """Name the files with their digests in the result, so that they can be proven unaltered. It judges nothing."""
    digests = {path.name: hashlib.sha256(data).hexdigest() for path, data in written}
    said = ", ".join(f"{Path(name).suffix[1:].upper()} SHA-256 {digest[:16]}…" for name, digest in digests.items())
    about: dict[str, str | bool] = {f"sha256:{name}": digest for name, digest in digests.items()}
    if made.subject is not None:
        about["release"] = str(made.subject.release)
    return Finding("Report", None, said, name=selectors.NAME, about=about)


# ---- where it goes ----


def _asked(path: Path) -> Path:
    """Return a name as a report may have it. Raises InvalidInput."""
    if path.suffix.lower() not in (*HTML, JSON):
        raise InvalidInput(f"{path} is no name of a report; it ends in .html or .json.")
    return path


def _place(asked: Path, made: Report) -> Path:
    """Return where the report goes: into the files of its run under a name of its own, else where it is asked for.

    Raises InvalidInput for a folder that is missing.
    """
    if folder := os.environ.get("HAWKOPS_FILES"):
        return Path(folder) / _own_name(asked, made, at=made.at)
    if not asked.absolute().parent.is_dir():
        raise InvalidInput(f"The folder {asked.absolute().parent} is missing.")
    return asked.absolute()


def _own_name(asked: Path, made: Report, *, at: datetime) -> str:
    """Return a name that says what it is of: `validation-report-demo-hazardhawk-2.4.0-20261130-run-12.html`."""
    stem = asked.stem.removesuffix(f"{at:%Y%m%d}").strip("-")[:STEM_MOST] or selectors.NAME
    stem = stem if stem.startswith(selectors.NAME) else f"{selectors.NAME}-{stem}"
    parts = [stem.removesuffix(f"-{made.environment}"), made.environment]
    if made.subject is not None:
        slug = re.sub(r"[^a-z0-9.]+", "-", f"{made.subject.name} {made.subject.app_version}".lower())
        parts.append(slug.strip("-.")[:SLUG_MOST])
    parts += [f"{at:%Y%m%d}", *([f"run-{made.run}"] if made.run is not None else [])]
    return "-".join(filter(None, parts)) + (JSON if asked.suffix.lower() == JSON else ".html")


def _write(path: Path, made: Report) -> list[tuple[Path, bytes]]:
    """Write the page and the JSON beside it, or the JSON alone; return what was written. Raises InvalidInput."""
    texts = {path.with_suffix(JSON): report_json(made)}
    if path.suffix.lower() in HTML:
        texts = {path: report_html(made), **texts}
    written = []
    for target, text in texts.items():
        fresh, data = target.with_name(f".{target.name}.new"), text.encode()
        try:
            fresh.write_bytes(data)
            fresh.replace(target)
        except OSError as error:
            raise InvalidInput(f"{target} can't be written: {error.strerror}.") from error
        written.append((target, data))
    return written
