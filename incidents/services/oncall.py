"""Writes on rotation, overrides, swaps, contacts, business hours and calendar links: each one entry of the history."""

import secrets
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hawkops.core.live import announce
from hawkops.history.actors import Actor, person_reference
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from incidents.domain import rotation as domain
from incidents.domain.calendar import Calendar, Unfit, holidays_of
from incidents.domain.contacts import DEFAULT, ContactRole
from incidents.domain.rotation import SWAP_MOVES, SwapState
from incidents.models import BusinessHours, CalendarLink, Contact, OnCallOverride, Rotation, Swap
from incidents.selectors import oncall as selectors

WAY_MOST = 120
REASON_MOST = 300
OVERRIDE_MOST = timedelta(days=90)
LINKS_MOST = 20
OVERRIDES_MOST = 200
GAPS = Actor.rule("rotation")
GAP_VERB = "rotation.gap_found"


def oncall_seed(*, actor: Actor) -> bool:
    """Import the runbook's contact table and the usual business hours, where there are none."""
    missing = [role for role in ContactRole if not Contact.objects.filter(pk=role.value).exists()]
    hours = not BusinessHours.objects.filter(pk=1).exists()
    if not missing and not hours:
        return False
    with change(actor=actor, reason="Installation") as this:
        for role in missing:
            row = Contact.objects.create(role=role.value, **vars(DEFAULT[role]))
            this.record("contact.imported", subject=f"contact:{role.value}", after=_contact(row))
        if hours:
            made = _hours_row(Calendar(), "")
            made.save()
            this.record("business_hours.seeded", subject="business_hours:1", after=_hours(made))
    return True


def _reason(text: str) -> str:
    return " ".join(text.replace("\x00", "").split())[:REASON_MOST]


def _name(person: User | None) -> str:
    return person.get_username() if person is not None else "nobody"


def _kept_as(person: User | None) -> str:
    """Return what the history calls somebody: it can't forget a name."""
    return person_reference(person) if person is not None else "nobody"


# ---- rotation ----


def rotation_save(
    *,
    environment: str,
    people: Sequence[User],
    begins_on: date,
    handover: time,
    length_days: int,
    zone: str,
    revision: int,
    actor: Actor,
    reason: str = "",
    request_id: str = "",
) -> bool:
    """Make or change a rotation; False when it is so already. The first of the people has the shift of `begins_on`.

    `revision` is that of the form, 0 for a new one. Raises InvalidInput, Conflict.
    """
    if strange := [one for one in people if not selectors.able(one, environment)]:
        raise InvalidInput(f"{_name(strange[0])} can't be on call: that takes the role operator or releaser here.")
    try:
        domain.Rotation(tuple(one.pk for one in people), begins_on, handover, length_days, zone)
    except Unfit as error:
        raise InvalidInput(str(error)) from error
    with change(actor=actor, environment=environment, reason=_reason(reason), request_id=request_id) as this:
        row = Rotation.objects.select_for_update(no_key=True).filter(pk=environment).first()
        if (row.revision if row else 0) != revision:
            raise Conflict("Somebody changed the rotation meanwhile; look at it again before you save.")
        before = _rotation(row) if row else None
        row = row or Rotation(environment=environment, revision=0)
        row.people, row.begins_on, row.handover = [one.pk for one in people], begins_on, handover
        row.length_days, row.zone = length_days, zone
        after = _rotation(row)
        if before == after:
            return False
        row.revision += 1
        row.save()
        this.record("rotation.changed", subject=f"rotation:{environment}", before=before, after=after)
        announce("oncall", environment)
    return True


def _rotation(row: Rotation) -> dict[str, Any]:
    return {
        "people": [f"person:{pk}" for pk in row.people],
        "begins_on": row.begins_on.isoformat(),
        "handover": f"{row.handover:%H:%M}",
        "length_days": row.length_days,
        "zone": row.zone,
    }


def gaps_note() -> int:
    """Write down each gap of the next two weeks once, so that it is told; return how many were new."""
    noted = 0
    for environment in Environment:
        for gap in selectors.gaps(environment.value):
            # the end moves with the two weeks; the beginning does too once it has begun
            subject = f"rotation:{environment.value}"
            known = {
                (one.after or {}).get("gap")
                for one in HistoryEntry.objects.filter(subject=subject, verb=GAP_VERB).order_by("-seq")[:50]
            }
            name = f"{_kept_as(gap.left)} {gap.starts_at:%G-W%V}"
            if name in known:
                continue
            with change(actor=GAPS, environment=environment.value) as this:
                after = {
                    "title": f"Nobody is on call from {gap.starts_at:%d %b %H:%M} UTC",
                    "gap": name,
                    "starts_at": gap.starts_at.isoformat(),
                    "ends_at": gap.ends_at.isoformat(),
                    "sentence": f"{gap.why_of(_kept_as).capitalize()}. An override or another rotation covers it.",
                }
                this.record(GAP_VERB, subject=subject, after=after)
                announce("oncall", environment.value)
            noted += 1
    return noted


