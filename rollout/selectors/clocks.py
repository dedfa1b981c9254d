"""The clock of a release's validation as it was counted last. One query; nothing is counted here."""

from dataclasses import replace
from datetime import datetime, timedelta

from hawkops.core import clock
from monitoring.selectors.sections import rules
from rollout.domain.validation import Clock, start
from rollout.models import PhaseRun, Release, Validation
from rollout.selectors.critical import critical_incidents


def needed() -> timedelta:
    """Return how many hours of data a validation takes: a rule of the threshold file. One query."""
    return rules().data_for


def current(release: Release) -> Validation | None:
    """Return the validation of the newest phase; None before that has reached its target percentage."""
    run = PhaseRun.objects.filter(release=release).order_by("-pk").select_related("validation").first()
    if run is None or run.state == "aborted":
        return None
    return getattr(run, "validation", None)


def named(found: Validation | None) -> str:
    """Name a validation from one restart to the next: what was seen of another one says nothing of it."""
    if found is None:
        return ""
    since = f"since {found.since:%d %b, %H:%M} UTC" if found.since else "held at zero"
    return f"the validation of phase {found.run.number} {since}"


def clock_of(found: Validation, *, environment: str, now: datetime | None = None) -> Clock:
    """Return its clock. A critical incident that came after it was counted shows at once."""
    at = max(now or clock.now(), found.counted_at)
    stored = Clock(
        began_at=found.began_at,
        since=found.since,
        needed=needed(),
        live=found.live,
        last_data_at=found.last_data_at,
        counted_at=at,
        done_at=found.done_at,
        because=found.because,
        address=found.address,
    )
    fresh = start(found.began_at, critical_incidents(environment, found.began_at))
    if fresh.at == found.since:
        return stored
    return replace(stored, since=fresh.at, live=timedelta(), done_at=None, because=fresh.because, address=fresh.address)
