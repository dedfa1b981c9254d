"""Exactly what a search finds, as CSV or JSON lines, newest first, streamed: memory stays bounded however many there are.

CSV and plain JSON lines prove nothing by themselves. `history.proven.jsonl` gives each entry with its proof, and
`manage.py history_export` writes the whole chain, provable offline.
"""

import csv
import json
from collections.abc import Callable, Iterator
from itertools import islice

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from hawkops.core import clock
from hawkops.core.access import requires
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.htmx import request_id
from hawkops.core.spreadsheet import harmless
from hawkops.history import listing, selectors
from hawkops.history.actors import Actor
from hawkops.history.domain.query import parse
from hawkops.history.models import HistoryEntry
from hawkops.history.proving import part_lines
from hawkops.history.reading import nameless, reading_note
from hawkops.history.views import asked_line, readable

NOTE = "Filtered, so it proves nothing by itself: `manage.py history_export` writes the whole chain, provable offline."
COLUMNS = (
    "entry",
    "at",
    "environment",
    "actor",
    "actor_name",
    "verb",
    "subject",
    "reason",
    "before",
    "after",
    "cause",
    "request_id",
    "hidden",
    "previous_hash",
    "hash",
)
# each carries some hashes of its own
PROVEN_MOST = 5_000
Write = Callable[[Iterator[HistoryEntry], str, int], Iterator[str]]


@require_safe
@requires()
def csv_file(request: HttpRequest, environment: str) -> HttpResponseBase:
    """What the search finds as CSV. A text that a spreadsheet would take for a formula gets an apostrophe."""
    return _file(request, environment, "csv", "text/csv; charset=utf-8", _csv)


@require_safe
@requires()
def jsonl_file(request: HttpRequest, environment: str) -> HttpResponseBase:
    """What the search finds as one JSON object a line; the first says what was asked, when, and up to which entry."""
    return _file(request, environment, "jsonl", "application/x-ndjson", _jsonl)


@require_safe
@requires()
def proven_file(request: HttpRequest, environment: str) -> HttpResponseBase:
    """What the search finds, each entry with its inclusion proof: provable by itself, and so not without an end."""
    return _file(request, environment, "proven.jsonl", "application/x-ndjson", _proven)


def _file(request: HttpRequest, environment: str, ending: str, kind: str, write: Write) -> HttpResponseBase:
    line = asked_line(request.GET)
    try:
        query = parse(line, now=clock.now())
        wanted = listing.asked(query, environment=environment, readable=readable(request))
    except InvalidInput as error:
        return HttpResponse(error.message + "\n", status=422, content_type="text/plain; charset=utf-8")
    head = selectors.head().seq
    try:
        lines = write(listing.stream(wanted, until_seq=head), line, head)
    except (Conflict, InvalidInput) as error:
        status = 409 if isinstance(error, Conflict) else 422
        return HttpResponse(error.message + "\n", status=status, content_type="text/plain; charset=utf-8")
    reading_note(
        actor=Actor.person(request.user),
        environment=environment,
        subject=f"history:{environment}",
        what=f"{ending}, up to entry {head}",
        asked=nameless(query),
        request_id=request_id(request),
    )
    answer = StreamingHttpResponse(lines, content_type=kind)
    answer["Content-Disposition"] = f'attachment; filename="history-{environment}-{head}.{ending}"'
    answer["Cache-Control"] = "no-store"
    answer["X-Accel-Buffering"] = "no"
    return answer


def row(entry: HistoryEntry) -> dict[str, object]:
    """Return an entry as an export has it; before and after are the very texts that were hashed."""
    return {
        "entry": entry.seq,
        "at": entry.at.isoformat(timespec="microseconds"),
        "environment": entry.environment,
        "actor": entry.actor,
        "actor_name": entry.actor_label,
        "verb": entry.verb,
        "subject": entry.subject,
        "reason": entry.reason,
        "before": entry.before_text,
        "after": entry.after_text,
        "cause": entry.cause_id,
        "request_id": entry.request_id,
        "hidden": entry.hidden,
        "previous_hash": entry.previous_hash,
        "hash": entry.hash,
    }


class _Echo:
    """What csv writes to: it gives each row back."""

    def write(self, text: str) -> str:
        return text


def _csv(entries: Iterator[HistoryEntry], line: str, head: int) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for entry in entries:
        yield writer.writerow([harmless(value) for value in row(entry).values()])


def _jsonl(entries: Iterator[HistoryEntry], line: str, head: int) -> Iterator[str]:
    about = {"asked": line, "at": clock.now().isoformat(timespec="seconds"), "head": head, "note": NOTE}
    yield json.dumps({"export": about}, ensure_ascii=False) + "\n"
    for entry in entries:
        yield json.dumps(row(entry), ensure_ascii=False) + "\n"


def _proven(entries: Iterator[HistoryEntry], line: str, head: int) -> Iterator[str]:
    taken = list(islice(entries, PROVEN_MOST + 1))
    if len(taken) > PROVEN_MOST:
        raise InvalidInput(
            f"More than {PROVEN_MOST} entries are found. Ask for fewer, or take manage.py history_export."
        )
    return part_lines(taken, asked=line)
