"""`/api/v1/ENVIRONMENT/flags`, and the emergency acts on them: kill, disable a backend, re-enable."""

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Query, Router, Schema

from hawkops.accounts.api import asks, who
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body, ReasonBody
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.history.models import HistoryEntry
from rollout.domain.evaluation import explain
from rollout.domain.targeting import Constraint, Rule, constraint
from rollout.models import Flag
from rollout.selectors import census as census_selectors
from rollout.selectors import flags as selectors
from rollout.selectors import targeting
from rollout.services import flags as services
from rollout.services import overrides, values
from rollout.services.locking import reason_given

MAY_CHANGE = (Role.RELEASER, Role.OPERATOR)
MAY_STOP = (Role.OPERATOR,)
Variant = Literal["on", "off"]

router = Router(tags=["Flags"])


class Where(Body):
    """A condition on what a device says of itself."""

    attribute: str
    operator: Literal["is", "is not", "is at least", "is below"]
    values: list[str]

    def made(self) -> Constraint:
        """Return the constraint. Raises InvalidInput with a sentence."""
        if any("," in one for one in self.values):
            raise InvalidInput(f"{self.attribute}: a value has no comma in it; give several values as several texts.")
        return constraint(self.attribute, self.operator, ",".join(self.values))


class RuleBody(Body):
    """Serve a variant to a share of the devices in a group that meet every condition."""

    variant: Variant = "on"
    percent: float = 100
    group: str = ""
    where: list[Where] = []

    def made(self) -> Rule:
        """Return the rule. Raises InvalidInput."""
        if not 0 <= self.percent <= 100:
            raise InvalidInput(f"{self.percent:g} % is not a percentage; use 0 to 100.")
        return Rule(self.variant, round(self.percent * 1000), self.group, tuple(one.made() for one in self.where))


class PercentageBody(Body):
    """The share of devices that get `on`; with a revision it is refused when the flag changed after that."""

    percent: float
    reason: str
    revision: int | None = None


class RulesBody(Body):
    """All rules of a flag in order, and the variants of single devices; `revision` is the flag's as it was read."""

    rules: list[RuleBody]
    pinned: dict[str, Variant] = {}
    revision: int
    reason: str


class ValuesBody(Body):
    """What both variants serve, in the flag's type, and the JSON Schema (Draft 2020-12) that both meet; null for none."""

    on: Any
    off: Any
    value_schema: dict[str, Any] | None
    revision: int
    reason: str


class OverrideBody(Body):
    """One variant for every device."""

    variant: Variant
    reason: str


class ScopedOverrideBody(OverrideBody):
    """One variant for the devices that meet every condition."""

    where: list[Where]


class StopBody(Body):
    """Why; a stop is never refused for its reason."""

    reason: str = ""


class ReenableBody(Body):
    """Which overrides to lift in one change, and why."""

    flags: list[str]
    reason: str


class WhereOut(Schema):
    """A condition as it stands."""

    attribute: str
    operator: str
    values: list[str]


class RuleOut(Schema):
    """A rule as it stands."""

    variant: str
    percent: float
    group: str
    where: list[WhereOut]
    sentence: str


class OverrideOut(Schema):
    """An emergency override in force; `number` and `where` belong to one for some devices."""

    variant: str
    reason: str
    by: str
    at: datetime | None
    number: int | None = None
    where: list[str] = []


class FlagOut(Schema):
    """A flag as it stands; `devices_on` are the active devices that were last served its `on` value."""

    key: str
    title: str
    explanation: str
    type: str
    on: Any
    off: Any
    value_schema: dict[str, Any] | None
    safe_variant: str
    percent: float
    rules: list[RuleOut]
    pinned: dict[str, str]
    requires: list[str]
    override: OverrideOut | None
    scoped_overrides: list[OverrideOut]
    lease_seconds: int
    revision: int
    changed_at: datetime
    archived_at: datetime | None
    devices_on: int


class FlagsOut(Schema):
    """All flags of an environment at a revision."""

    revision: int
    active_devices: int
    flags: list[FlagOut]


class StepOut(Schema):
    """One thing that evaluation looked at."""

    sentence: str
    applied: bool


class EvaluationOut(Schema):
    """What a device gets, and why."""

    flag: str
    device: str
    variant: str
    value: Any
    reason: str
    why: str
    steps: list[StepOut]
    attributes: dict[str, Any]


class ChangedOut(Schema):
    """What a change left: its history entry (none when it stood so already), and the environment's revision now."""

    changed: bool
    entry: int | None
    revision: int


