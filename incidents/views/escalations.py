"""Escalations: what waits for somebody, proof of each step, the matrix and the business hours."""

from datetime import time
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.views.decorators.http import require_POST, require_safe

from hawkops.core import clock
from hawkops.core.access import Role, can, can_in_all, requires, requires_everywhere
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.history.actors import Actor
from incidents.domain.calendar import WEEKDAYS
from incidents.domain.escalation import DEFAULT, Target
from incidents.models import BusinessHours, EscalationPolicy
from incidents.selectors import escalations as selectors
from incidents.selectors import oncall
from incidents.services import escalations as services
from incidents.services.oncall import hours_save
from monitoring.domain.criteria import Severity

MAY_ACKNOWLEDGE = (Role.OPERATOR, Role.RELEASER)
BLANK_STEPS = 1
COLUMNS = ("after", "target", "says", "business")


@require_safe
@requires()
def escalations(request: HttpRequest, environment: str) -> HttpResponse:
    """Show what is under way, what ended, whether the second path watches, and the daily check."""
    found = selectors.under_way(environment)
    context = {
        "under_way": found,
        "waiting": [one for one in found if one.escalation.state == "running"],
        "late": [one for one in found if one.is_late],
        "ended": selectors.ended(environment),
        "second": selectors.second(),
        "check": selectors.last_check(environment),
        "now": clock.now(),
        "on_call": oncall.on_call_now(environment),
        "may_act": can(request.user, environment, *MAY_ACKNOWLEDGE),
    }
    return render_page(request, "incidents/escalations.html", context)


@require_safe
@requires()
def escalation(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Show one escalation with every step and its proof."""
    found = selectors.escalation(environment, pk)
    if found is None:
        raise Http404("There is no such escalation here.")
    context = {
        "one": found,
        "now": clock.now(),
        "may_act": can(request.user, environment, *MAY_ACKNOWLEDGE),
        "entries": selectors.entries(found.escalation),
    }
    return render_page(request, "incidents/escalation.html", context)


@require_POST
@requires(*MAY_ACKNOWLEDGE)
def escalation_acknowledge(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Take it: nobody else is told until the acknowledgement runs out."""
    try:
        row = services.escalation_acknowledge(
            environment=environment,
            pk=pk,
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        until = f" until {row.acknowledged_until:%H:%M} UTC" if row.acknowledged_until else ""
        messages.success(request, f"It is yours{until}. Nobody else is told so long.")
    return see_other("incidents:escalations", environment=environment)


@require_POST
@requires(*MAY_ACKNOWLEDGE)
def check_start(request: HttpRequest, environment: str) -> HttpResponse:
    """Send a page that is none, now."""
    services.check_start(environment=environment, actor=Actor.person(request.user), request_id=request_id(request))
    messages.success(request, "It is on its way; each hop appears here.")
    return see_other("incidents:escalations", "#check", environment=environment)


# ---- the matrix and business hours ----


@require_safe
@requires()
def policy(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the matrix and the business hours as forms."""
    return _policy_page(request, environment)


@require_POST
@requires()
@requires_everywhere(Role.ADMIN)
def policy_save(request: HttpRequest, environment: str, severity: str) -> HttpResponse:
    """Change one row of the matrix, which counts in every environment for what begins from now on."""
    given = request.POST
    try:
        moved = services.policy_save(
            severity=severity,
            document=_document(given),
            actor=Actor.person(request.user),
            reason=given.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _policy_page(request, environment, severity, refusal.message)
    messages.success(request, "It counts for what begins from now on." if moved else "Nothing needed to change.")
    return see_other("incidents:escalation_policy", environment=environment)


def _document(given: QueryDict) -> dict[str, Any]:
    rounds = given.get("rounds", "1").strip()
    if not rounds.isascii() or not rounds.isdigit() or len(rounds) > 4:
        raise InvalidInput(f"{rounds[:20]!r} is no number of rounds.")
    return {
        "steps": [row for row in _rows(given) if row["after"]],
        "acknowledged_for": given.get("acknowledged_for", "").strip() or None,
        "rounds": int(rounds),
        "rest": given.get("rest", "").strip() or "0",
    }


def _rows(given: QueryDict) -> list[dict[str, Any]]:
    columns = {name: given.getlist(name) for name in COLUMNS}
    return [
        {
            "after": after.strip(),
            "target": _cell(columns["target"], place),
            "says": " ".join(_cell(columns["says"], place).split()),
            "business": _cell(columns["business"], place) == "1",
        }
        for place, after in enumerate(columns["after"])
    ]


def _cell(values: list[str], place: int) -> str:
    return values[place] if place < len(values) else ""


def _policy_page(request: HttpRequest, environment: str, severity: str = "", refusal: str = "") -> HttpResponse:
    stored = {row.severity: row.document for row in EscalationPolicy.objects.all()}
    rows = []
    for one in Severity:
        document = stored.get(one.value) or DEFAULT[one].document()
        is_refused = bool(refusal) and severity == one.value
        steps = _rows(request.POST) if is_refused else document["steps"]
        source = request.POST if is_refused else document
        rows.append(
            {
                "severity": one.value,
                "steps": [*steps, *([{"after": "", "target": Target.TEAM.value}] * BLANK_STEPS)],
                "acknowledged_for": source.get("acknowledged_for") or "",
                "rounds": source.get("rounds", 1),
                "rest": source.get("rest", "0"),
                "refusal": refusal if is_refused else "",
            }
        )
    hours = BusinessHours.objects.filter(pk=1).first()
    context = {
        "rows": rows,
        "targets": [(one.value, one.label) for one in Target],
        "hours": hours,
        "hours_given": request.POST if severity == "hours" else None,
        "hours_refusal": refusal if severity == "hours" else "",
        "weekdays": [(number, name, bool(hours and number in hours.weekdays)) for number, name in enumerate(WEEKDAYS)],
        "may_change": can_in_all(request.user, Environment, Role.ADMIN),
    }
    return render_page(request, "incidents/escalation_policy.html", context, status=422 if refusal else 200)


@require_POST
@requires()
@requires_everywhere(Role.ADMIN)
def business_hours_save(request: HttpRequest, environment: str) -> HttpResponse:
    """Change when people are at work, everywhere."""
    given = request.POST
    try:
        moved = hours_save(
            zone=given.get("zone", "").strip(),
            weekdays=[int(day) for day in given.getlist("weekdays") if day.isascii() and day.isdigit()],
            opens=_time(given.get("opens", "")),
            closes=_time(given.get("closes", "")),
            holidays=given.get("holidays", ""),
            actor=Actor.person(request.user),
            reason=given.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _policy_page(request, environment, "hours", refusal.message)
    messages.success(request, "The business hours are saved." if moved else "Nothing needed to change.")
    return see_other("incidents:escalation_policy", "#hours", environment=environment)


def _time(text: str) -> time:
    try:
        return time.fromisoformat(text.strip()).replace(second=0, microsecond=0, tzinfo=None)
    except ValueError:
        raise InvalidInput(f"{text[:20]!r} is no time of day; write 09:00.") from None
