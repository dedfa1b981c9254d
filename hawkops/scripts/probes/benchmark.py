"""The runbook's comprehensive benchmark: six lines, each measured. With a duration, rounds are repeated until it ends.

Only backends that the release declares are judged. Over several rounds a throughput is the 5th percentile (95 % of the
rounds reach it), memory and fallback are the worst round, switching is the mean. A gate is strict: below 2 GB, below
500 ms, where the suite's own comparisons let the limit itself pass.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean, median

from hawkops.scripts.probes import limits, results, target
from hawkops.scripts.probes.limits import Limit
from hawkops.scripts.probes.measuring import (
    Exit,
    Reading,
    Subject,
    Unmeasurable,
    fallback,
)

MARKS = {Exit.PASSED: "✅", Exit.FAILED: "❌", Exit.UNMEASURED: "⚪"}
OUT_OF_SCOPE = "➖"
NEWS_SECONDS = 15.0
_PARTS = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def minutes_and_seconds(text: str) -> float:
    """Read a duration such as `90s`, `60m` or `1h30m` as seconds."""
    if not text or _PARTS.sub("", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 90s, 60m or 2h")
    return sum(float(part["number"]) * _SECONDS[part["unit"]] for part in _PARTS.finditer(text))


def fifth_percentile(values: list[float]) -> float:
    """Return the value that 95 % of the rounds reach; of few rounds, the lowest."""
    ordered = sorted(values)
    return ordered[int(len(ordered) * 0.05)]


def together(readings: list[Reading], limit: Limit) -> Reading:
    """Make one reading of many rounds. One round that failed or could not measure speaks for all."""
    missing = [reading for reading in readings if reading.value is None]
    if missing:
        return next((reading for reading in missing if reading.broken), missing[0])
    values = [reading.value for reading in readings if reading.value is not None]
    if limit.at_least:
        value, words = fifth_percentile(values), "5th percentile"
    elif limit.title == limits.SWITCHING.title:
        value, words = fmean(values), "mean"
    else:
        value, words = max(values), "highest"
    last = readings[-1]
    if len(readings) == 1:
        return last
    details = {**last.details, "rounds": float(len(values)), "median": median(values)}
    return replace(last, value=value, sentence=f"{words} of {len(values)} rounds", details=details)


@dataclass(frozen=True)
class Planned:
    """One of the six lines: its limit, what it speaks of, and how it is measured (None: not declared)."""

    limit: Limit
    subject: Subject
    measure: Callable[[], Reading] | None


def plan(what: Subject, declared: tuple[str, ...]) -> dict[str, Planned]:
    """List the six lines in the runbook's order; None stands where the release doesn't declare the backend.

    The fallback is that of this host, whatever the target: nobody can kill an app's inference through adb and see it ask.
    """

    def of(backend: str) -> Callable[[], Reading] | None:
        return (lambda: target.throughput(what, backend)) if backend in declared else None

    here = replace(what, phone=None)
    return {
        "cpu": Planned(limits.CPU, what, of("cpu")),
        "gpu": Planned(limits.GPU, what, of("gpu")),
        "npu": Planned(limits.NPU, what, of("npu")),
        "memory": Planned(replace(limits.MEMORY, strict=True), what, lambda: target.memory(what, declared[0])),
        "switching": Planned(replace(limits.SWITCHING, strict=True), what, lambda: target.switching(what, declared)),
        "fallback": Planned(limits.FALLBACK, here, lambda: _fallback(what, here)),
    }


def _fallback(what: Subject, here: Subject) -> Reading:
    reading = fallback(here)
    if what.phone and reading.value is not None:
        return replace(reading, sentence=f"{reading.sentence}, asked from this host")
    return reading


def line(limit: Limit, reading: Reading, outcome: Exit) -> str:
    """Write one of the runbook's lines with its mark and number."""
    head = f"{MARKS[outcome]} {limit.title}: {limit.goal}"
    if reading.value is None:
        return f"{head} · {'failed' if reading.broken else 'could not measure'}: {reading.sentence}"
    note = f" ({reading.sentence})" if reading.sentence else ""
    return f"{head} · measured {limit.shown(reading.value)} {limit.unit}{note}"


def benchmark(environment: str, duration_seconds: float, declared: tuple[str, ...], *, device: str = "") -> Exit:
    """Measure, print the six lines and judge them together: any failure fails, else any lack leaves it unmeasured."""
    try:
        what = target.subject(device)
    except Unmeasurable as lack:
        print(lack, file=sys.stderr)
        return Exit.FAILED if lack.broken else Exit.UNMEASURED
    kind = ("synthetic " if what.synthetic else "") + ("model" if what.signed else "unsigned model")
    print(f"{kind} {what.name} on {what.where}, environment {environment}", file=sys.stderr, flush=True)
    lines = plan(what, declared)
    rounds: dict[str, list[Reading]] = {name: [] for name, planned in lines.items() if planned.measure}
    began = news_at = time.monotonic()
    while True:
        for name, readings in rounds.items():
            measure = lines[name].measure
            if measure is not None:
                readings.append(measure())
        elapsed = time.monotonic() - began
        if elapsed >= duration_seconds:
            break
        if time.monotonic() - news_at >= NEWS_SECONDS:
            news_at = time.monotonic()
            done = len(next(iter(rounds.values())))
            print(f"{done} rounds in {elapsed:.0f} of {duration_seconds:.0f} s", file=sys.stderr, flush=True)
    outcomes: dict[str, Exit] = {}
    for name, planned in lines.items():
        limit = planned.limit
        if planned.measure is None:
            print(f"{OUT_OF_SCOPE} {limit.title}: {limit.goal} · not declared by this release, not judged", flush=True)
            continue
        reading = together(rounds[name], limit)
        outcomes[limit.title] = limits.judged(reading, limit)
        results.append(reading, limit, outcomes[limit.title], planned.subject, environment=environment)
        print(line(limit, reading, outcomes[limit.title]), flush=True)
    print(f"{summary(outcomes)}; {kind} {what.name} on {what.where}", file=sys.stderr, flush=True)
    if Exit.FAILED in outcomes.values():
        return Exit.FAILED
    return Exit.UNMEASURED if Exit.UNMEASURED in outcomes.values() else Exit.PASSED


def summary(outcomes: Mapping[str, Exit]) -> str:
    """Say in one sentence how the judged results came out."""
    passed = sum(outcome is Exit.PASSED for outcome in outcomes.values())
    words = f"{passed} of {len(outcomes)} judged results passed"
    for outcome, what in ((Exit.FAILED, "failed"), (Exit.UNMEASURED, "not measured")):
        if titles := [title for title, found in outcomes.items() if found is outcome]:
            words += f"; {what}: {', '.join(titles)}"
    return words