@router.get("/{environment}/flags", response=FlagsOut, **asks(Scope.READ))
def flags(request: HttpRequest, environment: str, archived: bool = False) -> FlagsOut:
    """Every flag in the runbook's order, a team's own after them; archived ones when asked."""
    return flags_out(environment, archived=archived)


def flags_out(environment: str, *, archived: bool = False) -> FlagsOut:
    """Return the flags as the API and the command say them."""
    found = selectors.flags(environment, archived=archived)
    reaches = census_selectors.reaches(environment, [flag.key for flag in found]) if found else {}
    return FlagsOut(
        revision=selectors.revision(environment),
        active_devices=census_selectors.active_count(environment),
        flags=[_flag(flag, reaches[flag.key]) for flag in found],
    )


@router.get("/{environment}/flags/{key}", response=FlagOut, **asks(Scope.READ))
def flag(request: HttpRequest, environment: str, key: str) -> FlagOut:
    """One flag."""
    return _flag(_found(environment, key), census_selectors.reach(environment, key))


@router.get("/{environment}/flags/{key}/evaluate", response=EvaluationOut, **asks(Scope.READ))
def flag_evaluate(
    request: HttpRequest, environment: str, key: str, device: Annotated[str, Query(max_length=200)] = ""
) -> EvaluationOut:
    """What a device gets and why, by the code that answers devices; the census knows what it said of itself."""
    if _found(environment, key).archived_at:
        raise Conflict(f"{key} is archived in {environment}: nobody is answered from it.")
    seen = targeting.context(environment, device)
    answer, steps = explain(targeting.snapshot(environment), key, seen)
    return EvaluationOut(
        flag=key,
        device=device,
        variant=answer.told,
        value=answer.value,
        reason=answer.reason,
        why=answer.why,
        steps=[StepOut(sentence=step.sentence, applied=step.applied) for step in steps],
        attributes=dict(seen.attributes),
    )


@router.put("/{environment}/flags/{key}/percentage", response=ChangedOut, **asks(Scope.FLAGS_WRITE, *MAY_CHANGE))
def flag_percentage(request: HttpRequest, environment: str, key: str, body: PercentageBody) -> ChangedOut:
    """Set the percentage."""
    entry = services.flag_percentage_set(
        environment=environment,
        key=key,
        percent=body.percent,
        expected_revision=body.revision,
        reason=body.reason,
        **who(request),
    )
    return changed(environment, entry)


@router.put("/{environment}/flags/{key}/rules", response=ChangedOut, **asks(Scope.FLAGS_WRITE, *MAY_CHANGE))
def flag_rules(request: HttpRequest, environment: str, key: str, body: RulesBody) -> ChangedOut:
    """Replace the rules and the pinned devices."""
    entry = services.flag_rules_set(
        environment=environment,
        key=key,
        rules=[rule.made() for rule in body.rules],
        pinned=body.pinned,
        expected_revision=body.revision,
        reason=body.reason,
        **who(request),
    )
    return changed(environment, entry)


@router.put("/{environment}/flags/{key}/values", response=ChangedOut, **asks(Scope.FLAGS_WRITE, *MAY_CHANGE))
def flag_values(request: HttpRequest, environment: str, key: str, body: ValuesBody) -> ChangedOut:
    """Set what both variants serve, and the schema for that."""
    entry = values.flag_values_set(
        environment=environment,
        key=key,
        on=body.on,
        off=body.off,
        schema=body.value_schema,
        expected_revision=body.revision,
        reason=body.reason,
        **who(request),
    )
    return changed(environment, entry)


@router.put("/{environment}/flags/{key}/override", response=ChangedOut, **asks(Scope.FLAGS_WRITE, *MAY_CHANGE))
def flag_override(request: HttpRequest, environment: str, key: str, body: OverrideBody) -> ChangedOut:
    """Force one variant on every device."""
    said = reason_said(body.reason)
    entry = overrides.flag_override_set(
        environment=environment, key=key, variant=body.variant, reason=said, **who(request)
    )
    return changed(environment, entry)


@router.post("/{environment}/flags/{key}/override/lift", response=ChangedOut, **asks(Scope.FLAGS_WRITE, *MAY_CHANGE))
def flag_override_lift(request: HttpRequest, environment: str, key: str, body: ReasonBody) -> ChangedOut:
    """Let the percentage and rules count again."""
    said = reason_said(body.reason)
    return changed(
        environment, overrides.flag_override_clear(environment=environment, key=key, reason=said, **who(request))
    )


