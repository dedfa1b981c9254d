"""The go/no-go decision after a phase, as the numbers stand: every line, what follows, and what it was read from."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from hawkops.core import clock
from hawkops.history import selectors as history
from hawkops.history.models import HistoryEntry
from hawkops.scripts.models import Run
from hawkops.scripts.models import State as RunState
from monitoring.domain.criteria import BACKENDS, WINDOW_MOST, Criterion, Purpose
from monitoring.domain.numbers import Numbers
from monitoring.selectors.criteria import Evaluated, criteria
from monitoring.selectors.flowing import SLOT, flow
from monitoring.selectors.judging import ROLLBACK, judged
from monitoring.selectors.sections import rules
from rollout.domain import bundle, validation
from rollout.domain import decision as domain
from rollout.domain.bundle import Facts
from rollout.domain.decision import Recommended
from rollout.domain.lines import Measured, Part, RolledBack, Shown
from rollout.domain.validation import Clock, Critical
from rollout.models import PhaseDecision, PhaseRun, Release
from rollout.selectors import clocks, flags, releases
from rollout.selectors.critical import critical_incidents

HOUR = timedelta(hours=1)
PRESSED = ("flag.killed", "flag.override_set")
# what rolls back by itself says so in a verb of its own
ROLLED_BACK = ("rollback.made", "guardrail.rolled_back", "phase.rolled_back")
# a rollback of these levels is told by what it did: the overrides, the run
TOLD = (2, 3, 4)
LITERT_PREFIX = "litert_"

# environment, since -> what was rolled back since then, as somebody above knows it
Source = Callable[[str, datetime], Iterable[RolledBack]]
_sources: list[Source] = []


def register(source: Source) -> None:
    """Make a source of rollbacks known that the history's verbs do not name; registering twice counts once."""
    if source not in _sources:
        _sources.append(source)


@dataclass(frozen=True)
class State:
    """A decision as it stands at a moment: what was read since `since`, and everything that follows from that."""

    release: Release
    run: PhaseRun
    at: datetime
    since: datetime
    missed_most: float
    needed: timedelta
    clock: Clock | None
    incidents: tuple[Critical, ...]
    rollbacks: tuple[RolledBack, ...]
    measured: tuple[Measured, ...]
    replayed: bool = False

    @property
    def live(self) -> timedelta:
        """The time in which data came, which tells how fast there is enough."""
        elapsed = max(timedelta(), self.at - self.since)
        return min(elapsed, self.clock.live) if self.clock is not None and not self.clock.done else elapsed

    @cached_property
    def facts(self) -> Facts:
        """What is known besides the numbers."""
        return Facts(
            at=self.at,
            since=self.since,
            phase=self.run.number,
            began_at=self.run.started_at,
            needed=self.needed,
            live=self.live,
            missed_most=self.missed_most,
            clock=self.clock,
            incidents=self.incidents,
            rollbacks=self.rollbacks,
        )

    @cached_property
    def shown(self) -> list[Shown]:
        """Every line, first what is no criterion."""
        return bundle.shown(self.facts, self.measured)

    @cached_property
    def recommended(self) -> Recommended:
        """What the numbers speak for."""
        return domain.recommend(one.line for one in self.shown)


def state(release: Release, run: PhaseRun, *, now: datetime | None = None) -> State | None:
    """Return the decision after a phase, as of `now`; None where no go/no-go criterion is stored.

    Of a past moment telemetry, incidents, rollbacks and hours are those of then; thresholds are those that rule today.
    """
    stored = criteria(purposes=[Purpose.DECISION])
    if not stored:
        return None
    present = clock.now()
    at, replayed = now or present, now is not None and now < present
    needed = clocks.needed()
    incidents = _incidents(release.environment, run.started_at, at)
    hours = _clock_then(release, run, incidents, needed, at) if replayed else _clock(release, run, at)
    since = _since(run, hours, at)
    first = PhaseRun.objects.filter(release=release).order_by("pk").values_list("started_at", flat=True).first()
    wanted = [_asked(one, release, _window(one, since, hours, needed, at)) for one in stored]
    looked = judged(release.environment, wanted, now=at, released_at=first)
    return State(
        release=release,
        run=run,
        at=at,
        since=since,
        missed_most=rules().missed_most,
        needed=needed,
        clock=hours,
        incidents=tuple(incidents),
        rollbacks=tuple(rollbacks(release, run.started_at, at)),
        measured=tuple(measured(one, release, synthetic=looked.synthetic) for one in looked.lines),
        replayed=replayed,
    )


