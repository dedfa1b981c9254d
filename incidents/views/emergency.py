"""The emergency console: one press and a reason. Everything works as a plain form, on a phone, without JavaScript."""

from typing import Any

from django.contrib import messages
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can, requires, stops
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page, request_id
from hawkops.history import selectors as history
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from incidents import reasons
from incidents.selectors import incidents as incident_selectors
from incidents.selectors.kill_clock import kill_clock
from incidents.selectors.recovery import recovery
from incidents.selectors.stampede import cloud_requests_per_second
from incidents.views import lockdown
from incidents.views.phones import this_phone
from incidents.views.rollback import revision_seen
from rollout.selectors import census as census_selectors
from rollout.selectors import flags as flag_selectors
from rollout.selectors import rollbacks
from rollout.selectors.phases import phase_of, run_under_way
from rollout.selectors.releases import release_running
from rollout.services import overrides
from rollout.services.flags import BACKENDS, FALLBACK, LITERT
from rollout.services.proposals import change_or_propose
from rollout.services.rollback import rollback

MAY_STOP = (Role.OPERATOR,)
EMERGENCY_VERBS = (
    "flag.killed",
    "flag.override_set",
    "flag.override_cleared",
    "flag.reenabled",
    "lockdown.started",
    "lockdown.lifted",
    "rollback.undone",
)
BACKEND_TITLES = {"gpu": "GPU", "npu": "NPU", "adaptive": "Adaptive switching"}
# How long after a press the whole screen belongs to its census.
LEASE_MINUTES = 15


