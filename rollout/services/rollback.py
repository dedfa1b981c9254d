"""Rolling back by levels: each one transaction, lowering only, kept as a row that can be undone.

The phase under way pauses in the same change, so that nothing rises again by itself. Lock order: the release, the
environment's revision, its flags.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.erasure import nameless
from hawkops.core.errors import Conflict, HawkOpsError, InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import Change as Recording
from hawkops.history.services import change
from hawkops.scripts.services import DRY_RUN_COUNTS_FOR, run_request
from rollout.domain import rollback as domain
from rollout.domain.rollback import Level, Part
from rollout.domain.targeting import Constraint
from rollout.models import Flag, PhaseRun, Release, Rollback
from rollout.selectors import phases
from rollout.selectors import rollbacks as selectors
from rollout.selectors.rollbacks import APP_ARGUMENTS, APP_SCRIPT, parts
from rollout.services import overrides
from rollout.services.flags import BACKENDS, FALLBACK, LITERT
from rollout.services.locking import environment_locked, flags_locked, flags_save, reason_given
from rollout.services.raising import Authority

FOLLOWER = Actor.rule("rollback")


def rollback(
    *,
    environment: str,
    level: int,
    actor: Actor,
    reason: str = "",
    backends: Iterable[str] = tuple(BACKENDS),
    cohorts: Iterable[Sequence[Constraint]] = (),
    seen: int | None = None,
    request_id: str = "",
    cause: int | None = None,
) -> Rollback | None:
    """Roll back: 1 halves the percentage of the phase, 2 disables backends, 3 kills LiteRT and lets the cloud answer.

    4 asks for the app's own rollback (see `app_rollbacks_due`). Level 2 is for everybody unless `cohorts` names whom it is
    for. `seen` is the revision that a press was made from: one that comes after another halving finds it done. The phase
    under way is paused in the same change. None when there was nothing left to lower. Never refused for its reason: an
    empty one becomes the runbook's.
    """
    if level not in list(Level):
        raise InvalidInput("A rollback has level 1 (half), 2 (backends), 3 (everything) or 4 (the app).")
    level = Level(level)
    reason = reason.strip()[:300] or level.reason
    if level is Level.APP:
        return _app(environment=environment, actor=actor, reason=reason, request_id=request_id)
    chosen = _chosen(backends) if level is Level.DISABLE else []
    where = [tuple(one) for one in cohorts]
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id, cause=cause) as this:
        release = _release_locked(environment)
        run = phases.run_under_way(release) if release is not None else None
        phase = phases.phase_of(release, run.number) if release is not None and run is not None else None
        shared = phase.flag if phase is not None else LITERT
        keys = {
            Level.HALVE: [shared],
            Level.DISABLE: [BACKENDS[name] for name in chosen],
            Level.KILL: [LITERT, FALLBACK],
        }[level]
        _state, flags = flags_locked(environment, keys)
        before = {key: parts(flag) for key, flag in flags.items()}
        if level is Level.HALVE:
            if seen is not None and selectors.halved_since(environment, seen):
                return None
            _halve(environment, shared, actor, this)
        elif level is Level.DISABLE and where:
            overrides.scoped_disable(environment=environment, keys=keys, cohorts=where, actor=actor, reason=reason)
        elif level is Level.DISABLE:
            overrides.backends_disable(environment=environment, backends=chosen, actor=actor, reason=reason)
        else:
            overrides.kill(environment=environment, actor=actor, reason=reason)
        state, flags = flags_locked(environment, keys)
        changes = [one for key, flag in flags.items() for one in domain.changed(key, before[key], parts(flag))]
        if run is not None and changes and level is Level.HALVE:
            _share_served(run, flags[shared], state.changed_at)
        paused = run is not None and _pause(run, level, this)
        if not changes and not paused:
            return None
        made = _kept(environment, level, release, actor, reason)
        made.phase = run.number if run is not None and paused else None
        made.revision, made.changes = state.revision, [one.document() for one in changes]
        made.save()
        _made(made, this)
    return made


def rollback_undo(
    *,
    environment: str,
    number: int,
    actor: Actor,
    reason: str,
    authority: Authority | None = None,
    request_id: str = "",
) -> HistoryEntry | None:
    """Restore what a rollback changed and nobody changed since; what somebody did is named and left alone.

    It raises, so the policy is asked. The phase that was paused stays paused. Raises Conflict when it is undone already or
    nothing of it stands, InvalidInput for the app's own rollback.
    """
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        release = _release_locked(environment)
        found = selectors.rollback(environment, number)
        undoable(found)
        changes = [domain.change(one) for one in found.changes]
        state, flags = flags_locked(environment, [one.flag for one in changes])
        locked = Rollback.objects.select_for_update(no_key=True, of=("self",)).get(pk=found.pk)
        undoable(locked)
        standing = [one for one in changes if one.stands(parts(flags[one.flag]))]
        if not standing:
            raise Conflict(f"Nothing is undone: {_left_words(changes)} changed since, and is left as it is.")
        before = {key: flag.state() for key, flag in flags.items()}
        moving = []
        for key, flag in flags.items():
            mine = [one for one in standing if one.flag == key]
            if mine:
                _parts_set(flag, domain.undone(parts(flag), mine))
                moving.append(flag)
        own = authority or Authority.of(actor)
        flags_save(state, moving, authority=Authority(own.makers, own.approvers, own.plan_of, undoes=True))
        shares = {one.flag for one in standing if one.part is Part.SHARE}
        run = phases.run_under_way(release) if release is not None else None
        if run is not None and release is not None:
            phase = phases.phase_of(release, run.number)
            if phase is not None and phase.flag in shares:
                _share_served(run, flags[phase.flag], state.changed_at)
        _flags_recorded(moving, shares, before, this)
        left = [one for one in changes if one not in standing]
        locked.undone_at, locked.undone_by = clock.now(), actor.label
        locked.left_alone = [one.document() for one in left]
        locked.save(update_fields=["undone_at", "undone_by", "left_alone"])
        this.record(
            "rollback.undone",
            subject=locked.subject,
            after={
                "title": f"level {locked.level}",
                "level": locked.level,
                "restored": nameless([one.document() for one in standing]),
                "left_alone": nameless([one.document() for one in left]),
            },
        )
    return this.entry


def undoable(found: Rollback) -> None:
    """Say why a rollback can't be undone here. Raises Conflict or InvalidInput."""
    if found.level == Level.APP:
        raise InvalidInput(
            "HawkOps can't undo the app's rollback: resume the halted release in the Play console, under Release,"
            " Production, Releases."
        )
    if found.undone_at is not None:
        raise Conflict(f"Rollback {found.pk} is undone already, by {found.undone_by}.")
    if not found.changes:
        raise Conflict(f"Rollback {found.pk} changed no flag: it only paused the phase. Resume that on the release.")


