"""The LiteRT page: tiles, charts and tables over one window and one population of devices, both in the URL."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from hawkops.core import charts, clock
from hawkops.core.access import requires
from hawkops.core.htmx import render_page
from monitoring import selectors
from monitoring.charts import (
    CHARTS,
    PANELS,
    Asked,
    bytes_words,
    flag_marks,
    lettered,
    rate_words,
    seconds_words,
    tiles,
)
from monitoring.domain import metrics, windows
from monitoring.domain.targets import profile_for
from monitoring.selectors import DeviceClass, Population


@require_safe
@requires()
def litert(request: HttpRequest, environment: str) -> HttpResponse:
    """The dashboard of on-device AI: throughput, latency, memory, switches, and where inferences really ran."""
    now = clock.now()
    choice = windows.chosen(request.GET.get("window", ""))
    classes = selectors.device_classes(environment, now=now)
    offered = selectors.populations(classes)
    population = _population(offered, request.GET.get("devices", ""))
    found = selectors.readings(environment=environment, population=population, now=now)
    devices = selectors.devices_in(classes, population)
    hour = windows.Window(now - selectors.ACTIVE_SPAN, 1, selectors.ACTIVE_SPAN + timedelta(seconds=10))
    switches, switches_at = selectors.switches_per_hour(
        environment=environment, window=hour, population=population, devices=devices
    )
    context = {
        "choice": choice,
        "choices": [{"label": one.label, "url": _url(one.key, population), "key": one.key} for one in windows.CHOICES],
        "population": population,
        "populations": [
            {"label": one.label, "url": _url(choice.key, one), "key": one.key, "simulated": one.simulated}
            for one in offered
        ],
        "query": _query(choice.key, population),
        "devices": devices,
        "left_out": sum(one.devices for one in classes) - devices,
        "tiles": tiles(
            environment=environment, found=found, switches=switches[0], switches_at=switches_at, population=population
        ),
        "headline": _headline(found, population, devices),
        "profiles": _profiles(environment, classes, population),
        "marks": lettered(flag_marks(environment, since=windows.window(choice, now).since)),
        "panels": PANELS,
        "use": selectors.backend_use(
            environment=environment, window=windows.window(choice, now), population=population
        ),
        "classes": [_class_row(row) for row in selectors.class_rows(environment=environment, classes=classes, now=now)],
        "data_at": selectors.last_data_at(environment, population=population),
        "anything": bool(found),
    }
    return render_page(request, "monitoring/litert.html", context)


@require_safe
@requires()
def chart(request: HttpRequest, environment: str, name: str) -> HttpResponse:
    """One chart's figure as plain arrays."""
    draw = CHARTS.get(name)
    if draw is None:
        raise Http404(f"There is no chart {name!r}.")
    window = windows.window(windows.chosen(request.GET.get("window", "")), clock.now())
    offered = selectors.populations(selectors.device_classes(environment))
    asked = Asked(
        environment=environment,
        window=window,
        population=_population(offered, request.GET.get("devices", "")),
        marks=flag_marks(environment, since=window.since),
    )
    return charts.respond(draw(asked))


def _population(offered: list[Population], key: str) -> Population:
    return next((one for one in offered if one.key == key), offered[0])


def _query(window: str, population: Population) -> str:
    return urlencode({"window": window, "devices": population.key})


def _url(window: str, population: Population) -> str:
    return "?" + _query(window, population)


def _headline(found: dict[tuple[str, str], selectors.Reading], population: Population, devices: int) -> str:
    """Say the page's answer as a sentence with its number."""
    if not found:
        return "No device has reported LiteRT performance yet"
    live = [one for (name, _), one in found.items() if name == metrics.PREFILL and one.count]
    kind = "simulated device" if population.simulated else "device"
    many = f"{devices} {kind}{'' if devices == 1 else 's'}"
    if not live:
        return f"No inference on {many} in the last 5 min"
    top = max(live, key=lambda one: one.count)
    figure, unit = rate_words(top.median)
    return f"{top.backend.upper()} prefill runs at {figure} {unit} on {many}"


def _profiles(environment: str, classes: list[DeviceClass], population: Population) -> str:
    """Say whose targets are drawn."""
    here = [
        one for one in classes if one.simulated is population.simulated and population.device_class in ("", one.name)
    ]
    titles = sorted(
        {
            profile.title
            for one in here
            if (profile := profile_for(device_class=one.name, environment=environment)) is not None
        }
    )
    without = sum(profile_for(device_class=one.name, environment=environment) is None for one in here)
    words = f"Targets: {'; '.join(titles)}." if titles else "No absolute targets for these devices."
    if titles and len(here) > 1:
        words = f"Targets ({'; '.join(titles)}) are drawn when one class is chosen."
    return words + (f" {without} of {len(here)} classes without absolute target." if titles and without else "")


def _class_row(row: selectors.ClassRow) -> dict[str, Any]:
    return {
        "row": row,
        "guaranteed": rate_words(row.guaranteed)[0],
        "median": rate_words(row.median)[0],
        "latency": " ".join(seconds_words(row.latency)).strip(),
        "memory": " ".join(bytes_words(row.memory_peak)).strip(),
    }
