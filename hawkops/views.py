"""The overview, and what belongs to no single app."""

from datetime import timedelta

from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from hawkops.core import clock
from hawkops.core.access import requires
from hawkops.core.environments import Environment
from hawkops.core.htmx import render_page
from hawkops.core.middleware import ENVIRONMENT_COOKIE
from hawkops.history import selectors as history
from monitoring.selectors import telemetry as monitoring
from rollout.selectors import census as census_selectors
from rollout.selectors import flags as flag_selectors
from rollout.selectors import releases as release_selectors
from rollout.services.flags import BACKENDS, FALLBACK, LITERT


@require_safe
def root(request: HttpRequest) -> HttpResponse:
    """Go to the environment looked at last, at first to demo."""
    last = request.COOKIES.get(ENVIRONMENT_COOKIE, "")
    environment = last if last in Environment.__members__.values() else Environment.DEMO
    return redirect("overview", environment=str(environment))


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Say that the console answers and reaches its database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@requires()
def strip(request: HttpRequest, environment: str) -> HttpResponse:
    """The status strip alone."""
    return render(request, "parts/strip.html")


@require_safe
@requires()
def overview(request: HttpRequest, environment: str) -> HttpResponse:
    """One screen for the engineering manager: what stands, what blocks, what changed."""
    flags = {flag.key: flag for flag in flag_selectors.flags(environment)}
    litert = flags.get(LITERT)
    active = census_selectors.active_count(environment)
    reach = census_selectors.reach(environment, LITERT)
    revision = flag_selectors.revision(environment)
    context = {
        "litert": litert,
        "fallback": flags.get(FALLBACK),
        "backends": [flags[key] for key in BACKENDS.values() if key in flags],
        "active": active,
        "reach": reach,
        "simulated": census_selectors.simulated_count(environment),
        "classes": census_selectors.classes(environment),
        "revision": revision,
        "census": census_selectors.census(environment, revision),
        "release": release_selectors.release_summary(environment),
        "throughput": monitoring.throughput_now(environment),
        "latest": history.entries(environment=environment, since=clock.now() - timedelta(days=14))[:8],
        "last_entry_at": history.last_entry_at(),
        "verification": history.verification_latest(),
        "data_at": monitoring.last_data_at(environment),
    }
    return render_page(request, "overview.html", context)
