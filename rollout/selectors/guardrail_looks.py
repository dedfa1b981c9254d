"""A phase's guardrails as they stand, or as a look at a past minute finds them, each with why.

Of a past minute telemetry and the phase's steps are those of then. Who is in its audience, pinned or under an override,
and the criteria are those of today.
"""

from collections.abc import Iterable
from copy import copy
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from hawkops.core.why import Why
from hawkops.history import selectors as history
from hawkops.history.models import HistoryEntry
from monitoring.domain.statistics.spending import Budget, spend
from monitoring.selectors.criteria import criteria
from rollout.domain import guardrail_reasons as reasons
from rollout.domain.guardrail_reasons import Said
from rollout.domain.guardrails import HOUR_SECONDS, Guardrail, Line, Role, short
from rollout.models import GuardrailState, PhaseRun
from rollout.selectors import guardrail_states, guardrails, releases
from rollout.selectors.arms import CLOSED_AFTER, closed


@dataclass(frozen=True)
class Found:
    """A guardrail with what it says and why; nothing is said of one that was not looked at yet."""

    guardrail: Guardrail
    said: Said | None
    why: Why | None = None
    exclusion: dict[str, Any] | None = None
    looked_at: datetime | None = None
    changed_at: datetime | None = None


def now(run: PhaseRun) -> list[Found]:
    """Return a phase's guardrails as the last look left them. Two queries."""
    rows = []
    for row in guardrail_states.rows(run):
        state = row.state
        if state is None:
            rows.append(Found(row.guardrail, None))
            continue
        lines = tuple(map(_line, state.lines))
        did = state.acted_at, _would(row.guardrail, state)
        said = Said(row.guardrail, Verdict(state.verdict), state.sentence, lines, state.progress, *did)
        rows.append(Found(row.guardrail, said, None, state.exclusion, state.looked_at, state.changed_at))
    return _explained(run, rows, clock.now())


def then(run: PhaseRun, at: datetime) -> list[Found]:
    """Return what a look at a past moment finds; none before the first step of the phase.

    A pass over the census and a handful of queries; nothing is kept.
    """
    past = copy(run)
    past.served = [step for step in run.served if datetime.fromisoformat(step["at"]) <= at]
    if not past.served:
        return []
    acted = {one.key: one for one in GuardrailState.objects.filter(run=run, acted_at__lte=at)}
    rows = []
    for one in guardrails.findings(guardrails.look(past, now=at)):
        verdict, sentence = one.said
        progress = asdict(one.progress) if one.progress is not None else None
        kept = acted.get(one.guardrail.key)
        did = (kept.acted_at, _would(one.guardrail, kept)) if kept is not None else (None, "")
        said = Said(one.guardrail, verdict, sentence, one.lines, progress, *did)
        exclusion = short(one.exclusion) if one.exclusion is not None else None
        rows.append(Found(one.guardrail, said, None, exclusion, at))
    return _explained(run, rows, at)


def entries(run: PhaseRun, *, until: datetime | None = None) -> QuerySet[HistoryEntry]:
    """Return what was written down of a phase's guardrails, newest first."""
    subject = f"guardrail:{run.release_id}:{run.number}:"
    found = history.entries(environment=run.release.environment, since=run.started_at, until=until)
    return found.filter(subject__startswith=subject)


def _explained(run: PhaseRun, rows: Iterable[Found], at: datetime) -> list[Found]:
    found = list(rows)
    keys = [one.guardrail.criterion for one in found if one.guardrail.criterion]
    known = {one.key: one for one in criteria(keys=keys)} if keys else {}
    shares = _shares(run)
    next_at = datetime.fromtimestamp((closed(at) + 1) * HOUR_SECONDS, tz=at.tzinfo) + CLOSED_AFTER
    made = []
    for one in found:
        if one.said is not None:
            why = reasons.why(one.said, known.get(one.guardrail.criterion), shares, next_at=next_at)
            made.append(replace(one, why=why))
        else:
            made.append(one)
    return made


def _line(kept: dict[str, Any]) -> Line:
    own = kept.get("own")
    return Line(**{**kept, "verdict": Verdict(kept["verdict"]), "own": tuple(own) if own else None})


def _would(one: Guardrail, state: GuardrailState) -> str:
    # a watch never did anything, also where nothing says so because it was kept before that was
    return state.would or (one.would if one.role is Role.WATCH else "")


def _shares(run: PhaseRun) -> Budget | None:
    """Return how a phase shares out its false alarms; None where no guardrail compares values."""
    keys = [one.key for one in releases.runbook(run.release).guardrails if one.criterion]
    return spend(dict.fromkeys(keys, 1.0), run.classes or ()) if keys else None
