"""Which backend is ill, and why backends switch: the diagnosis before one of them is disabled."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from hawkops.core import clock
from hawkops.scripts.probes.findings import Finding, not_judged
from monitoring.domain.criteria import spoken
from monitoring.domain.metrics import SWITCHES
from monitoring.domain.windows import Window
from monitoring.probes.lines import add_environment, head, lines, told, written
from monitoring.selectors import telemetry
from monitoring.selectors.backends import FLAGS, backends
from monitoring.selectors.criteria import criteria
from monitoring.selectors.judging import over
from monitoring.selectors.telemetry import may_judge

SWITCHING = ("alert-switches", "gate-switch-time")
HOUR, DAY = timedelta(hours=1), timedelta(hours=24)


def backend_performance(given: argparse.Namespace) -> Iterator[Finding]:
    """Judge throughput, latency and failures of each backend, and name the one that is affected."""
    now = clock.now()
    head(given.environment, "each backend by itself, in the windows of its alerts", now=now)
    found = backends(given.environment, now=now)

    def of_each() -> Iterator[Finding]:
        for one in found.each:
            yield from written(given.environment, one.judged)
        yield from written(given.environment, found.whole)

    yield from told(of_each(), good="No backend is affected")
    for one in found.each:
        if one.affected:
            titles = ", ".join(line.criterion.title for line in one.failing)
            print(f"Affected: {one.word} ({titles}); {FLAGS[one.name]} turns it off", flush=True)


def switching_options(parser: argparse.ArgumentParser) -> None:
    """Add how far back it looks."""
    add_environment(parser)
    parser.add_argument("--last-1h", dest="last_hour", action="store_true", help="the last hour only, not the last day")


def switching(given: argparse.Namespace) -> Iterator[Finding]:
    """Judge how often and how fast backends switch, and list which device classes do it, from which backend to which."""
    now, span = clock.now(), HOUR if given.last_hour else DAY
    head(given.environment, f"switches of the last {spoken(span)}", now=now)
    wanted = [over(one, span) for one in criteria(keys=SWITCHING)]
    # the time of a switch is of interest only where there were switches
    wanted = [one if one.over.metric == SWITCHES else replace(one, where_available=True) for one in wanted]

    def everything() -> Iterator[Finding]:
        yield from lines(given.environment, wanted, now=now)
        yield from _patterns(given.environment, span)

    yield from told(everything(), good="Switching is calm")


def _patterns(environment: str, span: timedelta) -> Iterator[Finding]:
    """List who switches most: what a person needs to see before a threshold or a cooldown is raised."""
    now = clock.now()
    found = telemetry.lines(
        environment=environment,
        names=(SWITCHES,),
        window=Window(now - span, 1, span),
        group=lambda one: (
            (one.device_class, one.backend_requested or "unknown", one.backend_actual or "unknown")
            if may_judge(environment, simulated=one.simulated)
            else None
        ),
        now=now,
    )
    counted = {key: found_line.whole.total for key, found_line in found.items() if found_line.whole.total}
    for (device_class, asked, ran), many in sorted(counted.items(), key=lambda one: -one[1])[:10]:
        yield not_judged(
            f"Pattern: {device_class}", f"{many:.0f} switches, {asked} asked for, {ran} running afterwards"
        )
