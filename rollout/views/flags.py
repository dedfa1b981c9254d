"""Pages of flags: what every device gets, and the few changes a person may make here."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can, requires
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page
from hawkops.history import selectors as history
from hawkops.history.actors import Actor
from rollout.domain.bucketing import bucket
from rollout.domain.evaluation import KeyMissing, evaluate
from rollout.domain.flags import Snapshot
from rollout.models import Flag
from rollout.selectors import census as census_selectors
from rollout.selectors import flags as flag_selectors
from rollout.services import flags as services

MAY_CHANGE = (Role.RELEASER, Role.OPERATOR)


@require_safe
@requires()
def flags(request: HttpRequest, environment: str) -> HttpResponse:
    """Every flag of the environment with its percentage, override, devices and last change."""
    found = flag_selectors.flags(environment)
    reaches = census_selectors.reaches(environment, [flag.key for flag in found]) if found else {}
    context = {
        "flags": [{"flag": flag, "reach": reaches[flag.key], "value": _served(flag)} for flag in found],
        "active": census_selectors.active_count(environment),
        "revision": flag_selectors.revision(environment),
    }
    return render_page(request, "rollout/flag_list.html", context)


def _served(flag: Flag) -> object:
    """What most devices get, as its value."""
    domain = flag.domain()
    if flag.override_variant:
        return domain.value(flag.override_variant)
    return domain.value("on" if flag.thousandths >= 50_000 else "off")


@require_safe
@requires()
def flag(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """One flag: who gets what, why one device gets its value, and the forms to change it."""
    return render_page(request, "rollout/flag.html", _context(request, environment, key))


def _context(request: HttpRequest, environment: str, key: str) -> dict[str, Any]:
    found = flag_selectors.flag(environment, key)
    if found is None:
        raise Http404(f"There is no flag {key!r} in {environment}.")
    active = census_selectors.active_count(environment)
    asked = request.GET.get("device", "").strip()[:200]
    return {
        "flag": found,
        "on_value": found.domain().value("on"),
        "off_value": found.domain().value("off"),
        "active": active,
        "reach": census_selectors.reach(environment, key),
        "expected": round(active * found.thousandths / 100_000),
        "census": census_selectors.census(environment, found.revision),
        "entries": history.entries(environment=environment, subject=f"flag:{key}")[:8],
        "may_change": can(request.user, environment, *MAY_CHANGE),
        "asked": asked,
        "why": _why(environment, found, asked) if asked else None,
    }


def _why(environment: str, found: Flag, device: str) -> dict[str, Any]:
    """Answer for one device with the code that answers devices."""
    rows = {flag.key: flag.domain() for flag in flag_selectors.flags(environment)}
    snapshot = Snapshot(environment, flag_selectors.revision(environment), rows)
    try:
        answer = evaluate(snapshot, found.key, device)
    except KeyMissing:
        return {"sentence": "not eligible without a targeting key"}
    return {
        "variant": answer.variant,
        "value": answer.value,
        "reason": answer.reason,
        "sentence": answer.why,
        "bucket": bucket(found.salt, device),
        "below": found.thousandths,
    }


@require_POST
@requires(*MAY_CHANGE)
def percentage(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Set the percentage; refused when somebody else changed the flag meanwhile."""
    try:
        percent = float(request.POST.get("percent", "").replace(",", "."))
        expected = int(request.POST.get("revision", ""))
    except ValueError:
        return _done(request, environment, key, InvalidInput("Give the percentage as a number from 0 to 100."))
    try:
        entry = services.flag_percentage_set(
            environment=environment,
            key=key,
            percent=percent,
            expected_revision=expected,
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=str(getattr(request, "request_id", "")),
        )
    except HawkOpsError as refusal:
        return _done(request, environment, key, refusal)
    sentence = f"{key} is at {percent:g} %: entry {entry.seq}." if entry else f"{key} already was at {percent:g} %."
    return _done(request, environment, key, None, sentence)


@require_POST
@requires(*MAY_CHANGE)
def override(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Force the flag on or off for everybody, or lift that (an empty variant)."""
    variant = request.POST.get("variant", "")
    actor = Actor.person(request.user)
    reason = request.POST.get("reason", "")
    request_id = str(getattr(request, "request_id", ""))
    try:
        if not reason.strip():
            raise InvalidInput("Say why: the reason stands in the history.")
        if variant:
            entry = services.flag_override_set(
                environment=environment, key=key, variant=variant, actor=actor, reason=reason, request_id=request_id
            )
        else:
            entry = services.flag_override_clear(
                environment=environment, key=key, actor=actor, reason=reason, request_id=request_id
            )
    except HawkOpsError as refusal:
        return _done(request, environment, key, refusal)
    done = f"forced {variant}" if variant else "back to its percentage"
    return _done(request, environment, key, None, f"{key} is {done}: entry {entry.seq}." if entry else "Nothing to do.")


def _done(
    request: HttpRequest, environment: str, key: str, refusal: HawkOpsError | None, sentence: str = ""
) -> HttpResponse:
    if refusal is not None:
        messages.error(request, refusal.message)
    else:
        messages.success(request, sentence)
    response = redirect("rollout:flag", environment=environment, key=key)
    response.status_code = 303
    return response
