"""`/api/v1/ENVIRONMENT/census`: of the active devices, how many obey a revision."""

from typing import Annotated

from django.http import HttpRequest
from ninja import Query, Router, Schema

from hawkops.accounts.api import asks
from hawkops.core.access import Scope
from hawkops.core.api import WHOLE_MOST
from rollout.selectors import census as selectors
from rollout.selectors import flags

router = Router(tags=["Census"])


class ClassOut(Schema):
    """Active devices of one class."""

    device_class: str
    simulated: bool
    devices: int


class CensusOut(Schema):
    """Active devices that obey a revision, are still to, or can't be reached."""

    revision: int
    active: int
    obeyed: int
    pending: int
    unreachable: int
    simulated: int
    classes: list[ClassOut]


@router.get("/{environment}/census", response=CensusOut, **asks(Scope.READ))
def census(
    request: HttpRequest, environment: str, revision: Annotated[int | None, Query(ge=0, le=WHOLE_MOST)] = None
) -> CensusOut:
    """The census at a revision, at the newest unless said."""
    found = selectors.census(environment, flags.revision(environment) if revision is None else revision)
    return CensusOut(
        revision=found.revision,
        active=found.active,
        obeyed=found.obeyed,
        pending=found.pending,
        unreachable=found.unreachable,
        simulated=found.simulated,
        classes=[
            ClassOut(device_class=name, simulated=simulated, devices=devices)
            for name, simulated, devices in selectors.classes(environment)
        ],
    )
