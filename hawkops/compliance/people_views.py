"""Pages and files on access: the review, who held which role, and which acts two people did."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST, require_safe

from hawkops.compliance import access
from hawkops.compliance.reviewing import NOTE_MOST, access_reviewed
from hawkops.core.access import Role, can, requires
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.core.spreadsheet import harmless
from hawkops.history.actors import Actor
from hawkops.history.reading import reading_note

MAY_REVIEW = (Role.AUDITOR,)


@require_safe
@requires()
def review(request: HttpRequest, environment: str) -> HttpResponse:
    """Who has which access, since when and from whom; when it was last reviewed, and what changed since."""
    return _page(request, environment)


@require_POST
@requires(*MAY_REVIEW)
def reviewed(request: HttpRequest, environment: str) -> HttpResponse:
    """Keep that what was shown was reviewed."""
    try:
        access_reviewed(
            environment=environment,
            digest=request.POST.get("digest", ""),
            note=request.POST.get("note", ""),
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _page(request, environment, refusal)
    messages.success(request, "Kept: the review stands in the history with the digest of what was reviewed.")
    return see_other("compliance:review", environment=environment)


@require_safe
@requires()
def review_csv(request: HttpRequest, environment: str) -> HttpResponse:
    """The review as a table: a line for each role, team, key and token."""
    found = access.review(environment)
    return _csv(
        request,
        environment,
        "access",
        "the access review as CSV",
        ("who", "reference", "kind", "name", "environment", "since", "given_by", "entry", "last_sign_in", "last_act"),
        _review_lines(found),
    )


@require_safe
@requires()
def roles(request: HttpRequest, environment: str) -> HttpResponse:
    """Who held which role and signed for which team, from when to when; of one person with `person`."""
    person = request.GET.get("person", "")[:80]
    lines = access.role_history(environment, person=person)
    people = access.names_of({one[key] or "" for one in lines for key in ("person", "given_by", "taken_by")})
    context = {"sections": {"roles": lines}, "people": people, "person": person, "name": people.get(person, person)}
    return render_page(request, "compliance/roles.html", context)


@require_safe
@requires()
def roles_csv(request: HttpRequest, environment: str) -> HttpResponse:
    """The same as a table."""
    columns = (
        "person",
        "kind",
        "name",
        "environment",
        "since",
        "given_by",
        "entry",
        "until",
        "taken_by",
        "taken_entry",
    )
    lines = access.role_history(environment, person=request.GET.get("person", "")[:80])
    return _csv(
        request,
        environment,
        "roles",
        "who held which role, as CSV",
        columns,
        ([one[key] for key in columns] for one in lines),
    )


@require_safe
@requires()
def acts_csv(request: HttpRequest, environment: str) -> HttpResponse:
    """Every act that takes two people, with who asked and who approved, and what one person did alone."""
    columns = ("what", "subject", "outcome", "takes", "differ", "asked", "approved", "teams", "why", "at", "entry")
    lines = (
        [
            one["what"],
            one["subject"],
            one["outcome"],
            one["takes"],
            {True: "yes", False: "no", None: ""}[one["differ"]],
            " ".join(act["by"] for act in one["asked"]),
            " ".join(act["by"] for act in one["approved"]),
            " ".join(team for act in one["approved"] for team in act.get("teams", [])),
            one["why"],
            (one["asked"] or one["approved"])[0]["at"],
            one["entry"],
        ]
        for one in access.acts(environment)
    )
    return _csv(request, environment, "acts", "who asked and who approved, as CSV", columns, lines)


def _page(request: HttpRequest, environment: str, refusal: HawkOpsError | None = None) -> HttpResponse:
    found = access.review(environment)
    context = {
        "found": found,
        "people": found.names,
        "may_review": can(request.user, environment, *MAY_REVIEW),
        "refusal": refusal.message if refusal else "",
        "note": request.POST.get("note", ""),
        "note_most": NOTE_MOST,
    }
    return render_page(request, "compliance/review.html", context, status=422 if refusal else 200)


def _review_lines(found: access.Review) -> Iterable[Sequence[Any]]:
    for one in found.people:
        seen = [one.person.last_login, one.acted.at if one.acted else None]
        for held in one.held:
            said = held.told or {}
            since, by, entry = said.get("since"), said.get("given_by"), said.get("entry")
            yield one.person.username, one.reference, held.kind, held.name, held.environment, since, by, entry, *seen
        if not one.held:
            yield one.person.username, one.reference, "none", "", "", None, None, None, *seen
    for key in found.keys:
        reference = f"device_key:{key.pk}"
        yield (
            key.name,
            reference,
            "device key",
            key.prefix,
            key.environment,
            key.created_at,
            "",
            "",
            "",
            key.last_used_at,
        )
    for token in found.tokens:
        by = f"person:{token.created_by_id}" if token.created_by_id else ""
        scopes, where = " ".join(token.scopes), token.environment or "all"
        yield (
            token.name,
            f"api_token:{token.pk}",
            "token",
            scopes,
            where,
            token.created_at,
            by,
            "",
            "",
            token.last_used_at,
        )


def _csv(
    request: HttpRequest, environment: str, name: str, what: str, columns: Sequence[str], lines: Iterable[Sequence[Any]]
) -> HttpResponse:
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for line in lines:
        writer.writerow(["" if value is None else harmless(value) for value in line])
    reading_note(
        actor=Actor.person(request.user),
        environment=environment,
        subject=f"access:{environment}",
        what=what,
        request_id=request_id(request),
    )
    response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}-{environment}.csv"'
    response["Cache-Control"] = "no-store"
    return response
