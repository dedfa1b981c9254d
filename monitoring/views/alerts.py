"""Alerts as people meet them: what fires, who has it, what is silenced; and the door for Alertmanager."""

import hmac
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hawkops.core import clock
from hawkops.core.access import Role, can, requires
from hawkops.core.bounded import fit, json_loads
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page
from hawkops.history import selectors as history
from hawkops.history.actors import Actor
from monitoring.domain.alerting import OWNER, SUSPICIOUS, Kind, Source, promise
from monitoring.domain.criteria import Criterion, Severity
from monitoring.models import Alert, Silence
from monitoring.selectors import alerts as selectors
from monitoring.selectors import reasons
from monitoring.selectors.alerts import Shown
from monitoring.selectors.criteria import criteria
from monitoring.selectors.looks import rules
from monitoring.selectors.patterns import suspicious
from monitoring.selectors.sections import matrix
from monitoring.services import alerts as services
from monitoring.services.alertmanager import alertmanager_take
from monitoring.services.silences import silence_checked, silence_create
from monitoring.services.silences import silence_end as end

MAY_ACT = (Role.OPERATOR, Role.RELEASER)
SPANS = {"1h": timedelta(hours=1), "4h": timedelta(hours=4), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
BODY_BYTES = 1_000_000
ENTRIES = 200


@require_http_methods(["GET", "HEAD", "POST"])
@requires()
def alerts(request: HttpRequest, environment: str) -> HttpResponse:
    """What stands, what is silenced, what ended lately. POST shows what a silence would hide, and changes nothing."""
    given = request.POST if request.method == "POST" else request.GET
    found = selectors.open_alerts(environment)
    rule = {name: given.get(name, "")[:120] for name in ("pattern", "severity", "alertname")}
    asked = request.method == "POST" or given.get("part") == "trial"
    context = {
        "open": found,
        "groups": selectors.grouped(found),
        "loud": [one for one in found if one.loud],
        "watched": selectors.watched(environment),
        "owner": OWNER,
        "silences": [
            {"silence": one, "hides": selectors.hidden_by(one, found)} for one in selectors.silences(environment)
        ],
        "resolved": selectors.resolved_alerts(environment),
        "spans": list(SPANS),
        "severities": list(Severity),
        "draft": {**rule, "reason": given.get("reason", "")[:300], "span": given.get("span") or next(iter(SPANS))},
        "may_act": can(request.user, environment, *MAY_ACT),
        **(_trial(environment, rule, found) if asked else {}),
    }
    return render_page(request, "monitoring/alerts.html", context)


def _trial(environment: str, rule: dict[str, str], found: list[Shown]) -> dict[str, Any]:
    """Return what a silence would hide, or why it can't be."""
    try:
        wanted = silence_checked(environment=environment, **rule)
    except HawkOpsError as refusal:
        return {"unfit": refusal.message}
    known = rules(environment)
    return {
        "tried": True,
        "would_hide": selectors.hidden_by(wanted, found),
        "rules": known,
        "rules_hidden": [one for one in known if wanted.names(one.name, severity=one.severity)],
    }


@require_safe
@requires()
def alert(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """One alert: its life, and every entry of the history about it."""
    found = get_object_or_404(Alert.objects.select_related("silence"), pk=pk, environment=environment)
    rule = next(iter(criteria(keys=[found.key])), None) if found.source == Source.CRITERION else None
    context = {
        "alert": found,
        "entries": history.entries(environment=environment, hidden=True).filter(subject=f"alert:{pk}")[:ENTRIES],
        "earlier": Alert.objects.filter(environment=environment, source=found.source, key=found.key, kind=found.kind)
        .exclude(pk=pk)
        .order_by("-since_at")[:10],
        "rule": rule,
        "why": reasons.of_alert(found, now=clock.now()),
        "promise": _promise(rule, found),
        "suspicious": suspicious() if rule and rule.over.metric == SUSPICIOUS else None,
        "acknowledged_for": matrix()[Severity(found.severity)].respond,
        "may_act": can(request.user, environment, *MAY_ACT),
    }
    return render_page(request, "monitoring/alert.html", context)


def _promise(rule: Criterion | None, found: Alert) -> timedelta | None:
    """Return within which time of a lasting breach a criterion's alert is told."""
    return promise(rule.window, rule.for_) if rule and found.kind == Kind.BREACH else None


def _back(environment: str, **key: int) -> HttpResponse:
    """Lead to the list, or to the alert that `pk` names."""
    name = "monitoring:alert" if key else "monitoring:alerts"
    return HttpResponseRedirect(reverse(name, kwargs={"environment": environment, **key}), status=303)


@require_POST
@requires(*MAY_ACT)
def acknowledge(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Take an alert on oneself."""
    get_object_or_404(Alert, pk=pk, environment=environment)
    try:
        taken = services.alert_acknowledge(
            alert_id=pk,
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=str(getattr(request, "request_id", "")),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(
            request, f"{taken.title} is yours until {taken.acknowledged_until:%H:%M} UTC; then it pages again."
        )
    return _back(environment)


@require_POST
@requires(*MAY_ACT)
def close(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """End an alert that nothing measured will end."""
    get_object_or_404(Alert, pk=pk, environment=environment)
    try:
        services.alert_close(
            alert_id=pk,
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=str(getattr(request, "request_id", "")),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
        return _back(environment, pk=pk)
    return _back(environment)


@require_POST
@requires(*MAY_ACT)
def silence(request: HttpRequest, environment: str) -> HttpResponse:
    """Silence alerts by their key or a pattern, for a while."""
    try:
        span = SPANS.get(request.POST.get("span", ""))
        if span is None:
            raise InvalidInput(f"Say for how long: {', '.join(SPANS)}.")
        silence_create(
            environment=environment,
            pattern=request.POST.get("pattern", ""),
            severity=request.POST.get("severity", ""),
            alertname=request.POST.get("alertname", ""),
            span=span,
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=str(getattr(request, "request_id", "")),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return _back(environment)


@require_POST
@requires(*MAY_ACT)
def silence_end(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """End a silence now."""
    found = get_object_or_404(Silence, pk=pk, environment=environment)
    try:
        end(silence=found, actor=Actor.person(request.user), request_id=str(getattr(request, "request_id", "")))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return _back(environment)


@csrf_exempt
@login_not_required
@require_POST
def alertmanager(request: HttpRequest, environment: str) -> HttpResponse:
    """Take a webhook of Alertmanager, with the token that ALERTMANAGER_TOKEN names as bearer."""
    wanted = settings.ALERTMANAGER_TOKEN
    if not wanted or environment not in list(Environment):
        raise Http404
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        return JsonResponse({"error": "The token is missing or wrong. Send Authorization: Bearer …"}, status=401)
    if int(request.headers.get("Content-Length") or 0) > BODY_BYTES:
        return JsonResponse({"error": f"A webhook may have {BODY_BYTES} bytes."}, status=413)
    try:
        payload: Any = fit(json_loads(request.read(BODY_BYTES + 1)))
        moved = alertmanager_take(
            environment=environment, payload=payload, actor=Actor("alertmanager:webhook", "Alertmanager")
        )
    except HawkOpsError as refusal:
        return JsonResponse({"error": refusal.message}, status=refusal.status)
    return JsonResponse({"moved": moved})
