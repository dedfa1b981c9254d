"""Writes on the deployment procedure: steps begun, confirmed, drilled and skipped, in their order.

Lock order: the release, its step, then what the step itself changes (flags by their services), then the chain's head.
"""

from django.db import transaction

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hawkops.history.actors import Actor
from hawkops.history.services import change
from hawkops.scripts.models import Run
from hawkops.scripts.services import run_request
from rollout.domain.procedure import Mark, StepKind, StepState
from rollout.models import Release, ReleaseStep
from rollout.selectors import census
from rollout.selectors.configuration import configuration
from rollout.selectors.procedure import Row, procedure, second_person_needed
from rollout.services.initialising import flags_zero, switches_lift, switches_press


def step_start(*, release: Release, step: str, actor: Actor, dry_run: bool = False, request_id: str = "") -> Run:
    """Run a step's program, or its dry run; what failed may be run again.

    Raises Conflict when a step before it is missing, when it is done already, or when it needs its dry run first.
    """
    with transaction.atomic():
        row, kept = _due(release, step, StepKind.SCRIPT, StepKind.COMMAND)
        program = {"script": row.step.script, "arguments": dict(row.step.arguments), "dry_run": dry_run}
        with change(actor=actor, environment=release.environment, request_id=request_id) as this:
            kept.by, kept.at = actor.label, clock.now()
            kept.save()
            this.record("step.started", subject=_subject(kept), before={"state": row.state}, after=program)
        run = run_request(
            environment=release.environment,
            name=row.step.script,
            arguments=dict(row.step.arguments),
            actor=actor,
            subject={"release": release.pk, "step": step, **release.subject},
            dry_run=dry_run,
            cause=this.entries[0].seq,
            request_id=request_id,
        )
        kept.run = run
        kept.save(update_fields=["run"])
    return run


def step_attest(*, release: Release, step: str, digest: str, note: str, actor: Actor, request_id: str = "") -> None:
    """Keep a person's word that the settings read back to them are the right ones. `digest` is what they saw."""
    note = note.strip().replace("\x00", "")[:500]
    if not note:
        raise InvalidInput("Say what you compared the settings with: an auditor will read it.")
    with change(actor=actor, environment=release.environment, reason=note, request_id=request_id) as this:
        row, kept = _due(release, step, StepKind.ATTESTATION)
        found = configuration(release.environment)
        if digest != found.digest:
            raise Conflict("The settings changed since you looked. Read them again: nothing is confirmed.")
        kept.details = {"digest": found.digest, "settings": found.said}
        kept.sentence = f"{len(found.settings)} settings confirmed, sha256 {found.digest[:16]}: {note}"
        _mark(kept, Mark.DONE, actor)
        this.record(
            "step.attested",
            subject=_subject(kept),
            before={"state": row.state},
            after={"state": StepState.DONE, "says": row.step.attests, **kept.details},
        )


def step_flags(*, release: Release, step: str, actor: Actor, request_id: str = "") -> None:
    """Set the step's flags to 0 % in one change."""
    with change(actor=actor, environment=release.environment, request_id=request_id) as this:
        row, kept = _due(release, step, StepKind.FLAGS)
        revision, lowered = flags_zero(
            environment=release.environment, keys=row.step.flags, actor=actor, reason=row.step.reason
        )
        what = f"{', '.join(lowered)} lowered" if lowered else "all were already"
        kept.sentence = f"{len(row.step.flags)} flags at 0 % at revision {revision}; {what}."
        kept.details = {"revision": revision, "lowered": lowered}
        _mark(kept, Mark.DONE, actor)
        this.record(
            "step.done",
            subject=_subject(kept),
            before={"state": row.state},
            after={"state": StepState.DONE, **kept.details},
            reason=row.step.reason,
        )


def step_drill(*, release: Release, step: str, actor: Actor, request_id: str = "") -> None:
    """Press the step's switches with the runbook's reason; they stay pressed until `step_drill_end`."""
    with change(actor=actor, environment=release.environment, request_id=request_id) as this:
        row, kept = _due(release, step, StepKind.DRILL)
        if row.state is StepState.RUNNING:
            raise Conflict("The switches are pressed already. Lift them to end the drill.")
        revision = switches_press(
            environment=release.environment, keys=row.step.flags, actor=actor, reason=row.step.reason
        )
        kept.details = {"revision": revision}
        kept.sentence = f"{len(row.step.flags)} switches pressed at revision {revision}."
        _mark(kept, Mark.PRESSED, actor)
        this.record(
            "step.pressed",
            subject=_subject(kept),
            before={"state": row.state},
            after={"state": StepState.RUNNING, **kept.details},
            reason=row.step.reason,
        )


