"""The review of an incident: its draft, people's words, action items, and the same as HTML and Markdown to keep."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.text import slugify
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import can, requires
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.history.actors import Actor
from incidents.domain.incidents import State
from incidents.domain.review import HEIGHT, WIDTH, drawing, markdown, spoken
from incidents.models import Incident, IncidentReview
from incidents.selectors import incidents as selectors
from incidents.services import reviews as services
from incidents.views.incidents import MAY_ACT


@require_safe
@requires()
def review(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Show the review, or the press that makes its draft."""
    return _page(request, environment, pk)


def _page(request: HttpRequest, environment: str, pk: int, refusal: str = "") -> HttpResponse:
    found = selectors.incident(environment, pk)
    made = _made(found)
    context = {
        "incident": found,
        "review": made,
        "given": request.POST if refusal else None,
        "refusal": refusal,
        "items": found.tasks.filter(blocks=True).select_related("owner"),
        "people": selectors.people(environment),
        "may_act": can(request.user, environment, *MAY_ACT),
        "may_draft": found.state == State.RESOLVED and not found.merged_into_id,
        "done": found.state == State.REVIEWED,
        **(_drawn(made) if made else {}),
    }
    return render_page(request, "incidents/review.html", context, status=422 if refusal else 200)


def _made(found: Incident) -> IncidentReview | None:
    return IncidentReview.objects.filter(incident=found).first()


def _drawn(made: IncidentReview) -> dict[str, Any]:
    """Return the frozen facts as templates show them."""
    facts = made.facts
    rows = [{**one, "at": datetime.fromisoformat(one["at"])} for one in facts["timeline"]]
    times = [{**one, "spoken": spoken(one["seconds"])} for one in facts["times"]]
    receipts = [
        {**one, "at": datetime.fromisoformat(one["at"]) if one["at"] else None} for one in facts.get("receipts", ())
    ]
    return {
        "times": times,
        "receipts": receipts,
        "rows": rows,
        "charts": _charts(made),
        "width": WIDTH,
        "height": HEIGHT,
    }


def _charts(made: IncidentReview) -> list[dict[str, Any]]:
    found = made.incident
    marks = [
        (at, letter)
        for at, letter in (
            (found.opened_at, "opened"),
            (found.killed_at, "killed"),
            (found.resolved_at, "resolved"),
        )
        if at is not None
    ]
    drawn = []
    for one in made.facts["charts"]:
        since, step = datetime.fromisoformat(one["since"]), timedelta(seconds=one["step_seconds"])
        lines = drawing(one["points"], limit=one["limit"], since=since, step=step, marks=marks)
        until = since + step * len(one["points"])
        drawn.append({**one, "drawing": lines, "since": since, "until": until, "width": WIDTH, "height": HEIGHT})
    return drawn


@require_POST
@requires(*MAY_ACT)
def review_draft(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Make the draft."""
    try:
        services.review_draft(
            environment=environment,
            incident_id=pk,
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "The draft is made: its times, timeline and charts stay as they are now.")
    return see_other("incidents:incident_review", environment=environment, pk=pk)


@require_POST
@requires(*MAY_ACT)
def review_save(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Write the words. Of two who write at once the second is shown both, and loses nothing."""
    given = request.POST
    edition = given.get("edition", "")
    try:
        services.review_save(
            environment=environment,
            incident_id=pk,
            summary=given.get("summary", ""),
            causes=given.get("causes", ""),
            lessons=given.get("lessons", ""),
            edition=int(edition) if edition.isdecimal() and len(edition) < 10 else 0,
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _page(request, environment, pk, refusal.message)
    messages.success(request, "The review is saved.")
    return see_other("incidents:incident_review", environment=environment, pk=pk)


# ---- to keep ----


@require_safe
@requires()
def review_html(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Give the review as one file that needs nothing else."""
    found, made = _kept(environment, pk)
    context = {"incident": found, "review": made, "items": _items(found), "environment": environment, **_drawn(made)}
    return _file(render(request, "incidents/review_export.html", context), found, "html")


@require_safe
@requires()
def review_markdown(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Give the review as Markdown."""
    found, made = _kept(environment, pk)
    words = {"Summary": made.summary, "Causes": made.causes, "Lessons": made.lessons}
    text = markdown(f"Review of incident {found.pk}: {found.title}", made.facts, words, _items(found))
    return _file(HttpResponse(text, content_type="text/markdown; charset=utf-8"), found, "md")


def _kept(environment: str, pk: int) -> tuple[Incident, IncidentReview]:
    found = selectors.incident(environment, pk)
    made = _made(found)
    if made is None:
        raise Http404("There is no review yet.")
    return found, made


def _items(found: Incident) -> list[dict[str, Any]]:
    rows = found.tasks.filter(blocks=True).select_related("owner")
    return [
        {"title": one.title, "owner": one.owner.username if one.owner else "", "done": one.done_at is not None}
        for one in rows
    ]


def _file(response: HttpResponse, found: Incident, ending: str) -> HttpResponse:
    name = f"review-{found.environment}-{found.pk}-{slugify(found.title)[:40] or 'incident'}.{ending}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response
