"""Pages of flags: what every device gets, and the few changes a person may make here."""

from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can, can_in_all, must_everywhere
from hawkops.core.access import requires as requires_role
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page
from hawkops.history import selectors as history
from hawkops.history.models import HistoryEntry
from rollout.domain import values
from rollout.domain.bucketing import bucket
from rollout.domain.evaluation import explain
from rollout.domain.flags import Snapshot, raises_exposure
from rollout.domain.targeting import constraint, constraints_document
from rollout.models import Flag, Proposal
from rollout.selectors import census as census_selectors
from rollout.selectors import flags as flag_selectors
from rollout.selectors import targeting
from rollout.services import own_flags
from rollout.views import drafts, value_forms
from rollout.views.changing import changed, proposed
from rollout.views.drafts import Draft
from rollout.views.value_forms import ValueForm

MAY_CHANGE = (Role.RELEASER, Role.OPERATOR)


@require_safe
@requires_role()
def flags(request: HttpRequest, environment: str) -> HttpResponse:
    """Every flag of the environment with its percentage, override, devices and last change."""
    every = flag_selectors.flags(environment, archived=True)
    archived = [flag for flag in every if flag.archived_at]
    found = every if "archived" in request.GET else [flag for flag in every if not flag.archived_at]
    reaches = census_selectors.reaches(environment, [flag.key for flag in found]) if found else {}
    context = {
        "flags": [{"flag": flag, "reach": reaches[flag.key], "value": _served(flag)} for flag in found],
        "active": census_selectors.active_count(environment),
        "revision": flag_selectors.revision(environment),
        "archived": archived,
        "showing": found is every,
        "may_make": can_in_all(request.user, list(Environment), *MAY_CHANGE),
    }
    return render_page(request, "rollout/flag_list.html", context)


def _served(flag: Flag) -> str:
    """What most devices get, as its value."""
    domain = flag.domain()
    return values.said(domain.value(flag.override_variant or ("on" if flag.thousandths >= 50_000 else "off")))


