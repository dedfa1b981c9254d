"""What every request gets before its view: an id, its environment, and the refusal of unknown ones."""

import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import render

from hawkops.core import logs, metering
from hawkops.core.bounded import Malformed, fit
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError

PERMISSIONS = ", ".join(
    f"{name}=()"
    for name in (
        "accelerometer",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "microphone",
        "payment",
        "usb",
    )
)
ENVIRONMENT_COOKIE = "hawkops_environment"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
GetResponse = Callable[[HttpRequest], HttpResponseBase]
log = logging.getLogger(__name__)


class RequestIdMiddleware:
    """Give each request an id that history entries and logs carry, count it, and log its end.

    The id is always ours: entries must not carry what a stranger chose. A proxy logs the answer's `X-Request-Id`.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = request.request_id = uuid.uuid4().hex[:16]  # type: ignore[attr-defined]
        began = time.perf_counter()
        with logs.about(request_id=request_id):
            response = self.get_response(request)
            seconds = time.perf_counter() - began
            route = request.resolver_match.route if request.resolver_match else "none"
            metering.console.note(route, response.status_code, seconds)
            if request.resolver_match:  # a static file has none, and says nothing
                log.info("request", extra=_request_facts(request, route, response.status_code, seconds))
        response["X-Request-Id"] = request_id
        return response


def _request_facts(request: HttpRequest, route: str, status: int, seconds: float) -> dict[str, Any]:
    """Say what was asked by its route: addresses hold secrets, and queries what people looked for."""
    facts: dict[str, Any] = {"method": request.method, "route": route, "status": status, "ms": round(1000 * seconds, 1)}
    if environment := getattr(request, "environment", None):
        facts["environment"] = str(environment)
    person = getattr(request, "_cached_user", None)  # asking for `user` would read the session of who has none
    if person is not None and person.pk:
        facts["person"] = f"person:{person.pk}"
    return facts


class HeadersMiddleware:
    """Close what no page of ours uses, keep answers from being embedded elsewhere, and personal ones from being kept."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.setdefault("Permissions-Policy", PERMISSIONS)
        response.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        # static files come from in front of this
        response.setdefault("Cache-Control", "no-store")
        return response


class EnvironmentMiddleware:
    """Read the environment out of the URL, and remember the last one for `/`."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        environment = getattr(request, "environment", None)
        looked_at = environment and not request.path.startswith("/api/")  # a program looks at no page
        if looked_at and request.COOKIES.get(ENVIRONMENT_COOKIE) != environment:
            response.set_cookie(ENVIRONMENT_COOKIE, str(environment), max_age=31_536_000, samesite="Lax", httponly=True)
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Refuse an environment that does not exist before any view sees it."""
        if "environment" not in kwargs:
            return
        try:
            request.environment = Environment(kwargs["environment"])  # type: ignore[attr-defined]
        except ValueError:
            raise Http404(f"There is no environment {kwargs['environment']!r}.") from None


class FitMiddleware:
    """Refuse texts that PostgreSQL can't hold, in addresses and forms, before any view compares them with a column."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        """Answer 400 for a NUL; a program's JSON is read, and refused, by its own door."""
        if request.path.startswith("/api/v1/"):
            return None
        try:
            fit(request.path)
            for given in (request.GET, request.POST if request.content_type in FORMS else QueryDict()):
                for name in given:
                    fit([name, *given.getlist(name)])
        except Malformed as error:
            return _refused(request, error)
        return None


class RefusalMiddleware:
    """Turn a refusal that no view handled into its plain sentence and status."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer with the error's own status; anything unexpected goes on to Django."""
        return _refused(request, error) if isinstance(error, HawkOpsError) else None


def _refused(request: HttpRequest, error: HawkOpsError) -> HttpResponse:
    if request.accepts("text/html"):
        return render(request, "refused.html", {"message": error.message}, status=error.status)
    return HttpResponse(error.message, status=error.status, content_type="text/plain; charset=utf-8")
