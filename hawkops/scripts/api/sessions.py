"""The older addresses, `/ENVIRONMENT/api/…`: list scripts, start a run, read it, its output and its result. JSON in and out.

Whoever asks is signed in as on the pages; a stranger gets 401, not the sign-in page. What writes needs the form token too.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hawkops.core.access import Role, can
from hawkops.core.bounded import fit, json_loads
from hawkops.core.errors import HawkOpsError, InvalidInput, NotAllowed
from hawkops.history.actors import Actor
from hawkops.scripts import selectors, services
from hawkops.scripts.api.documents import (
    RUNS_MOST,
    as_arguments,
    output_document,
    run_found,
    script_document,
    series_found,
)
from hawkops.scripts.exports import run_document, series_document
from hawkops.scripts.own import catalogue

MAY_RUN = (Role.RELEASER, Role.OPERATOR)
P = ParamSpec("P")


def _answers(
    *roles: Role,
) -> Callable[
    [Callable[Concatenate[HttpRequest, str, P], JsonResponse]], Callable[Concatenate[HttpRequest, P], HttpResponse]
]:
    """Refuse in JSON: 401 to strangers, 403 without the roles, and every refusal with its sentence."""

    def decorate(
        view: Callable[Concatenate[HttpRequest, str, P], JsonResponse],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            environment = str(kwargs.pop("environment"))
            if not request.user.is_authenticated:
                return _refusal("Sign in first.", 401)
            try:
                wanted = roles if request.method not in ("GET", "HEAD") else ()
                if not can(request.user, environment, *wanted):
                    raise NotAllowed(f"This needs the role {' or '.join(wanted) or 'any'} in {environment}.")
                response: HttpResponse = view(request, environment, *args, **kwargs)
            except HawkOpsError as error:
                return _refusal(error.message, error.status)
            response["Cache-Control"] = "no-store"
            return response

        return login_not_required(guarded)

    return decorate


def _refusal(message: str, status: int) -> JsonResponse:
    return JsonResponse({"error": message}, status=status)


@require_safe
@_answers()
def scripts(request: HttpRequest, environment: str) -> JsonResponse:
    """Every script with its arguments and its newest run."""
    latest = selectors.runs_latest(environment)
    return JsonResponse({"scripts": [script_document(entry, latest.get(entry.name)) for entry in catalogue().values()]})


@require_http_methods(["GET", "HEAD", "POST"])
@_answers(*MAY_RUN)
def runs(request: HttpRequest, environment: str) -> JsonResponse:
    """The newest runs, of one `script` or of all. POST `{"script", "arguments", "dry_run"}` starts one: 201.

    With `times` and `needs` it starts several, of which so many must pass; the answer is the first.
    """
    if request.method != "POST":
        found = selectors.runs(environment, request.GET.get("script", ""), limit=RUNS_MOST)
        return JsonResponse({"runs": [run_document(run) for run in found]})
    body = _body(request)
    run = services.run_request(
        environment=environment,
        name=body["script"],
        arguments=body["arguments"],
        dry_run=body["dry_run"],
        times=body["times"],
        needs=body["needs"],
        actor=Actor.person(request.user),
        request_id=str(getattr(request, "request_id", "")),
    )
    response = JsonResponse(run_document(run), status=201)
    response["Location"] = f"/{environment}/api/runs/{run.pk}"
    return response


@require_safe
@_answers()
def run(request: HttpRequest, environment: str, pk: int) -> JsonResponse:
    """One run with its result."""
    return JsonResponse(run_document(run_found(environment, pk)))


@require_safe
@_answers()
def series(request: HttpRequest, environment: str, pk: int) -> JsonResponse:
    """What the runs of a series say together: how many passed, and how their measurements scatter."""
    return JsonResponse(series_document(series_found(environment, pk)))


@require_safe
@_answers()
def output(request: HttpRequest, environment: str, pk: int) -> JsonResponse:
    """Lines after the line number `after`; ask again with `last` while `is_open`."""
    found = run_found(environment, pk)
    asked = request.GET.get("after", "0")
    if not (asked.isascii() and asked.isdigit() and len(asked) < 10):
        raise InvalidInput(f"after={asked[:40]!r} is no line number.")
    return JsonResponse(output_document(found, after=int(asked)))


@require_POST
@_answers(*MAY_RUN)
def cancel(request: HttpRequest, environment: str, pk: int) -> JsonResponse:
    """Ask a run to end; one that has ended stays as it is."""
    services.run_cancel(
        run=run_found(environment, pk),
        actor=Actor.person(request.user),
        request_id=str(getattr(request, "request_id", "")),
    )
    return JsonResponse(run_document(run_found(environment, pk)), status=202)


def _body(request: HttpRequest) -> dict[str, Any]:
    """Read what a run is asked for with. Raises InvalidInput that names the member."""
    body = fit(json_loads(request.body))
    if not isinstance(body, dict):
        raise InvalidInput("The body must be an object.")
    if unknown := sorted(set(body) - {"script", "arguments", "dry_run", "times", "needs"}):
        raise InvalidInput(f"{unknown[0]!r} is no member; there are script, arguments, dry_run, times and needs.")
    if not isinstance(body.get("script"), str):
        raise InvalidInput("script must be a text, scripts/test-cpu-performance.sh say.")
    if not isinstance(body.get("dry_run", False), bool):
        raise InvalidInput("dry_run must be true or false.")
    times, needs = body.get("times", 1), body.get("needs")
    if type(times) is not int or type(needs) not in (int, type(None)):
        raise InvalidInput("times and needs must be whole numbers.")
    given = body.get("arguments", {})
    if not isinstance(given, dict) or not all(isinstance(value, str | bool) for value in given.values()):
        raise InvalidInput("arguments must be an object of texts, and true or false for switches.")
    return {
        "script": body["script"],
        "dry_run": body.get("dry_run", False),
        "arguments": as_arguments(given),
        "times": times,
        "needs": needs,
    }
