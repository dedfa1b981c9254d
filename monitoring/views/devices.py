"""Pages for device authors: how to connect a device, and what was understood of what it sent."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from hawkops.core.access import Role, can, requires
from monitoring.domain.conformance import sent
from monitoring.domain.metrics import CATALOGUE, MEASURED
from monitoring.otlp.decoding import AHEAD, LATE
from monitoring.otlp.door import TOTALS_SECONDS
from monitoring.otlp.logs import KEPT_BACK
from monitoring.otlp.notes import DEVICE_SECONDS
from monitoring.otlp.streams import STREAMS_MOST
from monitoring.selectors import devices as selectors
from monitoring.selectors.cardinality import cardinality

RULES = {
    "late": LATE,
    "ahead": AHEAD,
    "kept_back": KEPT_BACK,
    "every_seconds": int(DEVICE_SECONDS),
    "streams_most": STREAMS_MOST,
}


@require_safe
@requires()
def connect(request: HttpRequest, environment: str) -> HttpResponse:
    """How to connect a device: names, snippets, rules."""
    context = {
        "gateway": settings.GATEWAY_URL,
        "metrics": [one for one in CATALOGUE.values() if one.name not in MEASURED],
        "rules": RULES,
        "may_make_keys": can(request.user, environment, Role.ADMIN),
    }
    return render(request, "monitoring/connect.html", context)


@require_safe
@requires()
def understood(request: HttpRequest, environment: str) -> HttpResponse:
    """What was taken and refused in all, and the devices whose payloads were looked into lately."""
    wanted = request.GET.get("q", "").strip()[:200].replace("\x00", "")
    notes = selectors.device_notes(environment, wanted=wanted)
    context = {
        "notes": notes,
        "wanted": wanted,
        "rules": RULES,
        "totals": selectors.door_totals(environment),
        "room": cardinality(environment),
        "every_seconds": int(TOTALS_SECONDS),
    }
    return render(request, "monitoring/understood.html", context)


@require_safe
@requires()
def device(request: HttpRequest, environment: str) -> HttpResponse:
    """What was understood and dropped of one device's last payloads."""
    device_id = request.GET.get("id", "")[:200].replace("\x00", "")
    notes = selectors.device_understood(environment, device_id)
    lines = selectors.device_lines(environment, device_id) if device_id else []
    if not notes and not lines:
        raise Http404("Nothing was noted of that device; it may not have reported, or not under this id.")
    noted = [(note, sent(note.details)) for note in notes]
    context = {"device_id": device_id, "noted": noted, "lines": lines, "rules": RULES}
    return render(request, "monitoring/device.html", context)
