"""Reading health checks: what stands now, and the strip of results behind it."""

from dataclasses import dataclass
from datetime import datetime

from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from monitoring.domain.health import CHECKS, EVERYWHERE, HealthCheck, Tick, standing
from monitoring.models import Evaluation, HealthResult

TICKS = 60


@dataclass(frozen=True)
class Standing:
    """One check as it stands in an environment, with its newest results, oldest first."""

    check: HealthCheck
    environment: str
    verdict: Verdict
    sentence: str
    ticks: list[Tick]
    last_at: datetime | None
    next_at: datetime


def health(environment: str, *, now: datetime | None = None) -> list[Standing]:
    """Return every check of an environment. One query a check, and one for when watching began."""
    now = now or clock.now()
    since = Evaluation.objects.filter(pk=environment).values_list("began_at", flat=True).first()
    found = []
    for check in CHECKS:
        where = environment if check.per_environment else EVERYWHERE
        rows = HealthResult.objects.filter(check_key=check.key, environment=where).order_by("-due_at")[:TICKS]
        ticks = [_tick(check, row, now) for row in reversed(rows)]
        verdict, sentence = standing(check, ticks, now, watched_since=since)
        last = next((tick.due_at for tick in reversed(ticks) if not tick.running), None)
        found.append(Standing(check, where, verdict, sentence, ticks, last, check.due_at(now) + check.interval))
    return found


def _tick(check: HealthCheck, row: HealthResult, now: datetime) -> Tick:
    if row.finished_at is None:
        if now - row.started_at <= 2 * check.timeout:
            return Tick(row.due_at, Verdict.NO_DATA, "running", None, running=True)
        return Tick(row.due_at, Verdict.FAIL, "its worker was gone before it ended", None)
    seconds = (row.finished_at - row.started_at).total_seconds()
    return Tick(row.due_at, Verdict(row.verdict), row.sentence, seconds)