def run_judged(release: Release, *, at: datetime | None = None) -> PhaseRun | None:
    """Return the phase that a decision is about: the one under way, or the one of a past moment; None before the first."""
    runs = PhaseRun.objects.filter(release=release).exclude(state="aborted").order_by("-pk")
    if at is not None:
        return next(
            (run for run in runs if run.started_at <= at and (run.ended_at is None or at <= run.ended_at)), None
        )
    return runs.first()


def run_under_way(release: Release) -> PhaseRun | None:
    """Return the phase that a decision would end: running or paused."""
    return PhaseRun.objects.filter(release=release, state__in=["running", "paused"]).first()


def decisions(release: Release) -> Sequence[PhaseDecision]:
    """Return what was decided, newest first."""
    return list(PhaseDecision.objects.filter(release=release).select_related("proposal").defer("bundle_text"))


def bundle_proven(decision: PhaseDecision) -> dict[str, Any]:
    """Return a decision's bundle with its proof: the entries of the history behind it, and the head of the chain now."""
    found: dict[str, Any] = json.loads(decision.bundle_text)
    own = HistoryEntry.objects.filter(verb=bundle.MADE, subject=f"decision:{decision.release_id}:{decision.pk}")
    signed = HistoryEntry.objects.filter(pk__in=[one["entry"] for one in found["signatures"]])
    head = history.head()
    found["proof"] = {
        "entries": [
            bundle.entry(one.row(), previous=one.previous_hash, own=one.hash)
            for one in sorted([*signed, *own], key=lambda one: one.seq)
        ],
        "head": {"seq": head.seq, "hash": head.hash},
    }
    return found


# ---- what is read ----


def _asked(one: Criterion, release: Release, window: timedelta) -> Criterion:
    """Return a criterion over the decision's own time, on the backends that the release declares."""
    if one.broken:
        return one
    # an event is an event: what may happen so often within the whole time may not happen more often within a part of it
    one = replace(one, window=window)
    if one.threshold is None and not one.over.backends:
        one = replace(one, over=replace(one.over, backends=tuple(release.backends)))
    return one


def _since(run: PhaseRun, hours: Clock | None, at: datetime) -> datetime:
    """Return from when data speaks: since the clock counts, or since the phase began where it does not."""
    found = hours.since if hours is not None and hours.since is not None else run.started_at
    return max(min(found, at - HOUR), at - WINDOW_MOST)