@require_safe
@requires()
def emergency(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the presses with what each will reach, what is in force, and how far devices obey."""
    return render_page(request, "incidents/emergency.html", _context(request, environment))


def _context(request: HttpRequest, environment: str) -> dict[str, Any]:
    flags = {flag.key: flag for flag in flag_selectors.flags(environment)}
    keys = [LITERT, *BACKENDS.values()]
    reaches = census_selectors.reaches(environment, keys)
    litert, fallback = flags.get(LITERT), flags.get(FALLBACK)
    backends = [
        {
            "name": name,
            "title": BACKEND_TITLES[name],
            "flag": flags[key],
            "reach": reaches[key],
            "off": flags[key].override_variant == "off",
        }
        for name, key in BACKENDS.items()
        if key in flags
    ]
    overridden = flag_selectors.overridden(environment)
    newest = max((flag.override_revision or 0 for flag in overridden), default=0)
    revision = newest or flag_selectors.revision(environment)
    pressed = history.entries(environment=environment, verbs=EMERGENCY_VERBS)[:6]
    return {
        "ready": litert is not None,
        "killed": litert is not None and litert.override_variant == "off",
        "litert": litert,
        "fallback": fallback,
        "fallback_forced": fallback is not None and fallback.override_variant == "on",
        "reach": reaches[LITERT],
        "active": census_selectors.active_count(environment),
        "simulated": census_selectors.simulated_count(environment),
        "backends": backends,
        "overridden": overridden,
        "scoped": flag_selectors.scoped(environment),
        "revision": revision,
        "census": census_selectors.census(environment, revision),
        "settled_at": census_selectors.obeyed_last_at(environment, revision) if overridden else None,
        "pressed": pressed,
        "incidents": incident_selectors.open_incidents(environment)[:3],
        "kill_reasons": reasons.KILL,
        "disable_reasons": reasons.DISABLE,
        "may_stop": can(request.user, environment, *MAY_STOP),
        "lease_minutes": LEASE_MINUTES,
        "stampede": _stampede(environment),
        "recovery": recovery(environment),
        "clock": kill_clock(environment),
        **this_phone(request, environment),
        "walk": _walk(environment, reaches[LITERT]),
        "lockdown": lockdown.context(request, environment),
    }


def _stampede(environment: str) -> float | None:
    """Return the cloud's requests a second after a kill; None where that can't be said, which holds nothing up."""
    try:
        return cloud_requests_per_second(environment)
    except DatabaseError:
        return None


def _walk(environment: str, reach: int) -> dict[str, Any] | None:
    """Return what rolling the phase under way back does; None without one. Higher levels are the presses above."""
    release = release_running(environment)
    run = run_under_way(release) if release is not None else None
    phase = phase_of(release, run.number) if release is not None and run is not None else None
    if release is None or run is None or phase is None or not run.served:
        return None
    thousandths = run.served[-1]["thousandths"]
    return {
        "release": release,
        "run": run,
        "phase": phase,
        "percent": thousandths / 1_000,
        "half": thousandths // 2 / 1_000,
        "devices": -(-reach // 2),
        "revision": flag_selectors.revision(environment),
    }


def _back(environment: str, **said: str) -> HttpResponse:
    url = reverse("incidents:emergency", kwargs={"environment": environment})
    response = redirect(f"{url}?{urlencode(said)}" if said else url)
    response.status_code = 303
    return response


@stops
@require_POST
@requires(*MAY_STOP)
def kill(request: HttpRequest, environment: str) -> HttpResponse:
    """Turn LiteRT off and cloud fallback on. A second press finds nothing left to do and says so."""
    reason = reasons.reason(
        request.POST.get("reason", ""), request.POST.get("words", ""), otherwise="Production incident"
    )
    entry = overrides.kill(
        environment=environment, actor=Actor.person(request.user), reason=reason, request_id=request_id(request)
    )
    if entry is None:
        messages.info(request, "LiteRT was already off and cloud fallback on. Nothing needed to change.")
        return _back(environment)
    messages.success(request, f"LiteRT is off and cloud fallback is on: entry {entry.seq}. The census below follows.")
    return _back(environment, pressed=str(entry.seq))


@stops
@require_POST
@requires(*MAY_STOP)
def disable(request: HttpRequest, environment: str) -> HttpResponse:
    """Turn one backend off on every device."""
    backend = request.POST.get("backend", "")
    reason = reasons.reason(
        request.POST.get("reason", ""), request.POST.get("words", ""), otherwise="Performance degradation"
    )
    try:
        entry = overrides.backend_disable(
            environment=environment,
            backend=backend,
            actor=Actor.person(request.user),
            reason=reason,
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return _back(environment)
    title = BACKEND_TITLES[backend]
    if entry is None:
        messages.info(request, f"{title} was already off.")
        return _back(environment)
    messages.success(request, f"{title} is off: entry {entry.seq}.")
    return _back(environment, pressed=str(entry.seq))


@stops
@require_POST
@requires(*MAY_STOP)
def halve(request: HttpRequest, environment: str) -> HttpResponse:
    """Roll the phase under way back by level 1: half of its percentage, and it pauses."""
    reason = reasons.reason(
        request.POST.get("reason", ""), request.POST.get("words", ""), otherwise="Performance degradation"
    )
    release = release_running(environment)
    try:
        if release is None or run_under_way(release) is None:
            raise InvalidInput(f"No phase is under way in {environment}, so there is no percentage to halve.")
        made = rollback(
            environment=environment,
            level=1,
            actor=Actor.person(request.user),
            reason=reason,
            seen=revision_seen(request),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return _back(environment)
    if made is None:
        messages.info(request, "Nothing was left to halve, and the phase was paused already.")
        return _back(environment)
    entry = rollbacks.entry_of(made)
    messages.success(request, f"Rolled back by level 1, and the phase is paused: entry {entry}.")
    return _back(environment, pressed=str(entry))


@require_POST
@requires(*MAY_STOP)
def enable(request: HttpRequest, environment: str) -> HttpResponse:
    """Lift overrides, deliberately: the environment's name is typed, and a reason given."""
    if request.POST.get("confirm", "").strip() != environment:
        messages.error(
            request, f"Nothing was changed. Type {environment} to confirm that devices may run LiteRT again."
        )
        return _back(environment)
    try:
        keys = request.POST.getlist("flags")
        if not keys:
            raise InvalidInput("Choose at least one override to lift.")
        made = change_or_propose(
            kind="flag.reenable",
            environment=environment,
            payload={"keys": keys},
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return _back(environment)
    if made is None:
        messages.info(request, "No override was in force on what you chose.")
    elif isinstance(made, HistoryEntry):
        messages.success(request, f"The overrides are lifted: entry {made.seq}. Devices go back to their percentages.")
    else:
        messages.info(request, "Lifting them raises exposure, so somebody else must say yes. It is proposed.")
        return redirect(reverse("rollout:proposal", kwargs={"environment": environment, "pk": made.pk}))
    return _back(environment)
