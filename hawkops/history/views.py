"""The auditor's pages: entries with filters, one entry with its causes, and the verifier at a press."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from hawkops.core import clock
from hawkops.core.access import can, requires
from hawkops.core.environments import Environment
from hawkops.core.errors import InvalidInput
from hawkops.core.htmx import render_page, request_id
from hawkops.history import causes, listing, selectors
from hawkops.history.actors import Actor
from hawkops.history.domain import diff
from hawkops.history.domain.query import QUALIFIERS, parse, written, written_value
from hawkops.history.models import HistoryEntry
from hawkops.history.reading import looked_up, people_asked
from hawkops.history.services import history_verify

PAGE_ROWS = 50
BESIDE_ROWS = 20

# a line of the search for each part of the product
STARTS = (
    ("verb:flag.", "Flags"),
    ("verb:flag.killed", "Kills"),
    ("verb:alert.", "Alerts"),
    ("verb:incident.", "Incidents"),
    ("verb:run.", "Script runs"),
    ("verb:check.,evidence.", "Checks and evidence"),
    ("verb:release.,phase.,decision.", "Releases"),
    ("verb:runbook.", "Runbook"),
    ("verb:role.,person.,login_link.,phone.", "People and roles"),
    ("verb:key.,token.", "Keys and tokens"),
    ("-actor:rule: -actor:system:", "By people"),
    ("since:1h", "Last hour"),
    ("since:today", "Today"),
)
# what earlier addresses and the form beside the search say, as qualifiers
FIELDS = {"actor": "actor", "subject": "subject", "from": "since", "to": "until"}


@require_safe
@requires()
def entries(request: HttpRequest, environment: str) -> HttpResponse:
    """Entries newest first; `q` is the line that says which, `before` continues an earlier page."""
    line = asked_line(request.GET)
    refusal, shown, parts = "", listing.Page([], None), []
    older_than = request.GET.get("before", "")
    try:
        query = parse(line, now=clock.now())
        parts = [{"said": said, "rest": rest} for said, rest in query.parts()]
        wanted = listing.asked(query, environment=environment, readable=readable(request))
        before = int(older_than) if older_than.isdecimal() and len(older_than) < 19 else None
        shown = listing.page(wanted, before=before, limit=PAGE_ROWS)
        for one in people_asked(query):
            looked_up(one, environment=environment, **by(request))
    except InvalidInput as error:
        refusal = error.message
    context = {
        "rows": shown.rows,
        "more": shown.older_than,
        "line": line,
        "query": urlencode({"q": line}) if line else "",
        "refusal": refusal,
        "parts": parts,
        "starts": [{"said": said, "title": title, "line": f"{line} {said}".strip()} for said, title in STARTS],
        "qualifiers": QUALIFIERS.items(),
        "verbs": [(said.removeprefix("verb:"), title) for said, title in STARTS if said.startswith("verb:")],
        "environments_named": readable(request),
        "head": selectors.head(),
        "verification": selectors.verification_latest(),
        "proof": selectors.proof(),
        "last_entry_at": selectors.last_entry_at(),
        "filtered": bool(line),
        "first_page": not older_than,
    }
    return render_page(request, "history/entries.html", context, status=422 if refusal else 200)


def by(request: HttpRequest) -> dict[str, Any]:
    """Return what `looked_up` wants to know of the reader."""
    return {"actor": Actor.person(request.user), "request_id": request_id(request)}


def asked_line(given: QueryDict) -> str:
    """Return the search as one line: `q`, and what fields of a form or of an earlier address add to it."""
    parts = [given.get("q", "").strip()]
    for name, qualifier in FIELDS.items():
        if value := given.get(name, "").strip():
            parts.append(written(qualifier, value))
    if verbs := given.get("verb", "").replace(",", " ").split():
        parts.append("verb:" + ",".join(written_value(one) for one in verbs))
    if scope := given.get("scope", "").strip():
        parts.append(written("env", scope))
    if given.get("hidden") == "1":
        parts.append("hidden:yes")
    return " ".join(part for part in parts if part)


def readable(request: HttpRequest) -> list[str]:
    """Return the environments whose entries the reader may read."""
    return [one.value for one in Environment if can(request.user, one.value)]


@require_safe
@requires()
def entry(request: HttpRequest, environment: str, seq: int) -> HttpResponse:
    """One entry: what changed, what led to it and what it led to, what came with it, and its place in the chain."""
    places = readable(request)
    found = HistoryEntry.objects.select_related("personal").filter(pk=seq, environment__in=["", *places]).first()
    if found is None:
        raise Http404(f"There is no entry {seq} that you may read.")
    looked_up(found.subject, environment=environment, **by(request))
    rows = diff.changes(found.before, found.after)
    context = {
        "entry": found,
        "rows": rows,
        "differing": sum(not row.same for row in rows),
        "graph": causes.graph(found, readable=places),
        "beside": _beside(found, environment, places),
        "previous": seq - 1,
        "next": seq + 1 if selectors.head().seq > seq else None,
        "travels": found.environment in ("", environment),
    }
    return render_page(request, "history/entry.html", context)


def _beside(found: HistoryEntry, environment: str, places: list[str]) -> listing.Page:
    """Return what else came with the entry's request, newest first."""
    if not found.request_id:
        return listing.Page([], None)
    query = parse(f"{written('request', found.request_id)} env:all hidden:yes", now=clock.now())
    shown = listing.page(listing.asked(query, environment=environment, readable=places), limit=BESIDE_ROWS)
    return listing.Page([row for row in shown.rows if row.pk != found.pk], shown.older_than)


@require_POST
@requires()
def verify(request: HttpRequest, environment: str) -> HttpResponse:
    """Walk the whole chain now."""
    result = history_verify(requested_by=request.user.get_username())
    if result.good:
        messages.success(request, f"All {result.head_seq} entries verify, in {result.seconds:.2f} s. {result.limit}")
    else:
        messages.error(request, f"The chain breaks at entry {result.bad_seq}: {result.why}.")
    return redirect(reverse("history:entries", kwargs={"environment": environment}) + "#chain")
