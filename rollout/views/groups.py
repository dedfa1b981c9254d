"""Pages of target groups: what they hold, members typed or from a CSV file, and the same out again."""

from collections.abc import Iterator

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can, requires
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import render_page, request_id
from hawkops.history import selectors as history
from hawkops.history.actors import Actor
from hawkops.history.reading import reading_note
from rollout.members import FILE_BYTES, as_csv, from_csv
from rollout.models import Proposal, TargetGroup
from rollout.selectors import groups as selectors
from rollout.services import groups as services
from rollout.views.changing import changed, proposed

MAY_CHANGE = (Role.RELEASER,)
# more members than this are changed by a file, not in a text field
TYPED_MOST = 1_000


@require_safe
@requires()
def groups(request: HttpRequest, environment: str) -> HttpResponse:
    """Every group with its size and the flags that speak of it, and a form for a new one."""
    context = {"groups": selectors.shown(environment), "may_change": can(request.user, environment, *MAY_CHANGE)}
    return render_page(request, "rollout/groups.html", context)


@require_safe
@requires()
def group(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """One group: its devices while they are few, and the forms to change them."""
    return _page(request, environment, key)


def _page(
    request: HttpRequest, environment: str, key: str, *, refusal: str = "", typed: str | None = None
) -> HttpResponse:
    found = _found(environment, key)
    (shown,) = [one for one in selectors.shown(environment) if one.group.pk == found.pk]
    few = shown.members <= TYPED_MOST
    context = {
        "shown": shown,
        "few": few,
        "most": TYPED_MOST,
        "text": typed if typed is not None else "\n".join(selectors.members(found)) if few else "",
        "entries": history.entries(environment=environment, subject=f"group:{key}")[:8],
        "may_change": can(request.user, environment, *MAY_CHANGE),
        "refusal": refusal,
        "revision": request.POST.get("revision", found.revision),
        "reason": request.POST.get("reason", ""),
    }
    return render_page(request, "rollout/group.html", context, status=422 if refusal else 200)


@require_POST
@requires(*MAY_CHANGE)
def create(request: HttpRequest, environment: str) -> HttpResponse:
    """Make an empty group."""
    try:
        made = services.group_create(
            environment=environment,
            key=request.POST.get("key", ""),
            title=request.POST.get("title", ""),
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=str(getattr(request, "request_id", "")),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return _to("groups", environment)
    return _to("group", environment, key=made.key)


@require_POST
@requires(*MAY_CHANGE)
def members(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Put exactly the typed devices, or those of a CSV file, into a group; an upload wins over the text."""
    _found(environment, key)
    text = request.POST.get("members", "")
    upload = request.FILES.get("file")
    try:
        wanted = list(_typed(text)) if upload is None else list(from_csv(upload.read(FILE_BYTES + 1)))
        number = request.POST.get("revision", "")
        payload = {
            "key": key,
            "members": wanted,
            "expected_revision": int(number) if number.isdecimal() and len(number) < 18 else -1,
        }
        made = changed(request, environment, "group.members", payload)
    except HawkOpsError as refusal:
        return _page(request, environment, key, refusal=refusal.message, typed=text if upload is None else None)
    if isinstance(made, Proposal):
        return proposed(request, environment, made)
    if made is None:
        messages.success(request, "The group holds exactly these devices already.")
    else:
        after = made.after
        messages.success(request, f"+{after['added']} devices, −{after['removed']}: entry {made.seq}.")
    return _to("group", environment, key=key)


@require_POST
@requires(*MAY_CHANGE)
def delete(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Delete a group that no rule names."""
    try:
        services.group_delete(
            environment=environment,
            key=key,
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=str(getattr(request, "request_id", "")),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return _to("group", environment, key=key)
    messages.success(request, f"{key} is deleted.")
    return _to("groups", environment)


@require_safe
@requires()
def export(request: HttpRequest, environment: str, key: str) -> StreamingHttpResponse:
    """A group's devices as CSV, as the upload takes them."""
    found = _found(environment, key)
    reading_note(
        actor=Actor.person(request.user),
        environment=environment,
        subject=f"group:{key}",
        what="all members, as CSV",
        request_id=request_id(request),
    )
    response = StreamingHttpResponse(as_csv(selectors.members(found)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{key}.csv"'
    return response


def _found(environment: str, key: str) -> TargetGroup:
    found = selectors.group(environment, key)
    if found is None:
        raise Http404(f"There is no group {key!r} in {environment}.")
    return found


def _typed(text: str) -> Iterator[str]:
    yield from filter(None, map(str.strip, text.splitlines()))


def _to(name: str, environment: str, **more: str) -> HttpResponse:
    return HttpResponseRedirect(reverse(f"rollout:{name}", kwargs={"environment": environment, **more}), status=303)
