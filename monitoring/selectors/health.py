"""Reading health checks: what stands now, and the strip of results behind it."""

from dataclasses import dataclass
from datetime import datetime

from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from monitoring.domain import health as domain
from monitoring.domain.health import EVERYWHERE, HealthCheck, Tick, standing
from monitoring.models import Evaluation, HealthResult
from monitoring.selectors import sections

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


def checks() -> tuple[HealthCheck, ...]:
    """Return every check at the pace that rules now. One query."""
    return domain.checks(sections.paces())


def check(key: str) -> HealthCheck | None:
    """Return a check, None when there is none of that name."""
    return next((one for one in checks() if one.key == key), None)


def health(environment: str, *, now: datetime | None = None) -> list[Standing]:
    """Return every check of an environment. One query a check, and two for their pace and when watching began."""
    now = now or clock.now()
    since = Evaluation.objects.filter(pk=environment).values_list("began_at", flat=True).first()
    found = []
    for one in checks():
        where = environment if one.per_environment else EVERYWHERE
        rows = HealthResult.objects.filter(check_key=one.key, environment=where).order_by("-due_at")[:TICKS]
        ticks = [_tick(one, row, now) for row in reversed(rows)]
        verdict, sentence = standing(one, ticks, now, watched_since=since)
        last = next((tick.due_at for tick in reversed(ticks) if not tick.running), None)
        found.append(Standing(one, where, verdict, sentence, ticks, last, one.due_at(now) + one.interval))
    return found


def _tick(check: HealthCheck, row: HealthResult, now: datetime) -> Tick:
    if row.finished_at is None:
        if now - row.started_at <= 2 * check.timeout:
            return Tick(row.due_at, Verdict.NO_DATA, "running", None, running=True)
        return Tick(row.due_at, Verdict.FAIL, "its worker was gone before it ended", None)
    seconds = (row.finished_at - row.started_at).total_seconds()
    return Tick(row.due_at, Verdict(row.verdict), row.sentence, seconds)