def _window(one: Criterion, since: datetime, hours: Clock | None, needed: timedelta, at: datetime) -> timedelta:
    """Return what a criterion reads: its own time, longer by the pauses of the clock, never beyond where it began.

    In whole hours: criteria of one window are read together.
    """
    elapsed = max(1, -(-(at - since) // HOUR)) * HOUR
    own = one.window
    if own >= needed and hours is not None and hours.since is not None:
        ended = hours.done_at or at
        paused = max(timedelta(), ended - hours.since - hours.live)
        own += (paused // HOUR) * HOUR
    return min(own, elapsed, WINDOW_MOST)


def measured(one: Evaluated, release: Release | None, *, synthetic: bool) -> Measured:
    """Return what was read for a criterion as a line is judged by; of no release every backend is declared."""
    criterion, reading = one.criterion, one.reading
    scope = reading.scope if criterion.where_available else ""
    declared = (*(release.backends if release is not None else BACKENDS), "cloud")
    if criterion.over.backends and not any(name in declared for name in criterion.over.backends):
        scope = f"not in scope: the release does not declare {', '.join(criterion.over.backends)}"
    return Measured(
        criterion=criterion,
        numbers=reading.numbers or Numbers(),
        parts=tuple(Part(label, part.numbers or Numbers(), part.threshold) for label, part, _ in one.parts),
        scope=scope,
        allowed=one.allowed,
        simulated=one.simulated or synthetic,
    )


def _incidents(environment: str, since: datetime, at: datetime) -> list[Critical]:
    """Return the critical incidents since then, as they stood at a moment."""
    found = [one for one in critical_incidents(environment, since) if one.opened_at <= at]
    return [replace(one, ended_at=None) if one.ended_at is not None and one.ended_at > at else one for one in found]


def _clock(release: Release, run: PhaseRun, at: datetime) -> Clock | None:
    found = clocks.current(release)
    if found is None or found.run_id != run.pk:
        return None
    return clocks.clock_of(found, environment=release.environment, now=at)


def _clock_then(
    release: Release, run: PhaseRun, incidents: Sequence[Critical], needed: timedelta, at: datetime
) -> Clock | None:
    """Count the clock of a past moment anew from stored data; None before the target percentage."""
    if run.reached_at is None or run.reached_at > at:
        return None
    start = validation.start(run.reached_at, incidents)
    live, last = timedelta(), None
    if start.at is not None:
        found = flow(release.environment, since=start.at, until=at)
        live = validation.live(found.slots, width=SLOT, since=start.at, until=at)
        last = min(found.last_at, at) if found.last_at is not None else None
    full = start.at is not None and live >= needed
    return Clock(run.reached_at, start.at, needed, live, last, at, at if full else None, start.because, start.address)


def rollbacks(release: Release, since: datetime, at: datetime) -> list[RolledBack]:
    """Return what was rolled back since then. Drills, which say so in their reason, are none."""
    return rolled_back(release.environment, since, at, drills=drill_reasons(release))


def drill_reasons(release: Release) -> set[str]:
    """Return the reasons by which a release's drills are told from emergencies."""
    return {box.reason for _, box in releases.runbook(release).boxes() if box.by == "kill_switches" and box.reason}


def rolled_back(environment: str, since: datetime, at: datetime, *, drills: Iterable[str] = ()) -> list[RolledBack]:
    """Return what was rolled back in an environment, oldest first; reasons that begin like one of `drills` are none."""
    drills = tuple(drills)
    safe = {one.key: one.safe_variant for one in flags.flags(environment) if one.key.startswith(LITERT_PREFIX)}
    found = [RolledBack(one.title, one.at, one.entry) for source in _sources for one in source(environment, since)]
    entries = history.entries(environment=environment, since=since, until=at)
    for entry in (
        *entries.filter(environment=environment, verb__in=PRESSED),
        *history.entries(environment=environment, verb_prefixes=ROLLED_BACK, since=since, until=at),
    ):
        if any(entry.reason.startswith(drill) for drill in drills):
            continue
        if entry.verb == "rollback.made" and (_automatic(entry) or (entry.after or {}).get("level") in TOLD):
            continue
        if entry.verb not in PRESSED or any(safe.get(key) == variant for key, variant in _pressed(entry).items()):
            words = f"{entry.verb} of {entry.subject.removeprefix('flag:')}"
            if entry.verb == "rollback.made":
                words = f"rollback of level {(entry.after or {}).get('level')}"
            found.append(RolledBack(f"{words}, {entry.reason}" if entry.reason else words, entry.at, entry.seq))
    runs = Run.objects.filter(
        environment=environment,
        script=ROLLBACK,
        dry_run=False,
        state=RunState.PASSED.value,
        finished_at__gte=since,
        finished_at__lt=at,
    )
    found += [RolledBack(f"rollback of the app, run {run.pk}", run.finished_at) for run in runs if run.finished_at]
    return sorted(found, key=lambda one: one.at)


def _automatic(entry: HistoryEntry) -> bool:
    """Whether a guardrail made a rollback, which says so itself."""
    return entry.actor.startswith("rule:guardrail:")


def _pressed(entry: HistoryEntry) -> dict[str, str]:
    """Return what an entry forced, flag by flag, on every device or on some."""
    after: dict[str, Any] = entry.after or {}
    states = after if "override" not in after else {entry.subject.removeprefix("flag:"): after}
    found: dict[str, str] = {}
    for key, one in states.items():
        forced = (one.get("override") or {}).get("variant", "")
        some = [scoped["variant"] for scoped in one.get("scoped_overrides", [])]
        found[key] = forced or (some[0] if some else "")
    return found
