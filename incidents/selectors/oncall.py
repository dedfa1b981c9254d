"""Reading who is on call, when nobody is, how people are reached, and the runbook's contacts."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role, can
from incidents.domain import rotation as domain
from incidents.domain.calendar import Calendar
from incidents.domain.contacts import ContactRole, href
from incidents.domain.rotation import AHEAD, Shift, SwapState
from incidents.models import BusinessHours, CalendarLink, Channel, Contact, OnCallOverride, Rotation, Swap

# who is on call must be able to do something about it
MAY_BE_ON_CALL = (Role.OPERATOR, Role.RELEASER)
SHOWN_DAYS = 28
FEED_DAYS_BACK, FEED_DAYS_AHEAD = 14, 180
# the contact table's row of whom a step tells is asked for until it is filled in
REQUIRED = (ContactRole.ON_CALL, ContactRole.TEAM_LEAD, ContactRole.ENGINEERING_MANAGER)


@dataclass(frozen=True)
class Turn:
    """A shift with its people; `person` is None when nobody covers it."""

    shift: Shift
    person: User | None
    # whose turn it would be by the rotation alone
    instead_of: User | None

    @property
    def starts_at(self) -> datetime:
        """When it begins."""
        return self.shift.starts_at

    @property
    def ends_at(self) -> datetime:
        """When it ends."""
        return self.shift.ends_at


@dataclass(frozen=True)
class Gap:
    """A time that nobody covers. `left` is who stands there and may not, or can't, be on call any more."""

    starts_at: datetime
    ends_at: datetime
    left: User | None

    @property
    def why(self) -> str:
        """Why nobody covers it, in words."""
        return self.why_of(User.get_username)

    def why_of(self, called: Callable[[User], str]) -> str:
        """Say it with whatever somebody is called there."""
        if self.left is None:
            return "nobody's turn"
        name = called(self.left)
        return f"{name} has left" if not self.left.is_active else f"{name} is no operator or releaser here any more"


@dataclass(frozen=True)
class Now:
    """Who is on call; `until` is the next handover to somebody else, as far as it is known."""

    person: User | None
    until: datetime | None
    next: User | None
    has_rotation: bool
    is_override: bool = False


def rotation_of(environment: str) -> Rotation | None:
    """Return an environment's rotation; None before it is made. One query."""
    return Rotation.objects.filter(pk=environment).first()


def overrides(environment: str, *, since: datetime) -> list[OnCallOverride]:
    """Return overrides that count and end after a moment. One query."""
    rows = OnCallOverride.objects.filter(environment=environment, cancelled_at=None, ends_at__gt=since)
    return list(rows.select_related("person"))


def shifts(environment: str, *, since: datetime, until: datetime) -> list[Shift]:
    """Return who has which time, without holes. Two queries."""
    row = rotation_of(environment)
    taken = [one.domain() for one in overrides(environment, since=since)]
    return domain.schedule(row.domain() if row else None, taken, since=since, until=until)


def able(person: User, environment: str) -> bool:
    """Say whether somebody can be on call there."""
    return person.is_active and can(person, environment, *MAY_BE_ON_CALL)


def able_to_read(person: User, environment: str) -> bool:
    """Say whether somebody may be told what happens there."""
    return person.is_active and can(person, environment)


def turns(environment: str, *, since: datetime, until: datetime) -> list[Turn]:
    """Return the shifts with their people; who can't be on call is nobody. A few queries, and one for each person."""
    found = shifts(environment, since=since, until=until)
    people = _people({one.person for one in found} | {one.turn for one in found})
    fit = {pk: able(person, environment) for pk, person in people.items()}
    return [
        Turn(
            one,
            people.get(one.person or 0) if fit.get(one.person or 0) else None,
            people.get(one.turn or 0) if one.is_override else None,
        )
        for one in found
    ]


def _people(ids: Iterable[int | None]) -> dict[int, User]:
    return {one.pk: one for one in User.objects.filter(pk__in=[pk for pk in ids if pk is not None])}


def gaps(environment: str, *, now: datetime | None = None) -> list[Gap]:
    """Return the times of the next two weeks that nobody covers; nothing where no rotation was made."""
    now = now or clock.now()
    if rotation_of(environment) is None:
        return []
    found = shifts(environment, since=now, until=now + AHEAD)
    people = _people({one.person for one in found})
    fit = {pk: able(person, environment) for pk, person in people.items()}
    return [
        Gap(one.starts_at, one.ends_at, people.get(one.person or 0))
        for one in domain.gaps(found, lambda pk: fit.get(pk, False))
    ]


