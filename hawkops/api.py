"""The REST API under `/api/v1/`: every app's routers on one door, its OpenAPI document, and a page that shows it."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import get_template
from django.urls import Resolver404, URLPattern, URLResolver, path
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from django.views.defaults import page_not_found
from ninja import NinjaAPI, Schema
from ninja.operation import Operation

from hawkops.accounts.api import asks, caller
from hawkops.accounts.repeats import answered, once
from hawkops.core.access import Scope, requires
from hawkops.core.api import StrictParser, refusal, refuse_in_sentences
from hawkops.core.environments import Environment
from hawkops.core.htmx import render_page
from hawkops.core.middleware import ENVIRONMENT_COOKIE
from hawkops.history.api import router as history
from hawkops.scripts.api.routes import router as scripts
from incidents.api import ROUTERS as INCIDENTS
from monitoring.api import router as monitoring
from rollout.api import ROUTERS as ROLLOUT
from rollout.selectors import flags as flag_selectors
from rollout.selectors import releases as release_selectors

DESCRIPTION = (
    "For pipelines and tools: send `Authorization: Bearer hkt_…`. Each operation names the scope that a token needs and"
    ' the roles of which a signed-in person needs one. A refusal is `{"error": sentence}` and has changed nothing.'
    " A POST may carry `Idempotency-Key`: sent again with the same body it is answered as before and not done twice, for 24"
    " hours."
)


class Api(NinjaAPI):
    """Names operations by their functions; the framework's names would be those of our files."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """Return the name that generated clients call."""
        return str(operation.view_func.__name__)

    def create_response(self, request: HttpRequest, data: Any, **given: Any) -> HttpResponse:
        """Return an operation's answer, and keep it when it may be asked for again."""
        response = super().create_response(request, data, **given)
        answered(request, response)
        return response


api = Api(
    title="HawkOps",
    version="1",
    description=DESCRIPTION,
    urls_namespace="api",
    openapi_url=None,
    docs_url=None,
    parser=StrictParser(),
)
refuse_in_sentences(api)
api.add_decorator(once)


class EnvironmentOut(Schema):
    """An environment, the revision of its flags, and the release that walks through the runbook in it."""

    environment: str
    revision: int
    release: int | None


class EnvironmentsOut(Schema):
    """Those that the caller may read."""

    environments: list[EnvironmentOut]


@api.get("/environments", response=EnvironmentsOut, tags=["Environments"], **asks(Scope.READ))
def environments(request: HttpRequest) -> EnvironmentsOut:
    """Every environment that the caller may read."""
    running = {one.environment: one.pk for one in release_selectors.releases_running()}
    return EnvironmentsOut(
        environments=[
            EnvironmentOut(environment=one.value, revision=flag_selectors.revision(one), release=running.get(one.value))
            for one in caller(request).environments
        ]
    )


@api.get("/openapi.json", include_in_schema=False, **asks(Scope.READ))
def openapi(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document."""
    return api.create_response(request, document(), status=200)


for router in (*ROLLOUT, monitoring, *INCIDENTS, scripts):
    api.add_router("", router)
api.add_router("", history, auth=asks(Scope.READ)["auth"])


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document, made once: it is what the code is, and takes half a second."""
    return dict(api.get_openapi_schema(path_prefix="/api/v1/"))


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Go to the page in the environment looked at last."""
    last = request.COOKIES.get(ENVIRONMENT_COOKIE, "")
    return redirect("api_page", environment=last if last in list(Environment) else Environment.DEMO.value)


@require_safe
@requires()
def page(request: HttpRequest, environment: str) -> HttpResponse:
    """Every operation on a plain page of our own: the usual viewers need scripts and styles that our policy refuses."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for operation in operations():
        groups.setdefault(operation["tags"][0], []).append(operation)
    return render_page(request, "api.html", {"groups": groups})


def operations() -> Iterator[dict[str, Any]]:
    """Give every operation of the document with its method and path."""
    schemas = document()["components"]["schemas"]
    for address, methods in document()["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            yield {
                **operation,
                "method": method.upper(),
                "path": address,
                "short": address.removeprefix("/api/v1"),
                "scope": operation["x-scope"],
                "roles": operation["x-roles"],
                "asked": [one for one in operation["parameters"] if one["in"] == "query"],
                "body": schemas.get(_named(content.get("schema", {})), {}),
            }


def _named(schema: dict[str, Any]) -> str:
    """Return the name of the schema that is meant, also where it may be left out."""
    candidates = [schema, *schema.get("anyOf", [])]
    return next((one["$ref"].rpartition("/")[2] for one in candidates if "$ref" in one), "")


@csrf_exempt
@login_not_required
def nothing(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Refuse an address that is none in JSON."""
    return refusal(f"There is no operation at {request.path[:200]}; /api/v1/docs lists them.", 404)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say that there is nothing: to programs in JSON, to people on a page."""
    if request.path.startswith("/api/v1/"):
        if isinstance(exception, Resolver404):
            return nothing(request)
        return refusal(str(exception)[:200] or "There is nothing here.", 404)
    return page_not_found(request, exception)


def broken(request: HttpRequest) -> HttpResponse:
    """Say that it is our fault, and under which id the log has it; asks neither session nor database."""
    request_id = str(getattr(request, "request_id", ""))
    if request.path.startswith("/api/v1/"):
        answer = refusal(f"Something broke on our side. The log has it under request {request_id}.", 500)
    else:
        answer = HttpResponse(get_template("500.html").render({"request_id": request_id}), status=500)
    return answer


def _routes() -> tuple[list[URLPattern], str, str]:
    patterns, app, namespace = api.urls
    found = []
    for pattern in patterns:
        assert isinstance(pattern, URLPattern)
        if pattern.name == "api-root":
            continue  # `nothing` says more
        assert pattern.callback is not None
        # they refuse strangers themselves, with 401 instead of the sign-in page
        pattern.callback = login_not_required(never_cache(pattern.callback))
        found.append(pattern)
    return found, app, namespace


urlpatterns: list[URLPattern | URLResolver] = [
    path("docs", docs, name="api_docs"),
    path("", _routes()),
    path("<path:rest>", nothing, name="api_nothing"),
]
