"""Pages of criteria: every number of the runbook with its live reading, edited with a replay before it is saved."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hawkops.core import clock
from hawkops.core.access import Role, can_in_all, must_everywhere, requires, requires_everywhere
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page
from hawkops.core.moments import past
from hawkops.history import selectors as history
from hawkops.history.models import HistoryEntry
from monitoring import thresholds
from monitoring.domain import criteria as domain
from monitoring.domain.arms import Arm
from monitoring.domain.criteria import Against, Aggregate, Purpose, Severity
from monitoring.domain.metrics import CATALOGUE
from monitoring.domain.targets import Stage
from monitoring.models import StoredCriterion, StoredProfile, StoredSection
from monitoring.selectors import criteria as selectors
from monitoring.selectors import profiles as profile_selectors
from monitoring.selectors import reasons, replays, sections
from monitoring.selectors.drift import Kind, drift
from monitoring.services import criteria as services
from monitoring.views.forms import to, who, whole

# Criteria count in every environment, so they are changed by who holds one of these in each of them.
MAY_CHANGE = (Role.APPROVER, Role.RELEASER)
TITLES = {
    Purpose.ALERT: "Alerts",
    Purpose.SECURITY: "Security",
    Purpose.GATE: "Gates",
    Purpose.PHASE: "Phases",
    Purpose.VALIDATION: "Post-deployment validation, 48 hours",
    Purpose.DECISION: "Go/no-go",
}
TEXTS = (
    "title", "purpose", "metric", "of", "aggregate", "against", "arm", "window", "for", "comparator", "threshold",
    "severity", "action", "serves",
)  # fmt: skip
LISTS = ("outcomes", "not_outcomes")
SWITCHES = ("where_available", "no_data", "elsewhere", "paused")
# how a form writes the outcome of what did not name one
UNSAID = "unsaid"
NEW = {
    "purpose": Purpose.ALERT.value,
    "aggregate": Aggregate.P95.value,
    "comparator": "<",
    "window": "5m",
    "severity": Severity.WARNING.value,
}
SECTION_TITLES = {"health": "Health checks", "matrix": "Severity matrix", "rules": "Rules of hold and rollback"}


@require_safe
@requires()
def criteria(request: HttpRequest, environment: str) -> HttpResponse:
    """Every criterion, by what uses it, with its reading now."""
    rows, now = selectors.stored(), clock.now()
    found = {one.criterion.key: one for one in selectors.evaluate(environment, selectors.criteria(), now=now)}
    differing = drift()
    edited = {one.key for one in differing.found if one.kind is Kind.CRITERION}
    groups = [
        {
            "title": title,
            "rows": [
                {
                    "row": row,
                    "found": found[row.key],
                    "sentence": found[row.key].criterion.sentence(listed=True),
                    "why": reasons.of(found[row.key], now=now),
                    "edited": row.key in edited,
                }
                for row in rows
                if row.purpose == purpose.value
            ],
        }
        for purpose, title in TITLES.items()
    ]
    context = {
        "groups": [group for group in groups if group["rows"]],
        "count": len(rows),
        "profiles": profile_selectors.stored(),
        "sections": [{"row": row, "title": SECTION_TITLES.get(row.key, row.key)} for row in sections.stored()],
        "drift": differing,
        "may_change": _may(request),
    }
    return render_page(request, "monitoring/criteria.html", context)


@require_safe
@requires()
def export(request: HttpRequest, environment: str) -> HttpResponse:
    """What rules, as a threshold file; what can't be read is left out of it."""
    usable = [one for one in selectors.criteria() if not one.broken]
    text = thresholds.dumps(usable, profile_selectors.profiles().all, sections.ruling())
    response = HttpResponse(text, content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="production-thresholds.yaml"'
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@requires()
def criterion(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """One criterion: its rule, its reading now or at a past minute, and its versions. POST saves, or replays the form."""
    row = StoredCriterion.objects.filter(key=key).first()
    if row is None:
        raise Http404(f"There is no criterion {key!r}.")
    given = request.POST
    stands = row.document if isinstance(row.document, dict) else {}
    draft = _draft(given, {**stands, "key": key}) if "threshold" in given else stands
    refusal, replayed = "", None
    if "replay" in request.POST:
        replayed, refusal = _replay(environment, draft)
    elif request.method == "POST":
        must_everywhere(request.user, *MAY_CHANGE)
        refusal = _save(request, draft, revision=whole(given.get("revision", "")) or 0)
        if not refusal:
            messages.success(request, f"{key} is saved. It counts from now on.")
            return to("monitoring:criterion", environment, key=key)
    now, at, wrong = clock.now(), None, ""
    try:
        at = past(request.GET.get("at", ""), now=now)
    except InvalidInput as error:
        wrong = error.message
    (one,) = selectors.criteria(keys=[key])
    (found,) = selectors.evaluate(environment, [one], now=at or now, by_device=True)
    context = {
        "row": row,
        "one": one,
        "found": found,
        "at": at,
        "wrong": wrong,
        "why": reasons.of(found, now=at or now),
        "samples_least": domain.samples_least(one),
        "drifted": drift().of(Kind.CRITERION, key),
        "versions": _versions(f"criterion:{key}"),
        "replayed": replayed,
        **_form(request, draft, given, refusal),
    }
    return render_page(request, "monitoring/criterion.html", context, status=422 if refusal else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@requires()
def criterion_new(request: HttpRequest, environment: str) -> HttpResponse:
    """A form for a criterion of one's own. POST saves, or replays what is in the form."""
    given = request.POST
    draft = _draft(given, {"key": given.get("key", "").strip()}) if "threshold" in given else dict(NEW)
    refusal, replayed = "", None
    if "replay" in request.POST:
        replayed, refusal = _replay(environment, draft)
    elif request.method == "POST":
        must_everywhere(request.user, *MAY_CHANGE)
        refusal = _save(request, draft, revision=0)
        if not refusal:
            messages.success(request, f"{draft['key']} is saved. It counts from now on.")
            return to("monitoring:criterion", environment, key=draft["key"])
    context = {"replayed": replayed, **_form(request, draft, given, refusal)}
    return render_page(request, "monitoring/criterion_new.html", context, status=422 if refusal else 200)


@require_POST
@requires()
@requires_everywhere(*MAY_CHANGE)
def reset(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Put a criterion back to the threshold file."""
    given = {**who(request), "reason": request.POST.get("reason", "") or "Back to the threshold file"}
    try:
        services.criterion_reset(key=key, **given)
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return to("monitoring:criterion", environment, key=key)


@require_POST
@requires()
@requires_everywhere(*MAY_CHANGE)
def delete(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Delete a team's own criterion."""
    try:
        services.criterion_delete(key=key, **who(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return to("monitoring:criterion", environment, key=key)
    messages.success(request, f"{key} is deleted. The history keeps it.")
    return to("monitoring:criteria", environment)


@require_http_methods(["GET", "HEAD", "POST"])
@requires()
def section(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """A section of numbers that are no criteria: what stands, its versions, and a form. POST saves."""
    row = StoredSection.objects.filter(key=key).first()
    if row is None:
        raise Http404(f"There is no section {key!r}.")
    draft, refusal = row.document, ""
    if request.method == "POST":
        must_everywhere(request.user, *MAY_CHANGE)
        draft = _section_draft(row.document, request.POST)
        revision = whole(request.POST.get("revision", "")) or 0
        try:
            services.section_save(key=key, document=draft, expected_revision=revision, **who(request))
        except HawkOpsError as error:
            refusal = error.message
        else:
            messages.success(request, f"{key} is saved. It counts from now on.")
            return to("monitoring:section", environment, key=key)
    context = {
        "row": row,
        "title": SECTION_TITLES.get(key, key),
        "fields": _section_fields(draft),
        "drifted": drift().of(Kind.SECTION, key),
        "versions": _versions(f"section:{key}"),
        "may_change": _may(request),
        "refusal": refusal,
        "reason": request.POST.get("reason", ""),
    }
    return render_page(request, "monitoring/section.html", context, status=422 if refusal else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@requires()
def profile(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """The floors of some device classes: what stands, its versions, and a form. POST saves."""
    row = StoredProfile.objects.filter(key=key).first()
    if row is None:
        raise Http404(f"There is no profile {key!r}.")
    draft, refusal = dict(row.document), ""
    places = _places(row.document)
    if request.method == "POST":
        draft = _profile_draft(row, request.POST)
        # where it counted, and where it would: neither is weakened from elsewhere
        must_everywhere(request.user, *MAY_CHANGE, environments=sorted({*places, *_places(draft)}))
        revision = whole(request.POST.get("revision", "")) or 0
        try:
            services.profile_save(document=draft, expected_revision=revision, **who(request))
        except HawkOpsError as error:
            refusal = error.message
        else:
            messages.success(request, f"{key} is saved. Its classes are judged by it from now on.")
            return to("monitoring:profile", environment, key=key)
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
        "drifted": drift().of(Kind.PROFILE, key),
        "versions": _versions(f"profile:{row.key}"),
        "may_change": can_in_all(request.user, places, *MAY_CHANGE),
        "counts_in": ", ".join(places),
        "refusal": refusal,
        "reason": request.POST.get("reason", ""),
    }
    return render_page(request, "monitoring/profile.html", context, status=422 if refusal else 200)


# ---- from forms, and to them ----


def _may(request: HttpRequest) -> bool:
    return can_in_all(request.user, tuple(Environment), *MAY_CHANGE)


def _save(request: HttpRequest, draft: dict[str, Any], *, revision: int) -> str:
    """Save what was typed and return why it was refused, or nothing."""
    try:
        services.criterion_save(document=draft, expected_revision=revision, **who(request))
    except HawkOpsError as error:
        return error.message
    return ""


def _replay(environment: str, draft: dict[str, Any]) -> tuple[replays.Replay | None, str]:
    try:
        return replays.replay(environment, domain.criterion(draft)), ""
    except domain.Unfit as unfit:
        return None, f"{'.'.join(map(str, unfit.path)) or 'criterion'}: {unfit.message}."


def _versions(subject: str) -> list[HistoryEntry]:
    return list(history.entries(subject=subject).filter(subject=subject)[:20])


def _draft(given: Any, stands: Mapping[str, Any]) -> dict[str, Any]:
    """Put what was typed over what stands; an emptied field is left out. What is no number stays, to be refused.

    A box that is not ticked is not sent: `boxes` says that the whole form was, and not a few of its fields.
    """
    draft = dict(stands)
    for name in (*TEXTS, "samples", *LISTS):
        if name in given:
            draft.pop(name, None)
    draft |= {name: typed for name in TEXTS if (typed := given.get(name, "").strip())}
    for name in LISTS:
        if words := [word.strip() for word in given.get(name, "").split(",") if word.strip()]:
            draft[name] = ["" if word == UNSAID else word for word in words]
    if samples := given.get("samples", "").strip():
        draft["samples"] = whole(samples) or samples
    if "boxes" in given:
        for name in ("backends", "phases", *SWITCHES):
            draft.pop(name, None)
        draft |= {name: True for name in SWITCHES if given.get(name) == "on"}
        if backends := given.getlist("backends"):
            draft["backends"] = backends
        if phases := given.getlist("phases"):
            draft["phases"] = [whole(one) or one for one in phases]
    return draft


def _form(request: HttpRequest, draft: Mapping[str, Any], given: Any, refusal: str) -> dict[str, Any]:
    """Return what the form shows."""
    return {
        "draft": draft,
        "given": given,
        "refusal": refusal,
        "may_change": _may(request),
        "samples": draft.get("samples", domain.SAMPLES),
        "outcomes": _words(draft.get("outcomes")),
        "not_outcomes": _words(draft.get("not_outcomes")),
        "purposes": [one.value for one in Purpose],
        "metrics": sorted(CATALOGUE),
        "aggregates": [one.value for one in Aggregate],
        "againsts": [one.value for one in Against],
        "arms": [one.value for one in Arm],
        "comparators": list(domain.ASCII),
        "severities": [one.value for one in Severity],
        "backends": domain.BACKENDS,
        "phases": (1, 2, 3, 4),
    }


def _words(outcomes: Any) -> str:
    return ", ".join(str(one) or UNSAID for one in outcomes) if isinstance(outcomes, list) else ""


def _section_fields(data: Mapping[str, Any], prefix: str = "") -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for name, value in data.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping):
            found += _section_fields(value, path)
        else:
            found.append({"name": path, "label": path.replace(".", ": ").replace("_", " "), "value": str(value)})
    return found


def _section_draft(data: Mapping[str, Any], given: Any, prefix: str = "") -> dict[str, Any]:
    """Put what was typed into the places that the section has."""
    made: dict[str, Any] = {}
    for name, value in data.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        made[name] = _section_draft(value, given, path) if isinstance(value, Mapping) else given.get(path, "").strip()
    return made


def _places(document: Mapping[str, Any]) -> list[str]:
    return [one for one in document.get("environments", ()) if one in list(Environment)]


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