def app_rollbacks_due() -> int:
    """Let the app's rollbacks whose rehearsal has passed really run, once each; return how many were asked for.

    Only production's: the track is everybody's, whatever environment the press was made in.
    """
    asked = 0
    waiting = Rollback.objects.filter(
        level=Level.APP, environment=Environment.PRODUCTION, run=None, rehearsal__state="passed"
    )
    for one in waiting.filter(rehearsal__finished_at__gte=clock.now() - DRY_RUN_COUNTS_FOR):
        try:
            with transaction.atomic():
                locked = Rollback.objects.select_for_update(no_key=True, of=("self",)).get(pk=one.pk)
                if locked.run_id is not None:
                    continue
                locked.run = run_request(
                    environment=one.environment,
                    name=APP_SCRIPT,
                    arguments=APP_ARGUMENTS,
                    actor=FOLLOWER,
                    subject={"rollback": one.pk},
                    cause=selectors.entry_of(one),
                )
                locked.save(update_fields=["run"])
        except HawkOpsError:  # its program changed meanwhile, say: the next press rehearses anew
            continue
        asked += 1
    return asked


def app_followed(_run_id: int) -> None:
    """Look at the app's rollbacks when a run has ended."""
    app_rollbacks_due()


# ---- the levels ----


def _chosen(backends: Iterable[str]) -> list[str]:
    given = set(backends)
    if unknown := sorted(given - set(BACKENDS)):
        raise InvalidInput(f"There is no backend {unknown[0]!r}; use any of {', '.join(BACKENDS)}.")
    if not given:
        raise InvalidInput("Choose at least one of GPU, NPU and adaptive switching.")
    return [name for name in BACKENDS if name in given]


def _halve(environment: str, key: str, actor: Actor, this: Recording) -> None:
    """Halve what rules and percentage serve on."""
    state, flags = flags_locked(environment, [key])
    flag = flags[key]
    rules, thousandths = domain.halved(flag.rules, flag.thousandths)
    if rules == flag.rules and thousandths == flag.thousandths:
        return
    before = flag.state()
    flag.rules, flag.thousandths = rules, thousandths
    flags_save(state, [flag], authority=Authority.of(actor))
    this.record("flag.rules_changed", subject=f"flag:{key}", before=before, after=flag.state())


