"""Pages of scripts: the catalogue, one script with its trend, one run with its live output."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hawkops.core.access import Role, can, requires
from hawkops.core.errors import Conflict, HawkOpsError, InvalidInput, NotFound
from hawkops.core.htmx import render_page, request_id
from hawkops.history.actors import Actor
from hawkops.history.reading import reading_note
from hawkops.scripts import kept, own, schedules, selectors, services, uses
from hawkops.scripts.catalogue import BUNDLED, Measurement
from hawkops.scripts.exports import OUTCOMES, run_document, run_junit, series_document, series_junit, series_verdict
from hawkops.scripts.models import Run, RunFile, Schedule, State

MAY_RUN = (Role.RELEASER, Role.OPERATOR)
PAGE_LINES, LINES_BEFORE = 1_000, 100
BACKEND_DASHES = {"cpu": "solid", "gpu": "7px,2px", "npu": "2px,2px", "cloud": "6px,2px,1px,2px"}


@require_safe
@requires()
def catalogue(request: HttpRequest, environment: str) -> HttpResponse:
    """Every script with its newest run."""
    latest = selectors.runs_latest(environment)
    wanted = request.GET.get("search", "").strip()[:80]
    everything = own.catalogue()
    flaky = selectors.flaky(environment, everything)
    groups: dict[str, list[dict[str, Any]]] = {}
    for script in everything.values():
        if wanted.lower() in f"{script.name} {script.title} {script.means}".lower():
            row = {"script": script, "run": latest.get(script.name), "flaky": flaky.get(script.name)}
            groups.setdefault(script.group, []).append(row)
    context = {
        "groups": groups,
        "search": wanted,
        "count": len(everything),
        "refusals": own.own().refusals,
        "runs": selectors.runs(environment, limit=12),
    }
    return render_page(request, "scripts/catalogue.html", context)


@require_safe
@requires()
def writing(request: HttpRequest, environment: str) -> HttpResponse:
    """How a team writes a script of its own."""
    context = {
        "folder": None if Path(settings.SCRIPTS_DIR) == BUNDLED else settings.SCRIPTS_DIR,
        "types": own.TYPES,
        "reserved": own.RESERVED,
        "own": own.own(),
    }
    return render_page(request, "scripts/writing.html", context)


@require_http_methods(["GET", "POST"])
@requires()
def script(request: HttpRequest, environment: str, name: str) -> HttpResponse:
    """One script: what it means, its form, its runs. POST runs it."""
    try:
        entry = own.script(name)
    except NotFound as missing:
        raise Http404(missing.message) from missing
    refusal, status = "", 200
    if request.method == "POST":
        if not can(request.user, environment, *MAY_RUN):
            refusal, status = "Running a script needs the role releaser or operator.", 403
        else:
            given = {argument.name: ",".join(request.POST.getlist(argument.name)) for argument in entry.arguments}
            try:
                if request.POST.get("schedule"):
                    schedules.schedule_create(
                        environment=environment,
                        name=name,
                        arguments=given,
                        every=request.POST.get("schedule-every", ""),
                        daily_at=request.POST.get("schedule-at", ""),
                        actor=Actor.person(request.user),
                        request_id=str(getattr(request, "request_id", "")),
                    )
                    messages.info(request, "The schedule is made.")
                    return _script_page(environment, name)
                run = services.run_request(
                    environment=environment,
                    name=name,
                    arguments=given,
                    dry_run=bool(request.POST.get("dry_run")),
                    times=_count(request.POST.get("times")) or 1,
                    needs=_count(request.POST.get("needs")),
                    actor=Actor.person(request.user),
                    request_id=str(getattr(request, "request_id", "")),
                )
            except HawkOpsError as error:
                refusal, status = error.message, 422
            else:
                response = redirect("scripts:run", environment=environment, pk=run.pk)
                response.status_code = 303
                return response
    context = {
        "script": entry,
        "runs": selectors.runs(environment, name),
        "schedules": selectors.schedules(environment, name),
        "uses": uses.uses(environment, name),
        "flaky": selectors.flaky(environment, [name]).get(name),
        "times_most": services.TIMES_MOST,
        "may_run": can(request.user, environment, *MAY_RUN),
        "refusal": refusal,
        "given": request.POST,
    }
    return render_page(request, "scripts/script.html", context, status=status)


def _count(text: str | None) -> int | None:
    """Read a number of runs; None for nothing. Raises InvalidInput."""
    if not (text := (text or "").strip()):
        return None
    if (count := _whole(text)) is None:
        raise InvalidInput(f"{text[:40]!r} is no number of runs.")
    return count


def _script_page(environment: str, name: str) -> HttpResponse:
    response = redirect("scripts:script", environment=environment, name=name)
    response.status_code = 303
    return response


@require_POST
@requires(*MAY_RUN)
def schedule_stop(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Stop a schedule for good."""
    found = get_object_or_404(Schedule, pk=pk, environment=environment)
    stopped = schedules.schedule_stop(
        schedule=found, actor=Actor.person(request.user), request_id=str(getattr(request, "request_id", ""))
    )
    messages.info(request, "The schedule is stopped." if stopped else "The schedule was stopped already.")
    return _script_page(environment, found.script)


