"""Walking the phases: start, step by step, pause, resume, abort, complete. A step is never skipped and never doubled."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings

from hawkops.core import clock
from hawkops.core.errors import Conflict, HawkOpsError, InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.services import change
from rollout.domain import phases as domain
from rollout.domain.flags import OFF
from rollout.domain.policy import Raise
from rollout.domain.runbook import Phase
from rollout.models import Flag, PhaseRun, Proposal, Release
from rollout.selectors import decision as decisions
from rollout.selectors import phases as selectors
from rollout.selectors import policy
from rollout.services.decisions import decision_go
from rollout.services.flags import BACKENDS
from rollout.services.locking import flags_locked, flags_save, reason_given
from rollout.services.raising import Authority, NeedsApproval, Refused, must_be_recent_in
from rollout.services.validation import validation_begin

PLAN = Actor.rule("plan")


def phase_start(
    *,
    release: Release,
    number: int,
    authority: Authority,
    actor: Actor,
    reason: str,
    jump: bool = False,
    disagrees: str = "",
    proposal: Proposal | None = None,
    request_id: str = "",
) -> PhaseRun:
    """Start a phase and do its first step; the one before it has passed with that. Raises Refused with what is missing.

    Going on is a decision, kept with what was recommended; against that it takes `disagrees`.
    """
    reason = reason_given(reason)
    with change(actor=actor, environment=release.environment, reason=reason, request_id=request_id) as this:
        release = _locked(release)
        before = selectors.run_under_way(release)
        found = decisions.state(release, before) if before is not None else None
        decision = selectors.start_decision(
            release, number, raise_of(release, authority), jump=jump, disagrees=disagrees.strip(), found=found
        )
        if not decision.allowed:
            raise NeedsApproval(decision) if decision.people_only else Refused(decision)
        must_be_recent_in(release.environment)
        phase = _phase(release, number)
        at = clock.now()
        if before is not None:
            if found is not None:
                decision_go(found=found, disagrees=disagrees, actor=actor, reason=reason, proposal=proposal, this=this)
            before.state, before.ended_at, before.next_at, before.held = "passed", at, None, ""
            before.save()
            this.record(
                "phase.passed", subject=_subject(before), before={"state": "running"}, after={"state": "passed"}
            )
        run = PhaseRun.objects.create(
            release=release,
            number=number,
            percents=domain.percents(phase),
            interval_seconds=int(domain.interval(phase).total_seconds()),
            started_at=at,
            started_by=actor.label,
            next_at=at,
            proposal=proposal,
        )
        this.record(
            "phase.jumped" if jump else "phase.started",
            subject=_subject(run),
            after={
                "phase": number,
                "title": phase.title,
                "percents": run.percents,
                "approved_by": [one.reference for one in authority.approvers],
                "proposal": proposal.pk if proposal else None,
            },
        )
        _step(run, phase, authority, backends=True)
    return run


def phase_payload(release: Release, number: int, *, jump: bool, disagrees: str = "") -> dict[str, Any]:
    """Return what a proposal to start a phase holds."""
    made: dict[str, Any] = {"release": release.pk, "number": number, "jump": jump}
    return {**made, "disagrees": disagrees.strip()} if disagrees.strip() else made


def phases_due() -> int:
    """Do every step that is due, one for each phase, or write down why it must wait; return how many were done.

    After an outage of the scheduler steps follow one another with their whole time between them.
    """
    done = 0
    due = PhaseRun.objects.filter(state="running", next_at__lte=clock.now(), release__running=True).values_list(
        "pk", flat=True
    )
    for pk in list(due):
        try:
            done += _due(pk)
        except HawkOpsError as refusal:  # what came between the look and the step; other plans go on
            _keep_held(pk, refusal.message)
    return done


def _keep_held(pk: int, why: str) -> None:
    run = PhaseRun.objects.select_related("release").get(pk=pk)
    if run.held == why:
        return
    with change(actor=PLAN, environment=run.release.environment, reason="Step of the plan") as this:
        PhaseRun.objects.filter(pk=pk).update(held=why)
        this.record("phase.held", subject=_subject(run), after={"step": run.step + 1, "why": why})


def _due(pk: int) -> bool:
    environment = PhaseRun.objects.values_list("release__environment", flat=True).get(pk=pk)
    with change(actor=PLAN, environment=environment, reason="Step of the plan") as this:
        run = PhaseRun.objects.select_related("release__runbook").get(pk=pk)
        _locked(run.release)
        run = PhaseRun.objects.select_related("release__runbook").get(pk=pk)
        if run.state != "running" or run.next_at is None or run.next_at > clock.now():
            return False
        if why := selectors.held(run):
            if run.held != why:
                run.held = why
                run.save(update_fields=["held"])
                this.record("phase.held", subject=_subject(run), after={"step": run.step + 1, "why": why})
            return False
        phase = _phase(run.release, run.number)
        _step(run, phase, Authority(plan_of=run.release_id))
        this.record(
            "phase.stepped",
            subject=_subject(run),
            after={"step": run.step, "of": phase.steps, "percent": run.percent, "next_at": run.next_at},
        )
    return True


def phase_pause(*, release: Release, actor: Actor, reason: str, request_id: str = "") -> PhaseRun | None:
    """Pause the phase under way: its next step waits and its time stands still. None when it is paused already."""
    with change(
        actor=actor, environment=release.environment, reason=reason_given(reason), request_id=request_id
    ) as this:
        run = _under_way(_locked(release))
        if run.state == "paused":
            return None
        run.state, run.paused_at = "paused", clock.now()
        run.save()
        this.record("phase.paused", subject=_subject(run), before={"state": "running"}, after={"state": "paused"})
    return run


def phase_resume(*, release: Release, actor: Actor, reason: str, request_id: str = "") -> PhaseRun:
    """Go on with the approved plan. What was changed by hand meanwhile is taken as the state from which it goes on.

    Nothing is raised by it: the next step looks at every gate again.
    """
    with change(
        actor=actor, environment=release.environment, reason=reason_given(reason), request_id=request_id
    ) as this:
        release = _locked(release)
        must_be_recent_in(release.environment)
        run = _under_way(release)
        phase = _phase(release, run.number)
        _state, flags = flags_locked(release.environment, [phase.flag])
        stood = flags[phase.flag].revision
        if run.state == "running" and run.flag_revision == stood:
            raise Conflict(f"Phase {run.number} is running.")
        before = {"state": run.state}
        if run.paused_at is not None:
            pause = clock.now() - run.paused_at
            run.paused_seconds += int(pause.total_seconds())
            run.next_at = run.next_at + pause if run.next_at else None
        run.state, run.paused_at, run.held, run.flag_revision = "running", None, "", stood
        run.save()
        this.record("phase.resumed", subject=_subject(run), before=before, after={"state": "running"})
    return run


def phase_abort(*, release: Release, actor: Actor, reason: str, request_id: str = "") -> PhaseRun:
    """End the walk: the phase's flag goes back to nobody, and the next start is phase 1. Never needs approval."""
    with change(
        actor=actor, environment=release.environment, reason=reason_given(reason), request_id=request_id
    ) as this:
        release = _locked(release)
        run = _under_way(release)
        phase = _phase(release, run.number)
        state, flags = flags_locked(release.environment, [phase.flag])
        flag = flags[phase.flag]
        before = flag.state()
        flag.rules = [rule for rule in flag.rules if rule["variant"] == OFF]
        flag.thousandths = 0
        flags_save(state, [flag], authority=Authority.of(actor))
        this.record("flag.rules_changed", subject=f"flag:{flag.key}", before=before, after=flag.state())
        was = run.state
        run.state, run.ended_at, run.next_at, run.paused_at, run.held = "aborted", clock.now(), None, None, ""
        run.save()
        this.record("phase.aborted", subject=_subject(run), before={"state": was}, after={"state": "aborted"})
    return run


