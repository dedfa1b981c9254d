"""On call: who has the shift, the schedule, overrides, swaps, contacts, and the calendar feed. Times are the rotation's."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from icalendar import Calendar, Event

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role, can, can_in_all, requires, requires_everywhere
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError, InvalidInput, NotFound
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.core.moments import utc
from hawkops.history.actors import Actor
from incidents.domain.calendar import moment_of, zone_of
from incidents.domain.contacts import ContactRole
from incidents.models import Rotation
from incidents.selectors import oncall as selectors
from incidents.selectors.oncall import Turn
from incidents.services import oncall as services

MAY_PLAN = (Role.OPERATOR, Role.RELEASER)
WEEKS = 4
BLANK_PEOPLE = 2
LENGTHS = ((1, "a day"), (2, "two days"), (7, "a week"), (14, "two weeks"))
USUAL_HANDOVER = time(9)


@dataclass(frozen=True)
class Day:
    """A day of the calendar with whoever has some of it; None stands for nobody."""

    day: date
    people: list[str | None]
    is_today: bool


@require_safe
@requires()
def oncall(request: HttpRequest, environment: str) -> HttpResponse:
    """Show who is on call now and for the next weeks, what nobody covers, and how everybody is reached."""
    return _page(request, environment)


def _page(request: HttpRequest, environment: str, *, refusal: str = "", form: str = "") -> HttpResponse:
    now, row = clock.now(), selectors.rotation_of(environment)
    zone = row.zone if row else "UTC"
    until = now + timedelta(days=selectors.SHOWN_DAYS)
    turns = selectors.turns(environment, since=now, until=until) if row else []
    person = request.user
    assert isinstance(person, User)
    administers = can(person, environment, Role.ADMIN)
    context = {
        "now": selectors.on_call_now(environment, now=now),
        "rotation": row,
        "zone": zone,
        "turns": turns,
        "weeks": _weeks(environment, now, zone) if row else [],
        "gaps": selectors.gaps(environment, now=now),
        "mute": selectors.without_channel(environment),
        "contacts": selectors.contacts(),
        "overrides": selectors.overrides(environment, since=now),
        "swaps": selectors.swaps(environment, now=now),
        "links": selectors.links(environment, None if administers else person),
        "shown_link": request.session.pop("shown_calendar_link", ""),
        "people": selectors.people_for(environment),
        "may_plan": can(person, environment, *MAY_PLAN),
        "may_change_contacts": can_in_all(person, Environment, Role.ADMIN),
        "administers": administers,
        "in_rotation": selectors.able(person, environment),
        "refusal": refusal,
        "form": form,
        "given": request.POST if form else {},
        "soon": moment_in(zone, now + timedelta(hours=1)),
        "later": moment_in(zone, now + timedelta(hours=9)),
    }
    return render_page(request, "incidents/oncall.html", context, status=422 if refusal else 200)


def moment_in(zone: str, moment: datetime) -> str:
    """Write a moment as the browser's field takes it, on the hour, by the clocks there."""
    return moment.astimezone(zone_of(zone)).strftime("%Y-%m-%dT%H:00")


def _weeks(environment: str, now: datetime, zone: str) -> list[list[Day]]:
    """Return whole weeks of days from this one on, as a wall calendar shows them."""
    there, today = zone_of(zone), now.astimezone(zone_of(zone)).date()
    first = today - timedelta(days=today.weekday())
    last = first + timedelta(days=7 * WEEKS)
    begins, ends = moment_of(first, time(), there), moment_of(last, time(), there)
    turns = selectors.turns(environment, since=begins, until=ends)
    days = [_day(first + timedelta(days=place), turns, zone, today) for place in range(7 * WEEKS)]
    return [days[place : place + 7] for place in range(0, len(days), 7)]


def _day(day: date, turns: list[Turn], zone: str, today: date) -> Day:
    there = zone_of(zone)
    begins, ends = moment_of(day, time(), there), moment_of(day + timedelta(days=1), time(), there)
    found: list[str | None] = []
    for turn in turns:
        if turn.starts_at < ends and turn.ends_at > begins:
            name = turn.person.get_username() if turn.person else None
            if not found or found[-1] != name:
                found.append(name)
    return Day(day, found, day == today)


# ---- what forms say ----


def _moment(given: QueryDict, name: str, zone: str) -> datetime:
    """Read a time as the browser's field writes it, by the clocks of the rotation. Raises InvalidInput."""
    text = given.get(name, "").strip()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text[:40]!r} is no time; write 2026-12-24T18:00, in {zone}.") from None
    if found.tzinfo is not None:
        return utc(found)
    return moment_of(found.date(), found.time(), zone_of(zone))


def _time(text: str) -> time:
    try:
        return time.fromisoformat(text.strip()).replace(second=0, microsecond=0, tzinfo=None)
    except ValueError:
        raise InvalidInput(f"{text[:20]!r} is no time of day; write 09:00.") from None


