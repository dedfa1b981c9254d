"""One view serves the page and its parts: the browser is told *that* something changed and asks for it again."""

import re
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.exceptions import TemplateDoesNotExist
from django.urls import reverse
from django_htmx.middleware import HtmxDetails

PART = re.compile(r"[a-z][a-z0-9-]{0,40}")


class HtmxRequest(HttpRequest):
    """A request that knows whether htmx sent it."""

    htmx: HtmxDetails


def render_page(
    request: HttpRequest, template: str, context: dict[str, Any] | None = None, *, status: int = 200
) -> HttpResponse:
    """Render the whole page, or only the partial named by `?part=`."""
    part = request.GET.get("part", "")
    name = f"{template}#{part}" if PART.fullmatch(part) else template
    try:
        response = render(request, name, context or {}, status=status)
    except TemplateDoesNotExist as missing:
        if part and missing.args[0] == name:
            raise Http404(f"The page has no part {part!r}.") from None
        raise
    response["Cache-Control"] = "no-store"
    return response


def see_other(name: str, fragment: str = "", **kwargs: str | int) -> HttpResponse:
    """Answer a form with the page to look at now, by 303, so that reloading it sends nothing again."""
    response = HttpResponseRedirect(reverse(name, kwargs=kwargs) + fragment)
    response.status_code = 303
    return response


def request_id(request: HttpRequest) -> str:
    """Return the id under which the history finds this request."""
    return str(getattr(request, "request_id", ""))
