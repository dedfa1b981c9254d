"""Rollback by four levels: each with what it would do, one press, what it did, and undo. Plain forms, also on a phone."""

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can, requires, stops
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from incidents import reasons
from incidents.selectors import rollback as selectors
from rollout.domain.rollback import Level
from rollout.domain.targeting import Constraint, constraint
from rollout.selectors import rollbacks
from rollout.services.proposals import change_or_propose
from rollout.services.rollback import rollback

MAY_STOP = (Role.OPERATOR,)
PAGE = "incidents:rollback"
COHORTS_MOST = 10


@require_safe
@requires()
def page(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the levels in order, what was rolled back, and how far it has helped."""
    part = request.GET.get("part", "")
    context: dict[str, Any] = {
        "ready": True,
        "may_stop": can(request.user, environment, *MAY_STOP),
        "kill_reasons": reasons.KILL,
        "disable_reasons": reasons.DISABLE,
    }
    if part != "search":
        context |= selectors.after(environment)
    if part == "":
        context["levels"] = levels = selectors.levels(environment)
        context["ready"] = bool(levels.revision)
        wanted = request.GET.get("search") == "1" or levels.active <= selectors.SEARCHED_AT_ONCE
    searched = part == "search" or (part == "" and context["ready"] and wanted)
    found, proposals = selectors.search(environment) if searched else (None, ())
    # what comes later moves no choice under a finger
    best = selectors.best(found, proposals) if part == "" else None
    context |= {
        "searched": searched,
        "found": found,
        "proposals": [(one, _written(one)) for one in proposals],
        "best": best,
        "chosen": selectors.preselected(found),
    }
    return render_page(request, "incidents/rollback.html", context)


@stops
@require_POST
@requires(*MAY_STOP)
def press(request: HttpRequest, environment: str) -> HttpResponse:
    """Roll back by one level. Never refused for its reason; a second press at once finds it done."""
    try:
        level = _level(request)
        backends, cohorts = _where(request) if level == Level.DISABLE else ([], [])
        made = rollback(
            environment=environment,
            level=level,
            actor=Actor.person(request.user),
            reason=reasons.reason(
                request.POST.get("reason", ""), request.POST.get("words", ""), otherwise=Level(level).reason
            ),
            backends=backends,
            cohorts=cohorts,
            seen=revision_seen(request),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return see_other(PAGE, environment=environment)
    if made is None:
        said = "It is under way already." if level == Level.APP else "Nothing was left to lower: it is done already."
        messages.info(request, f"Level {level}: {said}")
    elif level == Level.APP:
        messages.success(request, f"Level 4 is asked for, rehearsal first: run {made.rehearsal_id}.")
    else:
        paused = f" Phase {made.phase} is paused." if made.phase else ""
        messages.success(
            request,
            f"Rolled back by level {level}: entry {rollbacks.entry_of(made)}.{paused} The census below follows.",
        )
    return see_other(PAGE, environment=environment)


@require_POST
@requires(*MAY_STOP)
def undo(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Undo a rollback, or propose it where raising takes a second person: the environment's name is typed, and a reason."""
    try:
        if request.POST.get("confirm", "").strip() != environment:
            raise InvalidInput(
                f"Nothing was changed. Type {environment} to confirm that devices may get back what they had."
            )
        made = change_or_propose(
            kind="rollback.undo",
            environment=environment,
            payload={"rollback": pk},
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return see_other(PAGE, environment=environment)
    if isinstance(made, HistoryEntry) or made is None:
        entry = f": entry {made.seq}" if made is not None else ""
        messages.success(request, f"Rollback {pk} is undone{entry}. A phase that it paused stays paused.")
        return see_other(PAGE, environment=environment)
    messages.info(request, "Undoing raises exposure, so somebody else must say yes. It is proposed.")
    return redirect(reverse("rollout:proposal", kwargs={"environment": environment, "pk": made.pk}))


def revision_seen(request: HttpRequest) -> int | None:
    """Return the revision that a form was made from; None where it says none."""
    seen = request.POST.get("revision", "")
    return int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 19 else None


def _level(request: HttpRequest) -> int:
    given = request.POST.get("level", "")
    if given not in {str(level.value) for level in Level}:
        raise InvalidInput("A rollback has level 1 (half), 2 (backends), 3 (everything) or 4 (the app).")
    return int(given)


def _written(one: selectors.Proposal) -> str:
    """Write a proposal as the form sends it back: what was seen is what is done."""
    told = [[[each.attribute, each.values[0]] for each in cohort.constraints] for cohort in one.harm.cohorts]
    return json.dumps({"backend": one.harm.backend, "cohorts": told})


def _where(request: HttpRequest) -> tuple[list[str], list[tuple[Constraint, ...]]]:
    """Read backends and cohorts of a form: what is ticked, everywhere, or a proposal. Raises InvalidInput."""
    text = request.POST.get("where", "")
    if text in ("", "everywhere"):
        return request.POST.getlist("backends"), []
    try:
        given = json.loads(text)
        found = [tuple(constraint(str(name), "is", str(value)) for name, value in one) for one in given["cohorts"]]
        backend = str(given["backend"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidInput("These cohorts can't be read; look for them again, or choose everywhere.") from error
    if not 1 <= len(found) <= COHORTS_MOST:
        raise InvalidInput(f"Choose 1 to {COHORTS_MOST} cohorts, or everywhere.")
    return [backend], found
