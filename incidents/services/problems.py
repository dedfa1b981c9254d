"""A team's own problems in the troubleshooting guide: checked against everything they name, added, changed, archived."""

from collections.abc import Mapping
from typing import Any

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.services import change
from hawkops.scripts.own import catalogue
from incidents.domain.troubleshooting import Problem, Solution, SolutionKind, Symptom, constraint_of, limited
from incidents.guide.loading import problem_of, runbook_problems
from incidents.models import OwnProblem
from monitoring.domain import criteria
from monitoring.selectors import patterns
from monitoring.selectors.criteria import criteria as stored_criteria
from rollout.selectors import flags as flag_selectors
from rollout.services.forcing import wanted_values

OWN_MOST = 50
ADDRESSES = ("new", "create", "remedies")


def problem_save(
    *,
    environment: str,
    document: Mapping[str, Any],
    actor: Actor,
    revision: int | None = None,
    reason: str = "",
    request_id: str = "",
) -> OwnProblem:
    """Add a problem (`revision` None), or change the one that was read at a revision; archived ones come back.

    Raises InvalidInput for whatever it names that is not there, Conflict for a key that is taken or was changed meanwhile.
    """
    problem = checked(environment, document)
    with change(actor=actor, environment=environment, reason=reason.strip()[:300], request_id=request_id) as this:
        row = OwnProblem.objects.select_for_update(no_key=True).filter(environment=environment, key=problem.key).first()
        now = clock.now()
        if revision is None:
            if row is not None:
                raise Conflict(f"There is a problem {problem.key} already{', archived' if row.archived_at else ''}.")
            if OwnProblem.objects.filter(environment=environment, archived_at=None).count() >= OWN_MOST:
                raise InvalidInput(f"A team has at most {OWN_MOST} problems of its own; archive one first.")
            row = OwnProblem.objects.create(
                environment=environment, key=problem.key, document=dict(document), made_by=actor.label, made_at=now,
                changed_at=now,
            )  # fmt: skip
            this.record("problem.added", subject=row_subject(row), after=dict(document))
            return row
        if row is None:
            raise NotFound(f"There is no problem {problem.key} of your own in {environment}.")
        if row.revision != revision:
            raise Conflict(f"{problem.key} was changed meanwhile. Look again: nothing is saved.")
        if row.document == dict(document) and row.archived_at is None:
            return row
        before = row.document
        row.document, row.revision, row.changed_at, row.archived_at = dict(document), row.revision + 1, now, None
        row.save()
        this.record("problem.changed", subject=row_subject(row), before=before, after=dict(document))
    return row


def problem_archive(*, environment: str, key: str, actor: Actor, reason: str = "", request_id: str = "") -> bool:
    """Take a problem of the team's out of the guide; False when it is out already. What was pressed stays."""
    with change(actor=actor, environment=environment, reason=reason.strip()[:300], request_id=request_id) as this:
        row = OwnProblem.objects.select_for_update(no_key=True).filter(environment=environment, key=key).first()
        if row is None:
            raise NotFound(f"There is no problem {key[:40]!r} of your own in {environment}.")
        if row.archived_at is not None:
            return False
        row.archived_at, row.changed_at, row.revision = clock.now(), clock.now(), row.revision + 1
        row.save()
        this.record("problem.archived", subject=row_subject(row), before=row.document)
    return True


def row_subject(row: OwnProblem) -> str:
    """Return what the history calls a problem."""
    return f"problem:{row.key}"


def checked(environment: str, document: Mapping[str, Any]) -> Problem:
    """Return a team's problem that can be used here. Raises InvalidInput with a sentence for what is wrong."""
    problem = problem_of(dict(document))
    if problem.key in ADDRESSES:
        raise InvalidInput(f"{problem.key} is an address of the guide itself; give your problem another key.")
    if any(problem.key == one.key for one in runbook_problems()):
        raise InvalidInput(f"{problem.key} is a problem of the runbook's; give yours another key.")
    stored = {one.key: one for one in stored_criteria()}
    known = {one.key for _, one in patterns.stored()}
    for one in problem.symptoms:
        _symptom_checked(one, stored, known)
    scripts = catalogue()
    run = [(one.script, one.arguments) for one in problem.diagnosis]
    run += [(one.script, one.arguments) for one in problem.solutions if one.kind is SolutionKind.SCRIPT]
    for name, arguments in run:
        if name not in scripts:
            raise InvalidInput(f"There is no script {name!r} in the catalogue.")
        scripts[name].command_arguments(dict(arguments))
    for solution in problem.solutions:
        if solution.kind is not SolutionKind.SCRIPT:
            _solution_checked(environment, solution)
    return problem


def _symptom_checked(one: Symptom, stored: Mapping[str, criteria.Criterion], known: set[str]) -> None:
    if one.pattern and one.pattern not in known:
        raise InvalidInput(f"There is no log pattern {one.pattern!r}; the page of log patterns lists them.")
    if not one.criterion:
        return
    found = stored.get(one.criterion)
    if found is None:
        raise InvalidInput(f"There is no criterion {one.criterion!r}; the page of criteria lists them.")
    try:
        limited(found, one.limit)
    except criteria.Unfit as unfit:
        raise InvalidInput(f"{one.title}: {unfit.message}.") from unfit


def _solution_checked(environment: str, one: Solution) -> None:
    flag = flag_selectors.flag(environment, one.flag)
    if flag is None or flag.archived_at:
        raise InvalidInput(f"There is no flag {one.flag!r} in {environment}.")
    if one.kind is SolutionKind.FLAG:
        wanted_values(flag, one.value)
    elif one.kind is SolutionKind.COMMAND:
        if flag.type != "integer":
            raise InvalidInput(f"{one.flag} is no command: a command is a whole number that grows.")
    elif one.bound:
        constraint_of(one, one.bound)
    elif not one.proposes:
        raise InvalidInput(f"{one.title}: say what {one.attribute} {one.operator}.")