@require_safe
@requires()
def trend(request: HttpRequest, environment: str, name: str, measurement: str) -> JsonResponse:
    """The figure of one measurement over the runs."""
    try:
        entry = own.script(name)
    except NotFound as missing:
        raise Http404(missing.message) from missing
    kind = next((m for m in entry.measurements if m.name == measurement), None)
    if kind is None:
        raise Http404(f"{name} does not measure {measurement}.")
    rows = selectors.trend(environment, name, measurement)
    if not rows:
        return JsonResponse({"empty": "No run has measured this yet. Run the script, and its result stands here."})
    lines: dict[str, tuple[list[str], list[float], list[str]]] = {}
    for pk, at, backend, value in rows:
        x, y, text = lines.setdefault(backend, ([], [], []))
        x.append(at.isoformat(timespec="seconds"))
        y.append(round(value * kind.factor, 4))
        text.append(f"run {pk}")
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": backend or "all",
            "x": x,
            "y": y,
            "text": text,
            "line": {"color": backend or "treatment", "dash": BACKEND_DASHES.get(backend, "solid")},
            "marker": {"color": backend or "treatment", "size": 6},
        }
        for backend, (x, y, text) in lines.items()
    ]
    layout = {
        "height": 200,
        "showlegend": len(data) > 1,
        "yaxis": {"rangemode": "tozero", "title": {"text": kind.unit}},
        "xaxis": {"type": "date"},
    }
    return JsonResponse({"data": data, "layout": layout})


