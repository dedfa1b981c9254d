"""`/api/v1/ENVIRONMENT/drills`: drills of the kill switches on the internal group, with what they measured."""

from datetime import datetime
from typing import Annotated

from django.http import HttpRequest
from ninja import Router, Schema

from hawkops.accounts.api import asks, who
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body, Inline
from rollout.domain import drills as domain
from rollout.domain.drills import Outcome, State
from rollout.models import Drill
from rollout.selectors import drills as selectors
from rollout.services import drills as services

MAY_DRILL = (Role.OPERATOR,)

router = Router(tags=["Emergency"])


class DrillStartBody(Body):
    """Which kill switches, one after another (all five when none is named), and how long each may take."""

    flags: list[str] = []
    minutes: int = domain.MINUTES
    reason: str = ""


class DrillStopBody(Body):
    """Why; a stop is never refused for its reason."""

    reason: str = ""


class DrillOut(Schema):
    """A drill: its devices at the press, when shares of them obeyed, how it ended, and when they were back."""

    drill: int
    flag: str
    variant: str
    group: str
    state: Annotated[State, Inline()]
    outcome: Outcome | None
    sentence: str
    reason: str
    by: str
    entry: int | None
    revision: int | None
    minutes: int
    pressed_at: datetime | None
    restores_at: datetime | None
    devices: int
    simulated: int
    uncounted: int
    unreachable: int
    obeyed: int
    obeyed_50_at: datetime | None
    obeyed_95_at: datetime | None
    obeyed_99_at: datetime | None
    obeyed_all_at: datetime | None
    ended_at: datetime | None
    ended_by: str
    restored_revision: int | None
    back: int
    back_at: datetime | None


@router.get("/{environment}/drills", response=list[DrillOut], **asks(Scope.READ))
def drills(request: HttpRequest, environment: str) -> list[DrillOut]:
    """The newest 50 drills, newest first."""
    return [_out(one) for one in selectors.drills(environment)]


@router.post("/{environment}/drills", response={201: list[DrillOut]}, **asks(Scope.FLAGS_WRITE, *MAY_DRILL))
def drills_start(request: HttpRequest, environment: str, body: DrillStartBody | None = None) -> list[DrillOut]:
    """Press kill switches on the internal group; each is restored by itself before the next one is pressed."""
    said = body or DrillStartBody()
    made = services.drills_start(
        environment=environment, flags=said.flags, minutes=said.minutes, reason=said.reason, **who(request)
    )
    return [_out(one) for one in made]


@router.post("/{environment}/drills/{int:pk}/stop", response=DrillOut, **asks(Scope.FLAGS_WRITE, *MAY_DRILL))
def drill_stop(request: HttpRequest, environment: str, pk: int, body: DrillStopBody | None = None) -> DrillOut:
    """End a drill now; what waits behind it is not pressed."""
    reason = body.reason if body else ""
    return _out(services.drill_stop(environment=environment, pk=pk, reason=reason, **who(request)))


def _out(drill: Drill) -> DrillOut:
    return DrillOut(
        drill=drill.pk,
        state=State(drill.state),
        outcome=Outcome(drill.outcome) if drill.outcome else None,
        **{name: getattr(drill, name) for name in DrillOut.model_fields if name not in ("drill", "state", "outcome")},
    )