def _person(text: str) -> User:
    found = User.objects.filter(username=text, is_active=True).first()
    if found is None:
        raise NotFound(f"There is nobody called {text[:80]!r}.")
    return found


def _zone(environment: str) -> str:
    row = selectors.rotation_of(environment)
    return row.zone if row else "UTC"


# ---- rotation ----


@require_safe
@requires()
def rotation(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the form of the rotation."""
    return _rotation_page(request, environment)


@require_POST
@requires(*MAY_PLAN)
def rotation_save(request: HttpRequest, environment: str) -> HttpResponse:
    """Make the rotation, or change it."""
    given = request.POST
    try:
        moved = services.rotation_save(
            environment=environment,
            people=[_person(name) for name in given.getlist("people") if name],
            begins_on=_date(given.get("begins_on", "")),
            handover=_time(given.get("handover", "")),
            length_days=_whole(given.get("length_days", "")),
            zone=given.get("zone", "").strip(),
            revision=_whole(given.get("revision", "")),
            actor=Actor.person(request.user),
            reason=given.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _rotation_page(request, environment, refusal.message)
    messages.success(request, "The rotation is saved." if moved else "Nothing needed to change.")
    return see_other("incidents:oncall", environment=environment)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput(f"{text[:20]!r} is no day; write 2026-12-07.") from None


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidInput(f"{text[:20]!r} is no whole number.")
    return int(text)


def _rotation_page(request: HttpRequest, environment: str, refusal: str = "") -> HttpResponse:
    row, given = selectors.rotation_of(environment), request.POST
    people, begins_on = _turned(row)
    if refusal:
        people = [name for name in given.getlist("people") if name]
    context = {
        "rotation": row,
        "rows": [*people, *([""] * BLANK_PEOPLE)],
        "people": sorted({*people, *(one.get_username() for one in selectors.people_for(environment))}),
        "begins_on": given.get("begins_on") or begins_on.isoformat(),
        "handover": given.get("handover") or f"{row.handover if row else USUAL_HANDOVER:%H:%M}",
        "length": int(given["length_days"])
        if given.get("length_days", "").isdigit()
        else row.length_days
        if row
        else 7,
        "lengths": _lengths(row),
        "zone": given.get("zone") or (row.zone if row else selectors.hours().zone),
        "revision": row.revision if row else 0,
        "refusal": refusal,
        "may_plan": can(request.user, environment, *MAY_PLAN),
    }
    return render_page(request, "incidents/rotation.html", context, status=422 if refusal else 200)


def _lengths(row: Rotation | None) -> list[tuple[int, str]]:
    known = [*LENGTHS]
    if row is not None and row.length_days not in dict(known):
        known.append((row.length_days, f"{row.length_days} days"))
    return known


def _turned(row: Rotation | None) -> tuple[list[str], date]:
    """Return the people from whoever's turn it is on, and the day on which that turn began."""
    today = clock.now().date()
    if row is None:
        return [], today - timedelta(days=today.weekday())
    found = row.domain()
    number = found.number_at(clock.now())
    names = {one.pk: one.get_username() for one in User.objects.filter(pk__in=row.people, is_active=True)}
    place = number % len(row.people) if row.people else 0
    turned = [*row.people[place:], *row.people[:place]]
    return [names[pk] for pk in turned if pk in names], row.begins_on + timedelta(days=number * row.length_days)


# ---- overrides and swaps ----


@require_POST
@requires(*MAY_PLAN)
def override_create(request: HttpRequest, environment: str) -> HttpResponse:
    """Have somebody take a time."""
    given, zone = request.POST, _zone(environment)
    try:
        made = services.override_create(
            environment=environment,
            person=_person(given.get("person", "")),
            starts_at=_moment(given, "starts_at", zone),
            ends_at=_moment(given, "ends_at", zone),
            actor=Actor.person(request.user),
            reason=given.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _page(request, environment, refusal=refusal.message, form="override")
    messages.success(request, f"{made.person.get_username()} has that time.")
    return see_other("incidents:oncall", environment=environment)


@require_POST
@requires(*MAY_PLAN)
def override_cancel(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Take an override back."""
    try:
        services.override_cancel(
            environment=environment, pk=pk, actor=Actor.person(request.user), request_id=request_id(request)
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "The rotation counts again.")
    return see_other("incidents:oncall", environment=environment)


@require_POST
@requires(*MAY_PLAN)
def swap_propose(request: HttpRequest, environment: str) -> HttpResponse:
    """Ask somebody to take a time of one's own."""
    given, zone, person = request.POST, _zone(environment), request.user
    assert isinstance(person, User)
    try:
        in_return = any(given.get(name, "").strip() for name in ("taken_from", "taken_until"))
        made = services.swap_propose(
            environment=environment,
            proposer=person,
            other=_person(given.get("other", "")),
            given=(_moment(given, "given_from", zone), _moment(given, "given_until", zone)),
            taken=(_moment(given, "taken_from", zone), _moment(given, "taken_until", zone)) if in_return else None,
            actor=Actor.person(person),
            reason=given.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _page(request, environment, refusal=refusal.message, form="swap")
    messages.success(request, f"{made.other.get_username()} is asked; until they accept nothing changes.")
    return see_other("incidents:oncall", "#swaps", environment=environment)


@require_POST
@requires(*MAY_PLAN)
def swap_answer(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Accept a swap, decline it, or take it back."""
    person, answer = request.user, request.POST.get("answer", "")
    assert isinstance(person, User)
    shared: dict[str, Any] = {"environment": environment, "pk": pk, "person": person}
    shared |= {"actor": Actor.person(person), "request_id": request_id(request)}
    try:
        if answer == "withdraw":
            services.swap_withdraw(**shared)
            said = "It is taken back."
        elif answer in ("accept", "decline"):
            swap = services.swap_answer(accept=answer == "accept", **shared)
            said = f"The swap is {swap.state}."
        else:
            raise InvalidInput("Accept it, decline it, or take it back.")
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, said)
    return see_other("incidents:oncall", "#swaps", environment=environment)


# ---- contacts ----


@require_safe
@requires()
def contact(request: HttpRequest, environment: str, role: str) -> HttpResponse:
    """Show the form of one row of the contact table."""
    return _contact_page(request, environment, role)


@require_POST
@requires()
@requires_everywhere(Role.ADMIN)
def contact_save(request: HttpRequest, environment: str, role: str) -> HttpResponse:
    """Change one row, which counts in every environment."""
    given = request.POST
    try:
        moved = services.contact_save(
            role=role,
            primary=given.get("primary", ""),
            secondary=given.get("secondary", ""),
            emergency=given.get("emergency", ""),
            person=_person(given["person"]) if given.get("person") else None,
            actor=Actor.person(request.user),
            reason=given.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _contact_page(request, environment, role, refusal.message)
    messages.success(request, "The contact is saved." if moved else "Nothing needed to change.")
    return see_other("incidents:oncall", "#contacts", environment=environment)


def _contact_page(request: HttpRequest, environment: str, role: str, refusal: str = "") -> HttpResponse:
    found = selectors.contact_of(role)
    if found is None:
        raise Http404("There is no such contact.")
    given = request.POST if refusal else None
    context = {
        "contact": found,
        "primary": given.get("primary", "") if given is not None else found.primary,
        "secondary": given.get("secondary", "") if given is not None else found.secondary,
        "emergency": given.get("emergency", "") if given is not None else found.emergency,
        "chosen": given.get("person", "") if given is not None else found.person.get_username() if found.person else "",
        "by_shift": found.role == ContactRole.ON_CALL,
        "people": User.objects.filter(is_active=True).order_by("username"),
        "refusal": refusal,
        "may_change": can_in_all(request.user, Environment, Role.ADMIN),
    }
    return render_page(request, "incidents/contact.html", context, status=422 if refusal else 200)


# ---- calendars elsewhere ----


@require_POST
@requires()
def link_create(request: HttpRequest, environment: str) -> HttpResponse:
    """Make a link for one's calendar; it is shown once."""
    person = request.user
    assert isinstance(person, User)
    try:
        _, token = services.link_create(
            environment=environment,
            person=person,
            own=request.POST.get("own") == "1",
            actor=Actor.person(person),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        path = reverse("incidents:oncall_feed", kwargs={"environment": environment, "token": token})
        request.session["shown_calendar_link"] = path
        messages.success(request, "The link is made. It is shown once, below.")
    return see_other("incidents:oncall", "#calendar", environment=environment)


@require_POST
@requires()
def link_revoke(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Close a link for good."""
    person = request.user
    assert isinstance(person, User)
    try:
        services.link_revoke(
            environment=environment,
            pk=pk,
            person=person,
            administers=can(person, environment, Role.ADMIN),
            actor=Actor.person(person),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "The link opens nothing any more.")
    return see_other("incidents:oncall", "#calendar", environment=environment)


@login_not_required
@require_safe
def feed(request: HttpRequest, environment: str, token: str) -> HttpResponse:
    """Give the shifts as iCalendar to whoever has the link; what is revoked is not there."""
    link = selectors.link_of(environment, token)
    if link is None:
        raise Http404
    calendar = Calendar()
    calendar.add("prodid", "-//HawkOps//On call//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", f"On call, {environment}")
    now = clock.now()
    for turn in selectors.feed(link):
        assert turn.person is not None
        event = Event()
        event.add("uid", f"{environment}-{turn.starts_at:%Y%m%dT%H%M%SZ}-{turn.person.pk}@hawkops")
        event.add("dtstamp", now)
        event.add("dtstart", turn.starts_at)
        event.add("dtend", turn.ends_at)
        event.add("summary", f"{turn.person.get_username()} on call, {environment}")
        if turn.instead_of is not None:
            event.add("description", f"Instead of {turn.instead_of.get_username()}")
        calendar.add_component(event)
    response = HttpResponse(calendar.to_ical(), content_type="text/calendar; charset=utf-8")
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    return response
