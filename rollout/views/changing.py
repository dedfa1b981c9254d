"""A press that changes something: made at once where nobody else need look, else proposed, and the page that comes then."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse

from hawkops.core.htmx import request_id, see_other
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from rollout.models import Proposal
from rollout.services.proposals import change_or_propose


def changed(
    request: HttpRequest, environment: str, kind: str, payload: Mapping[str, Any]
) -> HistoryEntry | Proposal | None:
    """Change what a form asks for, or propose it. None when it already is so. Raises what the change raises."""
    return change_or_propose(
        kind=kind,
        environment=environment,
        payload=payload,
        actor=Actor.person(request.user),
        reason=request.POST.get("reason", ""),
        request_id=request_id(request),
    )


def proposed(request: HttpRequest, environment: str, made: Proposal) -> HttpResponse:
    """Say that a change waits for somebody else, and show it."""
    messages.info(request, "This raises exposure, so somebody else must say yes. It is proposed; nothing changed yet.")
    return see_other("rollout:proposal", environment=environment, pk=made.pk)