def release_complete(
    *, release: Release, actor: Actor, reason: str, disagrees: str = "", request_id: str = ""
) -> PhaseRun:
    """Say that the last phase has passed. Nothing is raised by it; against the recommendation it takes `disagrees`."""
    with change(
        actor=actor, environment=release.environment, reason=reason_given(reason), request_id=request_id
    ) as this:
        release = _locked(release)
        known = selectors.run_under_way(release)
        found = decisions.state(release, known) if known is not None else None
        decision = selectors.end_decision(release, disagrees=disagrees.strip(), found=found)
        if not decision.allowed:
            raise Refused(decision)
        run = _under_way(release)
        if found is not None:
            decision_go(found=found, disagrees=disagrees, actor=actor, reason=reason_given(reason), this=this)
        run.state, run.ended_at = "passed", clock.now()
        run.save()
        this.record("phase.passed", subject=_subject(run), before={"state": "running"}, after={"state": "passed"})
    return run


def raise_of(release: Release, authority: Authority) -> Raise:
    """Return what the policy must know of a phase that is to start."""
    return Raise(
        environment=release.environment,
        makers=authority.makers,
        approvers=authority.approvers,
        rehearsed=policy.rehearsed(release.environment),
        one_person=settings.ONE_PERSON_INSTALLATION,
        lockdown=policy.lockdown(release.environment),
        freeze=policy.freeze(release.environment),
    )


