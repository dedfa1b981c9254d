"""Writes on schedules: made, stopped, and what is due requested. One run of a schedule at a time."""

import logging
from datetime import datetime, time, timedelta

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.live import announce
from hawkops.history.actors import Actor
from hawkops.history.services import change
from hawkops.scripts.catalogue import DURATION, SECONDS
from hawkops.scripts.models import Schedule, State, daily_next
from hawkops.scripts.own import script
from hawkops.scripts.services import run_request

log = logging.getLogger(__name__)
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=31)
OPEN = (State.QUEUED.value, State.RUNNING.value)


def rhythm(every: str, daily_at: str) -> tuple[timedelta | None, time | None]:
    """Read "every 30m, 2h" or "daily at 03:15": exactly one of the two. Raises InvalidInput."""
    every, daily_at = every.strip(), daily_at.strip()
    if bool(every) == bool(daily_at):
        raise InvalidInput("Say either every how long it runs, 30m say, or at what time daily, 03:15 say.")
    if daily_at:
        try:
            return None, datetime.strptime(daily_at, "%H:%M").time()  # noqa: DTZ007 - a time of day only
        except ValueError:
            raise InvalidInput(f"{daily_at!r} is no time of day; write 03:15.") from None
    found = DURATION.fullmatch(every)
    span = timedelta(seconds=int(found[1]) * SECONDS[found[2]]) if found else timedelta()
    if not SHORTEST <= span <= LONGEST:
        raise InvalidInput(f"{every!r} is no rhythm; write 30m or 12h, from a minute to 31 days.")
    return span, None


def schedule_create(
    *,
    environment: str,
    name: str,
    arguments: dict[str, str],
    every: str = "",
    daily_at: str = "",
    actor: Actor,
    request_id: str = "",
) -> Schedule:
    """Make a script run by itself. Raises InvalidInput or NotFound; what changes something needs a person each time."""
    if environment not in list(Environment):
        raise InvalidInput(f"There is no environment {environment!r}.")
    entry = script(name)
    given = {key: value.strip() for key, value in arguments.items() if value.strip()}
    entry.command_arguments(given)
    entry.program_digest()
    if entry.changes_anything:
        raise InvalidInput(
            f"{name} changes something: it runs after a dry run that a person has read, never by itself."
        )
    span, at = rhythm(every, daily_at)
    now = clock.now()
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        made = Schedule.objects.create(
            environment=environment,
            script=name,
            arguments=given,
            every=span,
            daily_at=at,
            next_at=daily_next(at, now) if at is not None else now + (span or SHORTEST),
            made_by=actor.label,
            made_at=now,
        )
        this.record(
            "schedule.created",
            subject=f"schedule:{made.pk}",
            after={"script": name, "arguments": given, "every": every.strip(), "daily_at": daily_at.strip()},
        )
        announce("run", environment, schedule=made.pk)
    Schedule.objects.filter(pk=made.pk).update(made_entry=this.entries[0].seq)
    return made


def schedule_stop(*, schedule: Schedule, actor: Actor, request_id: str = "") -> bool:
    """Stop it for good; False when it was stopped already. A run under way goes on."""
    with change(
        actor=actor, environment=schedule.environment, cause=schedule.made_entry, request_id=request_id
    ) as this:
        if not Schedule.objects.filter(pk=schedule.pk, ended_at=None).update(ended_at=clock.now()):
            return False
        this.record("schedule.stopped", subject=f"schedule:{schedule.pk}", before={"script": schedule.script})
        announce("run", schedule.environment, schedule=schedule.pk)
    return True


def schedules_due() -> int:
    """Request a run for each schedule that is due; return how many. While its last run is open, a schedule waits."""
    now = clock.now()
    requested = 0
    due = Schedule.objects.filter(ended_at=None, next_at__lte=now).exclude(last_run__state__in=OPEN)
    for schedule in due.order_by("next_at"):
        try:
            requested += _due(schedule, now)
        except HawkOpsError as error:
            # the script left the catalogue, or its arguments changed: the others run all the same
            log.error("schedule.refused", extra={"schedule": schedule.pk, "why": error.message})
    return requested


def _due(schedule: Schedule, now: datetime) -> bool:
    # whoever moves it on first requests the run; one that dies in between leaves out a turn, and never runs twice
    moved = Schedule.objects.filter(pk=schedule.pk, ended_at=None, next_at=schedule.next_at).update(
        next_at=schedule.following(now)
    )
    if not moved:
        return False
    run = run_request(
        environment=schedule.environment,
        name=schedule.script,
        arguments=schedule.arguments,
        actor=Actor.rule(f"schedule {schedule.pk}"),
        cause=schedule.made_entry,
    )
    Schedule.objects.filter(pk=schedule.pk).update(last_run=run)
    return True
