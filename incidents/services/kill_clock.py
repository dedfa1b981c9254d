"""Looking after the clocks of kills: what was reached is kept with its moment, and the five minutes are judged once."""

import logging
from datetime import datetime, timedelta

from django.db import DatabaseError

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError
from hawkops.core.live import announce
from hawkops.history import selectors as history
from hawkops.history.actors import Actor
from hawkops.history.services import Change, change
from incidents.domain.kill_clock import MOVES, Judged, State, Step, judged, said, written
from incidents.models import KillClock
from incidents.selectors.kill_clock import KEPT, clock_of, found, in_earnest
from rollout.selectors.flags import overridden
from rollout.services.flags import LITERT

log = logging.getLogger(__name__)
RULE = Actor.rule("kill clock")
# the census is of those that were active within an hour
LOOKED_FOR = timedelta(hours=1)
LIFTED = ("flag.reenabled", "flag.override_cleared")


def clocks_follow() -> int:
    """Begin the clocks of new kills and look at those that go on; return how many moments were kept."""
    now, kept = clock.now(), 0
    for environment in Environment:
        entry = in_earnest(environment.value, since=now - KEPT)
        if entry is not None and not KillClock.objects.filter(entry=entry.seq).exists():
            # two at once make one: the entry is unique
            KillClock.objects.bulk_create([clock_of(entry)], ignore_conflicts=True)
    for pk in list(KillClock.objects.filter(ended_at=None).order_by("pk").values_list("pk", flat=True)):
        try:
            kept += _look(pk, now)
        except (HawkOpsError, DatabaseError, ValueError):  # the others are looked at all the same
            log.exception("kill_clock.not_looked_at", extra={"clock": pk})
    return kept


def _look(pk: int, now: datetime) -> int:
    """Keep what was reached since the last look, and judge. Read before anything is locked."""
    row = KillClock.objects.get(pk=pk)
    reached, devices = found(row)
    lifted_at = _lifted_at(row, now)
    with change(actor=RULE, environment=row.environment, cause=row.entry) as this:
        row = KillClock.objects.select_for_update(no_key=True).get(pk=pk)
        if row.ended_at is not None:
            return 0
        new = [step for step in Step if step in reached and step.value not in row.moments]
        row.moments = {**row.moments, **{step.value: reached[step].isoformat() for step in new}}
        row.devices = devices
        for step in new:
            if step not in (Step.PRESSED, Step.OFF):  # the press itself says these
                this.record("kill_clock.reached", subject=row.subject, after=_reached(row, step))
        if row.state == State.RUNNING:
            until = lifted_at or now
            verdict = judged(row.reached, pressed_at=row.pressed_at, devices=devices, now=until)
            _judge(this, row, verdict, lifted=lifted_at is not None)
        whole = Step.SETTLED.value in row.moments and Step.TOLD.value in row.moments
        if row.state != State.RUNNING and (whole or lifted_at or now - row.pressed_at > LOOKED_FOR):
            row.ended_at = now
        row.save()
        if this.drafts:
            announce("incidents", row.environment)
    return len(new)


def _lifted_at(row: KillClock, now: datetime) -> datetime | None:
    """Return when devices were allowed to run LiteRT again; None while the kill is in force. Two queries."""
    if LITERT in {flag.key for flag in overridden(row.environment)}:
        return None
    lifted = history.entries(environment=row.environment, verbs=LIFTED, since=row.pressed_at)
    entry = lifted.filter(subject=f"flag:{LITERT}").order_by("seq").first()
    return entry.at if entry is not None else now


def _reached(row: KillClock, step: Step) -> dict[str, object]:
    at = row.reached[step]
    seconds = round((at - row.pressed_at).total_seconds(), 1)
    return {"step": step.value, "title": step.label, "at": at.isoformat(), "seconds": seconds, "devices": row.devices}


def _judge(this: Change, row: KillClock, verdict: Judged, *, lifted: bool) -> None:
    """Move the clock on, once."""
    state = State.LIFTED if verdict.state is State.RUNNING and lifted else verdict.state
    if state not in MOVES[State(row.state)]:
        return
    row.state, row.late = state.value, [one.value for one in verdict.late]
    after = {
        "state": state.value,
        "took": written(verdict.took) if verdict.took is not None else None,
        "late": row.late,
        "late_said": said(row.late),
        "devices": row.devices,
        "pressed_at": row.pressed_at.isoformat(),
        "moments": row.moments,
    }
    this.record(f"kill_clock.{state.value}", subject=row.subject, before={"state": State.RUNNING.value}, after=after)