def _step(run: PhaseRun, phase: Phase, authority: Authority, *, backends: bool = False) -> None:
    """Set the flag to the next step, all rules in one revision, and say when the one after it is due."""
    release = run.release
    keys = [phase.flag]
    if backends and phase.number == 1:
        keys += [BACKENDS[name] for name in release.backends if name in BACKENDS]
        keys += [BACKENDS["adaptive"]] if len(release.backends) > 1 else []
    ours = selectors.plan_rules(release, phase, run.percents[run.step])
    state, flags = flags_locked(release.environment, keys)
    at = clock.now()
    moving = []
    with change(actor=PLAN, environment=release.environment) as this:
        before = {key: flag.state() for key, flag in flags.items()}
        for key, flag in flags.items():
            if key == phase.flag:
                rules = domain.merged(flag.domain().rules, ours)
                flag.rules, flag.thousandths = [rule.document() for rule in rules], 0
                flag.strategy = phase.strategy
            elif not flag.thousandths and not flag.rules and not flag.override_variant:
                flag.thousandths = 100_000
            else:
                continue
            moving.append(flag)
        flags_save(state, moving, authority=_of_plan(authority, release))
        for flag in moving:
            this.record("flag.rules_changed", subject=f"flag:{flag.key}", before=before[flag.key], after=flag.state())
    run.step += 1
    run.served = [*run.served, {"at": at.isoformat(), "thousandths": _share(flags[phase.flag], phase)}]
    run.flag_revision = flags[phase.flag].revision
    run.held = ""
    last = run.step >= len(run.percents)
    run.next_at = None if last else at + timedelta(seconds=run.interval_seconds)
    run.reached_at = at if last else None
    run.save()
    if last:
        with change(actor=PLAN, environment=release.environment) as this:
            validation_begin(run=run, this=this)


def _share(flag: Flag, phase: Phase) -> int:
    """Return the share of its audience that a phase serves now, in buckets of 100 000."""
    own = selectors.own_rules(flag.domain(), phase)
    return max((rule.thousandths for rule in own), default=0)


def _of_plan(authority: Authority, release: Release) -> Authority:
    return Authority(authority.makers, authority.approvers, plan_of=release.pk)


def _locked(release: Release) -> Release:
    """Lock the release, which every walk does first; flags and the history come after it."""
    found = Release.objects.select_for_update(no_key=True, of=("self",)).select_related("runbook").get(pk=release.pk)
    if not found.running:
        raise Conflict(f"{found.name} {found.app_version} is superseded; its walk is over.")
    return found


def _under_way(release: Release) -> PhaseRun:
    run = selectors.run_under_way(release)
    if run is None:
        raise NotFound(f"No phase of {release.name} {release.app_version} is under way.")
    run.release = release
    return run


def _phase(release: Release, number: int) -> Phase:
    phase = selectors.phase_of(release, number)
    if phase is None:
        raise InvalidInput(f"The runbook has no phase {number}.")
    return phase


def _subject(run: PhaseRun) -> str:
    return f"phase:{run.release_id}:{run.number}"
