"""Incidents: the list, one on a phone first, opening by hand, and the page for people outside. All works as plain forms."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from hawkops.accounts.models import User
from hawkops.core.access import Role, can, requires
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.history.actors import Actor
from incidents.domain.incidents import Move, RoleName, State, moves_from
from incidents.models import Incident
from incidents.selectors import incidents as selectors
from incidents.selectors import oncall
from incidents.selectors.receipts import wanted
from incidents.selectors.security import responses_of
from incidents.services import incidents as services
from monitoring.domain.criteria import Severity
from rollout.selectors.releases import releases

MAY_ACT = (Role.OPERATOR, Role.RELEASER)
PRESSES = {
    Move.ACKNOWLEDGE: "Acknowledge",
    Move.MITIGATE: "Mitigated",
    Move.RESOLVE: "Resolve",
    Move.REOPEN: "Open again",
}
SHOWN_LINK = "shown_incident_link"


def _who(request: HttpRequest) -> dict[str, Any]:
    return {"actor": Actor.person(request.user), "request_id": request_id(request)}


@require_safe
@requires()
def incidents(request: HttpRequest, environment: str) -> HttpResponse:
    """Show those that stand, the gravest first, and those that are over."""
    context = {
        "open": selectors.open_incidents(environment),
        "over": selectors.over_incidents(environment),
        "holding": selectors.holding(environment),
        "may_act": can(request.user, environment, *MAY_ACT),
    }
    return render_page(request, "incidents/incidents.html", context)


@require_safe
@requires()
def incident_new(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the form to open one by hand."""
    return _new(request, environment, request.GET)


def _new(request: HttpRequest, environment: str, given: QueryDict, refusal: str = "") -> HttpResponse:
    context = {
        "given": given,
        "refusal": refusal,
        "severities": [one.value for one in Severity],
        "chosen": given.get("severity") or Severity.CRITICAL.value,
        "open": selectors.open_incidents(environment),
        "may_act": can(request.user, environment, *MAY_ACT),
    }
    return render_page(request, "incidents/incident_new.html", context, status=422 if refusal else 200)


@require_POST
@requires(*MAY_ACT)
def incident_create(request: HttpRequest, environment: str) -> HttpResponse:
    """Open one by hand."""
    given = request.POST
    try:
        made = services.incident_open(
            environment=environment,
            title=given.get("title", ""),
            severity=given.get("severity", ""),
            reason=given.get("reason", ""),
            **_who(request),
        )
    except HawkOpsError as error:
        return _new(request, environment, given, error.message)
    messages.success(request, f"Incident {made.pk} is open.")
    return see_other("incidents:incident", environment=environment, pk=made.pk)


@require_safe
@requires()
def incident(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Show one incident: its state with the next presses, who does what, what to do, and what happened."""
    found = selectors.incident(environment, pk)
    roles = selectors.roles(found)
    context = {
        "incident": found,
        "state": State(found.state),
        "presses": _presses(found),
        "roles": roles,
        "proposed": _proposed(found, roles, request.user),
        "role_names": [one.value for one in RoleName],
        "people": selectors.people(environment),
        "severities": [one.value for one in Severity],
        "causes": found.causes.all(),
        "tasks": found.tasks.select_related("owner"),
        "rows": selectors.timeline(found),
        "receipts": wanted(found),
        "links_shown": True,
        "linked": found.releases.all(),
        "linkable": [one for one in releases(environment)[:20] if one not in found.releases.all()],
        "lockdowns": responses_of(found),
        "merged": found.merged.all(),
        "mergeable": selectors.mergeable(found) if found.is_open else [],
        "links": selectors.links(found),
        "shown_link": request.session.pop(SHOWN_LINK, ""),
        "may_act": can(request.user, environment, *MAY_ACT),
        "person": request.user,
    }
    return render_page(request, "incidents/incident.html", context)


def _proposed(found: Incident, roles: Mapping[str, User | None], person: Any) -> User | None:
    """Return who should command: the one on call, while nobody does and somebody else looks; None otherwise."""
    if roles[RoleName.COMMANDER.value] is not None or not found.is_open:
        return None
    on_call = oncall.on_call_now(found.environment).person
    return on_call if on_call != person else None


def _presses(found: Incident) -> list[tuple[str, str, bool]]:
    """Return the presses that there are: value, words, and whether it is the next thing to do."""
    moves = [move for move in moves_from(State(found.state)) if move in PRESSES]
    if found.merged_into_id:
        moves = []
    return [(move.value, PRESSES[move], place == 0 and move is not Move.REOPEN) for place, move in enumerate(moves)]


def _back(environment: str, pk: int, fragment: str = "") -> HttpResponse:
    return see_other("incidents:incident", fragment, environment=environment, pk=pk)


@require_POST
@requires(*MAY_ACT)
def incident_move(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Move it. Of two people who press at once one wins, and the other reads who was faster."""
    try:
        move = Move(request.POST.get("move", ""))
        found = services.incident_move(
            environment=environment,
            incident_id=pk,
            move=move,
            reason=request.POST.get("reason", ""),
            **_who(request),
        )
    except ValueError:
        messages.error(request, "There is no such press. Nothing was changed.")
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"Incident {pk} is {found.state}.")
    return _back(environment, pk)


