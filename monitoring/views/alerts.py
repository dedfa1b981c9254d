"""Alerts as people meet them: what fires, who has it, what is silenced; and the door for Alertmanager."""

import hmac
from datetime import timedelta
from typing import Any

import orjson
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from hawkops.core.access import Role, can, requires
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.core.htmx import render_page
from hawkops.history import selectors as history
from hawkops.history.actors import Actor
from monitoring.models import Alert, Silence
from monitoring.selectors import alerts as selectors
from monitoring.selectors.criteria import criteria
from monitoring.services import alerts as services

MAY_ACT = (Role.OPERATOR, Role.RELEASER)
SPANS = {"1h": timedelta(hours=1), "4h": timedelta(hours=4), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
BODY_BYTES = 1_000_000


@require_safe
@requires()
def alerts(request: HttpRequest, environment: str) -> HttpResponse:
    """What stands, what is silenced, what ended lately."""
    found = selectors.open_alerts(environment)
    loud = [one for one in found if one.loud]
    quiet = selectors.silences(environment)
    context = {
        "open": found,
        "loud": loud,
        "silences": [{"silence": one, "hides": selectors.hidden_by(one, found)} for one in quiet],
        "resolved": selectors.resolved_alerts(environment),
        "spans": list(SPANS),
        "pattern": request.GET.get("silence", "")[:120],
        "may_act": can(request.user, environment, *MAY_ACT),
    }
    return render_page(request, "monitoring/alerts.html", context)


@require_safe
@requires()
def alert(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """One alert: its life, and every entry of the history about it."""
    found = get_object_or_404(Alert, pk=pk, environment=environment)
    context = {
        "alert": found,
        "entries": [
            entry
            for entry in history.entries(environment=environment, subject=f"alert:{pk}", hidden=True)
            if entry.subject == f"alert:{pk}"
        ],
        "earlier": Alert.objects.filter(environment=environment, key=found.key, kind=found.kind)
        .exclude(pk=pk)
        .order_by("-since_at")[:10],
        "action": next((one.action for one in criteria(keys=[found.key])), "") if found.source == "criterion" else "",
        "may_act": can(request.user, environment, *MAY_ACT),
    }
    return render_page(request, "monitoring/alert.html", context)


def _back(request: HttpRequest, environment: str) -> HttpResponse:
    response = redirect("monitoring:alerts", environment=environment)
    response.status_code = 303
    return response


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
    return _back(request, environment)


@require_POST
@requires(*MAY_ACT)
def silence(request: HttpRequest, environment: str) -> HttpResponse:
    """Silence alerts by their key or a pattern, for a while."""
    try:
        span = SPANS.get(request.POST.get("span", ""))
        if span is None:
            raise InvalidInput(f"Say for how long: {', '.join(SPANS)}.")
        services.silence_create(
            environment=environment,
            pattern=request.POST.get("pattern", ""),
            span=span,
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=str(getattr(request, "request_id", "")),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return _back(request, environment)


@require_POST
@requires(*MAY_ACT)
def silence_end(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """End a silence now."""
    found = get_object_or_404(Silence, pk=pk, environment=environment)
    try:
        services.silence_end(
            silence=found, actor=Actor.person(request.user), request_id=str(getattr(request, "request_id", ""))
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return _back(request, environment)


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
        payload: Any = orjson.loads(request.read(BODY_BYTES + 1))
        moved = services.alertmanager_take(
            environment=environment, payload=payload, actor=Actor("alertmanager:webhook", "Alertmanager")
        )
    except orjson.JSONDecodeError as error:
        return JsonResponse({"error": f"The body is not JSON: {error}."}, status=400)
    except HawkOpsError as refusal:
        return JsonResponse({"error": refusal.message}, status=refusal.status)
    return JsonResponse({"moved": moved})