# ---- overrides ----


def override_create(
    *,
    environment: str,
    person: User,
    starts_at: datetime,
    ends_at: datetime,
    actor: Actor,
    reason: str = "",
    request_id: str = "",
) -> OnCallOverride:
    """Have somebody take a time. Raises InvalidInput."""
    with change(actor=actor, environment=environment, reason=_reason(reason), request_id=request_id) as this:
        found = _override(environment, person, starts_at, ends_at, actor, reason)
        this.record("oncall.override_set", subject=f"override:{found.pk}", after=_taken(found))
        announce("oncall", environment)
    return found


def _override(
    environment: str, person: User, starts_at: datetime, ends_at: datetime, actor: Actor, reason: str
) -> OnCallOverride:
    now = clock.now()
    if not selectors.able(person, environment):
        raise InvalidInput(f"{_name(person)} can't be on call: that takes the role operator or releaser here.")
    if ends_at <= starts_at:
        raise InvalidInput("It ends after it begins.")
    if ends_at <= now:
        raise InvalidInput("That time is over.")
    if ends_at - starts_at > OVERRIDE_MOST:
        raise InvalidInput(f"An override lasts at most {OVERRIDE_MOST.days} days; change the rotation instead.")
    if len(selectors.overrides(environment, since=now)) >= OVERRIDES_MOST:
        raise InvalidInput(f"There are {OVERRIDES_MOST} overrides already; change the rotation instead.")
    return OnCallOverride.objects.create(
        environment=environment,
        person=person,
        starts_at=starts_at,
        ends_at=ends_at,
        reason=_reason(reason),
        made_by=actor.label,
        made_at=now,
    )


def _taken(row: OnCallOverride) -> dict[str, Any]:
    return {
        "person": _kept_as(row.person),
        "starts_at": row.starts_at.isoformat(),
        "ends_at": row.ends_at.isoformat(),
    }


def override_cancel(*, environment: str, pk: int, actor: Actor, reason: str = "", request_id: str = "") -> None:
    """Take an override back; the rotation counts again. Raises NotFound, Conflict."""
    with change(actor=actor, environment=environment, reason=_reason(reason), request_id=request_id) as this:
        rows = OnCallOverride.objects.select_for_update(no_key=True)
        found = rows.filter(environment=environment, pk=pk).first()
        if found is None:
            raise NotFound("There is no such override here.")
        if found.cancelled_at is not None or found.ends_at <= clock.now():
            raise Conflict("It is over already.")
        found.cancelled_at = clock.now()
        found.save(update_fields=["cancelled_at"])
        this.record("oncall.override_cancelled", subject=f"override:{pk}", before=_taken(found))
        announce("oncall", environment)


# ---- swaps ----


def swap_propose(
    *,
    environment: str,
    proposer: User,
    other: User,
    given: tuple[datetime, datetime],
    taken: tuple[datetime, datetime] | None,
    actor: Actor,
    reason: str = "",
    request_id: str = "",
) -> Swap:
    """Ask somebody to take a time of one's own, in return for one of theirs or for nothing. Raises InvalidInput."""
    if proposer.pk == other.pk:
        raise InvalidInput("Ask somebody else.")
    _swappable(environment, proposer, other, given, taken)
    with change(actor=actor, environment=environment, reason=_reason(reason), request_id=request_id) as this:
        swap = Swap.objects.create(
            environment=environment,
            proposer=proposer,
            other=other,
            given_from=given[0],
            given_until=given[1],
            taken_from=taken[0] if taken else None,
            taken_until=taken[1] if taken else None,
            reason=_reason(reason),
            made_at=clock.now(),
        )
        this.record("swap.proposed", subject=f"swap:{swap.pk}", after=_swap(swap))
        announce("oncall", environment)
    return swap


