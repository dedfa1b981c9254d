"""The four dashboards over HTTP: the page, its charts, one chart, its numbers."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from hawkops.core import charts
from hawkops.core.access import Role, can, requires
from hawkops.core.errors import HawkOpsError
from hawkops.core.htmx import render_page
from hawkops.history.actors import Actor
from monitoring.charts.boards import BOARDS, OVERVIEW, Panel
from monitoring.services.links import dashboard_links_save
from monitoring.views.board_page import BoardPage
from monitoring.views.exports import as_csv, as_json, table

MAY_LINK = (Role.APPROVER, Role.RELEASER)


def _page(request: HttpRequest, environment: str, key: str) -> BoardPage:
    asked = request.GET
    return BoardPage(
        environment,
        BOARDS[key],
        window=asked.get("window", ""),
        devices=asked.get("devices", ""),
        cohort=asked.get("cohort", ""),
        until=asked.get("until", ""),
    )


def _panel(page: BoardPage, name: str) -> Panel:
    panel = page.panel(name)
    if panel is None:
        raise Http404(f"There is no chart {name!r}.")
    return panel


@require_safe
@requires()
def board(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """A dashboard."""
    context = {
        "page": _page(request, environment, key),
        "may_link": key == "production" and can(request.user, environment, *MAY_LINK),
    }
    return render_page(request, "monitoring/board.html", context)


@require_safe
@requires()
def board_charts(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Every figure of a dashboard in one answer, by name, as plain arrays."""
    return charts.respond(_page(request, environment, key).figures())


@require_safe
@requires()
def board_numbers(request: HttpRequest, environment: str, key: str, form: str) -> HttpResponse:
    """A dashboard's numbers as CSV or JSON, in base units: points of lines, criteria, device classes."""
    page = _page(request, environment, key)
    answer = as_json(page) if form == "json" else as_csv(page)
    name = f"hawkops-{environment}-{key}-{page.choice.key}.{form}"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Cache-Control"] = "no-store"
    return answer


@require_safe
@requires()
def overview_chart(request: HttpRequest, environment: str) -> HttpResponse:
    """The overview's chart of throughput."""
    return charts.respond(_page(request, environment, "litert").figures([OVERVIEW])[OVERVIEW.name])


@require_safe
@requires()
def chart(request: HttpRequest, environment: str, key: str, name: str) -> HttpResponse:
    """One figure of a dashboard."""
    page = _page(request, environment, key)
    panel = _panel(page, name)
    return charts.respond(page.figures([panel])[panel.name])


@require_safe
@requires()
def chart_table(request: HttpRequest, environment: str, key: str, name: str) -> HttpResponse:
    """One chart as a sentence and a table, for whoever sees no drawing."""
    page = _page(request, environment, key)
    panel = _panel(page, name)
    figure = page.figures([panel])[panel.name]
    context = {"page": page, "shown": page.shown(panel), "figure": figure, "table": table(page, figure)}
    return render(request, "monitoring/chart.html", context)


@require_POST
@requires(*MAY_LINK)
def links(request: HttpRequest, environment: str) -> HttpResponse:
    """Say where the runbook's reader finds the dashboards."""
    try:
        dashboard_links_save(
            environment=environment,
            links={key: request.POST.get(key, "") for key in BOARDS},
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=str(getattr(request, "request_id", "")),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "The addresses of the dashboards are saved.")
    response = redirect("monitoring:production", environment=environment)
    response.status_code = 303
    return response
