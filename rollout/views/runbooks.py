"""Pages of the runbook's versions: the list, one to read and approve, two compared, and YAML in and out."""

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from hawkops.accounts.models import User
from hawkops.core.access import Role, can_in_all, requires, requires_everywhere
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError, InvalidInput, NotFound
from hawkops.core.htmx import render_page, request_id
from hawkops.core.located import LARGEST_BYTES
from hawkops.core.teams import Team
from hawkops.history import selectors as history
from hawkops.history.actors import Actor
from rollout.domain import adoption
from rollout.domain.runbook import Group
from rollout.domain.runbook_diff import bounds, span
from rollout.selectors import runbooks as selectors
from rollout.selectors.runbooks import Shown
from rollout.services import runbooks as services

# the members of a runbook that hold boxes, as they stand on the page
SECTIONS = (
    ("checklist", "Checklist"),
    ("validation", "After each phase: validation"),
    ("compliance", "After each phase: compliance"),
    ("conclusion", "After each phase: what runs by itself"),
)
MAY_IMPORT = (Role.RELEASER, Role.APPROVER)


@require_safe
@requires()
def versions(request: HttpRequest, environment: str) -> HttpResponse:
    """Every version with its state, review and releases, and the form for a new one."""
    return _list(request, environment)


@require_safe
@requires()
def version(request: HttpRequest, environment: str, version: str) -> HttpResponse:
    """The whole of a version, what it lacks for adoption, and the forms to approve and edit it."""
    return _page(request, environment, _found(environment, version))


