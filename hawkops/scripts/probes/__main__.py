"""`python -m hawkops.scripts.probes cpu|gpu|npu|memory|switching|fallback`: one integer, as the runbook compares it."""

import argparse
import sys
from collections.abc import Callable

from hawkops.scripts.probes import limits, results
from hawkops.scripts.probes.benchmark import benchmark, minutes_and_seconds
from hawkops.scripts.probes.measuring import (
    Exit,
    Reading,
    Subject,
    Unmeasurable,
    declared_backends,
    fallback,
    memory,
    subject,
    switching,
    throughput,
)

PROBES: dict[str, tuple[limits.Limit, Callable[[Subject], Reading]]] = {
    "cpu": (limits.CPU, lambda what: throughput(what, "cpu")),
    "gpu": (limits.GPU, lambda what: throughput(what, "gpu")),
    "npu": (limits.NPU, lambda what: throughput(what, "npu")),
    "memory": (limits.MEMORY, lambda what: memory(what, "cpu")),
    "switching": (limits.SWITCHING, lambda what: switching(what, declared_backends())),
    "fallback": (limits.FALLBACK, fallback),
}


def say(words: str) -> None:
    """Say something to a person, beside the number."""
    print(words, file=sys.stderr, flush=True)


def probe(name: str) -> Exit:
    """Measure one thing, print its integer (0 when there is none) and judge it."""
    limit, measure = PROBES[name]
    what: Subject | None = None
    try:
        what = subject()
        reading = measure(what)
    except Unmeasurable as lack:
        reading = Reading(name, limit.unit, name, None, str(lack), lack.broken)
    outcome = limits.judged(reading, limit)
    results.append(reading, limit, outcome, what)
    if reading.value is None:
        print(0, flush=True)
        say(f"{name}: {'failed' if reading.broken else 'could not measure'}: {reading.sentence}")
        return outcome
    about = f"{what.name} on this host" if what else "this host"
    worth = "; the model is synthetic, so this says nothing about a phone" if what and what.synthetic else ""
    print(limit.shown(reading.value), flush=True)
    say(f"{name}: {limit.shown(reading.value)} {limit.unit} ({limit.goal}), {about}{worth}")
    return outcome


def main() -> int:
    """Run one probe, or the whole benchmark."""
    parser = argparse.ArgumentParser(prog="probes", description="Measure real LiteRT on this host.")
    commands = parser.add_subparsers(dest="name", required=True)
    for name in PROBES:
        commands.add_parser(name)
    whole = commands.add_parser("performance")
    whole.add_argument("--environment", choices=["production", "staging", "demo"], default="demo")
    whole.add_argument("--duration", type=minutes_and_seconds, default=0.0, help="for example 90s, 60m or 2h")
    given = parser.parse_args()
    try:
        if given.name == "performance":
            return benchmark(given.environment, given.duration, declared_backends())
        return probe(given.name)
    except ValueError as error:
        say(str(error))
        return Exit.MISUSED


if __name__ == "__main__":
    sys.exit(main())
