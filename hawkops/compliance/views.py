"""A release's compliance pack: the page, the files of it, and the program that verifies them."""

from collections.abc import Callable, Mapping
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from hawkops.compliance.domain.pack import LIMIT
from hawkops.compliance.exporting import pack_page, pack_text, verifier_program
from hawkops.compliance.gathering import document, gathered
from hawkops.core.access import requires
from hawkops.core.errors import Conflict, HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page, request_id
from hawkops.history.actors import Actor
from hawkops.history.keys import origin
from hawkops.history.reading import reading_note
from rollout.models import Release

# the page shows so many; the files hold all
ENTRIES_SHOWN = 50


@require_safe
@requires()
def pack(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Everything the pack holds, as it stands now."""
    try:
        found = gathered(_release(environment, pk))
    except InvalidInput as error:
        return _refused(error)
    context = {
        "release": found.release,
        "found": found,
        "sections": found.sections,
        "people": found.people,
        "entries": list(reversed(found.entries[-ENTRIES_SHOWN:])),
        "differing": _alike(found.sections["acts"]),
        "limit": LIMIT,
        "origin": origin(),
    }
    return render_page(request, "compliance/pack.html", context)


def _alike(acts: list[dict[str, Any]]) -> dict[str, int]:
    """Count what took two people, and where they were not two."""
    double = [one for one in acts if one["takes"] == 2]
    return {
        "double": len(double),
        "same": sum(one["differ"] is False for one in double),
        "alone": sum(one["takes"] == 1 for one in acts),
        "machines": sum(one["takes"] == 0 for one in acts),
    }


@require_safe
@requires()
def pack_json(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """The signed pack, each entry with its inclusion proof."""
    return _file(request, environment, pk, "json", "application/json", pack_text)


@require_safe
@requires()
def pack_html(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """The same for people: one page that needs nothing else, and prints."""
    return _file(request, environment, pk, "html", "text/html; charset=utf-8", pack_page)


@require_safe
@requires()
def verifier(request: HttpRequest, environment: str) -> HttpResponse:
    """The program that verifies a pack on any machine."""
    response = HttpResponse(verifier_program(), content_type="application/octet-stream")
    response["Content-Disposition"] = 'attachment; filename="verify_compliance.pyz"'
    return response


def _file(
    request: HttpRequest, environment: str, pk: int, ending: str, kind: str, write: Callable[[Mapping[str, Any]], str]
) -> HttpResponse:
    release = _release(environment, pk)
    try:
        made = document(release)
    except (Conflict, InvalidInput) as error:
        return _refused(error)
    reading_note(
        actor=Actor.person(request.user),
        environment=environment,
        subject=f"compliance:{pk}",
        what=f"the compliance pack as {ending.upper()}",
        request_id=request_id(request),
    )
    response = HttpResponse(write(made), content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="compliance-{environment}-{pk}.{ending}"'
    response["Cache-Control"] = "no-store"
    return response


def _refused(refusal: HawkOpsError) -> HttpResponse:
    status = 409 if isinstance(refusal, Conflict) else 422
    return HttpResponse(refusal.message + "\n", status=status, content_type="text/plain; charset=utf-8")


def _release(environment: str, pk: int) -> Release:
    try:
        return Release.objects.select_related("runbook").get(pk=pk, environment=environment)
    except Release.DoesNotExist:
        raise Http404 from None
