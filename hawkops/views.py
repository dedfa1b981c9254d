"""The overview, and what belongs to no single app."""

from datetime import timedelta

from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from hawkops.core import clock
from hawkops.core.access import Role, can, requires
from hawkops.core.environments import Environment
from hawkops.core.htmx import render_page
from hawkops.core.middleware import ENVIRONMENT_COOKIE
from hawkops.core.verdicts import WORST_FIRST, Verdict
from hawkops.history import selectors as history
from hawkops.retention import holds, measured
from hawkops.versions import versions
from hawkops.vitals.registry import vitals
from incidents.selectors import escalations
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
    """Say that the console lives. Whether it can do its work, `/readyz` says; both stand in `asgi.py` where it is served."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@requires()
def platform(request: HttpRequest, environment: str) -> HttpResponse:
    """Signs of HawkOps' own life, with what to do, and what runs here."""
    found = vitals()
    context = {
        "vitals": sorted(found, key=lambda one: WORST_FIRST.index(one.verdict)),
        "failing": [one for one in found if one.failing],
        "unknown": [one for one in found if one.verdict is Verdict.NO_DATA],
        "second": escalations.second(),
        "versions": _versions(),
    }
    return render_page(request, "platform.html", context)


@require_safe
@requires()
def retention(request: HttpRequest, environment: str) -> HttpResponse:
    """How long each kind of data is kept, what deletes it, and whether it does. Holds are for auditors' eyes."""
    may_read = can(request.user, environment, Role.AUDITOR)
    rows = measured(now=clock.now())
    context = {
        "rows": rows,
        "late": [one for one in rows if one.verdict is Verdict.FAIL],
        "may_read": may_read,
        "holds": holds() if may_read else [],
    }
    return render(request, "retention.html", context)


def _versions() -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), count(*), max(applied) FROM django_migrations")
        postgresql, many, applied = cursor.fetchone()
    named = {"hawkops": "HawkOps", "python": "Python", "django": "Django"}
    return [
        *((named[name], number) for name, number in versions().items()),
        ("PostgreSQL", str(postgresql)),
        ("Migrations", f"{many} applied, the last on {applied:%d %b %Y at %H:%M} UTC"),
    ]


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
