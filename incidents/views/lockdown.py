"""Security lockdown on the emergency page: one press stops and freezes, two people lift the freeze. All plain forms."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can, requires, stops
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.history.actors import Actor
from hawkops.scripts.entries.shared import SEVERITIES
from incidents import reasons
from incidents.selectors.security import response
from rollout.selectors import census as census_selectors
from rollout.selectors import flags as flag_selectors
from rollout.selectors.lockdown import Lockdown, standing
from rollout.services import lockdown as services
from rollout.services.flags import LITERT

MAY_STOP = (Role.OPERATOR,)
MAY_CONFIRM = (Role.APPROVER,)
REASONS = ("Security incident detected", "Forged or altered model", "Leaked key", "Suspicious events")


def context(request: HttpRequest, environment: str) -> dict[str, Any]:
    """Return what the parts of the emergency page say of a lockdown."""
    found = standing(environment)
    shown: dict[str, Any] = {
        "severities": SEVERITIES,
        "reasons": REASONS,
        "chosen": services.HIGH,
        "may_stop": can(request.user, environment, *MAY_STOP),
        "may_confirm": can(request.user, environment, *MAY_CONFIRM),
        "one_person": settings.ONE_PERSON_INSTALLATION,
    }
    if found is not None:
        litert = flag_selectors.flag(environment, LITERT)
        killed_at = litert.override_revision if litert is not None else None
        shown |= {
            "standing": response(found),
            "i_asked": found.asked_reference == Actor.person(request.user).reference,
            "census": census_selectors.census(environment, killed_at or flag_selectors.revision(environment)),
        }
    return shown


@require_safe
@requires()
def panel(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the lockdown that stands: the part of the emergency page that asks for itself again."""
    return render_page(request, "incidents/emergency_lockdown.html", {"lockdown": context(request, environment)})


def _back(environment: str) -> HttpResponse:
    return see_other("incidents:emergency", environment=environment)


@stops
@require_POST
@requires(*MAY_STOP)
def lockdown(request: HttpRequest, environment: str) -> HttpResponse:
    """Put the environment into lockdown. A second press finds it standing and says so."""
    reason = reasons.reason(request.POST.get("reason", ""), request.POST.get("words", ""), otherwise=services.DETECTED)
    try:
        found, made = services.lockdown_begin(
            environment=environment,
            actor=Actor.person(request.user),
            reason=reason,
            severity=request.POST.get("severity", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return _back(environment)
    if made:
        messages.success(
            request, f"{environment} is in lockdown: LiteRT is off and nothing is raised, entry {found.entry}."
        )
    else:
        messages.info(request, f"{environment} was already in lockdown, pressed by {found.by}. Nothing was changed.")
    return _back(environment)


@require_POST
@requires(*MAY_STOP)
def lift_ask(request: HttpRequest, environment: str) -> HttpResponse:
    """Ask that somebody else lifts it."""
    said = "Asked. It stands until an approver who is somebody else confirms."
    return _step(request, environment, services.lockdown_lift_ask, said, "reason")


@require_POST
@requires(*MAY_STOP, *MAY_CONFIRM)
def lift_withdraw(request: HttpRequest, environment: str) -> HttpResponse:
    """Take back that it is to be lifted, or turn it down."""
    return _step(request, environment, services.lockdown_lift_withdraw, "Taken back. The lockdown stands.", "reason")


@require_POST
@requires(*MAY_CONFIRM)
def lift(request: HttpRequest, environment: str) -> HttpResponse:
    """Confirm what somebody else asked: the freeze ends, LiteRT stays off."""
    said = "The lockdown is lifted. LiteRT stays off until somebody re-enables it below."
    return _step(request, environment, services.lockdown_lift, said, "asked_at")


def _step(request: HttpRequest, environment: str, step: Callable[..., Lockdown], said: str, field: str) -> HttpResponse:
    """Take one step of lifting with the form's one field, and say what came of it."""
    given = {field: request.POST.get(field, "")}
    try:
        step(environment=environment, actor=Actor.person(request.user), request_id=request_id(request), **given)
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, said)
    return _back(environment)
