"""What forms of criteria and of patterns have in common: who sends one, what was typed, where one goes afterwards."""

from typing import Any

from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse

from hawkops.history.actors import Actor


def who(request: HttpRequest) -> dict[str, Any]:
    """Return what every service wants to know of a change: the person, the reason, the request."""
    return {
        "actor": Actor.person(request.user),
        "reason": request.POST.get("reason", ""),
        "request_id": str(getattr(request, "request_id", "")),
    }


def whole(text: str) -> int | None:
    """Return the number of what was typed; None for what is none, such as a ² that Python takes for a digit."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def to(name: str, environment: str, **key: str) -> HttpResponseRedirect:
    """Go to a page after a post, so that reloading it posts nothing again."""
    return HttpResponseRedirect(reverse(name, kwargs={"environment": environment, **key}), status=303)