@require_safe
@requires_role()
def flag(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """One flag: who gets what, why one device gets its value, and the forms to change it."""
    return flag_page(request, environment, key)


@require_POST
@requires_role()
def rules(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Save a flag's rules and pinned devices, or show whom what is in the form would change."""
    draft, refusal = drafts.typed(request.POST)
    if "preview" in request.POST or refusal:
        if not refusal:
            refusal = drafts.unfit(draft, environment)
        if request.headers.get("HX-Request"):
            return _preview(request, environment, key, draft, refusal)
        return flag_page(request, environment, key, draft=draft, refusal=refusal)
    must_everywhere(request.user, *MAY_CHANGE, environments=[environment])
    try:
        payload = {
            "key": key,
            "rules": [rule.document() for rule in draft.rules],
            "pinned": draft.pinned,
            "expected_revision": draft.revision,
        }
        made = changed(request, environment, "flag.rules", payload)
    except HawkOpsError as error:
        return flag_page(request, environment, key, draft=draft, refusal=error.message)
    return _made(request, environment, key, made, "Saved", "These rules stand already.")


def flag_page(
    request: HttpRequest,
    environment: str,
    key: str,
    *,
    draft: Draft | None = None,
    refusal: str = "",
    form: ValueForm | None = None,
) -> HttpResponse:
    """The page of one flag; with a draft of its rules or values, what that would change, or why it can't be kept."""
    found = flag_selectors.flag(environment, key)
    if found is None:
        raise Http404(f"There is no flag {key!r} in {environment}.")
    if found.archived_at:
        return _archived_page(request, found)
    asked = request.GET.get("device", "").strip()[:200]
    now = targeting.snapshot(environment)
    before = now.flags[key]
    standing = targeting.reach(now, key, before) if before.rules or before.pinned else None
    context: dict[str, Any] = {
        "flag": found,
        "on_value": values.said(before.value("on")),
        "off_value": values.said(before.value("off")),
        "form": form or value_forms.standing(found),
        "active": census_selectors.active_count(environment),
        "reach": census_selectors.reach(environment, key),
        "census": census_selectors.census(environment, found.revision),
        "entries": history.entries(environment=environment, subject=f"flag:{key}")[:8],
        "may_change": can(request.user, environment, *MAY_CHANGE),
        "own": not own_flags.is_seeded(key),
        "kept_by": own_flags.kept_by(environment, key),
        "asked": asked,
        "why": _why(now, key, asked) if asked else None,
        "now": standing,
        "scoped": flag_selectors.overrides_shown(found),
        "rules": list(zip(before.rules, standing.rules, strict=True)) if standing else [],
        "refusal": refusal,
    }
    context["expected"] = round(context["active"] * found.thousandths / 100_000)
    shown = draft or drafts.standing(before)
    context["others"] = [one.key for one in flag_selectors.flags(environment) if one.key != key]
    context |= {"draft": shown, "editing": draft is not None, **drafts.choices(now)}
    if draft is not None and not refusal:
        context |= _changes(now, key, draft)
    return render_page(request, "rollout/flag.html", context, status=422 if refusal or form else 200)


def _archived_page(request: HttpRequest, found: Flag) -> HttpResponse:
    """What is left to read of a flag that nobody is answered from."""
    context = {
        "flag": found,
        "form": value_forms.standing(found),
        "entries": history.entries(environment=found.environment, subject=f"flag:{found.key}")[:8],
    }
    return render_page(request, "rollout/flag_archived.html", context)


def _preview(request: HttpRequest, environment: str, key: str, draft: Draft, refusal: str) -> HttpResponse:
    """Only what the form would change, for a page that asks while somebody types."""
    found = flag_selectors.live(environment).filter(key=key).first()
    if found is None:
        raise Http404(f"There is no flag {key!r} in {environment}.")
    context: dict[str, Any] = {"flag": found, "refusal": refusal}
    if not refusal:
        context |= _changes(targeting.snapshot(environment), key, draft)
    return render_page(request, "rollout/preview.html", context)


def _changes(now: Snapshot, key: str, draft: Draft) -> dict[str, Any]:
    before = now.flags[key]
    after = replace(before, rules=draft.rules, pinned=draft.pinned)
    return {"preview": targeting.reach(now, key, after), "raises": raises_exposure(before, after)}


def _why(now: Snapshot, key: str, device: str) -> dict[str, Any]:
    """Answer for one device with the code that answers devices, as the census knows it."""
    seen = targeting.context(now.environment, device)
    answer, steps = explain(now, key, seen)
    return {
        "answer": answer,
        "steps": steps,
        "said": [(name, value) for name, value in seen.attributes.items()],
        "bucket": bucket(now.flags[key].salt, device),
    }


@require_POST
@requires_role(*MAY_CHANGE)
def percentage(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Set the percentage; refused when somebody else changed the flag meanwhile."""
    try:
        percent = float(request.POST.get("percent", "").replace(",", "."))
        expected = int(request.POST.get("revision", ""))
    except ValueError:
        return _done(request, environment, key, InvalidInput("Give the percentage as a number from 0 to 100."))
    try:
        payload = {"key": key, "percent": percent, "expected_revision": expected}
        made = changed(request, environment, "flag.percentage", payload)
    except HawkOpsError as refusal:
        return _done(request, environment, key, refusal)
    return _made(request, environment, key, made, f"{key} is at {percent:g} %", f"{key} already was at {percent:g} %.")


@require_POST
@requires_role(*MAY_CHANGE)
def values_set(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Set the values and their schema; what is refused comes back with the reason beside its field."""
    found = flag_selectors.flag(environment, key)
    if found is None:
        raise Http404(f"There is no flag {key!r} in {environment}.")
    number = request.POST.get("revision", "")
    alone = bool(request.headers.get("HX-Request"))
    try:
        read = value_forms.typed(request.POST, found.type).read()
        payload = {
            "key": key,
            "on": read.on,
            "off": read.off,
            "schema": read.schema,
            "expected_revision": int(number) if number.isdecimal() and len(number) < 18 else -1,
        }
        made = changed(request, environment, "flag.values", payload)
    except HawkOpsError as refused:
        form = value_forms.typed(request.POST, found.type, refused=refused)
        if alone:
            return render_page(request, "rollout/values.html", {"flag": found, "form": form, "may_change": True})
        return flag_page(request, environment, key, form=form)
    answer = _made(request, environment, key, made, f"The values of {key} are saved", "It has these values already.")
    # htmx would put the page that follows into the form
    return HttpResponse(status=204, headers={"HX-Redirect": answer["Location"]}) if alone else answer


@require_POST
@requires_role(*MAY_CHANGE)
def requires(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Say which flags must be on for this one to be on; what would be a circle is refused."""
    number = request.POST.get("revision", "")
    payload = {
        "key": key,
        "requires": request.POST.getlist("requires"),
        "expected_revision": int(number) if number.isdecimal() else -1,
    }
    try:
        made = changed(request, environment, "flag.requires", payload)
    except HawkOpsError as refusal:
        return _done(request, environment, key, refusal)
    return _made(request, environment, key, made, f"What {key} requires is saved", "It requires exactly these already.")


@require_POST
@requires_role(*MAY_CHANGE)
def salt(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Salt a flag anew: first say how many devices would flip, then do it."""
    number, wanted = request.POST.get("revision", ""), request.POST.get("salt", "").strip()
    payload = {"key": key, "salt": wanted, "expected_revision": int(number) if number.isdecimal() else -1}
    now = targeting.snapshot(environment)
    if "preview" in request.POST and key in now.flags:
        flips = targeting.reach(now, key, replace(now.flags[key], salt=wanted or now.flags[key].salt))
        messages.info(
            request,
            f"With the salt {wanted or now.flags[key].salt}, {flips.joined + flips.left} of {flips.active} active devices "
            f"would flip: +{flips.joined}, −{flips.left}. Nothing is saved yet.",
        )
        return _to(environment, key)
    try:
        made = changed(request, environment, "flag.salt", payload)
    except HawkOpsError as refusal:
        return _done(request, environment, key, refusal)
    return _made(request, environment, key, made, f"{key} is salted anew", "It has this salt already.")


@require_POST
@requires_role(*MAY_CHANGE)
def override(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Force the flag on or off, for everybody or for devices that meet a condition, or lift that (an empty variant)."""
    variant = request.POST.get("variant", "")
    attribute, number = request.POST.get("attribute", "").strip(), request.POST.get("number", "")
    payload: dict[str, Any] = {"key": key}
    try:
        if number.isdecimal() and len(number) < 9:
            kind, payload["number"] = "flag.scoped_override_clear", int(number)
        elif attribute or request.POST.get("values", "").strip():
            where = constraint(attribute, request.POST.get("operator", ""), request.POST.get("values", ""))
            kind = "flag.scoped_override"
            payload |= {"variant": variant, "constraints": constraints_document((where,))}
        elif variant:
            kind, payload["variant"] = "flag.override", variant
        else:
            kind = "flag.override_clear"
        made = changed(request, environment, kind, payload)
    except HawkOpsError as refusal:
        return _done(request, environment, key, refusal)
    done = f"forced {variant}" if variant else "back to its rules and percentage"
    return _made(request, environment, key, made, f"{key} is {done}", "Nothing to do.")


def _made(
    request: HttpRequest, environment: str, key: str, made: HistoryEntry | Proposal | None, done: str, nothing: str
) -> HttpResponse:
    if isinstance(made, Proposal):
        return proposed(request, environment, made)
    return _done(request, environment, key, None, f"{done}: entry {made.seq}." if made else nothing)


def _done(
    request: HttpRequest, environment: str, key: str, refusal: HawkOpsError | None, sentence: str = ""
) -> HttpResponse:
    if refusal is not None:
        messages.error(request, refusal.message)
    else:
        messages.success(request, sentence)
    return _to(environment, key)


def _to(environment: str, key: str) -> HttpResponse:
    response = redirect("rollout:flag", environment=environment, key=key)
    response.status_code = 303
    return response