def _app(*, environment: str, actor: Actor, reason: str, request_id: str) -> Rollback | None:
    """Ask for the rehearsal of the app's rollback, which the real run follows; None while one is under way."""
    with transaction.atomic():
        release = _release_locked(environment)
        environment_locked(environment)
        if selectors.app_under_way(environment) is not None:
            return None
        made = _kept(environment, Level.APP, release, actor, reason)
        # no change is open around it: a run keeps the number of its own entry
        made.rehearsal = run_request(
            environment=environment,
            name=APP_SCRIPT,
            arguments=APP_ARGUMENTS,
            actor=actor,
            subject={"rollback": made.pk},
            dry_run=True,
            request_id=request_id,
        )
        made.save(update_fields=["rehearsal"])
        with change(actor=actor, environment=environment, reason=reason, request_id=request_id) as this:
            _made(made, this)
    return made


def _kept(environment: str, level: Level, release: Release | None, actor: Actor, reason: str) -> Rollback:
    return Rollback.objects.create(
        environment=environment,
        level=level.value,
        release=release,
        reason=reason,
        by=actor.label,
        reference=actor.reference,
        at=clock.now(),
    )


def _made(made: Rollback, this: Recording) -> None:
    after: dict[str, Any] = {"title": f"level {made.level}", "level": made.level, "changes": nameless(made.changes)}
    if made.phase is not None:
        after["paused_phase"] = made.phase
    if made.rehearsal_id is not None:
        after["rehearsal"] = made.rehearsal_id
    this.record("rollback.made", subject=made.subject, after=after)


def _pause(run: PhaseRun, level: Level, this: Recording) -> bool:
    if run.state != "running":
        return False
    run.state, run.paused_at = "paused", clock.now()
    run.save(update_fields=["state", "paused_at"])
    this.record(
        "phase.paused",
        subject=f"phase:{run.release_id}:{run.number}",
        before={"state": "running"},
        after={"state": "paused", "rollback": level.value},
    )
    return True


def _share_served(run: PhaseRun, flag: Flag, at: datetime) -> None:
    """Note what a phase serves from now on, which tells who is in its arms."""
    phase = phases.phase_of(run.release, run.number)
    if phase is None or phase.flag != flag.key:
        return
    share = max((rule.thousandths for rule in phases.own_rules(flag.domain(), phase)), default=0)
    run.served = [*run.served, {"at": at.isoformat(), "thousandths": share}]
    run.save(update_fields=["served"])


# ---- undoing ----


def _parts_set(flag: Flag, found: dict[str, Any]) -> None:
    flag.rules, flag.thousandths = found[Part.SHARE]["rules"], found[Part.SHARE]["thousandths"]
    flag.scoped_overrides = found[Part.SCOPED]
    kept = found[Part.OVERRIDE]
    flag.override_variant, flag.override_reason, flag.override_by = kept["variant"], kept["reason"], kept["by"]
    flag.override_at = datetime.fromisoformat(kept["at"]) if kept["at"] else None
    flag.override_revision = kept["revision"]


def _flags_recorded(moving: list[Flag], shares: set[str], before: dict[str, Any], this: Recording) -> None:
    """Record what became of each flag: shares by themselves, lifted overrides together, as where they are lifted."""
    lifted = [flag for flag in moving if flag.key not in shares]
    for flag in moving:
        if flag.key in shares:
            this.record("flag.rules_changed", subject=f"flag:{flag.key}", before=before[flag.key], after=flag.state())
    if not lifted:
        return
    subject = next((flag.key for flag in lifted if flag.key == LITERT), lifted[0].key)
    after = {flag.key: flag.state() for flag in lifted}
    single = len(after) == 1
    this.record(
        "flag.reenabled",
        subject=f"flag:{subject}",
        before=before[subject] if single else {key: before[key] for key in after},
        after=after[subject] if single else after,
    )


def _left_words(changes: Iterable[domain.Change]) -> str:
    return ", ".join(dict.fromkeys(one.flag for one in changes))


def _release_locked(environment: str) -> Release | None:
    """Lock the running release, which every walk does first; None without one."""
    found = Release.objects.select_for_update(no_key=True, of=("self",)).select_related("runbook")
    return found.filter(environment=environment, running=True).first()
