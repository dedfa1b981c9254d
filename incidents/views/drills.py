"""Drills of the kill switches: pressed on the internal group, followed live, stopped early. Plain forms on a phone."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can, requires, stops
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.history.actors import Actor
from incidents import reasons
from rollout.domain import drills as domain
from rollout.domain.drills import State
from rollout.selectors import drills as selectors
from rollout.selectors import releases
from rollout.selectors.releases import release_running
from rollout.services import drills as services
from rollout.services.flags import SWITCHES
from rollout.services.overrides import DRILL

MAY_DRILL = (Role.OPERATOR,)
BOX = "kill_switches"
HISTORY_MOST = 40
MINUTES = (1, 2, 5, 10, 15)


@require_safe
@requires()
def drills(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the five switches with their last drill, what is under way, and what was drilled before."""
    release = release_running(environment)
    box = releases.runbook(release).box(BOX) if release is not None else None
    good_for = box[1].valid_for if box is not None else selectors.GOOD_FOR
    under_way = selectors.under_way(environment)
    audience = selectors.audience(environment, domain.GROUP)
    switches = selectors.switches(environment, SWITCHES, good_for=good_for)
    context: dict[str, Any] = {
        "group": domain.GROUP,
        "audience": audience,
        "active": len(audience.devices),
        "switches": switches,
        "proven": sum(one.good_until is not None for one in switches),
        "forced": [one.flag.key for one in switches if one.flag.override_variant],
        "good_for_days": good_for.days,
        "running": [selectors.running(one) for one in under_way if one.state != State.WAITING],
        "waiting": [one for one in under_way if one.state == State.WAITING],
        "past": [one for one in selectors.drills(environment, limit=HISTORY_MOST) if one.state == State.OVER],
        "minutes": MINUTES,
        "default_minutes": domain.MINUTES,
        "release": release if box is not None else None,
        "may_drill": can(request.user, environment, *MAY_DRILL),
    }
    return render_page(request, "incidents/drills.html", context)


@require_POST
@requires(*MAY_DRILL)
def drills_start(request: HttpRequest, environment: str) -> HttpResponse:
    """Press a drill of the flags that were chosen; of all five when none was."""
    reason = reasons.reason(DRILL, request.POST.get("words", ""), otherwise=DRILL)
    try:
        made = services.drills_start(
            environment=environment,
            flags=request.POST.getlist("flags"),
            minutes=_minutes(request.POST.get("minutes", "")),
            actor=Actor.person(request.user),
            reason=reason,
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return see_other("incidents:drills", environment=environment)
    later = f"; {len(made) - 1} more follow by themselves" if len(made) > 1 else ""
    first = made[0]
    where = f"{first.devices} device{'' if first.devices == 1 else 's'} of {first.group}"
    messages.success(request, f"{first.flag} is {first.variant} on {where}: entry {first.entry}{later}.")
    return see_other("incidents:drills", environment=environment)


def _minutes(said: str) -> int:
    if not said:
        return domain.MINUTES
    if not said.isdecimal() or len(said) > 3:
        raise InvalidInput(f"{said[:20]!r} is no number of minutes.")
    return int(said)


@stops
@require_POST
@requires(*MAY_DRILL)
def drill_stop(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """End a drill now: its group gets back what stood before, and what waits behind it is not pressed."""
    try:
        stopped = services.drill_stop(
            environment=environment, pk=pk, actor=Actor.person(request.user), request_id=request_id(request)
        )
        messages.success(request, f"The drill of {stopped.flag} is {stopped.outcome}.")
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return see_other("incidents:drills", environment=environment)
