"""Reading the deployment procedure: where each step of a release stands, what it waits for, and what is to press next."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from django.urls import reverse

from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from hawkops.scripts import own
from hawkops.scripts import selectors as scripts
from hawkops.scripts.models import Run
from hawkops.scripts.services import DRY_RUN_COUNTS_FOR
from rollout.domain.procedure import Mark, ProcedurePhase, Step, StepKind, StepState, state
from rollout.models import Release, ReleaseStep
from rollout.selectors import census, policy
from rollout.selectors.configuration import configuration
from rollout.selectors.releases import runbook


class Act(StrEnum):
    """The one thing to press on a step now."""

    NONE = ""
    DRY_RUN = "dry_run"
    RUN = "run"
    ATTEST = "attest"
    FLAGS = "flags"
    PRESS = "press"
    LIFT = "lift"


@dataclass(frozen=True)
class Row:
    """A step with where it stands. `waits_for` is the title of the first step that keeps it from beginning."""

    step: Step
    state: StepState
    sentence: str
    kept: ReleaseStep | None
    waits_for: str = ""
    act: Act = Act.NONE

    @property
    def run(self) -> Run | None:
        """Its newest run, a dry one included."""
        return self.kept.run if self.kept else None

    @property
    def skip_waits(self) -> bool:
        """Whether somebody asked to skip it and a second person has not answered."""
        return self.kept is not None and bool(self.kept.skip_asked_by) and self.may_skip

    @property
    def may_skip(self) -> bool:
        """Whether skipping it can be asked for."""
        return self.state in (StepState.OPEN, StepState.FAILED)


@dataclass(frozen=True)
class Phase:
    """A phase with its rows."""

    phase: ProcedurePhase
    rows: tuple[Row, ...]

    @property
    def behind(self) -> int:
        """How many steps are done or skipped."""
        return sum(row.state.is_behind for row in self.rows)


@dataclass(frozen=True)
class Summary:
    """The whole procedure in numbers. `next` is the first step that is neither done nor skipped."""

    done: int
    skipped: int
    total: int
    next: Row | None
    url: str

    @property
    def headline(self) -> str:
        """One sentence for a manager."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.done} of {self.total} deployment steps done{skipped}"


@dataclass(frozen=True)
class Procedure:
    """The deployment procedure of a release as it stands."""

    phases: tuple[Phase, ...]
    summary: Summary

    @property
    def rows(self) -> Iterator[Row]:
        """Every step in order."""
        for phase in self.phases:
            yield from phase.rows


def procedure(release: Release) -> Procedure:
    """Return the procedure as it stands. A handful of queries."""
    kept = {one.step: one for one in ReleaseStep.objects.filter(release=release).select_related("run")}
    waits_for = ""
    phases = []
    for phase in runbook(release).procedure:
        rows = []
        for step in phase.steps:
            row = _row(release, step, kept.get(step.key), waits_for)
            waits_for = waits_for or ("" if row.state.is_behind else step.title)
            rows.append(row)
        phases.append(Phase(phase, tuple(rows)))
    every = [row for phase in phases for row in phase.rows]
    summary = Summary(
        done=sum(row.state is StepState.DONE for row in every),
        skipped=sum(row.state is StepState.SKIPPED for row in every),
        total=len(every),
        next=next((row for row in every if not row.state.is_behind), None),
        url=reverse("rollout:procedure", kwargs={"environment": release.environment, "pk": release.pk}),
    )
    return Procedure(tuple(phases), summary)


def unmet(release: Release) -> list[str]:
    """Name each step that is neither done nor skipped, with where it stands; empty when the procedure is behind."""
    return [
        f"Deployment step “{row.step.title}” is {row.state}."
        for row in procedure(release).rows
        if not row.state.is_behind
    ]


def _row(release: Release, step: Step, kept: ReleaseStep | None, waits_for: str) -> Row:
    run = kept.run if kept else None
    mark = Mark(kept.mark) if kept else Mark.NONE
    moved: list[str] = []
    if kept and mark is Mark.DONE and step.kind is StepKind.ATTESTATION:
        moved = configuration(release.environment).changed_since(kept.details.get("settings", {}))
        mark = Mark.NONE if moved else mark
    at = state(
        mark, ran=run is not None, rehearsal=bool(run and run.dry_run), verdict=run.verdict if run is not None else None
    )
    ready = release.running and not waits_for and not at.is_behind
    act = _act(release, step, at, run) if ready else Act.NONE
    return Row(step, at, _sentence(release, step, at, kept, moved), kept, waits_for, act)


def _act(release: Release, step: Step, at: StepState, run: Run | None) -> Act:
    if step.kind is StepKind.DRILL:
        return Act.LIFT if at is StepState.RUNNING else Act.PRESS
    if at is StepState.RUNNING:
        return Act.NONE
    if step.kind in (StepKind.ATTESTATION, StepKind.FLAGS):
        return Act(Act.ATTEST if step.kind is StepKind.ATTESTATION else Act.FLAGS)
    program = own.catalogue().get(step.script)
    if program is None or not program.changes_anything:
        return Act.RUN
    since = clock.now() - DRY_RUN_COUNTS_FOR
    digest = program.program_digest()
    rehearsed = scripts.dry_run_passed(release.environment, step.script, dict(step.arguments), digest, since=since)
    return Act.RUN if rehearsed else Act.DRY_RUN


def _sentence(release: Release, step: Step, at: StepState, kept: ReleaseStep | None, moved: list[str]) -> str:
    """Say what there is to know of a step beside its title."""
    if kept is None:
        return ""
    if at is StepState.SKIPPED:
        second = f", approved by {kept.skip_approved_by}" if kept.skip_approved_by else ""
        alone = "" if second else f"; in {release.environment} no second person is needed"
        return f"Skipped: {kept.skip_reason}. Asked for by {kept.skip_asked_by}{second}{alone}."
    if moved:
        return f"Confirmed by {kept.by}, and changed since: {', '.join(moved)}. Confirm again."
    if kept.run is not None:
        return _run_sentence(kept.run)
    if at is StepState.RUNNING:
        found = census.census(release.environment, int(kept.details.get("revision", 0)))
        return f"{kept.sentence} {found.obeyed} of {found.active} active devices obey."
    return kept.sentence


def _run_sentence(run: Run) -> str:
    name = f"{'Dry run' if run.dry_run else 'Run'} {run.pk}"
    if run.is_open:
        return f"{name} is {run.state}."
    if run.dry_run and run.verdict is Verdict.PASS:
        return f"{name} passed: {run.summary} For an hour after it the step may be run for real."
    return f"{name} says {run.verdict.label if run.verdict else ''}: {run.summary}"


def second_person_needed(release: Release) -> bool:
    """Say whether skipping a step takes an approver beside the one who asks."""
    return policy.others_asked(release.environment)