def step_drill_end(*, release: Release, step: str, actor: Actor, request_id: str = "") -> None:
    """Lift what the drill pressed and nothing else, and keep how many devices had obeyed."""
    with change(actor=actor, environment=release.environment, request_id=request_id) as this:
        row, kept = _due(release, step, StepKind.DRILL)
        if row.state is not StepState.RUNNING:
            raise Conflict("The switches are not pressed, so there is nothing to lift.")
        revision = int(kept.details["revision"])
        found = census.census(release.environment, revision)
        reason = f"{row.step.reason} over"
        lifted = switches_lift(
            environment=release.environment, keys=row.step.flags, revision=revision, actor=actor, reason=reason
        )
        kept.details = {"revision": revision, "lifted": lifted, "obeyed": found.obeyed, "active": found.active}
        kept.sentence = (
            f"{len(row.step.flags)} switches pressed at revision {revision}, {len(lifted)} of them lifted by the drill; "
            f"{found.obeyed} of {found.active} active devices had obeyed."
        )
        _mark(kept, Mark.DONE, actor)
        this.record(
            "step.done",
            subject=_subject(kept),
            before={"state": row.state},
            after={"state": StepState.DONE, **kept.details},
            reason=reason,
        )


def step_skip_ask(*, release: Release, step: str, reason: str, actor: Actor, request_id: str = "") -> bool:
    """Ask to skip a step; True when it is skipped with that. In production a second person answers first."""
    reason = reason.strip().replace("\x00", "")[:500]
    if not reason:
        raise InvalidInput("Say why the step is skipped: the reason stands in the history.")
    with change(actor=actor, environment=release.environment, reason=reason, request_id=request_id) as this:
        row, kept = _skippable(release, step)
        kept.skip_reason, kept.skip_asked_by, kept.skip_asked_at = reason, actor.label, clock.now()
        kept.skip_asked_reference = actor.reference
        waits = second_person_needed(release)
        if waits:
            kept.save()
        else:
            _mark(kept, Mark.SKIPPED, actor)
        this.record(
            "step.skip_asked" if waits else "step.skipped",
            subject=_subject(kept),
            before={"state": row.state},
            after={"state": row.state if waits else StepState.SKIPPED, "second_person_needed": waits},
        )
    return not waits


def step_skip_approve(*, release: Release, step: str, actor: Actor, request_id: str = "") -> None:
    """Skip a step for which somebody else asked. Whoever calls has checked the role approver."""
    with change(actor=actor, environment=release.environment, request_id=request_id) as this:
        row, kept = _skippable(release, step)
        if not row.skip_waits:
            raise Conflict(f"Nobody asked to skip “{row.step.title}”.")
        if kept.skip_asked_reference == actor.reference:
            raise NotAllowed("You asked to skip this step, so somebody else with the role approver must agree.")
        kept.skip_approved_by, kept.skip_approved_at = actor.label, clock.now()
        _mark(kept, Mark.SKIPPED, actor)
        this.record(
            "step.skipped",
            subject=_subject(kept),
            before={"state": row.state},
            after={"state": StepState.SKIPPED, "asked_by": kept.skip_asked_reference},
            reason=kept.skip_reason,
        )


def _locked(release: Release, step: str) -> tuple[Row, ReleaseStep]:
    """Lock the release and read the step as it stands since. Raises NotFound, or Conflict for a superseded release."""
    current = Release.objects.select_for_update(no_key=True).select_related(None).get(pk=release.pk)
    row = next((row for row in procedure(current).rows if row.step.key == step), None)
    if row is None:
        raise NotFound(f"The runbook has no deployment step {step!r}.")
    if not current.running:
        raise Conflict("This release was superseded; its procedure stands as it ended.")
    return row, row.kept or ReleaseStep(release=current, step=step)


def _due(release: Release, step: str, *kinds: StepKind) -> tuple[Row, ReleaseStep]:
    row, kept = _locked(release, step)
    if row.step.kind not in kinds:
        raise InvalidInput(f"“{row.step.title}” is done as {row.step.kind}, not this way.")
    if row.waits_for:
        raise Conflict(f"“{row.step.title}” can't begin before “{row.waits_for}” is done or skipped.")
    if row.state.is_behind:
        raise Conflict(f"“{row.step.title}” is {row.state} already.")
    if row.state is StepState.RUNNING and row.run is not None:
        raise Conflict(f"Run {row.run.pk} of “{row.step.title}” is under way.")
    return row, kept


def _skippable(release: Release, step: str) -> tuple[Row, ReleaseStep]:
    row, kept = _locked(release, step)
    if not row.may_skip:
        raise Conflict(f"“{row.step.title}” is {row.state}, so it can't be skipped now.")
    return row, kept


def _mark(kept: ReleaseStep, mark: Mark, actor: Actor) -> None:
    kept.mark, kept.by, kept.at = mark.value, actor.label, clock.now()
    kept.save()


def _subject(kept: ReleaseStep) -> str:
    return f"step:{kept.release_id}:{kept.step}"
