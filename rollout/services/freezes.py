"""Freeze windows: times in which nothing is raised. Kills and rollbacks always work."""

from datetime import datetime, timedelta

from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.services import change
from rollout.models import FreezeWindow
from rollout.services.locking import reason_given

LONGEST = timedelta(days=60)


def freeze_make(
    *, environment: str, starts_at: datetime, ends_at: datetime, actor: Actor, reason: str, request_id: str = ""
) -> FreezeWindow:
    """Freeze an environment for a time: now, or from a time to come."""
    now = clock.now()
    if ends_at <= max(now, starts_at) or ends_at - max(now, starts_at) > LONGEST:
        raise InvalidInput(f"A freeze ends after it began, at a time to come, and lasts {LONGEST.days} days at most.")
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        made = FreezeWindow.objects.create(
            environment=environment,
            starts_at=starts_at,
            ends_at=ends_at,
            reason=reason_given(reason),
            by=actor.label,
            made_at=now,
        )
        this.record("freeze.made", subject=f"freeze:{made.pk}", after={"starts_at": starts_at, "ends_at": ends_at})
    return made


def freeze_end(*, freeze: FreezeWindow, actor: Actor, reason: str, request_id: str = "") -> None:
    """End a freeze now, or take back one to come."""
    now = clock.now()
    with change(
        actor=actor, environment=freeze.environment, reason=reason_given(reason), request_id=request_id
    ) as this:
        locked = FreezeWindow.objects.select_for_update(no_key=True).get(pk=freeze.pk)
        if locked.ends_at <= now:
            return
        before = {"ends_at": locked.ends_at}
        locked.starts_at = min(locked.starts_at, now)
        locked.ends_at = now
        locked.save(update_fields=["starts_at", "ends_at"])
        this.record("freeze.ended", subject=f"freeze:{locked.pk}", before=before, after={"ends_at": now})
