"""The page of health checks: what stands, the strip of results, and a press that runs one now."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can, requires
from hawkops.core.htmx import render_page
from monitoring.domain.health import EVERYWHERE
from monitoring.jobs import HEALTH_RUN
from monitoring.selectors import health as selectors

MAY_RUN = (Role.OPERATOR, Role.RELEASER)


@require_safe
@requires()
def health(request: HttpRequest, environment: str) -> HttpResponse:
    """Every check with its newest results."""
    found = selectors.health(environment)
    context = {
        "checks": found,
        "well": sum(one.verdict == "PASS" for one in found),
        "may_run": can(request.user, environment, *MAY_RUN),
    }
    return render_page(request, "monitoring/health.html", context)


@require_POST
@requires(*MAY_RUN)
def run(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Run one check now."""
    check = selectors.check(key)
    if check is None:
        raise Http404(f"There is no health check {key!r}.")
    HEALTH_RUN.enqueue(key=key, environment=environment if check.per_environment else EVERYWHERE, at_once=True)
    messages.info(request, f"{check.title} is asked for; its result appears below.")
    response = redirect("monitoring:health", environment=environment)
    response.status_code = 303
    return response
