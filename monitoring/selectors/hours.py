"""How many devices reported in each hour: what "per device and hour" divides by."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count

from monitoring.domain.metrics import INFERENCES
from monitoring.models import DeviceHour, PanelHour


@dataclass(frozen=True)
class DeviceCount:
    """Devices of a class, of one variant where that was asked for. `exact` is false for what the panel stands for."""

    device_class: str
    simulated: bool
    variant: str
    devices: int
    exact: bool = True


def hourly_counts(
    environment: str, *, since: datetime, until: datetime | None = None, by_variant: bool = False
) -> dict[datetime, list[DeviceCount]]:
    """Return the devices that reported in each clock hour. One query, two by variant.

    Variants are known of the panel only: its share of a class's devices is taken for the class's.
    """
    hours = {"environment": environment, "hour_at__gte": since, **({"hour_at__lt": until} if until else {})}
    grouped = ("hour_at", "device_class", "simulated")
    rows = DeviceHour.objects.filter(**hours).values_list(*grouped).annotate(Count("pk"))
    totals = {(hour, name, simulated): many for hour, name, simulated, many in rows}
    found: dict[datetime, list[DeviceCount]] = {}
    if not by_variant:
        for (hour, name, simulated), many in totals.items():
            found.setdefault(hour, []).append(DeviceCount(name, simulated, "", many))
        return found
    members = PanelHour.objects.filter(**hours, metric=INFERENCES).values_list(*grouped, "variant")
    parts = list(members.annotate(Count("device_id", distinct=True)))
    panel: dict[tuple[datetime, str, bool], int] = {}
    for *place, _, many in parts:
        panel[tuple(place)] = panel.get(tuple(place), 0) + many
    for *place, variant, many in parts:
        hour, name, simulated = place
        of = max(totals.get((hour, name, simulated), 0), panel[hour, name, simulated])
        share = round(of * many / panel[hour, name, simulated])
        found.setdefault(hour, []).append(DeviceCount(name, simulated, variant, share, exact=False))
    return found
