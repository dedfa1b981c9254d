"""`/api/v1/ENVIRONMENT/scripts` and `runs`."""

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from hawkops.accounts.api import asks, who
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body
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
Document = dict[str, Any]

router = Router(tags=["Scripts"])


class RunAsked(Body):
    """A script with its arguments; with `times` and `needs` several runs, of which so many must pass."""

    script: str
    arguments: dict[str, str | bool] = {}
    dry_run: bool = False
    times: int = 1
    needs: int | None = None


@router.get("/{environment}/scripts", response=Document, **asks(Scope.READ))
def scripts(request: HttpRequest, environment: str) -> Document:
    """Every script with its arguments and its newest run."""
    latest = selectors.runs_latest(environment)
    return {"scripts": [script_document(entry, latest.get(entry.name)) for entry in catalogue().values()]}


@router.get("/{environment}/runs", response=Document, **asks(Scope.READ))
def runs(request: HttpRequest, environment: str, script: str = "") -> Document:
    """The newest runs, of one script or of all."""
    return {"runs": [run_document(run) for run in selectors.runs(environment, script, limit=RUNS_MOST)]}


@router.post("/{environment}/runs", response={201: Document}, **asks(Scope.SCRIPTS_RUN, *MAY_RUN))
def run_start(request: HttpRequest, response: HttpResponse, environment: str, body: RunAsked) -> Document:
    """Queue a run. A script that changes something needs its dry run within the hour before."""
    run = services.run_request(
        environment=environment,
        name=body.script,
        arguments=as_arguments(body.arguments),
        dry_run=body.dry_run,
        times=body.times,
        needs=body.needs,
        **who(request),
    )
    response["Location"] = f"/api/v1/{environment}/runs/{run.pk}"
    return run_document(run)


@router.get("/{environment}/runs/{int:pk}", response=Document, **asks(Scope.READ))
def run(request: HttpRequest, environment: str, pk: int) -> Document:
    """One run with its result."""
    return run_document(run_found(environment, pk))


@router.get("/{environment}/runs/{int:pk}/output", response=Document, **asks(Scope.READ))
def run_output(
    request: HttpRequest, environment: str, pk: int, after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0
) -> Document:
    """Lines after the line number `after`; ask again with `last` while `is_open`."""
    return output_document(run_found(environment, pk), after=after)


@router.post("/{environment}/runs/{int:pk}/cancel", response={202: Document}, **asks(Scope.SCRIPTS_RUN, *MAY_RUN))
def run_cancel(request: HttpRequest, environment: str, pk: int) -> Document:
    """Ask a run to end; one that has ended stays as it is."""
    services.run_cancel(run=run_found(environment, pk), **who(request))
    return run_document(run_found(environment, pk))


@router.get("/{environment}/series/{int:pk}", response=Document, **asks(Scope.READ))
def series(request: HttpRequest, environment: str, pk: int) -> Document:
    """What the runs of a series say together: how many passed, and how their measurements scatter."""
    return series_document(series_found(environment, pk))
