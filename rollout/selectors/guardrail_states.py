"""Guardrails of a phase as the last look left them. Nothing is judged here."""

from dataclasses import dataclass

from hawkops.core.verdicts import Verdict
from rollout.domain.guardrails import Guardrail, Role
from rollout.domain.policy import Need
from rollout.models import GuardrailState, PhaseRun
from rollout.selectors import releases


@dataclass(frozen=True)
class Row:
    """A guardrail with its newest finding, None before the first look."""

    guardrail: Guardrail
    state: GuardrailState | None


def rows(run: PhaseRun) -> list[Row]:
    """Return a phase's guardrails as the last look left them. One query."""
    kept = {one.key: one for one in GuardrailState.objects.filter(run=run)}
    return [Row(one, kept.get(one.key)) for one in releases.runbook(run.release).guardrails]


def failing(run: PhaseRun, *roles: Role, verdicts: tuple[Verdict, ...] = (Verdict.FAIL,)) -> list[Row]:
    """Return those of some roles that fail now, or have another of the verdicts; dry runs are none."""
    found = [row for row in rows(run) if row.guardrail.role in roles and not row.guardrail.dry_run]
    return [row for row in found if row.state is not None and row.state.verdict in verdicts]


def holding(run: PhaseRun) -> list[Row]:
    """Return those for which the next step waits: they fail, or can't be judged."""
    return failing(run, Role.GUARDRAIL, Role.SIGNAL, verdicts=(Verdict.FAIL, Verdict.ERROR))


def need(run: PhaseRun) -> Need | None:
    """Return what guardrails add before a phase may end: none of them fails. None for a runbook without any."""
    found = [row for row in rows(run) if row.guardrail.holds]
    if not found:
        return None
    wrong = holding(run)
    passing = sum(row.state is not None and row.state.verdict == Verdict.PASS for row in found)
    said = "; ".join(f"{row.guardrail.title} {row.state.verdict}" for row in wrong if row.state is not None)
    sentence = f"{said}." if wrong else "None fails."
    return Need("guardrails", "Guardrails", not wrong, sentence, f"{passing} of {len(found)} pass")
