"""`/api/v1/ENVIRONMENT/experiments`: A/B tests, their arms, and what their devices measured."""

import math
from dataclasses import astuple
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema

from hawkops.accounts.api import asks, who
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body, ReasonBody
from hawkops.core.errors import NotFound
from rollout.api.flags import ChangedOut, changed
from rollout.domain.experiments import Arm
from rollout.models import Experiment
from rollout.selectors import experiments as selectors
from rollout.services import experiments as services

MAY_CHANGE = (Role.RELEASER, Role.OPERATOR)

router = Router(tags=["A/B tests"])


class ArmBody(Body):
    """One arm; without a value its devices get the flag's `on` value."""

    variant: str
    weight: int
    value: Any = None


class ExperimentBody(Body):
    """A test to start. The first arm is the one that the others are compared with."""

    key: str
    title: str
    flag: str
    arms: list[ArmBody]
    hypothesis: str = ""
    reason: str


class ArmOut(Schema):
    """An arm with its devices: exposed, as many as should be, and those of them that reported since."""

    variant: str
    weight: int
    value: Any
    exposed: int
    expected: float
    reporting: int


class ExperimentOut(Schema):
    """A test as it stands."""

    key: str
    title: str
    hypothesis: str
    flag: str
    arms: list[dict[str, Any]]
    started_at: datetime
    started_by: str
    ended_at: datetime | None
    ended_by: str
    conclusion: str
    devices: int


class ExperimentsOut(Schema):
    """All tests, newest first."""

    experiments: list[ExperimentOut]


class AgainstOut(Schema):
    """How an arm differs from the first, with an interval that holds at every look; an open end is null.

    `relative` ones are shares of the first arm's mean.
    """

    relative: bool
    estimate: float | None
    low: float | None
    high: float | None
    word: str


class ArmMeasuredOut(Schema):
    """One arm on one measure, each device counting once."""

    arm: str
    devices: int
    mean: float | None
    against: AgainstOut | None


class MeasureOut(Schema):
    """One measure, arm by arm; the unit is empty for a share."""

    key: str
    title: str
    unit: str
    lines: list[ArmMeasuredOut]


class ResultsOut(Schema):
    """What a test has found out. With `mismatch` the arms can't be compared: devices are missing from one of them."""

    experiment: ExperimentOut
    mismatch: bool
    p_value: float
    arms: list[ArmOut]
    measures: list[MeasureOut]


@router.get("/{environment}/experiments", response=ExperimentsOut, **asks(Scope.READ))
def experiments(request: HttpRequest, environment: str) -> ExperimentsOut:
    """Every A/B test."""
    exposed = selectors.exposed(environment)
    return ExperimentsOut(
        experiments=[_experiment(one, exposed.get(one.key, 0)) for one in selectors.experiments(environment)]
    )


@router.post("/{environment}/experiments", response={201: ChangedOut}, **asks(Scope.FLAGS_WRITE, *MAY_CHANGE))
def experiment_start(
    request: HttpRequest, response: HttpResponse, environment: str, body: ExperimentBody
) -> ChangedOut:
    """Divide the devices that a flag serves `on` among weighted arms, from now on."""
    entry = services.experiment_start(
        environment=environment,
        flag=body.flag,
        key=body.key,
        title=body.title,
        hypothesis=body.hypothesis,
        arms=[Arm(one.variant, one.weight, one.value) for one in body.arms],
        reason=body.reason,
        **who(request),
    )
    response["Location"] = f"/api/v1/{environment}/experiments/{body.key.strip()}"
    return changed(environment, entry)


@router.get("/{environment}/experiments/{key}", response=ResultsOut, **asks(Scope.READ))
def experiment_results(request: HttpRequest, environment: str, key: str) -> ResultsOut:
    """One test with its results as they stand."""
    found = selectors.experiment(environment, key)
    if found is None:
        raise NotFound(f"There is no A/B test {key!r} in {environment}.")
    results = selectors.results(found)
    return ResultsOut(
        experiment=_experiment(found, results.devices),
        mismatch=results.mismatch,
        p_value=results.exposed.p_value,
        arms=[
            ArmOut(
                variant=row.arm.variant,
                weight=row.arm.weight,
                value=row.arm.value,
                exposed=row.exposed,
                expected=row.expected,
                reporting=row.reporting,
            )
            for row in results.arms
        ],
        measures=[
            MeasureOut(
                key=measure.key,
                title=measure.title,
                unit=measure.unit,
                lines=[_line(one, selectors.compared(measure, lines, one)) for one in lines],
            )
            for measure, lines in results.measures
        ],
    )


@router.post("/{environment}/experiments/{key}/end", response=ChangedOut, **asks(Scope.FLAGS_WRITE, *MAY_CHANGE))
def experiment_end(request: HttpRequest, environment: str, key: str, body: ReasonBody) -> ChangedOut:
    """End a test; the reason is its conclusion."""
    entry = services.experiment_end(environment=environment, key=key, reason=body.reason, **who(request))
    return changed(environment, entry)


def _experiment(found: Experiment, devices: int) -> ExperimentOut:
    names = (
        "key",
        "title",
        "hypothesis",
        "flag",
        "arms",
        "started_at",
        "started_by",
        "ended_at",
        "ended_by",
        "conclusion",
    )
    return ExperimentOut(**{name: getattr(found, name) for name in names}, devices=devices)


def _line(one: selectors.Line, found: selectors.Comparison | None) -> ArmMeasuredOut:
    against = None
    if found is not None:
        ends = [value if math.isfinite(value) else None for value in astuple(found.interval)]
        against = AgainstOut(relative=found.relative, estimate=ends[0], low=ends[1], high=ends[2], word=found.word)
    return ArmMeasuredOut(arm=one.arm.variant, devices=one.devices, mean=one.mean, against=against)
