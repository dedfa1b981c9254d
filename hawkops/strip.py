"""What every page carries: the environment, its switch, and the status strip. Sees all apps, so it stands at the roof."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from hawkops.accounts.selectors import glass_open
from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.templatetags.look import number, percent, spoken
from hawkops.history import selectors as history
from incidents.selectors import escalations as escalation_selectors
from incidents.selectors import incidents as incident_selectors
from incidents.selectors import oncall as on_call_selectors
from monitoring.domain.alerting import LATE_AFTER
from monitoring.selectors import alerts as alert_selectors
from rollout.selectors import census as census_selectors
from rollout.selectors import flags as flag_selectors
from rollout.selectors import lockdown as lockdown_selectors
from rollout.selectors import releases as release_selectors
from rollout.services.flags import FALLBACK, LITERT

HEARTBEAT_LATE = timedelta(seconds=60)

NAV = (
    ("release", "rollout:release"),
    ("release", "rollout:checklist"),
    ("proposals", "rollout:proposal"),
    ("release", "rollout:phase"),
    ("runbook", "rollout:runbook"),
    ("release", "rollout:procedure"),
    ("flags", "rollout:flag"),
    ("flags", "rollout:experiment"),
    ("flags", "rollout:group"),
    ("scripts", "scripts:"),
    ("alerts", "monitoring:alert"),
    ("alerts", "monitoring:criteri"),
    ("alerts", "monitoring:profile"),
    ("health", "monitoring:health"),
    ("patterns", "monitoring:pattern"),
    ("connect", "monitoring:connect"),
    ("connect", "monitoring:understood"),
    ("connect", "monitoring:device"),
    ("monitoring", "monitoring:"),
    ("emergency", "incidents:emergency"),
    ("emergency", "incidents:rollback"),
    ("emergency", "incidents:drill"),
    ("oncall", "incidents:oncall"),
    ("oncall", "incidents:rotation"),
    ("oncall", "incidents:override"),
    ("oncall", "incidents:swap"),
    ("oncall", "incidents:contact"),
    ("escalations", "incidents:escalation"),
    ("escalations", "incidents:business_hours"),
    ("incidents", "incidents:incident"),
    ("troubleshooting", "incidents:troubleshooting"),
    ("troubleshooting", "incidents:problem"),
    ("notifications", "incidents:"),
    ("history", "history:"),
    ("people", "accounts:"),
    ("platform", "platform"),
    ("overview", "overview"),
)


@dataclass(frozen=True)
class Fact:
    """One cell of the strip."""

    headline: str
    detail: str
    url: str
    ok: bool = True
    active: bool = False


def page(request: HttpRequest) -> dict[str, Any]:
    """Give every template its environment, the switch to the others, and (lazily) the strip."""
    environment = str(getattr(request, "environment", ""))
    if not environment:
        return {}
    return {
        "environment": environment,
        "environments": [{"name": e.value, "url": _same_page(request, environment, e.value)} for e in Environment],
        "nav": _place(request),
        "strip": SimpleLazyObject(lambda: facts(environment)),
    }


def _place(request: HttpRequest) -> str:
    name = request.resolver_match.view_name if request.resolver_match else ""
    return next((place for place, prefix in NAV if name.startswith(prefix)), "")


def _same_page(request: HttpRequest, here: str, there: str) -> str:
    """Return the same page elsewhere; pages of one object lead to the list they belong to."""
    match = request.resolver_match
    if (
        match is None
        or set(getattr(match, "captured_kwargs", None) or ()) != {"environment"}
        or request.method != "GET"
    ):
        return reverse("overview", kwargs={"environment": there})
    return request.path.replace(f"/{here}/", f"/{there}/", 1)


def facts(environment: str) -> dict[str, Fact]:
    """Return the strip's facts. A handful of small queries."""
    flags = {flag.key: flag for flag in flag_selectors.flags(environment)}
    active = census_selectors.active_count(environment)
    simulated = census_selectors.simulated_count(environment)
    reach = census_selectors.reach(environment, LITERT)
    litert, fallback = flags.get(LITERT), flags.get(FALLBACK)
    killed = litert is not None and litert.override_variant == "off"
    emergency = reverse("incidents:emergency", kwargs={"environment": environment})
    summary = release_selectors.release_summary(environment)
    # with rules the percentage of everybody else says little: then how much of the fleet is served
    ruled = litert is not None and bool(litert.rules or litert.pinned)
    exposure = 100 * reach / active if ruled and active else litert.percent if litert else 0
    kill_detail = ""
    if killed and litert is not None:
        found = census_selectors.census(environment, litert.override_revision or litert.revision)
        kill_detail = f"{number(found.obeyed)} of {number(found.active)} devices obey"
        if fallback is not None and fallback.override_variant == "on":
            kill_detail += ", cloud answers"
    return {
        "kill": Fact("LiteRT is killed", kill_detail, emergency, active=killed),
        "lockdown": _lockdown(environment, kill_detail),
        "glass": _glass(),
        "exposure": Fact(
            f"{percent(exposure)} · {number(reach)} devices",
            f"LiteRT on, of {number(active)} active",
            reverse("rollout:flags", kwargs={"environment": environment}),
        ),
        "gates": Fact(summary.strip_headline, summary.strip_detail, summary.url),
        "devices": Fact(
            f"{number(active)} active device{'' if active == 1 else 's'}",
            f"{number(simulated)} simulated" if simulated else "heard of within the hour",
            reverse("monitoring:litert", kwargs={"environment": environment}),
        ),
        "alerts": _alerts(environment),
        "oncall": _on_call(environment),
        "platform": _platform(environment),
        "incident": _incident(environment),
    }


