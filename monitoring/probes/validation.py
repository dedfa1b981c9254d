"""Post-deployment validation: performance, users and system by the rules of the validation."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.scripts.probes.findings import Finding, failed, not_judged, passed, unmeasured
from monitoring import thresholds
from monitoring.domain import criteria as domain
from monitoring.domain.criteria import Criterion, Purpose, spoken
from monitoring.domain.metrics import INFERENCES
from monitoring.domain.targets import Profiles
from monitoring.domain.thresholds import differences
from monitoring.models import StoredCriterion
from monitoring.probes.lines import a_span, add_environment, head, lines, told
from monitoring.probes.recovery import critical_alerts
from monitoring.selectors.criteria import criteria
from monitoring.selectors.health import health
from monitoring.selectors.judging import over

PERFORMANCE, USERS, SYSTEM = "Performance", "Users", "System"
# the runbook counts the error rate to the system's health, tickets too; what a team declared itself speaks of users
OF_SYSTEM = (INFERENCES, "app.support_tickets", "http.", "process.", "device.")
OF_PERFORMANCE = ("litert.", "gen_ai.")


def part(one: Criterion) -> str:
    """Return the part of the validation that a criterion belongs to."""
    if one.over.metric.startswith(OF_SYSTEM):
        return SYSTEM
    return PERFORMANCE if one.over.metric.startswith(OF_PERFORMANCE) else USERS


def of_part(wanted: Iterable[Criterion], name: str) -> list[Criterion]:
    """Return the criteria of the validation that belong to a part."""
    return [one for one in wanted if one.purpose is Purpose.VALIDATION and not one.paused and part(one) == name]


# ---- performance ----


def performance_options(parser: argparse.ArgumentParser) -> None:
    """Add whose numbers rule."""
    add_environment(parser)
    parser.add_argument(
        "--threshold-file", type=Path, default=None, help="the file's numbers instead of the stored ones"
    )


def performance(given: argparse.Namespace) -> Iterator[Finding]:
    """Judge throughput, memory, latency and switch time; by a threshold file when one is named, and say where it differs."""
    now = clock.now()
    if given.threshold_file is None:
        wanted = of_part(criteria(purposes=[Purpose.VALIDATION]), PERFORMANCE)
        head(given.environment, "the stored criteria", now=now)
        yield from told(lines(given.environment, wanted, now=now), good="Performance is as promised")
        return
    path = found_file(given.threshold_file)
    wanted = of_part(thresholds.load(path), PERFORMANCE)
    own = thresholds.load_profiles(path)
    floors = Profiles(own) if own else None
    head(given.environment, f"the criteria of {path.name}", now=now)

    def everything() -> Iterator[Finding]:
        yield from lines(given.environment, wanted, now=now, floors=floors)
        yield from _drift(wanted)

    yield from told(everything(), good="Performance is as promised")


def found_file(path: Path) -> Path:
    """Find a file that is named as the runbook names it: here, else beside the threshold file. Raises InvalidInput."""
    for place in (path, thresholds.FILE.parent / path):
        if place.is_file():
            return place
    raise InvalidInput(f"{path} is neither here nor in {thresholds.FILE.parent.name}/.")


def _drift(wanted: Iterable[Criterion]) -> Iterator[Finding]:
    """Say where the file's numbers are not the ones that rule on the pages."""
    stored = {row.key: row.document for row in StoredCriterion.objects.all()}
    for one in wanted:
        if one.key not in stored:
            yield not_judged(f"Drift: {one.title}", "only in the file")
        elif changed := differences(stored[one.key], domain.document(one)):
            fields = ", ".join(difference.field for difference in changed)
            yield not_judged(f"Drift: {one.title}", f"the stored rule differs in {fields}; the file's was judged here")


# ---- users ----


def users_options(parser: argparse.ArgumentParser) -> None:
    """Add how far back it looks."""
    add_environment(parser)
    parser.add_argument("--duration", type=a_span, default=None, help="how far back it looks, 48h say")


def users(given: argparse.Namespace) -> Iterator[Finding]:
    """Judge task completion, session duration, crashes and satisfaction over the time asked for."""
    now = clock.now()
    wanted = of_part(criteria(purposes=[Purpose.VALIDATION]), USERS)
    if given.duration is not None:
        wanted = [over(one, given.duration) for one in wanted]
    said = f"the last {spoken(given.duration)}" if given.duration else "the windows of the criteria"
    head(given.environment, said, now=now)
    yield from told(lines(given.environment, wanted, now=now), good="Users are well")


# ---- system ----


def system_options(parser: argparse.ArgumentParser) -> None:
    """Add how much is looked at."""
    add_environment(parser)
    parser.add_argument(
        "--comprehensive", action="store_true", help="health checks, security and critical alerts as well"
    )


def system(given: argparse.Namespace) -> Iterator[Finding]:
    """Judge API response, error rate, tickets and resources; comprehensively, what else the go/no-go asks of the system."""
    now = clock.now()
    head(given.environment, "comprehensively" if given.comprehensive else "the runbook's four lines", now=now)

    def everything() -> Iterator[Finding]:
        yield from lines(given.environment, of_part(criteria(purposes=[Purpose.VALIDATION]), SYSTEM), now=now)
        if given.comprehensive:
            yield from beyond(given.environment)

    yield from told(everything(), good="The system is healthy")


def beyond(environment: str) -> Iterator[Finding]:
    """Give the lines of health checks, security metrics and critical alerts."""
    now = clock.now()
    for one in health(environment, now=now):
        words = f"{one.verdict.label}: {one.sentence}"
        if one.verdict is Verdict.PASS:
            yield passed(one.check.title, one.sentence)
        else:
            yield (failed if one.verdict is Verdict.FAIL else unmeasured)(one.check.title, words)
    yield from lines(environment, criteria(purposes=[Purpose.SECURITY]), now=now)
    yield from critical_alerts(environment)
