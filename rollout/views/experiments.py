"""Pages of A/B tests: what runs, its arms and what their devices measured, and the presses that start and end one."""

import math
from itertools import zip_longest
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.views.decorators.http import require_POST, require_safe

from hawkops.core import clock
from hawkops.core.access import Role, can, requires
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page, see_other
from hawkops.core.why import Band, finite
from hawkops.history import selectors as history
from monitoring.charts.words import words
from monitoring.domain.metrics import Direction
from rollout.domain.flags import FlagType
from rollout.domain.values import value_typed
from rollout.models import Experiment, Flag, Proposal
from rollout.selectors import experiments as selectors
from rollout.selectors import flags as flag_selectors
from rollout.services.experiments import arms_read
from rollout.views.changing import changed, proposed

MAY_CHANGE = (Role.RELEASER, Role.OPERATOR)
# as many arms as the form has rows
ROWS = 4


@require_safe
@requires()
def experiments(request: HttpRequest, environment: str) -> HttpResponse:
    """Every A/B test, and a form for a new one."""
    return _list(request, environment)


def _list(request: HttpRequest, environment: str, *, typed: QueryDict | None = None, refusal: str = "") -> HttpResponse:
    exposed = selectors.exposed(environment)
    wanted = typed or request.GET
    names, weights, values = (wanted.getlist(name) for name in ("arm", "weight", "value"))
    rows = list(zip_longest(names, weights, values, fillvalue=""))[:ROWS] or [("a", "1", ""), ("b", "1", "")]
    flags = flag_selectors.flags(environment)
    context = {
        "tests": [(one, exposed.get(one.key, 0)) for one in selectors.experiments(environment)],
        "flags": flags,
        "free": [one.key for one in flags if not one.experiment],
        "may_change": can(request.user, environment, *MAY_CHANGE),
        "typed": wanted,
        "rows": [*rows, *[("", "", "")] * (ROWS - len(rows))],
        "refusal": refusal,
    }
    return render_page(request, "rollout/experiments.html", context, status=422 if refusal else 200)


@require_safe
@requires()
def experiment(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """One A/B test: its arms with their devices, whether the shares are right, and every measure arm by arm."""
    found = _found(environment, key)
    results = selectors.results(found)
    flag = flag_selectors.flag(environment, found.flag)
    context: dict[str, Any] = {
        "test": found,
        "results": results,
        "table": _table(results),
        "percent": flag.percent if flag else None,
        "now": clock.now(),
        "entries": history.entries(environment=environment, subject=f"experiment:{key}")[:8],
        "may_change": can(request.user, environment, *MAY_CHANGE),
    }
    return render_page(request, "rollout/experiment.html", context)


@require_POST
@requires(*MAY_CHANGE)
def start(request: HttpRequest, environment: str) -> HttpResponse:
    """Start a test; what is wrong comes back with everything that was typed."""
    try:
        flag = flag_selectors.flag(environment, request.POST.get("flag", ""))
        if flag is None:
            raise InvalidInput("Choose the flag whose devices are divided.")
        arms = arms_read(_typed(request.POST, flag))
        made = changed(
            request,
            environment,
            "experiment.start",
            {
                "flag": flag.key,
                "key": request.POST.get("key", "").strip(),
                "title": request.POST.get("title", "").strip(),
                "hypothesis": request.POST.get("hypothesis", "").strip(),
                "arms": [one.document for one in arms],
            },
        )
    except HawkOpsError as refusal:
        return _list(request, environment, typed=request.POST, refusal=refusal.message)
    if isinstance(made, Proposal):
        return proposed(request, environment, made)
    messages.success(request, f"The test runs{f': entry {made.seq}' if made else ''}.")
    return see_other("rollout:experiment", environment=environment, key=request.POST.get("key", "").strip())


@require_POST
@requires(*MAY_CHANGE)
def end(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """End a test with its conclusion."""
    _found(environment, key)
    try:
        made = changed(request, environment, "experiment.end", {"key": key})
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return see_other("rollout:experiment", environment=environment, key=key)
    if isinstance(made, Proposal):
        return proposed(request, environment, made)
    messages.success(request, f"The test has ended: entry {made.seq}." if made else "It had ended already.")
    return see_other("rollout:experiment", environment=environment, key=key)


def _table(results: selectors.Results) -> dict[str, Any]:
    """Return the measures in words, a row for each arm."""
    rows = []
    for measure, lines in results.measures:
        unit = "share" if measure.of else measure.unit
        for line in lines:
            found = selectors.compared(measure, lines, line)
            rows.append(
                {
                    "title": measure.title,
                    "arm": line.arm.variant,
                    "devices": line.devices,
                    "mean": words(line.mean, unit),
                    "against": _against(found) if found else "",
                    "word": found.word if found else "",
                    "band": _band(measure, found) if found else None,
                }
            )
    first = results.arms[0].arm.variant
    return {"rows": rows, "first": first, "ratio_p": f"{results.exposed.p_value:.2g}"}


def _against(found: selectors.Comparison) -> str:
    """Say a comparison with its interval; without bounds it takes more devices."""
    low, high = found.interval.low, found.interval.high
    if not math.isfinite(high) or not math.isfinite(found.interval.estimate):
        return "too few devices to say"
    unit = " %" if found.relative else " points"
    return f"{_signed(found.interval.estimate)}{unit}, {_signed(low)} to {_signed(high)}"


def _band(measure: selectors.Measure, found: selectors.Comparison) -> Band | None:
    """Return the interval of a comparison as it is drawn, around no difference; None while it says nothing."""
    if not math.isfinite(found.interval.estimate):
        return None
    low, middle, high = finite(found.interval.low), found.interval.estimate, finite(found.interval.high)
    words = f"change {_against(found)}, boundary: no difference"
    floor = measure.direction is Direction.HIGHER
    return Band(low, middle, high, (0.0,), words, floor=floor, bad=found.word == "worse")


def _signed(share: float) -> str:
    return f"{share * 100:+.2g}".replace("-", "−") if abs(share) < 1 else f"{share * 100:+.0f}".replace("-", "−")


def _typed(form: QueryDict, flag: Flag) -> list[tuple[str, str, object]]:
    """Return the rows of the form that say something; an empty value is the flag's `on` value.

    Raises InvalidInput for a value that can't be read.
    """
    found: list[tuple[str, str, object]] = []
    names, weights, values = (form.getlist(name) for name in ("arm", "weight", "value"))
    for name, weight, value in zip_longest(names, weights, values, fillvalue=""):
        if not name.strip() and not value.strip():
            continue
        found.append((name, weight or "1", _value(FlagType(flag.type), name, value.strip())))
    return found


def _value(kind: FlagType, name: str, typed: str) -> object:
    if not typed:
        return None
    if kind is FlagType.BOOLEAN:
        # anything else is refused as what it is
        return {"true": True, "on": True, "false": False, "off": False}.get(typed.lower(), typed)
    return value_typed(kind, name, typed)


def _found(environment: str, key: str) -> Experiment:
    found = selectors.experiment(environment, key)
    if found is None:
        raise Http404(f"There is no A/B test {key!r} in {environment}.")
    return found
