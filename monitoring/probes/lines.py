"""From criteria to the lines that a script prints, judges and keeps: one line a criterion, with its verdict's sentence."""

import argparse
import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from hawkops.core.environments import Environment
from hawkops.core.verdicts import Verdict
from hawkops.scripts.probes.benchmark import minutes_and_seconds
from hawkops.scripts.probes.findings import Finding, not_judged, unmeasured
from hawkops.scripts.probes.measuring import Exit
from monitoring.domain.criteria import WINDOW_LEAST, WINDOW_MOST, Criterion, spoken
from monitoring.domain.targets import Profiles
from monitoring.selectors.criteria import Evaluated
from monitoring.selectors.judging import Judged, judged
from monitoring.selectors.telemetry import last_data_at

EXITS = {Verdict.PASS: Exit.PASSED, Verdict.FAIL: Exit.FAILED}


def add_environment(parser: argparse.ArgumentParser) -> None:
    """Add whose devices are judged: the run's environment, else the runbook's own."""
    usual = os.environ.get("HAWKOPS_ENVIRONMENT") or Environment.PRODUCTION.value
    parser.add_argument("--environment", choices=list(Environment), default=usual)


def a_span(text: str) -> timedelta:
    """Read how far a script looks back. Raises ArgumentTypeError."""
    span = timedelta(seconds=minutes_and_seconds(text))
    if not WINDOW_LEAST <= span <= WINDOW_MOST:
        raise argparse.ArgumentTypeError(f"{text} is outside {spoken(WINDOW_LEAST)} to {spoken(WINDOW_MOST)}")
    return span


def line(one: Evaluated, *, synthetic: bool = False) -> Finding:
    """Write a judged criterion as a line: only a pass passes, only a breach fails, everything else is a lack."""
    verdict, sentence = one.judgement.verdict, one.judgement.sentence
    if not one.judgement.in_scope:
        return not_judged(one.criterion.title, sentence)
    unreal = synthetic or one.simulated
    if verdict not in EXITS:
        sentence = f"{verdict.label}: {sentence}"
    elif unreal:
        sentence += "; simulated or synthetic devices"
    return Finding(
        one.criterion.title,
        EXITS.get(verdict, Exit.UNMEASURED),
        sentence,
        one.reading.value,
        one.criterion.unit,
        one.criterion.key,
        unreal,
    )


def lines(
    environment: str, wanted: Sequence[Criterion], *, now: datetime, floors: Profiles | None = None
) -> Iterator[Finding]:
    """Judge criteria and give their lines; say what was left out, and that nothing is known where no rule is stored."""
    yield from written(environment, judged(environment, wanted, now=now, floors=floors) if wanted else Judged([]))


def written(environment: str, found: Judged) -> Iterator[Finding]:
    """Write judged criteria as lines."""
    if not found.lines:
        yield unmeasured("Criteria", "no such rule is stored: `manage.py seed` takes them from the threshold file")
        return
    if found.left_out:
        words = f"{', '.join(found.left_out)} ran the generated model, which says nothing of {environment}"
        yield not_judged("Wrong subject", words)
    for one in found.lines:
        yield line(one, synthetic=found.synthetic)


def head(environment: str, words: str, *, now: datetime) -> None:
    """Say whose telemetry is judged, over which time, and how old it is."""
    newest = last_data_at(environment)
    age = f"newest data {_ago(now - newest)} old" if newest else "no device ever reported"
    print(f"Environment {environment}, {words}; {age}", flush=True)


def _ago(age: timedelta) -> str:
    seconds = max(0.0, age.total_seconds())
    return spoken(timedelta(seconds=round(seconds))) if seconds < 3_600 else f"{seconds / 3_600:.0f}\u202fh"


def told(findings: Iterator[Finding], *, good: str) -> Iterator[Finding]:
    """Give lines, and at the end one sentence that sums them up: the words a run is remembered by."""
    seen: list[Finding] = []
    for finding in findings:
        seen.append(finding)
        yield finding
    print(summary(seen, good=good), flush=True)


def summary(found: Sequence[Finding], *, good: str) -> str:
    """Sum lines up: what fails, what could not be judged, and `good` only when everything in scope passes."""
    judged_here = [one for one in found if one.outcome is not None]
    fails = [one.title for one in judged_here if one.outcome is Exit.FAILED]
    lacks = [one.title for one in judged_here if one.outcome is Exit.UNMEASURED]
    if not judged_here:
        return "Nothing is in scope here, so nothing is known"
    if not fails and not lacks:
        return f"{good}: every line in scope passes ({len(judged_here)})"
    words = [f"{len(judged_here) - len(fails) - len(lacks)} of {len(judged_here)} lines pass"]
    words += [f"failing: {', '.join(fails)}"] if fails else []
    words += [f"not known: {', '.join(lacks)}"] if lacks else []
    return "; ".join(words)