def _lockdown(environment: str, obeyed: str) -> Fact:
    """Say that nothing is raised, in the place of the kill that goes with it; empty while no lockdown stands."""
    found = lockdown_selectors.standing(environment)
    if found is None:
        return Fact("", "", "")
    url = reverse("incidents:emergency", kwargs={"environment": environment}) + "#lockdown"
    said = ("nothing is raised", obeyed, f"{found.asked_by} asks to lift it" if found.asked_at else "")
    return Fact("Lockdown: LiteRT is off", "; ".join(part for part in said if part), url, active=True)


def _glass() -> Fact:
    """Say that somebody works behind a break-glass code; empty while nobody does."""
    found = glass_open()
    if found is None or found.open_until is None:
        return Fact("", "", "")
    url = reverse("history:subject", kwargs={"environment": "production", "subject": f"break_glass:{found.pk}"})
    return Fact("The glass is broken", f"until {found.open_until:%H:%M} UTC: {found.reason}", url, active=True)


def _incident(environment: str) -> Fact:
    """Say which critical incident stands; it is no part of the strip while none does."""
    found = incident_selectors.gravest(environment)
    if found is None:
        return Fact("", "", "")
    url = reverse("incidents:incident", kwargs={"environment": environment, "pk": found.pk})
    who = f"{found.acknowledged_by} has it" if found.acknowledged_by else "nobody has it yet"
    return Fact(found.title, f"Critical incident {found.pk}, {found.state}; {who}", url, active=True)


def _alerts(environment: str) -> Fact:
    """Say how many alerts somebody must act on."""
    stand = alert_selectors.open_alerts(environment)
    loud = [one for one in stand if one.loud]
    url = reverse("monitoring:alerts", kwargs={"environment": environment})
    if not loud:
        quiet = len(stand)
        return Fact("No alert fires", f"{quiet} known or pending" if quiet else "all criteria looked at", url)
    return Fact(f"{len(loud)} alert{'' if len(loud) == 1 else 's'}", loud[0].alert.title, url, active=True)


def _on_call(environment: str) -> Fact:
    """Say who is on call; that a page did not arrive comes before it."""
    if late := escalation_selectors.late_steps(environment):
        url = reverse("incidents:escalations", kwargs={"environment": environment})
        return Fact("A page is late", f"to {late[0].target_label}: {late[0].escalation.title}", url, ok=False)
    found, url = (
        on_call_selectors.on_call_now(environment),
        reverse("incidents:oncall", kwargs={"environment": environment}),
    )
    if found.person is None:
        why = "the shift has nobody who can" if found.has_rotation else "no rotation yet"
        # without a rotation nobody was promised
        return Fact("Nobody on call", why, url, ok=not found.has_rotation, active=True)
    until = f"for {spoken(found.until - clock.now())} more" if found.until else "no handover ahead"
    return Fact(f"On call: {found.person.get_username()}", until, url)


def _platform(environment: str) -> Fact:
    """Say whether HawkOps itself is well: whether alerts are evaluated and the history has its heartbeat."""
    now, looked, last = clock.now(), alert_selectors.looked_at(environment), history.last_entry_at()
    if looked is not None and now - looked > LATE_AFTER:
        url = reverse("monitoring:alerts", kwargs={"environment": environment})
        return Fact("Alerts not evaluated", f"for {spoken(now - looked)}", url, ok=False)
    second = escalation_selectors.second()
    if second.seen_at is not None and second.is_late:
        url = reverse("incidents:escalations", kwargs={"environment": environment})
        return Fact("Second path silent", f"for {spoken(now - second.seen_at)}", url, ok=False)
    late = last is None or now - last > HEARTBEAT_LATE
    return Fact(
        "Platform late" if late else "Platform healthy",
        "No history entry yet" if last is None else f"History {spoken(now - last)} old",
        reverse("history:entries", kwargs={"environment": environment}) + "#chain",
        ok=not late,
    )
