"""The response to a performance degradation: one row a backend, its press, and the recovery. Plain forms throughout."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can, requires, stops
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.history.actors import Actor
from incidents import reasons
from incidents.selectors.degradation import REASON, degradation
from incidents.services.degradation import degraded_disable, watch_recovery

MAY_STOP = (Role.OPERATOR,)


@require_safe
@requires()
def page(request: HttpRequest, environment: str) -> HttpResponse:
    """Show which backend is affected, and what became of the newest press."""
    found = degradation(environment)
    context = {
        "found": found,
        "recovery": found.recovery,
        "reasons": [REASON, *(one for one in reasons.DISABLE if one != REASON)],
        "may_stop": can(request.user, environment, *MAY_STOP),
    }
    return render_page(request, "incidents/emergency_degradation.html", context)


def _back(environment: str) -> HttpResponse:
    return see_other("incidents:emergency_degradation", "#recovery", environment=environment)


@stops
@require_POST
@requires(*MAY_STOP)
def disable(request: HttpRequest, environment: str) -> HttpResponse:
    """Turn one backend off, and watch."""
    given = reasons.reason(request.POST.get("reason", ""), request.POST.get("words", ""), otherwise=REASON)
    try:
        entry = degraded_disable(
            environment=environment,
            backend=request.POST.get("backend", ""),
            actor=Actor.person(request.user),
            reason=given,
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return _back(environment)
    if entry is None:
        messages.info(request, "It was already off. Nothing needed to change.")
    else:
        messages.success(request, f"It is off: entry {entry.seq}. The recovery is watched below.")
    return _back(environment)


@require_POST
@requires(*MAY_STOP)
def watch(request: HttpRequest, environment: str) -> HttpResponse:
    """Watch the recovery once more."""
    try:
        run = watch_recovery(environment=environment, actor=Actor.person(request.user), request_id=request_id(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"Run {run.pk} watches: system health every 10 s for 5 min.")
    return _back(environment)