@require_safe
@requires()
def run(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """One run: verdict, measurements, files, and output that grows while it runs."""
    found = get_object_or_404(Run.objects.prefetch_related(selectors.FILES), pk=pk, environment=environment)
    return render_page(request, "scripts/run.html", _run_context(request, found))


def _run_context(request: HttpRequest, found: Run) -> dict[str, Any]:
    entry = own.catalogue().get(found.script)
    kinds = {m.name: m for m in entry.measurements} if entry else {}
    results = []
    for result in found.results:
        kind = kinds.get(str(result.get("name")))
        factor = kind.factor if kind else 1.0
        value, threshold = result.get("value"), result.get("threshold")
        results.append(
            {
                "title": kind.title if kind else result.get("name"),
                "unit": kind.unit if kind else result.get("unit", ""),
                "backend": result.get("backend", ""),
                "value": value * factor if isinstance(value, int | float) else None,
                "threshold": threshold * factor if isinstance(threshold, int | float) else None,
                "sign": "≥" if result.get("comparison") == "at_least" else "≤",
                "verdict": OUTCOMES.get(str(result.get("outcome"))),
                "note": result.get("note", ""),
                "subject": " on ".join(str(part) for part in (result.get("model"), result.get("host")) if part),
                "synthetic": bool(result.get("synthetic")),
            }
        )
    return {
        "run": found,
        "script": entry,
        "results": results,
        "files": found.files.all(),
        "awaited": selectors.run_awaited(found),
        **_series_context(found, kinds),
        **_output_context(request, found),
        "may_run": can(request.user, found.environment, *MAY_RUN),
        "allows_real_run": found.dry_run and found.state == State.PASSED,
    }


def _series_context(found: Run, kinds: dict[str, Measurement]) -> dict[str, Any]:
    """What the series of a run says, in the units people read; nothing for a run alone."""
    if found.series_id is None:
        return {}
    runs = selectors.series_runs(found.environment, found.series_id)
    document = series_document(runs)
    scattered = []
    for one in document["measurements"]:
        kind = kinds.get(one["name"])
        factor = kind.factor if kind else 1.0
        scattered.append(
            {
                **one,
                "title": kind.title if kind else one["name"],
                "unit": kind.unit if kind else one["unit"],
                **{word: one[word] * factor for word in ("median", "lowest", "highest")},
                "variation": None if one["variation"] is None else one["variation"] * 100,
            }
        )
    return {"series": document, "series_runs": runs, "series_verdict": series_verdict(runs), "scattered": scattered}


def _output_context(request: HttpRequest, found: Run) -> dict[str, Any]:
    """The lines to show: those with the searched words, those around one line, those after one, or where it stands now."""
    wanted = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    if wanted:
        lines = selectors.output_matching(found, wanted)
        return {"lines": lines, "wanted": wanted}
    line, after = _whole(request.GET.get("line")), _whole(request.GET.get("after"))
    if line:
        after = max(0, line - LINES_BEFORE)
    elif after is None:
        after = max(0, found.output_lines - PAGE_LINES) if found.is_open else 0
    lines = selectors.output(found, after=after, limit=PAGE_LINES)
    last = lines[-1].number if lines else after
    return {
        "lines": lines,
        "after": after,
        "last": last,
        "earlier": max(0, after - PAGE_LINES),
        "is_more": last < found.output_lines,
    }


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


@require_POST
@requires(*MAY_RUN)
def cancel(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """End a queued or running script."""
    found = get_object_or_404(Run, pk=pk, environment=environment)
    services.run_cancel(run=found, actor=Actor.person(request.user), request_id=str(getattr(request, "request_id", "")))
    messages.info(request, "The run is told to end." if found.is_open else "The run had ended already.")
    response = redirect("scripts:run", environment=environment, pk=pk)
    response.status_code = 303
    return response


@require_safe
@requires()
def raw(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """The output as plain text."""
    found = get_object_or_404(Run, pk=pk, environment=environment)
    text = "".join(f"{line.text}\n" for line in selectors.output(found, limit=30_000))
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


@require_safe
@requires()
def document(request: HttpRequest, environment: str, pk: int) -> JsonResponse:
    """The run and its result as JSON."""
    found = get_object_or_404(Run.objects.prefetch_related(selectors.FILES), pk=pk, environment=environment)
    response = JsonResponse(run_document(found), json_dumps_params={"indent": 1})
    response["Content-Disposition"] = f'inline; filename="run-{pk}.json"'
    return response


@require_safe
@requires()
def file(request: HttpRequest, environment: str, pk: int, name: str) -> HttpResponse:
    """A file that the run left, to be saved. A program wrote it: opened here, it could do nothing and load nothing."""
    if not kept.NAME.fullmatch(name):
        raise Http404(f"{name!r} is no name of a kept file.")
    found = get_object_or_404(RunFile, run_id=pk, run__environment=environment, name=name)
    reading_note(
        actor=Actor.person(request.user),
        environment=environment,
        subject=f"run:{pk}",
        what=f"the kept file {found.name}",
        request_id=request_id(request),
    )
    response = HttpResponse(bytes(found.content), content_type=kept.kind(found.name))
    response["Content-Disposition"] = f'attachment; filename="{found.name}"'
    response["Content-Security-Policy"] = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
    response["Cache-Control"] = "no-store"
    return response


@require_safe
@requires()
def junit(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """The result as JUnit XML; there is none before the end."""
    found = get_object_or_404(Run, pk=pk, environment=environment)
    if found.is_open:
        raise Conflict(f"Run {pk} is {found.state}; its result stands here when it has ended.")
    text = run_junit(found, selectors.output(found, limit=30_000))
    response = HttpResponse(text, content_type="application/xml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="run-{pk}.xml"'
    return response


@require_safe
@requires()
def series_result(request: HttpRequest, environment: str, pk: int) -> JsonResponse:
    """What the runs of a series say together, as JSON."""
    return JsonResponse(series_document(_series(environment, pk)), json_dumps_params={"indent": 1})


@require_safe
@requires()
def series_junit_file(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """What the runs of a series say together, as JUnit XML; there is none before the end of the last."""
    runs = _series(environment, pk)
    if series_verdict(runs) is None:
        raise Conflict(f"Series {pk} goes on; its result stands here when its last run has ended.")
    response = HttpResponse(series_junit(runs), content_type="application/xml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="series-{pk}.xml"'
    return response


def _series(environment: str, pk: int) -> list[Run]:
    if not (runs := selectors.series_runs(environment, pk)):
        raise Http404(f"There is no series {pk} in {environment}.")
    return runs
