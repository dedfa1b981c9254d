"""`/api/v1/ENVIRONMENT/troubleshooting`: the guide with its symptoms now, one problem, and a problem of the team's own."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from hawkops.accounts.api import asks, who
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body
from hawkops.core.verdicts import Verdict
from incidents.domain.troubleshooting import Measured, Presence
from incidents.models import Remedy
from incidents.selectors import troubleshooting as selectors
from incidents.services.problems import problem_save

router = Router(tags=["Troubleshooting"])


class ProblemSymptomBody(Body):
    """A symptom: the key of a criterion or of a log pattern, and a limit in the place of its own."""

    key: str
    criterion: str = ""
    pattern: str = ""
    limit: str = ""


class ProblemDiagnosisBody(Body):
    """A script of the catalogue with its arguments; a switch is `on`."""

    script: str
    arguments: dict[str, str] = {}


class ProblemSolutionBody(Body):
    """A press: `flag` with a value, `scoped` with variant, attribute, operator and bound, or `script`."""

    key: str
    title: str
    kind: str
    flag: str = ""
    value: bool | int | float | str | None = None
    variant: str = ""
    attribute: str = ""
    operator: str = ""
    bound: str = ""
    script: str = ""
    arguments: dict[str, str] = {}


class ProblemBody(Body):
    """A problem of the team's own."""

    key: str
    title: str
    symptoms: list[ProblemSymptomBody]
    diagnosis: list[ProblemDiagnosisBody] = []
    solutions: list[ProblemSolutionBody] = []
    reason: str = ""


class SymptomOut(Schema):
    """A symptom as it reads now; it is there when its verdict is FAIL."""

    key: str
    title: str
    verdict: Verdict
    sentence: str
    value: float | None
    limit: float | None
    observations: int
    devices: int


class ProblemOut(Schema):
    """A problem with its state; `own` are the team's."""

    problem: str
    title: str
    own: bool
    state: Presence
    symptoms: list[SymptomOut]
    diagnosis: list[str]
    solutions: list[str]


class ProblemsOut(Schema):
    """The runbook's problems, then the team's."""

    problems: list[ProblemOut]


class RemedyOut(Schema):
    """A press: what it changed, and what the last look at it found; `helped` is empty before the first."""

    remedy: int
    solution: str
    title: str
    pressed_by: str
    pressed_at: datetime
    applied_at: datetime | None
    entry: int | None
    helped: str
    sentence: str
    undone_at: datetime | None


class ProblemWholeOut(ProblemOut):
    """A problem with what was pressed against it last, newest first."""

    remedies: list[RemedyOut]


@router.get("/{environment}/troubleshooting", response=ProblemsOut, **asks(Scope.READ))
def problems(request: HttpRequest, environment: str) -> ProblemsOut:
    """Every problem with its symptoms, read now."""
    return ProblemsOut(problems=[ProblemOut(**_told(one)) for one in selectors.states(environment)])


@router.get("/{environment}/troubleshooting/{key}", response=ProblemWholeOut, **asks(Scope.READ))
def problem(request: HttpRequest, environment: str, key: str) -> ProblemWholeOut:
    """One problem, with what was pressed against it and whether it helped."""
    found, own = selectors.problem(environment, key)
    state = selectors.State(found, tuple(selectors.measured(environment, [found])[key]), own)
    rows = [RemedyOut(**_pressed(one)) for one in selectors.remedies(environment, key)]
    return ProblemWholeOut(**_told(state), remedies=rows)


@router.post(
    "/{environment}/troubleshooting",
    response={201: ProblemOut},
    **asks(Scope.INCIDENTS_WRITE, Role.OPERATOR, Role.RELEASER),
)
def problem_add(request: HttpRequest, environment: str, body: ProblemBody) -> Status[ProblemOut]:
    """Add a problem of the team's own; 400 names what it refers to and is not there."""
    said = body.model_dump(exclude={"reason"}, exclude_defaults=True)
    made = problem_save(environment=environment, document=said, reason=body.reason, **who(request))
    found, own = selectors.problem(environment, made.key)
    state = selectors.State(found, tuple(selectors.measured(environment, [found])[made.key]), own)
    return Status(201, ProblemOut(**_told(state)))


def _told(state: selectors.State) -> dict[str, Any]:
    return {
        "problem": state.problem.key,
        "title": state.problem.title,
        "own": state.own is not None,
        "state": state.presence,
        "symptoms": [_symptom(one) for one in state.symptoms],
        "diagnosis": [one.words for one in state.problem.diagnosis],
        "solutions": [one.key for one in state.problem.solutions],
    }


def _symptom(one: Measured) -> SymptomOut:
    return SymptomOut(
        key=one.key,
        title=one.title,
        verdict=one.verdict,
        sentence=one.sentence,
        value=one.value,
        limit=one.limit,
        observations=one.count,
        devices=one.devices,
    )


def _pressed(one: Remedy) -> dict[str, Any]:
    return {
        "remedy": one.pk,
        "solution": one.solution,
        "title": one.title,
        "pressed_by": one.pressed_by,
        "pressed_at": one.pressed_at,
        "applied_at": one.applied_at,
        "entry": one.entry,
        "helped": one.helped,
        "sentence": one.sentence,
        "undone_at": one.undone_at,
    }
