"""Writes on runs: requested, started, told, finished, reaped. Every move is a compare-and-set on state and token."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.live import announce
from hawkops.history.actors import Actor
from hawkops.history.services import change
from hawkops.scripts import selectors
from hawkops.scripts.catalogue import Script
from hawkops.scripts.errors import StaleToken
from hawkops.scripts.events import run_finished
from hawkops.scripts.jobs import RUN
from hawkops.scripts.kept import Kept
from hawkops.scripts.models import MOVES, VERDICTS, Run, RunFile, RunOutput, Series, State
from hawkops.scripts.own import script

LEASE = timedelta(seconds=30)
# A queued run that nobody took within this time is sent to the broker again.
FORGOTTEN = timedelta(seconds=45)
FORGOTTEN_MOST = 200
ATTEMPTS_MOST = 2
TIMES_MOST = 50
# How long a passed dry run allows the real one.
DRY_RUN_COUNTS_FOR = timedelta(hours=1)
RUNNER = Actor.rule("script runner")


def run_request(
    *,
    environment: str,
    name: str,
    arguments: dict[str, str],
    actor: Actor,
    subject: dict[str, Any] | None = None,
    dry_run: bool = False,
    times: int = 1,
    needs: int | None = None,
    send: bool = True,
    cause: int | None = None,
    request_id: str = "",
) -> Run:
    """Queue a run, or several of which `needs` must pass (all of them unless said), and return the first.

    Raises InvalidInput, NotFound or Conflict, and then nothing is queued. Several run one after the other.

    A script that changes something runs only after a dry run of the same program with the same arguments has passed
    within the hour. Without `send` the broker hears nothing of it: the caller takes the run itself.
    """
    if environment not in list(Environment):
        raise InvalidInput(f"There is no environment {environment!r}.")
    entry = script(name)
    given = {key: value.strip() for key, value in arguments.items() if value.strip()}
    entry.command_arguments(given, dry_run=dry_run)
    needs = _needed(entry, times, needs, dry_run=dry_run)
    digest = entry.program_digest()
    rehearsed = None
    if entry.changes_anything and not dry_run:
        since = clock.now() - DRY_RUN_COUNTS_FOR
        rehearsed = selectors.dry_run_passed(environment, name, given, digest, since=since)
        if rehearsed is None:
            raise Conflict(
                f"{name} changes something: it needs a dry run with the same arguments in {environment}"
                " that passed within the last hour. Do the dry run first."
            )
    with change(actor=actor, environment=environment, cause=cause, request_id=request_id) as this:
        series = Series.objects.create(times=times, needs=needs) if times > 1 else None
        now = clock.now()
        runs = [
            Run.objects.create(
                environment=environment,
                script=name,
                arguments=given,
                subject=subject or {},
                dry_run=dry_run,
                series=series,
                program_sha256=digest,
                concurrency_key=entry.concurrency_key or (f"series {series.pk}" if series else ""),
                requested_by=actor.label,
                requested_at=now,
                sent_at=now if send else None,
            )
            for _ in range(times)
        ]
        after: dict[str, Any] = {"script": name, "arguments": given}
        if dry_run:
            after["dry_run"] = True
        if rehearsed is not None:
            after["after_dry_run"] = rehearsed.pk
        if series is not None:
            after |= {"series": series.pk, "times": times, "needs": needs}
        for run in runs:
            this.record("run.requested", subject=f"run:{run.pk}", after=after)
        if send:
            # the end of each sends the next
            RUN.enqueue(run_id=runs[0].pk)
    for run, recorded in zip(runs, this.entries, strict=True):
        Run.objects.filter(pk=run.pk).update(request_entry=recorded.seq)
        run.request_entry = recorded.seq
    return runs[0]


def _needed(entry: Script, times: int, needs: int | None, *, dry_run: bool) -> int:
    """Return how many of the runs must pass. Raises InvalidInput."""
    needs = times if needs is None else needs
    if not 1 <= times <= TIMES_MOST:
        raise InvalidInput(f"A script runs 1 to {TIMES_MOST} times, not {times}.")
    if not 1 <= needs <= times:
        raise InvalidInput(f"Of {times} runs 1 to {times} can be needed, not {needs}.")
    if times > 1 and (entry.changes_anything or dry_run):
        raise InvalidInput(f"{entry.name} changes something: it runs once, after its dry run.")
    return needs


def run_start(*, run_id: int) -> Run | None:
    """Take a queued run: a fresh token and a lease. None when somebody else has it, it is gone, or it has to wait.

    A run that needs what another one has for itself stays queued; the other's end sends it again.
    """
    now = clock.now()
    token = uuid.uuid4()
    with transaction.atomic():
        try:
            with transaction.atomic():
                taken = Run.objects.filter(pk=run_id, state=State.QUEUED.value).update(
                    state=State.RUNNING.value,
                    token=token,
                    attempt=F("attempt") + 1,
                    started_at=now,
                    lease_until=now + LEASE,
                )
        except IntegrityError:
            return None
        if not taken:
            return None
        RunOutput.objects.filter(run_id=run_id).delete()
        run = Run.objects.get(pk=run_id)
        announce("run", run.environment, id=run_id)
    return run


def run_heartbeat(*, run: Run) -> bool:
    """Renew the lease; say whether the run should go on (False: cancelled, or another attempt took over)."""
    renewed = Run.objects.filter(pk=run.pk, token=run.token, state=State.RUNNING.value, cancel_wanted=False).update(
        lease_until=clock.now() + LEASE
    )
    return bool(renewed)


def run_output_append(*, run: Run, lines: Iterable[tuple[int, datetime, str, str]]) -> None:
    """Store lines (number, time, stream, text) and tell the pages. Raises StaleToken."""
    rows = [RunOutput(run=run, number=n, at=at, stream=stream, text=text) for n, at, stream, text in lines]
    if not rows:
        return
    with transaction.atomic():
        current = Run.objects.filter(pk=run.pk, token=run.token, state=State.RUNNING.value)
        if not current.update(output_lines=rows[-1].number):
            raise StaleToken(f"Run {run.pk} is not this attempt's any more.")
        RunOutput.objects.bulk_create(rows)
        announce("run", run.environment, id=run.pk)


def run_finish(
    *, run: Run, state: State, exit_code: int | None, summary: str, results: list[dict[str, Any]],
    files: Sequence[Kept] = (),
) -> None:  # fmt: skip
    """End a run with what it found and the files that it leaves. Raises StaleToken when it is no longer this attempt's."""
    assert state in MOVES[State.RUNNING]
    cause = run.request_entry
    with change(actor=RUNNER, environment=run.environment, cause=cause) as this:
        moved = Run.objects.filter(pk=run.pk, token=run.token, state=State.RUNNING.value).update(
            state=state.value,
            exit_code=exit_code,
            summary=summary[:500],
            results=results,
            finished_at=clock.now(),
            lease_until=None,
        )
        if not moved:
            raise StaleToken(f"Run {run.pk} is not this attempt's any more.")
        RunFile.objects.bulk_create(
            RunFile(run=run, name=one.name, content=one.content, size=len(one.content), sha256=one.sha256)
            for one in files
        )
        this.record(
            "run.finished",
            subject=f"run:{run.pk}",
            before={"state": State.RUNNING.value},
            after={
                "script": run.script,
                "state": state.value,
                "verdict": VERDICTS[state].value,
                "exit_code": exit_code,
                "summary": summary[:500],
                "measured": {
                    f"{result.get('name')} {result.get('backend', '')}".strip(): result.get("value")
                    for result in results
                },
                **({"files": {one.name: f"sha256:{one.sha256}" for one in files}} if files else {}),
            },
        )
        announce("run", run.environment, id=run.pk)
        _send_next(run)
        run_finished.announce(run.pk)