def _swappable(
    environment: str,
    proposer: User,
    other: User,
    given: tuple[datetime, datetime],
    taken: tuple[datetime, datetime] | None,
) -> None:
    """Raise InvalidInput unless each has the whole of what they give."""
    for person, span in ((proposer, given), (other, taken)):
        if span is None:
            continue
        starts, ends = span
        if ends <= starts or starts < clock.now():
            raise InvalidInput("A time to swap begins from now on and ends after it begins.")
        if ends - starts > OVERRIDE_MOST:
            raise InvalidInput(f"At most {OVERRIDE_MOST.days} days are swapped at once.")
        if not domain.holds(selectors.shifts(environment, since=starts, until=ends), person.pk):
            raise InvalidInput(
                f"{_name(person)} is not on call all of {starts:%d %b %H:%M} to {ends:%d %b %H:%M} UTC."
            )  # fmt: skip
    if not selectors.able(other, environment):
        raise InvalidInput(f"{_name(other)} can't be on call: that takes the role operator or releaser here.")


def _swap(swap: Swap) -> dict[str, Any]:
    return {
        "proposer": _kept_as(swap.proposer),
        "other": _kept_as(swap.other),
        "gives": [swap.given_from.isoformat(), swap.given_until.isoformat()],
        "takes": [swap.taken_from.isoformat(), swap.taken_until.isoformat()]
        if swap.taken_from and swap.taken_until
        else None,
        "state": swap.state,
    }


def swap_answer(
    *, environment: str, pk: int, person: User, accept: bool, actor: Actor, request_id: str = ""
) -> Swap:  # fmt: skip
    """Accept or decline what one was asked. Accepted, both take each other's time. Raises NotFound, NotAllowed, Conflict."""
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        swap = _proposed(environment, pk)
        if swap.other_id != person.pk:
            raise NotAllowed(f"{_name(swap.other)} was asked, nobody else can answer.")
        before = _swap(swap)
        if accept:
            taken = (swap.taken_from, swap.taken_until) if swap.taken_from and swap.taken_until else None
            try:
                _swappable(environment, swap.proposer, swap.other, (swap.given_from, swap.given_until), taken)
            except InvalidInput as error:
                raise Conflict(f"Things have changed: {error}") from error
            words = f"Swap {swap.pk}"
            _override(environment, swap.other, swap.given_from, swap.given_until, actor, words)
            if taken is not None:
                _override(environment, swap.proposer, *taken, actor, words)
        _moved(swap, SwapState.ACCEPTED if accept else SwapState.DECLINED)
        this.record(f"swap.{swap.state}", subject=f"swap:{pk}", before=before, after=_swap(swap))
        announce("oncall", environment)
    return swap


def swap_withdraw(*, environment: str, pk: int, person: User, actor: Actor, request_id: str = "") -> None:
    """Take back what one proposed. Raises NotFound, NotAllowed, Conflict."""
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        swap = _proposed(environment, pk)
        if swap.proposer_id != person.pk:
            raise NotAllowed(f"{_name(swap.proposer)} proposed it, nobody else can take it back.")
        before = _swap(swap)
        _moved(swap, SwapState.WITHDRAWN)
        this.record("swap.withdrawn", subject=f"swap:{pk}", before=before, after=_swap(swap))
        announce("oncall", environment)


def _proposed(environment: str, pk: int) -> Swap:
    rows = Swap.objects.select_for_update(no_key=True, of=("self",)).select_related("proposer", "other")
    found = rows.filter(environment=environment, pk=pk).first()
    if found is None:
        raise NotFound("There is no such swap here.")
    return found


def _moved(swap: Swap, state: SwapState) -> None:
    if state not in SWAP_MOVES[SwapState(swap.state)]:
        raise Conflict(f"The swap is {swap.state} already.")
    swap.state, swap.answered_at = state.value, clock.now()
    swap.save(update_fields=["state", "answered_at"])


# ---- contacts and hours ----


def contact_save(
    *,
    role: str,
    primary: str,
    secondary: str,
    emergency: str,
    person: User | None,
    actor: Actor,
    reason: str = "",
    request_id: str = "",
) -> bool:
    """Change a row of the contact table, which counts everywhere; False when it is so already. Raises InvalidInput."""
    ways = [" ".join(text.replace("\x00", "").split()) for text in (primary, secondary, emergency)]
    if any(len(way) > WAY_MOST for way in ways):
        raise InvalidInput(f"A way to reach somebody has at most {WAY_MOST} characters.")
    if person is not None and role == ContactRole.ON_CALL:
        raise InvalidInput("Who is on call is in the rotation.")
    with change(actor=actor, reason=_reason(reason), request_id=request_id) as this:
        row = Contact.objects.select_for_update(no_key=True).filter(pk=role).first()
        if row is None:
            raise NotFound("There is no such contact.")
        was, before = _ways(row), _contact(row)
        row.primary, row.secondary, row.emergency = ways
        row.person = person
        after = _contact(row)
        if was == _ways(row):
            return False
        row.save()
        this.record("contact.changed", subject=f"contact:{role}", before=before, after=after)
    return True


