"""The troubleshooting guide: problems as they stand, one with its presses, and a team's own. All works as plain forms."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_POST, require_safe

from hawkops.core import clock
from hawkops.core.access import Role, can, requires
from hawkops.core.errors import HawkOpsError, InvalidInput, NotFound
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.history import selectors as history
from hawkops.history.actors import Actor
from hawkops.scripts.models import Run
from hawkops.scripts.own import catalogue
from hawkops.scripts.selectors import output
from hawkops.scripts.services import run_request
from incidents.domain import problem_form
from incidents.domain.troubleshooting import LOOKS, Presence, Problem, SolutionKind
from incidents.models import OwnProblem, Remedy
from incidents.selectors import troubleshooting as selectors
from incidents.selectors.solutions import previews
from incidents.services import problems as services
from incidents.services.remedies import remedy_press, remedy_undo
from monitoring.selectors import patterns
from monitoring.selectors.criteria import stored as stored_criteria
from rollout.domain.flags import FlagType
from rollout.selectors import flags as flag_selectors

MAY_PRESS = (Role.OPERATOR, Role.RELEASER)
TAIL_LINES = 30


def _who(request: HttpRequest) -> dict[str, Any]:
    return {"actor": Actor.person(request.user), "request_id": request_id(request)}


@require_safe
@requires()
def troubleshooting(request: HttpRequest, environment: str) -> HttpResponse:
    """Show every problem with its state now, and what was pressed last."""
    states = selectors.states(environment)
    context = {
        "states": states,
        "present": sum(one.presence is Presence.PRESENT for one in states),
        "unknown": sum(one.presence is Presence.UNKNOWN for one in states),
        "remedies": selectors.remedies(environment),
        "archived": selectors.own_problems(environment, archived=True),
        "may_press": can(request.user, environment, *MAY_PRESS),
        "looked_at": clock.now(),
    }
    return render_page(request, "incidents/troubleshooting.html", context)


def _found(environment: str, key: str) -> tuple[Problem, OwnProblem | None]:
    try:
        return selectors.problem(environment, key)
    except NotFound as missing:
        raise Http404(missing.message) from missing


@require_safe
@requires()
def problem(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Show one problem: symptoms, diagnosis with output in place, solutions, and whether they helped."""
    found, own = _found(environment, key)
    # a part asks for itself alone, again and again
    part = request.GET.get("part", "")
    context: dict[str, Any] = {
        "problem": found,
        "own": own,
        "may_press": can(request.user, environment, *MAY_PRESS),
        "looked_at": clock.now(),
    }
    if part in ("", "symptoms"):
        symptoms = tuple(selectors.measured(environment, [found])[key])
        context["state"] = selectors.State(found, symptoms, own)
        context["rows"] = list(zip(found.symptoms, symptoms, strict=True))
    if part in ("", "diagnosis"):
        context["diagnosis"] = [_diagnosis(*row) for row in selectors.diagnosed(environment, found.diagnosis)]
        context["running"] = any(row["run"] and row["run"].is_open for row in context["diagnosis"])
    if part in ("", "solutions"):
        context["previews"] = previews(environment, found, actor=Actor.person(request.user))
    if part in ("", "remedies"):
        context["remedies"] = [_shown(environment, one) for one in selectors.remedies(environment, key)]
        context["looks"] = [int(one.total_seconds() // 60) for one in LOOKS]
    if own is not None and not part:
        context["entries"] = history.entries(environment=environment).filter(subject=services.row_subject(own))[:6]
    return render_page(request, "incidents/problem.html", context)


def _diagnosis(one: Any, run: Run | None) -> dict[str, Any]:
    known = catalogue().get(one.script)
    lines = output(run, after=max(0, run.output_lines - TAIL_LINES)) if run is not None else []
    return {"one": one, "script": known, "run": run, "lines": lines}


def _shown(environment: str, one: Remedy) -> dict[str, Any]:
    """A press with what devices reported of it, where it was a command."""
    found, _ = selectors.problem(environment, one.problem)
    solution = found.solution(one.solution)
    reported: dict[str, int] = {}
    if solution is not None and solution.kind is SolutionKind.COMMAND and one.applied_at is not None:
        ends = [f"{solution.outcome}_{end}" for end in ("done", "failed")]
        counts = selectors.commanded(environment, ends, since=one.applied_at)
        reported = {"done": counts.get(ends[0], 0), "failed": counts.get(ends[1], 0)}
    return {"one": one, "reported": reported}


@require_POST
@requires(*MAY_PRESS)
def diagnose(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Run one script of the diagnosis; its output appears in place."""
    found, _ = _found(environment, key)
    number = request.POST.get("number", "")
    place = int(number) if number.isascii() and number.isdigit() and len(number) < 4 else 0
    try:
        if not 1 <= place <= len(found.diagnosis):
            raise InvalidInput("There is no such diagnosis here.")
        one = found.diagnosis[place - 1]
        run = run_request(environment=environment, name=one.script, arguments=dict(one.arguments), **_who(request))
        messages.info(request, f"Run {run.pk} is asked for: {one.words}.")
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return see_other("incidents:problem", f"#d{place}", environment=environment, key=key)


@require_POST
@requires(*MAY_PRESS)
def press(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Press one solution."""
    found, _ = _found(environment, key)
    solution = found.solution(request.POST.get("solution", ""))
    try:
        if solution is None:
            raise InvalidInput("There is no such solution here.")
        done = remedy_press(
            environment=environment,
            problem=found,
            solution=solution,
            bound=request.POST.get("bound", "")[:80],
            words=request.POST.get("words", "")[:200],
            **_who(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return see_other("incidents:problem", "#solutions", environment=environment, key=key)
    minutes = " and ".join(str(int(one.total_seconds() // 60)) for one in LOOKS)
    if done.proposal is not None:
        messages.info(
            request, "This raises exposure, so somebody else must say yes. It is proposed; nothing changed yet."
        )
        return see_other("rollout:proposal", environment=environment, pk=done.proposal)
    if done.remedy is not None:
        words = f"{done.remedy.title}: entry {done.remedy.entry}. Whether it helps is measured in {minutes} minutes."
        messages.success(request, words)
    elif done.run is not None:
        messages.info(request, f"Run {done.run.pk} only says what it would do. When it has passed, press again.")
    else:
        messages.info(request, f"{solution.title}: it is so already. Nothing needed to change.")
    return see_other("incidents:problem", "#remedies", environment=environment, key=key)


@require_POST
@requires(*MAY_PRESS)
def undo(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Put back what stood before a press."""
    found = selectors.remedy(environment, pk)
    try:
        proposal = remedy_undo(remedy=found, reason=request.POST.get("words", ""), **_who(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        if proposal is not None:
            messages.info(request, "Putting it back raises exposure, so somebody else must say yes. It is proposed.")
            return see_other("rollout:proposal", environment=environment, pk=proposal)
        messages.success(request, f"{found.title}: what stood before stands again.")
    return see_other("incidents:problem", "#remedies", environment=environment, key=found.problem)


# ---- a team's own ----


@require_safe
@requires()
def problem_new(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the form to add a problem."""
    return _form(request, environment, problem_form.fields(None))


@require_safe
@requires()
def problem_edit(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Show the form of a team's problem."""
    found, own = _found(environment, key)
    if own is None:
        raise Http404(f"{key} is the runbook's.")
    return _form(request, environment, problem_form.fields(found), own)


def _form(
    request: HttpRequest, environment: str, fields: dict[str, Any], own: OwnProblem | None = None, refusal: str = ""
) -> HttpResponse:
    flags = flag_selectors.flags(environment)
    context = {
        **fields,
        "own": own,
        "refusal": refusal,
        "reason": request.POST.get("reason", ""),
        "criteria": [(f"criterion:{one.key}", one.key, one.document.get("title", "")) for one in stored_criteria()],
        "patterns": [(f"pattern:{one.key}", one.key, one.title) for _, one in patterns.stored()],
        "scripts": list(catalogue().values()),
        "flags": flags,
        "may_press": can(request.user, environment, *MAY_PRESS),
    }
    return render_page(request, "incidents/problem_form.html", context, status=422 if refusal else 200)


@require_POST
@requires(*MAY_PRESS)
def problem_create(request: HttpRequest, environment: str) -> HttpResponse:
    """Add a problem."""
    return _save(request, environment, None)


@require_POST
@requires(*MAY_PRESS)
def problem_save(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Change a team's problem."""
    _, own = _found(environment, key)
    if own is None:
        raise Http404(f"{key} is the runbook's.")
    return _save(request, environment, own)


def _save(request: HttpRequest, environment: str, own: OwnProblem | None) -> HttpResponse:
    given = {name: [value.replace("\x00", "") for value in values] for name, values in request.POST.lists()}
    types = {one.key: FlagType(one.type) for one in flag_selectors.flags(environment)}
    number = request.POST.get("revision", "")
    try:
        document = problem_form.document_typed({**given, **({"key": [own.key]} if own else {})}, types)
        made = services.problem_save(
            environment=environment,
            document=document,
            revision=(int(number) if number.isascii() and number.isdigit() and len(number) < 9 else 0) if own else None,
            reason=request.POST.get("reason", ""),
            **_who(request),
        )
    except HawkOpsError as refusal:
        return _form(request, environment, problem_form.typed_fields(given), own, refusal.message)
    messages.success(request, f"{made.document['title']} is in the guide.")
    return see_other("incidents:problem", environment=environment, key=made.key)


@require_POST
@requires(*MAY_PRESS)
def problem_archive(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Take a team's problem out of the guide."""
    _, own = _found(environment, key)
    if own is None:
        raise Http404(f"{key} is the runbook's.")
    done = services.problem_archive(
        environment=environment, key=key, reason=request.POST.get("reason", ""), **_who(request)
    )
    messages.info(request, "It is out of the guide." if done else "It was out of the guide already.")
    return see_other("incidents:troubleshooting", environment=environment)
