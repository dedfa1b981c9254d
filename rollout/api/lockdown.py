"""`/api/v1/ENVIRONMENT/emergency/lockdown`: stop and freeze by one call; lifting takes two people. `/lockdown` reads it."""

from datetime import datetime
from typing import Literal, cast

from django.http import HttpRequest
from ninja import Router, Schema

from hawkops.accounts.api import asks, who
from hawkops.accounts.models import User
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body
from hawkops.core.errors import NotAllowed
from rollout.api.flags import MAY_STOP, StopBody
from rollout.selectors import flags as flag_selectors
from rollout.selectors import lockdown as selectors
from rollout.selectors.lockdown import Lockdown
from rollout.services import lockdown as services

Severity = Literal["low", "medium", "high", "critical"]

router = Router(tags=["Emergency"])


class LockdownBody(Body):
    """Why and how grave; it is never refused for want of either."""

    reason: str = ""
    severity: Severity = "high"


class LockdownOut(Schema):
    """A lockdown; `stands` says whether raises are frozen by it. `asked_by` asks to lift it."""

    lockdown: int
    stands: bool
    severity: Severity
    reason: str
    by: str
    at: datetime
    entry: int | None
    asked_by: str
    asked_at: datetime | None
    asked_reason: str
    lifted_by: str
    lifted_at: datetime | None


class LockdownChangedOut(LockdownOut):
    """A lockdown after a call; `changed` is false where it stood already. `revision` is the flags' now."""

    changed: bool
    revision: int


class StateOut(Schema):
    """Whether the environment is in lockdown, and the newest one, lifted or not."""

    stands: bool
    newest: LockdownOut | None


@router.get("/{environment}/lockdown", response=StateOut, **asks(Scope.READ))
def lockdown_read(request: HttpRequest, environment: str) -> StateOut:
    """Whether nothing is raised because of a lockdown."""
    found = selectors.newest(environment)
    return StateOut(stands=found is not None and found.stands, newest=_out(found) if found else None)


@router.post("/{environment}/emergency/lockdown", response=LockdownChangedOut, **asks(Scope.KILL, *MAY_STOP))
def lockdown(request: HttpRequest, environment: str, body: LockdownBody | None = None) -> LockdownChangedOut:
    """LiteRT off, cloud fallback on, every raise refused. Incident, evidence and the security team follow by themselves."""
    given = body or LockdownBody()
    found, made = services.lockdown_begin(
        environment=environment, reason=given.reason, severity=given.severity, **who(request)
    )
    return _changed(found, changed=made)


@router.post(
    "/{environment}/emergency/lockdown/lift", response=LockdownChangedOut, **asks(Scope.FLAGS_WRITE, *MAY_STOP)
)
def lockdown_lift_ask(request: HttpRequest, environment: str, body: StopBody | None = None) -> LockdownChangedOut:
    """Ask that it be lifted; nothing happens before somebody else confirms."""
    reason = body.reason if body else ""
    return _changed(services.lockdown_lift_ask(environment=environment, reason=reason, **who(request)))


@router.post(
    "/{environment}/emergency/lockdown/lift/withdraw",
    response=LockdownChangedOut,
    **asks(Scope.FLAGS_WRITE, *MAY_STOP, Role.APPROVER),
)
def lockdown_lift_withdraw(request: HttpRequest, environment: str, body: StopBody | None = None) -> LockdownChangedOut:
    """Take back that it be lifted, or turn it down."""
    reason = body.reason if body else ""
    return _changed(services.lockdown_lift_withdraw(environment=environment, reason=reason, **who(request)))


@router.post(
    "/{environment}/emergency/lockdown/lift/confirm",
    response=LockdownChangedOut,
    **asks(Scope.FLAGS_WRITE, Role.APPROVER),
)
def lockdown_lift(request: HttpRequest, environment: str) -> LockdownChangedOut:
    """End the freeze of raises; LiteRT stays off until it is re-enabled. A token is nobody: only a signed-in person may."""
    if not isinstance(request.user, User):
        raise NotAllowed("Only a person confirms: sign in. A token may ask.")
    return _changed(services.lockdown_lift(environment=environment, **who(request)))


def _changed(found: Lockdown, *, changed: bool = True) -> LockdownChangedOut:
    said = _out(found).dict()
    return LockdownChangedOut(**said, changed=changed, revision=flag_selectors.revision(found.environment))


def _out(found: Lockdown) -> LockdownOut:
    return LockdownOut(
        lockdown=found.pk,
        stands=found.stands,
        severity=cast(Severity, found.severity),
        reason=found.reason,
        by=found.by,
        at=found.at,
        entry=found.entry,
        asked_by=found.asked_by,
        asked_at=found.asked_at,
        asked_reason=found.asked_reason,
        lifted_by=found.lifted_by,
        lifted_at=found.lifted_at,
    )