@require_POST
@requires_everywhere(*MAY_IMPORT)
def take(request: HttpRequest, environment: str) -> HttpResponse:
    """Import a text, typed or as a file (which wins); what is refused comes back as it was given, with the reason."""
    upload = request.FILES.get("file")
    edited = request.POST.get("edited", "")
    if upload is None:
        # browsers send every line end as CRLF, whatever stood in the field
        text, name = request.POST.get("text", "").replace("\r\n", "\n").encode(), f"{edited or 'text'}.yaml"
    else:
        text, name = upload.read(LARGEST_BYTES + 1), (upload.name or "file")[:80]
    try:
        if not text.strip():
            raise InvalidInput("Choose a file, or write the runbook into the field.")
        made = services.version_import(
            text=text,
            name=name,
            expected_digest=request.POST.get("digest", ""),
            actor=Actor.person(request.user),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        given = text[:LARGEST_BYTES].decode("utf-8", errors="replace")
        if not edited:
            return _list(request, environment, refusal=refusal.message, given=given)
        return _page(request, environment, _found(environment, edited), refusal=refusal.message, given=given)
    said = ", ".join(Team)
    messages.success(request, f"Version {made.version} is a draft. It takes an approval each of {said}.")
    return _see("runbook", environment, version=made.version)


@require_POST
@requires_everywhere(Role.APPROVER)
def approve(request: HttpRequest, environment: str, version: str) -> HttpResponse:
    """Approve a draft for one of the person's teams."""
    _found(environment, version)
    try:
        found = services.version_approve(
            version=version,
            digest=request.POST.get("digest", ""),
            team=request.POST.get("team", ""),
            signer=_person(request),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        if found.adopted:
            messages.success(request, f"Version {version} is adopted: new releases walk through it.")
        else:
            messages.success(request, f"Approved for {request.POST.get('team')}, in your name.")
    return _see("runbook", environment, version=version)


@require_safe
@requires()
def export(request: HttpRequest, environment: str, version: str) -> HttpResponse:
    """A version as YAML, byte for byte as it was imported."""
    try:
        text = selectors.text_of(_found(environment, version).version)
    except NotFound as missing:
        raise Http404(missing.message) from missing
    response = HttpResponse(text, content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="runbook-{version}.yaml"'
    return response


@require_safe
@requires()
def choose(request: HttpRequest, environment: str, before: str) -> HttpResponse:
    """Go to the comparison with the version chosen in a form."""
    after = request.GET.get("with", "")
    for name in (before, after):
        _found(environment, name)
    return _see("runbook_diff", environment, before=before, after=after)


@require_safe
@requires()
def compare(request: HttpRequest, environment: str, before: str, after: str) -> HttpResponse:
    """How one version became another: by box, phase and field, then as text."""
    try:
        found = selectors.compared(before, after)
    except NotFound as missing:
        raise Http404(missing.message) from missing
    context = {
        "compared": found,
        "changes": sum(len(section.changes) for section in found.sections),
        "most": selectors.TEXT_LINES_MOST,
    }
    return render_page(request, "rollout/runbook_diff.html", context)


def _list(request: HttpRequest, environment: str, *, refusal: str = "", given: str = "") -> HttpResponse:
    found = selectors.versions(environment)
    newest = next((one for one in found if one.newest), None)
    context = {
        "versions": found,
        "newest": newest,
        "drafts": sum(not one.version.adopted for one in found),
        "imported": {one.version.version for one in found},
        "may_import": can_in_all(request.user, tuple(Environment), *MAY_IMPORT),
        "refusal": refusal,
        "given": given,
    }
    return render_page(request, "rollout/runbook_list.html", context, status=422 if refusal else 200)


def _page(
    request: HttpRequest, environment: str, shown: Shown, *, refusal: str = "", given: str | None = None
) -> HttpResponse:
    found = shown.version
    subject = f"runbook:{found.version}"
    signs, objection = _choices(request, shown)
    listed = selectors.versions(environment)
    context = {
        "shown": shown,
        "runbook": shown.runbook,
        "sections": [
            (key, title, _read(getattr(shown.runbook, key))) for key, title in SECTIONS if getattr(shown.runbook, key)
        ],
        "boxes": shown.runbook.boxes_total,
        "others": [one.version for one in listed if one.version.pk != found.pk],
        "in_force": next((one.version for one in listed if one.newest), None),
        "text": given if given is not None else bytes(found.text).decode("utf-8", errors="replace"),
        "digest": request.POST.get("digest", found.digest) if refusal else found.digest,
        "signs_for": signs,
        "objection": objection,
        "entries": history.entries(subject=subject).filter(subject=subject)[:8],
        "may_import": can_in_all(request.user, tuple(Environment), *MAY_IMPORT),
        "refusal": refusal,
    }
    return render_page(request, "rollout/runbook.html", context, status=422 if refusal else 200)


def _read(groups: Iterable[Group]) -> list[tuple[Group, list[Any]]]:
    """Return groups with their boxes, spans and limits in words."""
    return [
        (
            group,
            [
                (box, span(box.valid_for), bounds(box.limit), [(one, bounds(one.limit)) for one in box.expects])
                for box in group.boxes
            ],
        )
        for group in groups
    ]


def _choices(request: HttpRequest, shown: Shown) -> tuple[list[str], str]:
    """Return the teams for which the reader may approve now, and why he may not when there are none."""
    if shown.version.adopted or not can_in_all(request.user, tuple(Environment), Role.APPROVER):
        return [], ""
    person = _person(request)
    teams = person.teams()
    said = {
        team: adoption.objection(
            person=Actor.person(person).reference,
            team=team,
            person_teams=teams,
            makers=shown.version.makers,
            signatures=selectors.signatures(shown.version),
        )
        for team in sorted(teams) or shown.missing[:1]
    }
    open_to = [team for team, objection in said.items() if not objection]
    return open_to, "" if open_to else next(iter(said.values()), "")


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # the views are for signed-in people only
    return request.user


def _found(environment: str, version: str) -> Shown:
    try:
        return selectors.version(environment, version)
    except NotFound as missing:
        raise Http404(missing.message) from missing


def _see(name: str, environment: str, **more: str) -> HttpResponse:
    return HttpResponseRedirect(reverse(f"rollout:{name}", kwargs={"environment": environment, **more}), status=303)
