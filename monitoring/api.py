"""`/api/v1/ENVIRONMENT/criteria`: every criterion with its live reading."""

from datetime import datetime

from django.http import HttpRequest
from ninja import Router, Schema

from hawkops.accounts.api import asks
from hawkops.core import clock
from hawkops.core.access import Scope
from hawkops.core.api import WhyOut, why_out
from hawkops.core.errors import InvalidInput, NotFound
from hawkops.core.verdicts import Verdict
from monitoring.domain.criteria import Criterion, Purpose
from monitoring.selectors import criteria as selectors
from monitoring.selectors import reasons

router = Router(tags=["Criteria"])


class PartOut(Schema):
    """What a criterion says of one device class."""

    device_class: str
    value: float | None
    verdict: Verdict
    sentence: str


class CriterionOut(Schema):
    """A criterion, what was read for it, and what that says."""

    key: str
    purpose: str
    title: str
    rule: str
    value: float | None
    observations: int
    devices: int
    newest_at: datetime | None
    threshold: float | None
    verdict: Verdict
    sentence: str
    in_scope: bool
    simulated: bool
    why: WhyOut
    parts: list[PartOut]


class CriteriaOut(Schema):
    """Criteria in the threshold file's order."""

    criteria: list[CriterionOut]


@router.get("/{environment}/criteria", response=CriteriaOut, **asks(Scope.READ))
def criteria(request: HttpRequest, environment: str, purpose: str = "") -> CriteriaOut:
    """Every criterion, or those of one purpose, judged now."""
    if purpose and purpose not in list(Purpose):
        raise InvalidInput(f"There is no purpose {purpose!r}; use one of: {', '.join(Purpose)}.")
    return _read(environment, selectors.criteria(purposes=[Purpose(purpose)] if purpose else ()))


@router.get("/{environment}/criteria/{key}", response=CriterionOut, **asks(Scope.READ))
def criterion(request: HttpRequest, environment: str, key: str) -> CriterionOut:
    """One criterion, judged now."""
    found = selectors.criteria(keys=[key])
    if not found:
        raise NotFound(f"There is no criterion {key!r}.")
    return _read(environment, found).criteria[0]


def _read(environment: str, wanted: list[Criterion]) -> CriteriaOut:
    now = clock.now()
    return CriteriaOut(criteria=[_criterion(one, now) for one in selectors.evaluate(environment, wanted, now=now)])


def _criterion(one: selectors.Evaluated, now: datetime) -> CriterionOut:
    return CriterionOut(
        key=one.criterion.key,
        purpose=one.criterion.purpose.value,
        title=one.criterion.title,
        rule="" if one.criterion.broken else one.criterion.sentence(listed=True),
        value=one.reading.value,
        observations=one.reading.count,
        devices=one.reading.devices,
        newest_at=one.reading.at,
        threshold=one.reading.threshold if one.reading.threshold is not None else one.criterion.threshold,
        verdict=one.judgement.verdict,
        sentence=one.judgement.sentence,
        in_scope=one.judgement.in_scope,
        simulated=one.simulated,
        why=why_out(reasons.of(one, now=now)),
        parts=[
            PartOut(device_class=name, value=reading.value, verdict=judgement.verdict, sentence=judgement.sentence)
            for name, reading, judgement in one.parts
        ],
    )
