"""A phase's guardrails: each one's verdict, its interval as a band with its boundary, and why; now or at a past minute."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from hawkops.core import clock
from hawkops.core.access import requires
from hawkops.core.errors import InvalidInput
from hawkops.core.htmx import render_page
from hawkops.core.moments import past
from hawkops.core.templatetags.look import number
from hawkops.core.verdicts import Verdict
from hawkops.core.why import Why
from rollout.domain import guardrail_reasons as reasons
from rollout.domain.guardrail_reasons import Said
from rollout.domain.guardrails import Guardrail, Judges, Line
from rollout.models import PhaseRun, Release
from rollout.selectors import guardrail_looks as selectors
from rollout.selectors.decision import run_judged
from rollout.selectors.guardrail_looks import Found

ENTRIES = 100


@dataclass(frozen=True)
class Shown:
    """A guardrail as the page says it."""

    found: Found

    @property
    def guardrail(self) -> Guardrail:
        """The guardrail itself."""
        return self.found.guardrail

    @property
    def said(self) -> Said | None:
        """What it says; None where it was not looked at yet."""
        return self.found.said

    @property
    def why(self) -> Why | None:
        """Why it says so."""
        return self.found.why

    @property
    def about(self) -> str:
        """What it looks at, in words."""
        return {
            Judges.REPORTING: "devices of the treatment that reported before and are silent",
            Judges.SAMPLE_RATIO: "devices that report, as they were drawn",
        }.get(
            self.guardrail.judges,
            f"no more than {self.guardrail.tolerated * 100:g} % worse than the control, and its limit",
        )

    @property
    def wait(self) -> str:
        """How many devices settle it, and when they are there."""
        return reasons.wait(self.said.progress) if self.said is not None else ""

    @property
    def others(self) -> tuple[Line, ...]:
        """What it says of every age and class, where that is more than one thing."""
        return self.said.lines if self.said is not None and len(self.said.lines) > 1 else ()

    @property
    def culprit(self) -> str:
        """Where the harm sits: the smallest exclusion that restores the guardrail; empty where nothing fails."""
        found = self.found.exclusion
        if not found or self.said is None or self.said.verdict is not Verdict.FAIL:
            return ""
        if not found["cohorts"]:
            return "It is in all devices alike: no cohort explains it." if found["everywhere"] else ""
        names = "; ".join(
            f"{one['name']} ({number(one['treatment'])} devices, by chance {one['chance']:.2g})"
            for one in found["cohorts"]
        )
        share = f"{number(found['excluded'])} of {number(found['devices'])} devices"
        does = "restores it" if found["restored"] else "helps, but does not restore it"
        return f"Leaving out {names}, {share}, {does}."


def shown(run: PhaseRun, *, at: datetime | None = None) -> list[Shown]:
    """Return the guardrails of a phase as the last look left them, or as a look at a past minute finds them."""
    return [Shown(one) for one in (selectors.then(run, at) if at is not None else selectors.now(run))]


@require_safe
@requires()
def guardrails(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """A phase's guardrails now, or as they stood at a past minute, with what was written down of them."""
    release = get_object_or_404(Release.objects.select_related("runbook"), pk=pk, environment=environment)
    at, wrong = None, ""
    try:
        at = past(request.GET.get("at", ""), now=clock.now())
    except InvalidInput as error:
        wrong = error.message
    run = run_judged(release, at=at)
    context: dict[str, Any] = {"release": release, "run": run, "at": at, "wrong": wrong}
    if run is not None:
        run.release = release
        context["guardrails"] = shown(run, at=at)
        context["entries"] = selectors.entries(run, until=at)[:ENTRIES]
    return render_page(request, "rollout/guardrail_page.html", context)
