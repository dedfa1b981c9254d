"""Whoever must have a second factor, by `SECOND_FACTOR_FOR`, and has none changes nothing until then; kills aside."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse

from hawkops.accounts.selectors import MUST_HAVE, lacks_factor
from hawkops.core.api import refusal

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class SecondFactorMiddleware:
    """Lead to one's own page, where factors are added. The API asks by itself (`accounts.api`)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        """Let looking, stopping and one's own page through."""
        assert request.resolver_match is not None
        own = request.resolver_match.namespace == "accounts" and "environment" not in kwargs
        if request.method in SAFE_METHODS or own or getattr(view, "stops", False):
            return None
        if request.resolver_match.namespaces[:1] == ["api"] or not lacks_factor(request.user):
            return None
        if "/api/" in request.path:
            return refusal(MUST_HAVE, 403)
        messages.error(request, MUST_HAVE)
        target = reverse("accounts:profile") + "#factors"
        if request.headers.get("HX-Request"):
            return HttpResponse(headers={"HX-Redirect": target})
        return HttpResponseRedirect(target, status=303)