def _ways(row: Contact) -> tuple[object, ...]:
    return row.primary, row.secondary, row.emergency, row.person_id


def _contact(row: Contact) -> dict[str, Any]:
    """Return a row as the history keeps it: of somebody's numbers that they are there."""
    ways = {"primary": row.primary, "secondary": row.secondary, "emergency": row.emergency}
    return {
        "role": row.label,
        **({name: "theirs" if way else "" for name, way in ways.items()} if row.person_id else ways),
        "person": _kept_as(row.person) if row.person_id else None,
    }


def hours_save(
    *,
    zone: str,
    weekdays: Sequence[int],
    opens: time,
    closes: time,
    holidays: str,
    actor: Actor,
    reason: str = "",
    request_id: str = "",
) -> bool:
    """Change the business hours; False when they are so already. Raises InvalidInput."""
    try:
        found = Calendar(zone, frozenset(weekdays), opens, closes, holidays_of(holidays.splitlines()))
        found.next_open(clock.now())
    except Unfit as error:
        raise InvalidInput(str(error)) from error
    with change(actor=actor, reason=_reason(reason), request_id=request_id) as this:
        row = BusinessHours.objects.select_for_update(no_key=True).filter(pk=1).first()
        before = _hours(row) if row else None
        made = _hours_row(found, holidays)
        if before == _hours(made):
            return False
        made.save(force_update=row is not None, force_insert=row is None)
        this.record("business_hours.changed", subject="business_hours:1", before=before, after=_hours(made))
    return True


def _hours_row(found: Calendar, holidays: str) -> BusinessHours:
    lines = "\n".join(" ".join(line.split()) for line in holidays.replace("\x00", "").splitlines() if line.strip())
    return BusinessHours(
        pk=1,
        zone=found.zone,
        weekdays=sorted(found.weekdays),
        opens=found.opens,
        closes=found.closes,
        holidays=lines,
    )


def _hours(row: BusinessHours) -> dict[str, Any]:
    return {
        "zone": row.zone,
        "weekdays": list(row.weekdays),
        "opens": f"{row.opens:%H:%M}",
        "closes": f"{row.closes:%H:%M}",
        "holidays": row.holidays.splitlines(),
    }


# ---- calendars elsewhere ----


def link_create(
    *, environment: str, person: User, own: bool, actor: Actor, request_id: str = ""
) -> tuple[CalendarLink, str]:
    """Make a link under which a calendar reads the shifts. Returns it with its token, which is shown this once."""
    token = secrets.token_urlsafe(32)
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        if len(selectors.links(environment, person)) >= LINKS_MOST:
            raise InvalidInput(f"You have {LINKS_MOST} links here; revoke one first.")
        link = CalendarLink.objects.create(
            environment=environment,
            person=person,
            own=own,
            token_hash=selectors.token_hash(token),
            made_at=clock.now(),
        )
        after = {"person": _kept_as(person), "shows": "their own shifts" if own else "all shifts"}
        this.record("calendar_link.made", subject=f"calendar_link:{link.pk}", after=after)
    return link, token


def link_revoke(
    *, environment: str, pk: int, person: User, administers: bool, actor: Actor, request_id: str = ""
) -> None:  # fmt: skip
    """Close a link for good: one's own, or anybody's for an administrator. Raises NotFound, NotAllowed, Conflict."""
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        rows = CalendarLink.objects.select_for_update(no_key=True, of=("self",)).select_related("person")
        found = rows.filter(environment=environment, pk=pk).first()
        if found is None:
            raise NotFound("There is no such link here.")
        if found.person_id != person.pk and not administers:
            raise NotAllowed("It is somebody else's; an administrator may revoke it.")
        if found.revoked_at is not None:
            raise Conflict("It is revoked already.")
        found.revoked_at = clock.now()
        found.save(update_fields=["revoked_at"])
        this.record("calendar_link.revoked", subject=f"calendar_link:{pk}", before={"person": _kept_as(found.person)})
