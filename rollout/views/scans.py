"""Uploading a security scan in the browser."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from hawkops.core.access import Role, requires
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.history.actors import Actor
from rollout.domain.scans import FILE_BYTES
from rollout.models import Release
from rollout.services.scans import scan_upload

MAY_UPLOAD = (Role.RELEASER, Role.OPERATOR)


@require_POST
@requires(*MAY_UPLOAD)
def upload(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Take a scanner's file for a release; the checklist follows."""
    release = get_object_or_404(Release, pk=pk, environment=environment)
    given = request.FILES.get("file")
    try:
        if given is None:
            raise InvalidInput("Choose a file that a scanner wrote.")
        made = scan_upload(
            release=release,
            content=given.read(FILE_BYTES + 1),
            actor=Actor.person(request.user),
            request_id=str(getattr(request, "request_id", "")),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        total = sum(made.counts.values())
        messages.success(request, f"{made.tool}: {total} finding{'' if total == 1 else 's'}. The box follows shortly.")
    where = reverse("rollout:checklist", kwargs={"environment": environment, "pk": pk})
    return HttpResponseRedirect(f"{where}#security_scan", status=303)
