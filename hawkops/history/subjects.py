"""Pages of one subject through time: what it was at a moment, every change of it, and what changed since."""

from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from hawkops.core import clock
from hawkops.core.access import requires
from hawkops.core.errors import InvalidInput
from hawkops.core.htmx import render_page
from hawkops.core.moments import past
from hawkops.history import travel
from hawkops.history.domain import diff
from hawkops.history.domain.query import written
from hawkops.history.models import HistoryEntry
from hawkops.history.reading import looked_up
from hawkops.history.views import by

CHANGES_ROWS = 25


@require_safe
@requires()
def subject(request: HttpRequest, environment: str, subject: str) -> HttpResponse:
    """A subject at a moment (`at`, in UTC) or right after an entry (`entry`); without either as it is now."""
    subject = subject[:200]
    refusal, now = "", clock.now()
    at, entry = now, None
    try:
        entry = _entry(request, environment, subject)
        at = entry.at if entry else past(request.GET.get("at", ""), now=now) or now
    except InvalidInput as error:
        refusal = error.message
    looked_up(subject, environment=environment, **by(request))
    shown = travel.visit(environment, subject, at=at, until_seq=entry.seq if entry else None)
    today = travel.visit(environment, subject, at=now) if at < now else shown
    older_than = request.GET.get("before", "")
    before = int(older_than) if older_than.isdecimal() and len(older_than) < 19 else None
    changes = travel.changes(environment, subject, before=before, limit=CHANGES_ROWS)
    kind = subject.partition(":")[0]
    context = {
        "subject": subject,
        "kind": kind,
        "at": at,
        "field": at.strftime("%Y-%m-%dT%H:%M:%S"),
        "past": at < now,
        "entry": entry,
        "refusal": refusal,
        "visit": shown,
        "members": _members(shown),
        "since": diff.changes(shown.state.values, today.state.values) if at < now else [],
        "today": today,
        "changes": changes.rows,
        "more": changes.older_than,
        "standing_seq": shown.state.last.seq if shown.state.last else None,
        "steps": _steps(environment, subject, at, now),
        "siblings": travel.siblings(environment, subject, at=at) if not refusal else [],
        "search": reverse("history:entries", kwargs={"environment": environment})
        + "?"
        + urlencode({"q": written("subject", subject)}),
    }
    return render_page(request, "history/subject.html", context, status=422 if refusal else 200)


@require_safe
@requires()
def at_a_time(request: HttpRequest, environment: str) -> HttpResponse:
    """The form beside the history: whose state, and when. Without a subject it says so."""
    asked = request.GET.get("subject", "").strip()
    if not asked:
        return render_page(request, "history/no_subject.html", {}, status=422)
    address = reverse("history:subject", kwargs={"environment": environment, "subject": asked[:200]})
    answer = HttpResponse(status=303)
    answer["Location"] = f"{address}?{urlencode({'at': request.GET.get('at', '').strip()})}"
    return answer


def _entry(request: HttpRequest, environment: str, subject: str) -> HistoryEntry | None:
    asked = request.GET.get("entry", "")
    if not asked:
        return None
    found = None
    if asked.isdecimal() and len(asked) < 19:
        found = HistoryEntry.objects.filter(pk=int(asked), environment__in=("", environment)).first()
    if found is None:
        raise InvalidInput(f"There is no entry {asked[:20]} in {environment}. Below stands what it is now.")
    return found


def _members(shown: travel.Visit) -> list[dict[str, object]]:
    return [
        {"name": name, "member": member, "text": diff.said(member.value), "long": diff.is_long(member.value)}
        for name, member in sorted(shown.state.members.items())
    ]


def _steps(environment: str, subject: str, at: datetime, now: datetime) -> list[tuple[str, str]]:
    """Return moments to go to by one press, as the address wants them."""
    spans = (("a day earlier", -86_400), ("an hour earlier", -3_600), ("an hour later", 3_600), ("a day later", 86_400))
    moments = [(words, at + timedelta(seconds=seconds)) for words, seconds in spans]
    return [(words, moment.strftime("%Y-%m-%dT%H:%M:%S")) for words, moment in moments if moment < now]