def run_cancel(*, run: Run, actor: Actor, request_id: str = "") -> None:
    """Ask a run to end: a queued one is cancelled at once, a running one by its worker within seconds.

    With it go the queued ones of its series: the number that it needs was meant for all of them.
    """
    meant = Run.objects.filter(Q(pk=run.pk) | Q(series__isnull=False, series=run.series_id)).order_by("pk")
    with change(actor=actor, environment=run.environment, cause=run.request_entry, request_id=request_id) as this:
        for found in meant:
            queued = Run.objects.filter(pk=found.pk, state=State.QUEUED.value).update(
                state=State.CANCELLED.value, finished_at=clock.now(), summary="Cancelled before it started."
            )
            asked = queued or Run.objects.filter(pk=found.pk, state=State.RUNNING.value, cancel_wanted=False).update(
                cancel_wanted=True
            )
            if asked:
                this.record("run.cancelled", subject=f"run:{found.pk}", after={"script": run.script})
                announce("run", run.environment, id=found.pk)


def runs_reap() -> tuple[int, int]:
    """End runs whose worker is gone, and send forgotten ones again; return (lost, sent again).

    An idempotent run gets one more attempt; nothing says "running" for ever.
    """
    now = clock.now()
    lost = again = 0
    for run in Run.objects.filter(state=State.RUNNING.value, lease_until__lt=now):
        why = "Its worker ended without a word; the lease ran out."
        state = _abandon(run, Actor.rule("run sweeper"), why, Q(lease_until__lt=now))
        lost += state is State.LOST
        again += state is State.QUEUED
    return lost, again + _forgotten_send(now)