def on_call_now(environment: str, *, now: datetime | None = None) -> Now:
    """Return who is on call and who is next. Five queries at most."""
    now = now or clock.now()
    row = rotation_of(environment)
    taken = [one.domain() for one in overrides(environment, since=now)]
    if row is None and not taken:
        return Now(None, None, None, has_rotation=False)
    span = timedelta(days=2 * (row.length_days if row else 7) + 1)
    found = domain.schedule(row.domain() if row else None, taken, since=now, until=now + span)
    first, after = found[0], found[1] if len(found) > 1 else None
    people = _people({first.person, after.person if after else None})
    person = people.get(first.person or 0)
    return Now(
        person if person is not None and able(person, environment) else None,
        first.ends_at if after is not None else None,
        people.get(after.person or 0) if after is not None else None,
        has_rotation=row is not None,
        is_override=first.is_override,
    )


def own_channels(environment: str, person: User) -> list[Channel]:
    """Return somebody's own channels that are in use."""
    return list(Channel.objects.filter(environment=environment, person=person, archived_at=None, paused=False))


def without_channel(environment: str) -> list[User]:
    """Return those of the rotation whom nothing can page: they have no channel of their own. Three queries."""
    row = rotation_of(environment)
    if row is None:
        return []
    reached = Channel.objects.filter(environment=environment, archived_at=None, paused=False, person__in=row.people)
    have = set(reached.values_list("person_id", flat=True))
    people = _people(row.people)
    return [people[pk] for pk in row.people if pk in people and pk not in have]


def people_for(environment: str) -> list[User]:
    """Return who can be on call there, by name."""
    active = User.objects.filter(is_active=True).order_by("username").prefetch_related("grants")
    return [one for one in active if able(one, environment)]


def swaps(environment: str, *, now: datetime | None = None) -> list[Swap]:
    """Return proposed swaps whose time is not over."""
    rows = Swap.objects.filter(environment=environment, state=SwapState.PROPOSED.value).select_related(
        "proposer", "other"
    )
    return list(rows.filter(given_until__gt=now or clock.now()))


# ---- contacts and hours ----


@dataclass(frozen=True)
class Way:
    """One way to reach somebody: what is written, and what a phone opens."""

    text: str
    href: str


@dataclass(frozen=True)
class Row:
    """A row of the contact table as a page shows it."""

    contact: Contact
    primary: Way
    secondary: Way
    emergency: Way

    @property
    def asked_for(self) -> bool:
        """Whether the matrix needs it and nothing stands there."""
        return self.contact.is_empty and self.contact.role in REQUIRED


def contacts() -> list[Row]:
    """Return the contact table in the runbook's order. One query."""
    found = {one.role: one for one in Contact.objects.select_related("person")}
    return [
        Row(one, *(Way(text, href(text)) for text in (one.primary, one.secondary, one.emergency)))
        for role in ContactRole
        if (one := found.get(role.value))
    ]


def contact_of(role: str) -> Contact | None:
    """Return a row of the contact table. One query."""
    return Contact.objects.select_related("person").filter(pk=role).first()


def hours() -> Calendar:
    """Return the business hours; the usual ones before any are kept. One query."""
    row = BusinessHours.objects.filter(pk=1).first()
    return row.domain() if row else Calendar()


# ---- calendars elsewhere ----


def token_hash(token: str) -> str:
    """Return what is kept of a link's token."""
    return hashlib.sha256(token.encode()).hexdigest()


def link_of(environment: str, token: str) -> CalendarLink | None:
    """Return the link that a token opens; None when it is revoked, or whose it is may not read there any more."""
    found = (
        CalendarLink.objects.select_related("person")
        .filter(environment=environment, token_hash=token_hash(token), revoked_at=None)
        .first()
    )
    if found is None or not found.person.is_active or not can(found.person, environment):
        return None
    return found


def links(environment: str, person: User | None = None) -> list[CalendarLink]:
    """Return the links that open something: one person's, or everybody's."""
    rows = CalendarLink.objects.filter(environment=environment, revoked_at=None).select_related("person")
    return list(rows.filter(person=person) if person is not None else rows)


def feed(link: CalendarLink) -> list[Turn]:
    """Return the shifts that a link shows."""
    now = clock.now()
    found = turns(
        link.environment, since=now - timedelta(days=FEED_DAYS_BACK), until=now + timedelta(days=FEED_DAYS_AHEAD)
    )
    return [one for one in found if one.person is not None and (not link.own or one.person.pk == link.person_id)]
