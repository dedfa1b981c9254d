"""Pages of criteria: every number of the runbook with its live reading, edited with a replay before it is saved."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hawkops.core.access import Role, can, requires
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page
from hawkops.history import selectors as history
from hawkops.history.actors import Actor
from monitoring import thresholds
from monitoring.domain import criteria as domain
from monitoring.domain.criteria import Purpose, Severity
from monitoring.domain.targets import Stage
from monitoring.models import StoredCriterion, StoredProfile
from monitoring.selectors import criteria as selectors
from monitoring.selectors import profiles as profile_selectors
from monitoring.selectors import replays
from monitoring.services import criteria as services

MAY_CHANGE = (Role.APPROVER, Role.RELEASER)
EDITED = ("threshold", "window", "for", "severity")
TITLES = {
    Purpose.ALERT: "Alerts",
    Purpose.SECURITY: "Security",
    Purpose.GATE: "Gates",
    Purpose.PHASE: "Phases",
    Purpose.VALIDATION: "Post-deployment validation, 48 hours",
    Purpose.DECISION: "Go/no-go",
}


@require_safe
@requires()
def criteria(request: HttpRequest, environment: str) -> HttpResponse:
    """Every criterion, by what uses it, with its reading now."""
    rows = selectors.stored()
    found = {one.criterion.key: one for one in selectors.evaluate(environment, selectors.criteria())}
    groups = [
        {
            "title": title,
            "rows": [{"row": row, "found": found[row.key]} for row in rows if row.purpose == purpose.value],
        }
        for purpose, title in TITLES.items()
    ]
    context = {
        "groups": [group for group in groups if group["rows"]],
        "count": len(rows),
        "profiles": profile_selectors.stored(),
        "drifted": sum(row.drifted for row in rows),
    }
    return render_page(request, "monitoring/criteria.html", context)


@require_safe
@requires()
def export(request: HttpRequest, environment: str) -> HttpResponse:
    """What rules, as a threshold file."""
    text = thresholds.dumps(selectors.criteria(), profile_selectors.profiles().all)
    response = HttpResponse(text, content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="production-thresholds.yaml"'
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@requires()
def criterion(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """One criterion: its rule, its reading, a replay of what is in the form, and its versions. POST saves."""
    row = StoredCriterion.objects.filter(key=key).first()
    if row is None:
        raise Http404(f"There is no criterion {key!r}.")
    may_change = can(request.user, environment, *MAY_CHANGE)
    given = request.POST if request.method == "POST" else request.GET
    draft = _draft(row, given) if "threshold" in given else dict(row.document)
    refusal, replayed = "", None
    if request.method == "POST" and not may_change:
        refusal = "Changing a criterion needs the role approver or releaser."
    elif request.method == "POST":
        try:
            services.criterion_save(
                document=draft,
                actor=Actor.person(request.user),
                reason=given.get("reason", ""),
                expected_revision=int(given.get("revision") or 0),
                request_id=str(getattr(request, "request_id", "")),
            )
        except (HawkOpsError, ValueError) as error:
            refusal = str(error)
        else:
            messages.success(request, f"{key} is saved. It counts from now on.")
            response = redirect("monitoring:criterion", environment=environment, key=key)
            response.status_code = 303
            return response
    elif "replay" in given:
        try:
            replayed = replays.replay(environment, domain.criterion(draft))
        except domain.Unfit as unfit:
            refusal = f"{'.'.join(map(str, unfit.path))}: {unfit.message}."
    context = _context(environment, row, draft, may_change=may_change)
    context |= {"refusal": refusal, "replayed": replayed, "given": given}
    return render_page(request, "monitoring/criterion.html", context, status=422 if refusal else 200)


def _draft(row: StoredCriterion, given: Any) -> dict[str, Any]:
    """Put what was typed over what stands; an emptied field is left out."""
    draft = dict(row.document)
    for name in EDITED:
        if name in given:
            draft[name] = given.get(name, "").strip()
    for name in ("for",):
        if not draft.get(name):
            draft.pop(name, None)
    samples = given.get("samples", "").strip()
    if samples:
        draft["samples"] = int(samples) if samples.isdigit() else samples
    draft["paused"] = given.get("paused") == "on"
    return draft


def _context(environment: str, row: StoredCriterion, draft: dict[str, Any], *, may_change: bool) -> dict[str, Any]:
    one = domain.criterion(row.document)
    (found,) = selectors.evaluate(environment, [one])
    return {
        "row": row,
        "one": one,
        "found": found,
        "draft": draft,
        "samples": draft.get("samples", domain.SAMPLES),
        "severities": [severity.value for severity in Severity],
        "versions": history.entries(subject=f"criterion:{row.key}")[:20],
        "may_change": may_change,
    }


@require_POST
@requires(*MAY_CHANGE)
def reset(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Put a criterion back to the threshold file."""
    try:
        services.criterion_reset(
            key=key,
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", "") or "Back to the threshold file",
            request_id=str(getattr(request, "request_id", "")),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    response = redirect("monitoring:criterion", environment=environment, key=key)
    response.status_code = 303
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@requires()
def profile(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """The floors of some device classes: what stands, its versions, and a form. POST saves."""
    row = StoredProfile.objects.filter(key=key).first()
    if row is None:
        raise Http404(f"There is no profile {key!r}.")
    may_change = can(request.user, environment, *MAY_CHANGE)
    draft, refusal = dict(row.document), ""
    if request.method == "POST":
        draft = _profile_draft(row, request.POST)
        try:
            if not may_change:
                raise InvalidInput("Changing a profile needs the role approver or releaser.")
            services.profile_save(
                document=draft,
                actor=Actor.person(request.user),
                reason=request.POST.get("reason", ""),
                expected_revision=int(request.POST.get("revision") or 0),
                request_id=str(getattr(request, "request_id", "")),
            )
        except (HawkOpsError, ValueError) as error:
            refusal = str(error)
        else:
            messages.success(request, f"{key} is saved. Its classes are judged by it from now on.")
            response = redirect("monitoring:profile", environment=environment, key=key)
            response.status_code = 303
            return response
    context = {
        "row": row,
        "draft": draft,
        "classes": ", ".join(map(str, draft["device_classes"])),
        "places": ", ".join(map(str, draft["environments"])),
        "floors": [
            {
                "name": f"{stage}-{backend}",
                "label": f"{stage} on {backend.upper()}",
                "value": draft["throughput"].get(stage, {}).get(backend, ""),
            }
            for stage in Stage
            for backend in ("cpu", "gpu", "npu")
        ],
        "versions": history.entries(subject=f"profile:{row.key}")[:20],
        "may_change": may_change,
        "refusal": refusal,
        "reason": request.POST.get("reason", ""),
    }
    return render_page(request, "monitoring/profile.html", context, status=422 if refusal else 200)


def _profile_draft(row: StoredProfile, given: Any) -> dict[str, Any]:
    """Make a document of what was typed; an empty floor is none. What is no number stays as typed, to be refused."""
    throughput: dict[str, dict[str, Any]] = {}
    for stage in Stage:
        for backend in ("cpu", "gpu", "npu"):
            text = given.get(f"{stage}-{backend}", "").replace("\u202f", "").replace(" ", "")
            if text:
                throughput.setdefault(stage.value, {})[backend] = _number(text)
    return {
        **row.document,
        "title": given.get("title", "").strip(),
        "device_classes": [one.strip() for one in given.get("device_classes", "").split(",") if one.strip()],
        "environments": [one.strip() for one in given.get("environments", "").split(",") if one.strip()],
        "throughput": throughput,
    }


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