@require_POST
@requires(*MAY_ACT)
def incident_severity(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Change how grave it is."""
    given = request.POST
    try:
        moved = services.incident_severity_set(
            environment=environment,
            incident_id=pk,
            severity=given.get("severity", ""),
            reason=given.get("reason", ""),
            **_who(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"It is {given['severity']} now." if moved else "It is so already.")
    return _back(environment, pk)


@require_POST
@requires(*MAY_ACT)
def incident_role(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Give a role to somebody; `me` takes it oneself."""
    given = request.POST
    username = request.user.get_username() if given.get("me") else given.get("person", "")
    try:
        moved = services.incident_role_set(
            environment=environment,
            incident_id=pk,
            role=given.get("role", ""),
            username=username,
            **_who(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        said = f"{given['role'].capitalize()} is {username or 'nobody'} now."
        messages.success(request, said if moved else "It is so already.")
    return _back(environment, pk)


@require_POST
@requires(*MAY_ACT)
def incident_note(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Write into the timeline."""
    try:
        services.incident_note(
            environment=environment,
            incident_id=pk,
            text=request.POST.get("text", ""),
            public=request.POST.get("public") == "1",
            **_who(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return _back(environment, pk, "#timeline")


@require_POST
@requires(*MAY_ACT)
def incident_task(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Add something to do."""
    given = request.POST
    try:
        services.incident_task_add(
            environment=environment,
            incident_id=pk,
            title=given.get("title", ""),
            owner=given.get("owner", ""),
            blocks=given.get("blocks") == "1",
            **_who(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    if given.get("back") == "review":
        return see_other("incidents:incident_review", "#items", environment=environment, pk=pk)
    return _back(environment, pk, "#tasks")


@require_POST
@requires()
def incident_task_set(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Say that a task is done or not: whoever acts on incidents, and its owner."""
    task = services.task_of(environment, pk)
    if task.owner_id != request.user.pk and not can(request.user, environment, *MAY_ACT):
        raise PermissionDenied("This needs the role operator or releaser, or that the task is yours.")
    try:
        services.incident_task_set(
            environment=environment, task_id=pk, done=request.POST.get("done") == "1", **_who(request)
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return _back(environment, task.incident_id, "#tasks")


@require_POST
@requires(*MAY_ACT)
def incident_merge(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Merge it into another one."""
    try:
        into = services.incident_merge(
            environment=environment,
            incident_id=pk,
            into_id=_number(request.POST.get("into", "")),
            reason=request.POST.get("reason", ""),
            **_who(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return _back(environment, pk)
    messages.success(request, f"Incident {pk} is merged into this one.")
    return _back(environment, into.pk)


@require_POST
@requires(*MAY_ACT)
def incident_release(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Link a release, or take the link away."""
    try:
        services.incident_release_set(
            environment=environment,
            incident_id=pk,
            release_id=_number(request.POST.get("release", "")),
            linked=request.POST.get("linked") == "1",
            **_who(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return _back(environment, pk)


def _number(text: str) -> int:
    """Read an id that a form chose. Raises InvalidInput."""
    if not text.isdecimal() or len(text) > 18:
        raise InvalidInput("Choose one of the list.")
    return int(text)


# ---- people outside ----


@require_POST
@requires(*MAY_ACT)
def incident_link(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Make a link to the page for people outside; it is shown once."""
    try:
        _, secret = services.incident_link_make(environment=environment, incident_id=pk, **_who(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        request.session[SHOWN_LINK] = reverse("incident_status", kwargs={"secret": secret})
    return _back(environment, pk, "#outside")


@require_POST
@requires(*MAY_ACT)
def incident_link_revoke(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Take a link back."""
    link = services.link_of(environment, pk)
    try:
        services.incident_link_revoke(environment=environment, link_id=pk, **_who(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "The link is revoked: nobody sees anything through it any more.")
    return _back(environment, link.incident_id, "#outside")


@login_not_required
@require_safe
def incident_status(request: HttpRequest, secret: str) -> HttpResponse:
    """Show people outside how an incident stands: title, state, severity and public notes, nothing else."""
    found = selectors.incident_by_secret(secret)
    if found is None:
        raise Http404("This link is unknown or was revoked.")
    context = {"incident": found, "state": State(found.state), "notes": found.notes.filter(public=True)}
    response = render(request, "incidents/incident_status.html", context)
    response["X-Robots-Tag"] = "noindex, nofollow"
    response["Referrer-Policy"] = "no-referrer"
    response["Cache-Control"] = "no-store"
    return response
