"""`/api/v1/ENVIRONMENT/oncall`: who has the shift, the plan of the next two weeks, overrides, and the contact table."""

from datetime import date, datetime, time, timedelta
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from hawkops.accounts.api import asks, who
from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body
from hawkops.core.errors import InvalidInput
from hawkops.core.moments import utc
from incidents.selectors import oncall as selectors
from incidents.services import oncall as services

MAY_PLAN = (Role.OPERATOR, Role.RELEASER)
AHEAD = timedelta(days=14)

router = Router(tags=["On call"])


class OnCallOverrideBody(Body):
    """Who takes which time; moments name their offset: 2026-12-24T18:00:00+01:00."""

    person: str
    starts_at: str
    ends_at: str
    reason: str = ""


class RotationBody(Body):
    """Who takes turns, the first of them from `begins_on` on. `revision` is the one that was read, 0 for the first."""

    people: list[str]
    begins_on: str
    handover: str
    length_days: int
    zone: str
    revision: int
    reason: str = ""


class TurnOut(Schema):
    """A time and who has it; `person` is null where nobody can be reached, `instead_of` whose turn it would be."""

    starts_at: datetime
    ends_at: datetime
    person: str | None
    instead_of: str | None


class OnCallOverrideOut(Schema):
    """Somebody takes a time."""

    override: int
    person: str
    starts_at: datetime
    ends_at: datetime
    reason: str


class RotationOut(Schema):
    """Who takes turns, as it was saved."""

    people: list[str]
    begins_on: date
    handover: time
    length_days: int
    zone: str
    revision: int


class ContactOut(Schema):
    """A row of the contact table; what nobody filled in is empty."""

    role: str
    primary: str
    secondary: str
    emergency: str
    person: str | None


class OnCallOut(Schema):
    """Who is on call until when, and what comes in two weeks; `rotation` is null before it is made."""

    person: str | None
    until: datetime | None
    next: str | None
    rotation: RotationOut | None
    turns: list[TurnOut]
    gaps: list[TurnOut]
    overrides: list[OnCallOverrideOut]
    without_channel: list[str]
    contacts: list[ContactOut]


@router.get("/{environment}/oncall", response=OnCallOut, **asks(Scope.READ))
def oncall(request: HttpRequest, environment: str) -> OnCallOut:
    """Who has the shift now and in the next two weeks, and how everybody in the contact table is reached."""
    return _told(environment)


@router.put("/{environment}/oncall/rotation", response=OnCallOut, **asks(Scope.ONCALL_WRITE, *MAY_PLAN))
def rotation_save(request: HttpRequest, environment: str, body: RotationBody) -> OnCallOut:
    """Make the rotation or change it; 409 when somebody was faster."""
    try:
        begins_on, handover = date.fromisoformat(body.begins_on), time.fromisoformat(body.handover)
    except ValueError as error:
        raise InvalidInput("begins_on is a day (2026-12-07), handover a time of day (09:00).") from error
    if handover.tzinfo is not None:
        raise InvalidInput("handover is a time of day in `zone`, without an offset of its own.")
    services.rotation_save(
        environment=environment,
        people=[_person(name) for name in body.people],
        begins_on=begins_on,
        handover=handover,
        length_days=body.length_days,
        zone=body.zone,
        revision=body.revision,
        reason=body.reason,
        **who(request),
    )
    return _told(environment)


@router.post(
    "/{environment}/oncall/overrides", response={201: OnCallOverrideOut}, **asks(Scope.ONCALL_WRITE, *MAY_PLAN)
)
def override_create(request: HttpRequest, environment: str, body: OnCallOverrideBody) -> Status[OnCallOverrideOut]:
    """Have somebody take a time, whoever's turn it is."""
    made = services.override_create(
        environment=environment,
        person=_person(body.person),
        starts_at=_moment("starts_at", body.starts_at),
        ends_at=_moment("ends_at", body.ends_at),
        reason=body.reason,
        **who(request),
    )
    return Status(201, OnCallOverrideOut(**_override(made)))


@router.delete("/{environment}/oncall/overrides/{pk}", response={204: None}, **asks(Scope.ONCALL_WRITE, *MAY_PLAN))
def override_cancel(request: HttpRequest, environment: str, pk: int) -> Status[None]:
    """Take an override back; the rotation counts again."""
    services.override_cancel(environment=environment, pk=pk, **who(request))
    return Status(204, None)


def _person(name: str) -> User:
    found = User.objects.filter(username=name, is_active=True).first()
    if found is None:
        raise InvalidInput(f"There is nobody called {name[:40]!r} here.")
    return found


def _moment(field: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{field} is a moment with its offset: 2026-12-24T18:00:00+01:00.") from error
    if found.tzinfo is None:
        raise InvalidInput(f"{field} needs its offset: {text[:20]}+01:00, or Z.")
    return utc(found)


def _told(environment: str) -> OnCallOut:
    now = clock.now()
    shift, row = selectors.on_call_now(environment, now=now), selectors.rotation_of(environment)
    names = {one.pk: one.get_username() for one in User.objects.filter(pk__in=row.people)} if row is not None else {}
    return OnCallOut(
        person=_name(shift.person),
        until=shift.until,
        next=_name(shift.next),
        rotation=None
        if row is None
        else RotationOut(
            people=[names[pk] for pk in row.people if pk in names],
            begins_on=row.begins_on,
            handover=row.handover,
            length_days=row.length_days,
            zone=row.zone,
            revision=row.revision,
        ),
        turns=[
            TurnOut(
                starts_at=one.starts_at,
                ends_at=one.ends_at,
                person=_name(one.person),
                instead_of=_name(one.instead_of),
            )
            for one in selectors.turns(environment, since=now, until=now + AHEAD)
        ],
        gaps=[
            TurnOut(starts_at=one.starts_at, ends_at=one.ends_at, person=None, instead_of=_name(one.left))
            for one in selectors.gaps(environment, now=now)
        ],
        overrides=[OnCallOverrideOut(**_override(one)) for one in selectors.overrides(environment, since=now)],
        without_channel=[one.get_username() for one in selectors.without_channel(environment)],
        contacts=[
            ContactOut(
                role=one.contact.role,
                primary=one.contact.primary,
                secondary=one.contact.secondary,
                emergency=one.contact.emergency,
                person=_name(one.contact.person),
            )
            for one in selectors.contacts()
        ],
    )


def _name(person: User | None) -> str | None:
    return person.get_username() if person is not None else None


def _override(found: Any) -> dict[str, Any]:
    return {
        "override": found.pk,
        "person": found.person.get_username(),
        "starts_at": found.starts_at,
        "ends_at": found.ends_at,
        "reason": found.reason,
    }