def run_give_back(*, run: Run) -> None:
    """Give back a run whose worker was told to end: it is queued once more, or lost, at once. Raises StaleToken."""
    if _abandon(run, RUNNER, "Its worker was told to end.", Q()) is None:
        raise StaleToken(f"Run {run.pk} is not this attempt's any more.")


def _abandon(run: Run, actor: Actor, why: str, condition: Q) -> State | None:
    """Queue an idempotent run for one more attempt, else end it; None when the attempt or the condition is over."""
    now = clock.now()
    with change(actor=actor, environment=run.environment, cause=run.request_entry) as this:
        row = Run.objects.select_for_update(no_key=True).filter(
            condition, pk=run.pk, token=run.token, state=State.RUNNING.value
        )
        if (found := row.first()) is None:
            return None
        retry = script(run.script).idempotent and found.attempt < ATTEMPTS_MOST and not found.cancel_wanted
        state = State.QUEUED if retry else State.LOST
        Run.objects.filter(pk=run.pk).update(
            state=state.value,
            token=uuid.uuid4(),
            lease_until=None,
            summary="" if retry else why,
            finished_at=None if retry else now,
            sent_at=now,
        )
        this.record(
            "run.requeued" if retry else "run.lost",
            subject=f"run:{run.pk}",
            before={"state": State.RUNNING.value, "attempt": found.attempt},
            after={"state": state.value},
            reason=why,
        )
        announce("run", run.environment, id=run.pk)
        if retry:
            RUN.enqueue(run_id=run.pk)
        else:
            _send_next(run)
            run_finished.announce(run.pk)
    return state


def _send_next(ended: Run) -> None:
    """Send the oldest run that waited for what this one had for itself; what was asked for without `send` waits on."""
    if not ended.concurrency_key:
        return
    waiting = Run.objects.filter(state=State.QUEUED.value, concurrency_key=ended.concurrency_key, sent_at__isnull=False)
    if (following := waiting.exclude(pk=ended.pk).order_by("pk").first()) is not None:
        Run.objects.filter(pk=following.pk).update(sent_at=clock.now())
        RUN.enqueue(run_id=following.pk)


def _forgotten_send(now: datetime) -> int:
    """Send queued runs again that the broker was told of long ago, except those that wait for another; return how many."""
    busy = Run.objects.filter(state=State.RUNNING.value).exclude(concurrency_key="").values("concurrency_key")
    silent = Q(sent_at__lt=now - FORGOTTEN) | Q(sent_at=None, requested_at__lt=now - FORGOTTEN)
    queued = Run.objects.filter(silent, state=State.QUEUED.value).exclude(concurrency_key__in=busy).order_by("pk")
    again = list(queued.values_list("pk", flat=True)[:FORGOTTEN_MOST])
    Run.objects.filter(pk__in=again).update(sent_at=now)
    for pk in again:
        RUN.enqueue(run_id=pk)
    return len(again)