@router.post("/{environment}/flags/{key}/overrides", response={201: ChangedOut}, **asks(Scope.FLAGS_WRITE, *MAY_CHANGE))
def flag_scoped_override(request: HttpRequest, environment: str, key: str, body: ScopedOverrideBody) -> ChangedOut:
    """Force one variant on the devices that meet every condition."""
    entry = overrides.flag_scoped_override_set(
        environment=environment,
        key=key,
        variant=body.variant,
        constraints=[one.made() for one in body.where],
        reason=body.reason,
        **who(request),
    )
    return changed(environment, entry)


@router.post(
    "/{environment}/flags/{key}/overrides/{int:number}/lift",
    response=ChangedOut,
    **asks(Scope.FLAGS_WRITE, *MAY_CHANGE),
)
def flag_scoped_override_lift(
    request: HttpRequest, environment: str, key: str, number: int, body: ReasonBody
) -> ChangedOut:
    """Lift one override for some devices."""
    entry = overrides.flag_scoped_override_clear(
        environment=environment, key=key, number=number, reason=body.reason, **who(request)
    )
    return changed(environment, entry)


@router.post("/{environment}/kill", response=ChangedOut, tags=["Emergency"], **asks(Scope.KILL, *MAY_STOP))
def kill(request: HttpRequest, environment: str, body: StopBody | None = None) -> ChangedOut:
    """Turn LiteRT off and cloud fallback on, in one change. A second call finds nothing left to do."""
    return changed(
        environment,
        overrides.kill(environment=environment, reason=body.reason if body else "", **who(request)),
    )


@router.post(
    "/{environment}/backends/{backend}/disable",
    response=ChangedOut,
    tags=["Emergency"],
    **asks(Scope.KILL, *MAY_STOP),
)
def backend_disable(request: HttpRequest, environment: str, backend: str, body: StopBody | None = None) -> ChangedOut:
    """Turn one backend (gpu, npu or adaptive) off on every device."""
    entry = overrides.backend_disable(
        environment=environment, backend=backend, reason=body.reason if body else "", **who(request)
    )
    return changed(environment, entry)


@router.post("/{environment}/reenable", response=ChangedOut, tags=["Emergency"], **asks(Scope.FLAGS_WRITE, *MAY_STOP))
def reenable(request: HttpRequest, environment: str, body: ReenableBody) -> ChangedOut:
    """Lift several overrides in one change."""
    entry = overrides.reenable(environment=environment, keys=body.flags, reason=body.reason, **who(request))
    return changed(environment, entry)


def changed(environment: str, entry: HistoryEntry | None) -> ChangedOut:
    """Say what a change left."""
    return ChangedOut(
        changed=entry is not None, entry=entry.seq if entry else None, revision=selectors.revision(environment)
    )


def reason_said(reason: str) -> str:
    """Return a reason where the service takes none too, for a kill's sake. Raises InvalidInput."""
    return reason_given(reason)


def _found(environment: str, key: str) -> Flag:
    found = selectors.flag(environment, key)
    if found is None:
        raise NotFound(f"There is no flag {key!r} in {environment}.")
    return found


def _flag(found: Flag, devices_on: int) -> FlagOut:
    domain = found.domain()
    override = None
    if found.override_variant:
        override = OverrideOut(
            variant=found.override_variant, reason=found.override_reason, by=found.override_by, at=found.override_at
        )
    return FlagOut(
        key=found.key,
        title=found.title,
        explanation=found.explanation,
        type=found.type,
        on=found.on,
        off=found.off,
        value_schema=found.schema,
        safe_variant=found.safe_variant,
        percent=found.percent,
        rules=[_rule(rule) for rule in domain.rules],
        pinned=found.pinned,
        requires=found.requires,
        override=override,
        scoped_overrides=[
            OverrideOut(**{name: one[name] for name in ("variant", "reason", "by", "at", "number", "where")})
            for one in selectors.overrides_shown(found)
        ],
        lease_seconds=found.lease_seconds,
        revision=found.revision,
        changed_at=found.changed_at,
        archived_at=found.archived_at,
        devices_on=devices_on,
    )


def _rule(rule: Rule) -> RuleOut:
    return RuleOut(
        variant=rule.variant,
        percent=rule.percent,
        group=rule.group,
        where=[
            WhereOut(attribute=one.attribute, operator=one.operator.value, values=list(one.values))
            for one in rule.constraints
        ],
        sentence=str(rule),
    )
