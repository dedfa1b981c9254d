"""The LiteRT page: tiles, charts and tables over one window and one population of devices, both in the URL."""

from collections.abc import Sequence
from functools import cached_property
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from hawkops.core import charts, clock
from hawkops.core.access import requires
from hawkops.core.htmx import render_page
from monitoring.charts.litert import (
    CHARTS,
    PANELS,
    Asked,
    Tile,
    bytes_words,
    flag_marks,
    lettered,
    rate_words,
    seconds_words,
    tiles,
)
from monitoring.domain import metrics, windows
from monitoring.domain.targets import profile_for
from monitoring.selectors import telemetry as selectors
from monitoring.selectors.telemetry import BackendUse, DeviceClass, Population, Reading


class LitertPage:
    """What the page says. Everything is computed when the template first asks: a part costs only what it shows."""

    panels = PANELS

    def __init__(self, environment: str, *, window: str, devices: str) -> None:
        self.environment = environment
        self.now = clock.now()
        self.choice = windows.chosen(window)
        self.window = windows.window(self.choice, self.now)
        self._asked_devices = devices

    @cached_property
    def device_classes(self) -> list[DeviceClass]:
        """Who reported within the hour."""
        return selectors.device_classes(self.environment, now=self.now)

    @cached_property
    def offered(self) -> list[Population]:
        """What the page can be narrowed to."""
        return selectors.populations(self.device_classes)

    @cached_property
    def population(self) -> Population:
        """Who is shown; an unknown wish counts as none."""
        return next((one for one in self.offered if one.key == self._asked_devices), self.offered[0])

    @cached_property
    def devices(self) -> int:
        """How many devices are shown."""
        return selectors.devices_in(self.device_classes, self.population)

    @cached_property
    def left_out(self) -> int:
        """How many are not."""
        return sum(one.devices for one in self.device_classes) - self.devices

    @cached_property
    def query(self) -> str:
        """The window and the population as the URL writes them."""
        return self._query(self.choice.key, self.population.key)

    def _query(self, window: str, devices: str) -> str:
        return urlencode({"window": window, "devices": devices})

    @cached_property
    def window_links(self) -> list[dict[str, object]]:
        """The windows on offer."""
        return [
            {"label": one.label, "url": f"?{self._query(one.key, self.population.key)}", "on": one is self.choice}
            for one in windows.CHOICES
        ]

    @cached_property
    def population_links(self) -> list[dict[str, object]]:
        """The populations on offer."""
        return [
            {"label": one.label, "url": f"?{self._query(self.choice.key, one.key)}", "on": one is self.population}
            for one in self.offered
        ]

    @cached_property
    def readings(self) -> dict[tuple[str, str], Reading]:
        """The latest numbers."""
        return selectors.readings(environment=self.environment, population=self.population, now=self.now)

    @cached_property
    def tiles(self) -> list[Tile]:
        """The readings above the charts."""
        switches, switches_at = selectors.switches_last_hour(
            environment=self.environment, population=self.population, devices=self.devices, now=self.now
        )
        return tiles(
            environment=self.environment,
            found=self.readings,
            switches=switches,
            switches_at=switches_at,
            population=self.population,
        )

    @cached_property
    def headline(self) -> str:
        """The page's answer as a sentence with its number."""
        if not self.readings:
            return "No device has reported LiteRT performance yet"
        live = [one for (name, _), one in self.readings.items() if name == metrics.PREFILL and one.count]
        kind = "simulated device" if self.population.simulated else "device"
        many = f"{self.devices} {kind}{'' if self.devices == 1 else 's'}"
        if not live:
            return f"No local inference on {many} in the last 5 min"
        top = max(live, key=lambda one: one.count)
        figure, unit = rate_words(top.median)
        return f"{top.backend.upper()} prefill runs at {figure} {unit} on {many}"

    @cached_property
    def profiles(self) -> str:
        """Whose targets are drawn."""
        here = [
            one
            for one in self.device_classes
            if one.simulated is self.population.simulated and self.population.device_class in ("", one.name)
        ]
        found = [profile_for(device_class=one.name, environment=self.environment) for one in here]
        titles = sorted({profile.title for profile in found if profile})
        if not titles:
            return "No absolute targets for these devices." if here else ""
        if len(set(found)) > 1:
            return f"Targets ({'; '.join(titles)}) are drawn when one class is chosen."
        return f"Targets: {'; '.join(titles)}."

    @cached_property
    def marks(self) -> list[dict[str, str]]:
        """The flag changes that the charts mark."""
        return lettered(flag_marks(self.environment, since=self.window.since))

    @cached_property
    def use(self) -> list[BackendUse]:
        """Backends asked for against backends that ran."""
        return selectors.backend_use(environment=self.environment, window=self.window, population=self.population)

    @cached_property
    def classes(self) -> Sequence[dict[str, object]]:
        """The table of device classes."""
        rows = selectors.class_rows(environment=self.environment, classes=self.device_classes, now=self.now)
        return [
            {
                "row": row,
                "guaranteed": rate_words(row.guaranteed)[0],
                "median": rate_words(row.median)[0],
                "latency": "\u202f".join(seconds_words(row.latency)).strip(),
                "memory": "\u202f".join(bytes_words(row.memory_peak)).strip(),
            }
            for row in rows
        ]


def _page(request: HttpRequest, environment: str) -> LitertPage:
    return LitertPage(environment, window=request.GET.get("window", ""), devices=request.GET.get("devices", ""))


@require_safe
@requires()
def litert(request: HttpRequest, environment: str) -> HttpResponse:
    """The dashboard of on-device AI: throughput, latency, memory, switches, and where inferences really ran."""
    page = _page(request, environment)
    return render_page(request, "monitoring/litert.html", {"page": page})


@require_safe
@requires()
def chart(request: HttpRequest, environment: str, name: str) -> HttpResponse:
    """One chart's figure as plain arrays."""
    draw = CHARTS.get(name)
    if draw is None:
        raise Http404(f"There is no chart {name!r}.")
    page = _page(request, environment)
    marks = flag_marks(environment, since=page.window.since)
    return charts.respond(draw(Asked(environment, page.window, page.population, marks)))
