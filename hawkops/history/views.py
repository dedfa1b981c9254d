"""The auditor's pages: entries with filters, one entry with its causes, and the verifier at a press."""

from datetime import UTC, datetime

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import requires
from hawkops.core.htmx import render_page
from hawkops.history import selectors
from hawkops.history.domain.diff import diff
from hawkops.history.models import HistoryEntry
from hawkops.history.services import history_verify

PAGE_ROWS = 50


@require_safe
@requires()
def entries(request: HttpRequest, environment: str) -> HttpResponse:
    """Entries newest first; `before` continues an earlier page, `scope=all` shows every environment."""
    asked = request.GET
    found = selectors.entries(
        environment=None if asked.get("scope") == "all" else environment,
        verb_prefixes=asked.get("verb", "").split(),
        subject=asked.get("subject", "").strip(),
        actor=asked.get("actor", "").strip(),
        since=_moment(asked.get("from", "")),
        until=_moment(asked.get("to", "")),
        words=asked.get("q", "").strip()[:200],
        hidden=asked.get("hidden") == "1",
    )
    older_than = asked.get("before", "")
    if older_than.isdigit():
        found = found.filter(seq__lt=int(older_than))
    rows = list(found[: PAGE_ROWS + 1])
    more = rows[PAGE_ROWS - 1].seq if len(rows) > PAGE_ROWS else None
    query = asked.copy()
    for name in ("before", "part"):
        query.pop(name, None)
    context = {
        "rows": rows[:PAGE_ROWS],
        "more": more,
        "query": query.urlencode(),
        "asked": asked,
        "head": selectors.head(),
        "verification": selectors.verification_latest(),
        "proof": selectors.proof(),
        "last_entry_at": selectors.last_entry_at(),
        "verbs": VERB_GROUPS,
        "filtered": any(asked.get(name) for name in ("q", "actor", "verb", "subject", "from", "to")),
        "first_page": not older_than,
    }
    return render_page(request, "history/entries.html", context)


VERB_GROUPS = (
    ("flag.", "Flags"),
    ("flag.killed", "Kills"),
    ("run.", "Script runs"),
    ("check.", "Checks and ticks"),
    ("evidence.", "Evidence"),
    ("release.", "Releases"),
    ("runbook.", "Runbook"),
    ("key.", "Keys"),
    ("role.", "Roles"),
    ("person.", "People"),
)


def _moment(text: str) -> datetime | None:
    """Read what a date field sends; times are UTC. Anything unreadable counts as not asked."""
    try:
        found = parse_datetime(text.strip()) if text else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found


@require_safe
@requires()
def entry(request: HttpRequest, environment: str, seq: int) -> HttpResponse:
    """One entry: before and after, what led to it, what it led to."""
    found = get_object_or_404(HistoryEntry.objects.select_related("personal"), pk=seq)
    before, after = diff(found.before, found.after)
    context = {
        "entry": found,
        "before": before,
        "after": after,
        "causes": selectors.causes(found),
        "effects": selectors.effects(found),
    }
    return render_page(request, "history/entry.html", context)


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
