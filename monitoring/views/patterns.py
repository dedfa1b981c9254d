"""Pages of log patterns: what they counted and matched, and forms that try an expression before it is saved."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.utils.text import slugify
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hawkops.core import charts, clock
from hawkops.core.access import Role, can_in_all, must_everywhere, requires, requires_everywhere
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import render_page
from hawkops.history import selectors as history
from monitoring.charts import patterns as drawing
from monitoring.charts.marks import lettered
from monitoring.domain import patterns as domain
from monitoring.domain import windows
from monitoring.domain.alerting import OWNER
from monitoring.domain.criteria import Severity
from monitoring.domain.patterns import Source
from monitoring.domain.windows import Choice, Window
from monitoring.selectors import patterns as selectors
from monitoring.selectors.patterns import Shown
from monitoring.services import patterns as services
from monitoring.views.forms import to, who, whole

MAY_CHANGE = (Role.OPERATOR, Role.RELEASER)
SPANS = {"1m": "1 min", "5m": "5 min", "15m": "15 min", "1h": "1 h", "6h": "6 h", "24h": "24 h"}
NEW: dict[str, Any] = {
    "key": "",
    "title": "",
    "expression": "",
    "sources": [source.value for source in Source],
    "severity": Severity.WARNING.value,
    "limit": None,
    "window": "5m",
    "action": "",
    "suspicious": False,
}


@require_http_methods(["GET", "HEAD", "POST"])
@requires()
def patterns(request: HttpRequest, environment: str) -> HttpResponse:
    """Every pattern with its counts and newest lines, the state of each source, and a form for a new one.

    POST saves what is in the form, or tries it.
    """
    may_change = _may(request)
    given = request.POST if request.method == "POST" else request.GET
    draft = _draft(NEW, given)
    refusal = ""
    if request.method == "POST" and "try" not in given:
        refusal, key = _save(request, draft, revision=None)
        if not refusal:
            messages.success(request, f"{key} is saved. It counts lines that come from now on.")
            return to("monitoring:pattern", environment, key=key)
    found = selectors.shown(environment)
    context = {
        "found": found,
        "matched": sum(one.last_hour > 0 for one in found),
        "seen": [one for one in found if one.samples],
        "over": [one for one in found if one.over],
        "owner": OWNER,
        "suspicious": [one for one in found if one.pattern.suspicious and not one.pattern.paused],
        "sources": selectors.sources(environment),
        "most": services.PATTERNS_MOST,
        **_form(draft, given, environment, may_change=may_change),
    }
    return _page(request, "monitoring/patterns.html", context, refusal)


@require_http_methods(["GET", "HEAD", "POST"])
@requires()
def pattern(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """One pattern: its chart, the lines it matched last, its versions, and a form to change it. POST saves or tries."""
    one = _shown(environment, key)
    may_change = _may(request)
    given = request.POST if request.method == "POST" else request.GET
    draft = _draft(domain.document(one.pattern), given)
    refusal = ""
    if request.method == "POST" and "try" not in given:
        refusal, _ = _save(request, {**draft, "key": key}, revision=whole(given.get("revision", "")))
        if not refusal:
            messages.success(request, f"{key} is saved. It counts lines that come from now on.")
            return to("monitoring:pattern", environment, key=key)
    choice, window = _window(request)
    subject = f"pattern:{key}"
    context = {
        "one": one,
        "samples": selectors.samples(one.row, environment),
        "sources": [state for state in selectors.sources(environment) if state.source in one.pattern.sources],
        "versions": [entry for entry in history.entries(subject=subject)[:20] if entry.subject == subject],
        "marks": lettered(drawing.pattern_marks(one.row, environment, since=window.since)),
        "choice": choice,
        "choices": selectors.WINDOWS,
        **_form(draft, given, environment, may_change=may_change),
    }
    return _page(request, "monitoring/pattern.html", context, refusal)


@require_safe
@requires()
def chart(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """A pattern's chart as plain arrays."""
    found = selectors.stored(key)
    if not found:
        raise Http404(f"There is no pattern {key!r}.")
    return charts.respond(drawing.matches(*found[0], environment, _window(request)[1]))


@require_POST
@requires()
@requires_everywhere(*MAY_CHANGE)
def pause(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Stop counting a pattern, or go on."""
    paused = request.POST.get("paused", "1") == "1"
    try:
        services.pattern_pause(key=key, paused=paused, **who(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return to("monitoring:pattern", environment, key=key)


@require_POST
@requires()
@requires_everywhere(*MAY_CHANGE)
def delete(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Delete a team's own pattern."""
    try:
        services.pattern_delete(key=key, **who(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return to("monitoring:pattern", environment, key=key)
    messages.success(request, f"{key} is deleted.")
    return to("monitoring:patterns", environment)


def _may(request: HttpRequest) -> bool:
    """Say whether the person may change patterns, which count in every environment; a post of who may not is refused."""
    if request.method == "POST":
        must_everywhere(request.user, *MAY_CHANGE)
    return can_in_all(request.user, tuple(Environment), *MAY_CHANGE)


def _shown(environment: str, key: str) -> Shown:
    found = selectors.shown(environment, key)
    if not found:
        raise Http404(f"There is no pattern {key!r}.")
    return found[0]


def _save(request: HttpRequest, draft: dict[str, Any], *, revision: int | None) -> tuple[str, str]:
    """Save what was typed; return why it was refused (or nothing), and the key."""
    try:
        row = services.pattern_save(document=draft, expected_revision=revision, **who(request))
    except HawkOpsError as refusal:
        return refusal.message, ""
    return "", row.key


def _draft(stands: dict[str, Any], given: QueryDict) -> dict[str, Any]:
    """Put what was typed over what stands; a key that was not typed is made from the title."""
    draft = dict(stands)
    if "expression" not in given:
        return draft
    for name in ("key", "title", "expression", "severity", "limit", "window", "action"):
        if name in given:
            typed = str(given[name])
            draft[name] = typed.strip() if name != "expression" else typed.strip("\r\n")
    draft["sources"] = given.getlist("sources")
    draft["suspicious"] = bool(given.get("suspicious"))
    draft["key"] = draft["key"] or slugify(draft["title"])[:60].strip("-")
    return draft


def _form(draft: dict[str, Any], given: QueryDict, environment: str, *, may_change: bool) -> dict[str, Any]:
    """Return what the form shows; when it is asked to try, what the expression finds in the newest lines."""
    context: dict[str, Any] = {
        "may_change": may_change,
        "draft": draft,
        "given": given,
        "source_names": [source.value for source in Source],
        "severities": [severity.value for severity in Severity],
        "spans": SPANS,
    }
    asked = "try" in given or given.get("part") == "trial"
    if asked and may_change and draft["expression"]:
        try:
            wanted = [source for source in Source if source.value in draft["sources"]]
            context["trials"] = selectors.trials(environment, draft["expression"], wanted)
            context["tried"] = True
        except domain.Unfit as unfit:
            context["unfit"] = f"{unfit}."
    return context


def _window(request: HttpRequest) -> tuple[Choice, Window]:
    asked = request.GET.get("window", "")
    choice = next((one for one in selectors.WINDOWS if one.key == asked), selectors.WINDOWS[0])
    return choice, windows.window(choice, clock.now())


def _page(request: HttpRequest, template: str, context: dict[str, Any], refusal: str) -> HttpResponse:
    return render_page(request, template, {**context, "refusal": refusal}, status=422 if refusal else 200)
