"""`/api/v1/ENVIRONMENT/incidents`: list, read, open, note and move. The moves are the pages' own."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from hawkops.accounts.api import asks, who
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body, Inline
from hawkops.core.errors import InvalidInput
from incidents.domain.incidents import Move, moves_from
from incidents.domain.incidents import State as IncidentState
from incidents.models import Incident
from incidents.selectors import incidents as selectors
from incidents.selectors.receipts import State as ReceiptState
from incidents.selectors.receipts import wanted
from incidents.services import incidents as services
from monitoring.domain.criteria import Severity

MAY_ACT = (Role.OPERATOR, Role.RELEASER)

router = Router(tags=["Incidents"])


class IncidentBody(Body):
    """What happens, and how grave it is."""

    title: str
    severity: str
    reason: str = ""


class IncidentNoteBody(Body):
    """A line of the timeline; a public one stands on the page for people outside."""

    text: str
    public: bool = False


class IncidentMoveBody(Body):
    """Which move: acknowledge, mitigate, resolve, reopen or review."""

    move: str
    reason: str = ""


class IncidentOut(Schema):
    """An incident; `moves` are those that there are now."""

    incident: int
    title: str
    state: IncidentState
    severity: Severity
    simulated: bool
    opened_at: datetime
    opened_by: str
    acknowledged_at: datetime | None
    acknowledged_by: str
    mitigated_at: datetime | None
    resolved_at: datetime | None
    merged_into: int | None
    releases: list[int]
    moves: list[Move]


class IncidentsOut(Schema):
    """Those that stand, the gravest first, then those that are over."""

    incidents: list[IncidentOut]


class TimelineRowOut(Schema):
    """A line of a timeline with its entry of the history."""

    at: datetime
    entry: int
    verb: str
    title: str
    text: str
    by: str


class ReceiptOut(Schema):
    """One of the four things that the runbook wants of a critical incident; `todo` says what to do where it is missing."""

    key: str
    title: str
    state: Annotated[ReceiptState, Inline()]
    at: datetime | None
    channel: str
    who: str
    receipt: str
    todo: str


class IncidentWholeOut(IncidentOut):
    """An incident with its timeline, newest first, and who was told of it where it is or was critical."""

    timeline: list[TimelineRowOut]
    receipts: list[ReceiptOut]


@router.get("/{environment}/incidents", response=IncidentsOut, **asks(Scope.READ))
def incidents(request: HttpRequest, environment: str) -> IncidentsOut:
    """Every open incident, and the newest that are over."""
    rows = [*selectors.open_incidents(environment), *selectors.over_incidents(environment)]
    return IncidentsOut(incidents=[IncidentOut(**_told(one)) for one in rows])


@router.get("/{environment}/incidents/{pk}", response=IncidentWholeOut, **asks(Scope.READ))
def incident(request: HttpRequest, environment: str, pk: int) -> IncidentWholeOut:
    """One incident with its timeline."""
    found = selectors.incident(environment, pk)
    rows = [
        TimelineRowOut(at=one.at, entry=one.seq, verb=one.verb, title=one.title, text=one.text, by=one.by)
        for one in selectors.timeline(found)
    ]
    receipts = [ReceiptOut(**one.document()) for one in wanted(found)]
    return IncidentWholeOut(**_told(found), timeline=rows, receipts=receipts)


@router.post("/{environment}/incidents", response={201: IncidentOut}, **asks(Scope.INCIDENTS_WRITE, *MAY_ACT))
def incident_open(request: HttpRequest, environment: str, body: IncidentBody) -> Status[IncidentOut]:
    """Open an incident; whoever is to hear of it is told."""
    made = services.incident_open(
        environment=environment, title=body.title, severity=body.severity, reason=body.reason, **who(request)
    )
    return Status(201, IncidentOut(**_told(made)))


@router.post(
    "/{environment}/incidents/{pk}/notes", response={201: IncidentOut}, **asks(Scope.INCIDENTS_WRITE, *MAY_ACT)
)
def incident_note(request: HttpRequest, environment: str, pk: int, body: IncidentNoteBody) -> Status[IncidentOut]:
    """Write into its timeline."""
    services.incident_note(environment=environment, incident_id=pk, text=body.text, public=body.public, **who(request))
    return Status(201, IncidentOut(**_told(selectors.incident(environment, pk))))


@router.post("/{environment}/incidents/{pk}/move", response=IncidentOut, **asks(Scope.INCIDENTS_WRITE, *MAY_ACT))
def incident_move(request: HttpRequest, environment: str, pk: int, body: IncidentMoveBody) -> IncidentOut:
    """Move it; 409 when somebody was faster, or there is no such move now."""
    if body.move not in list(Move):
        raise InvalidInput(f"There is no move {body.move[:40]!r}; use one of: {', '.join(Move)}.")
    found = services.incident_move(
        environment=environment, incident_id=pk, move=Move(body.move), reason=body.reason, **who(request)
    )
    return IncidentOut(**_told(found))


def _told(found: Incident) -> dict[str, Any]:
    state = IncidentState(found.state)
    return {
        "incident": found.pk,
        "title": found.title,
        "state": state,
        "severity": Severity(found.severity),
        "simulated": found.simulated,
        "opened_at": found.opened_at,
        "opened_by": found.opened_by,
        "acknowledged_at": found.acknowledged_at,
        "acknowledged_by": found.acknowledged_by,
        "mitigated_at": found.mitigated_at,
        "resolved_at": found.resolved_at,
        "merged_into": found.merged_into_id,
        "releases": list(found.releases.values_list("pk", flat=True)),
        "moves": [] if found.merged_into_id else list(moves_from(state)),
    }
