"""The validation after each phase: its clock counted, what happened to it written down, its scripts run at the end."""

import logging
from datetime import timedelta

from hawkops.core import clock
from hawkops.core.errors import HawkOpsError
from hawkops.core.live import announce
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.services import Change, change
from hawkops.scripts import selectors as scripts
from hawkops.scripts.services import run_request
from monitoring.selectors.flowing import SLOT, flow
from rollout.domain import validation as domain
from rollout.models import Evidence, PhaseRun, Release, Validation
from rollout.selectors import clocks, phases, releases
from rollout.selectors.critical import critical_incidents

log = logging.getLogger(__name__)
COUNTER = Actor.rule("validation")
# rows of ten minutes are kept for a month
LOOKED_BACK_MOST = timedelta(days=31)


def validation_begin(*, run: PhaseRun, this: Change) -> Validation:
    """Begin the validation of a phase that has reached its target percentage, in the change that reached it."""
    assert run.reached_at is not None
    lasted = run.reached_at - run.started_at - timedelta(seconds=run.paused_seconds)
    made = Validation.objects.create(
        run=run,
        began_at=run.reached_at,
        since=run.reached_at,
        counted_at=run.reached_at,
        lasted_seconds=max(0, int(lasted.total_seconds())),
    )
    this.record("validation.began", subject=_subject(run), after={"phase": run.number, "since": made.since})
    return made


def validations_due() -> int:
    """Count the clock of every phase at its target percentage, and run what concludes one; return how many were counted."""
    counted = 0
    under_way = PhaseRun.objects.filter(
        release__running=True, state__in=phases.UNDER_WAY, reached_at__isnull=False
    ).select_related("release__runbook")
    for run in list(under_way):
        try:
            validation_count(run=run)
            conclusion_request(run=run)
            counted += 1
        except HawkOpsError as error:  # other phases are counted all the same
            log.error("validation.refused", extra={"phase": run.pk, "why": error.message})
    return counted


def validation_count(*, run: PhaseRun) -> Validation:
    """Count a phase's clock anew from stored data. What it becomes is one entry; that it ran on is none."""
    release, now = run.release, clock.now()
    assert run.reached_at is not None
    start = domain.start(run.reached_at, critical_incidents(release.environment, run.reached_at))
    live, last_data_at = timedelta(), None
    known = Validation.objects.filter(run=run).first()
    full = known is not None and known.done_at is not None and known.since == start.at
    if start.at is not None and not full:
        since = max(start.at, now - LOOKED_BACK_MOST)
        found = flow(release.environment, since=since, until=now)
        live = domain.live(found.slots, width=SLOT, since=since, until=now)
        last_data_at = found.last_at
    with change(actor=COUNTER, environment=release.environment, reason=f"Validation of phase {run.number}") as this:
        stored = Validation.objects.select_for_update(no_key=True).filter(run=run).first() or validation_begin(
            run=run, this=this
        )
        if stored.since != start.at:
            _restarted(stored, run, start, this)
        if stored.done_at is None:
            stored.live_seconds, stored.last_data_at = int(live.total_seconds()), last_data_at
            stored.counted_at = now
            _moved(stored, run, this)
        stored.save()
    announce("evidence", release.environment, release=release.pk)
    return stored


def _restarted(stored: Validation, run: PhaseRun, start: domain.Start, this: Change) -> None:
    before = {"since": stored.since, "live_seconds": stored.live_seconds}
    stored.since, stored.because, stored.address = start.at, start.because[:200], start.address[:300]
    stored.live_seconds, stored.restarts = 0, stored.restarts + 1
    stored.done_at = stored.concluding_at = stored.paused_since = stored.lasted_done_seconds = None
    this.record(
        "validation.restarted" if start.at else "validation.held",
        subject=_subject(run),
        before=before,
        after={"since": stored.since, "live_seconds": 0, "because": stored.because},
    )


def _moved(stored: Validation, run: PhaseRun, this: Change) -> None:
    """Write down when data stops, comes again, and when there is enough."""
    found = clocks.clock_of(stored, environment=run.release.environment)
    if found.since is not None and found.live >= found.needed:
        stored.done_at = stored.counted_at
        stored.paused_since = None
        lasted = phases.progress(run, now=stored.counted_at).lasted(stored.counted_at)
        stored.lasted_done_seconds = int(lasted.total_seconds())
        this.record("validation.data_full", subject=_subject(run), after={"live_seconds": stored.live_seconds})
    elif (found.paused_since is None) is not (stored.paused_since is None):
        stored.paused_since = found.paused_since
        verb = "validation.paused" if stored.paused_since else "validation.resumed"
        this.record(
            verb, subject=_subject(run), after={"live_seconds": stored.live_seconds, "since": stored.paused_since}
        )


def conclusion_request(*, run: PhaseRun) -> int:
    """Run what concludes a phase when its minimum time and its hours of data are over; return how many were requested.

    Each script once: whoever ran it since then, it is not asked for again. Compliance scripts run where their box is open.
    """
    release, now = run.release, clock.now()
    stored = Validation.objects.filter(run=run).first()
    if stored is None or stored.done_at is None:
        return 0
    progress = phases.progress(run, now=now)
    if progress.lasted(now) < progress.phase.at_least:
        return 0
    if stored.concluding_at is None:
        with change(actor=COUNTER, environment=release.environment, reason=f"End of phase {run.number}") as this:
            if not Validation.objects.filter(pk=stored.pk, concluding_at=None).update(concluding_at=now):
                return 0
            this.record("validation.concluding", subject=_subject(run), after={"phase": run.number})
        stored.concluding_at = now
    requested = 0
    ran = scripts.runs_latest(release.environment)
    for name, arguments in _concluding(release).items():
        last = ran.get(name)
        if last is not None and last.requested_at >= stored.concluding_at:
            continue
        run_request(
            environment=release.environment,
            name=name,
            arguments=arguments,
            actor=COUNTER,
            subject={"release": release.pk, **release.subject},
        )
        requested += 1
    return requested


def _concluding(release: Release) -> dict[str, dict[str, str]]:
    """Return the scripts of the conclusion, and of compliance where a box does not pass, with their arguments."""
    book = releases.runbook(release)
    passing = set(
        Evidence.objects.filter(release=release, verdict=Verdict.PASS.value, expires_at__gt=clock.now()).values_list(
            "box", flat=True
        )
    )
    boxes = [box for group in book.conclusion for box in group.boxes]
    boxes += [box for group in book.compliance for box in group.boxes if box.key not in passing]
    return {box.scripts[0]: box.given(release.environment) for box in boxes if box.automatic and box.scripts}


def _subject(run: PhaseRun) -> str:
    return f"phase:{run.release_id}:{run.number}"
