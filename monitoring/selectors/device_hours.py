"""How many devices reported, by class and by the variant they were served."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count

from monitoring.domain.metrics import INFERENCES
from monitoring.models import DeviceHour, PanelHour, PanelReport

# what nearly every device reports in an hour, with its variant
TELLING = (INFERENCES, "app.sessions")
Kind = tuple[str, bool]


@dataclass(frozen=True)
class DeviceCount:
    """Devices of a class that were served one variant; empty when they did not say. `exact` unless it is a share."""

    device_class: str
    simulated: bool
    variant: str
    devices: int
    exact: bool


def device_counts(
    environment: str, *, since: datetime, until: datetime | None = None, by_variant: bool = False
) -> list[DeviceCount]:
    """Count the devices that reported in some hours. Two queries, or one without the variants.

    Which variant a device was served stands in the panel only: what it says of its devices is said of all of their class.
    """
    rows = DeviceHour.objects.filter(environment=environment, hour_at__gte=since)
    if until is not None:
        rows = rows.filter(hour_at__lt=until)
    many = rows.values_list("device_class", "simulated").annotate(many=Count("device_id", distinct=True))
    totals = {(name, simulated): count for name, simulated, count in many}
    shares = _shares(environment, since, until) if by_variant and totals else {}
    return [one for kind, total in totals.items() for one in _split(kind, total, shares.get(kind, {}))]


def hourly_counts(
    environment: str, *, since: datetime, until: datetime | None = None, by_variant: bool = False
) -> dict[datetime, list[DeviceCount]]:
    """Count the devices of each hour. The variants' shares are those of the whole time."""
    rows = DeviceHour.objects.filter(environment=environment, hour_at__gte=since)
    if until is not None:
        rows = rows.filter(hour_at__lt=until)
    many = rows.values_list("hour_at", "device_class", "simulated").annotate(many=Count("device_id", distinct=True))
    shares = _shares(environment, since, until) if by_variant else {}
    found: dict[datetime, list[DeviceCount]] = defaultdict(list)
    for hour, name, simulated, total in many:
        found[hour] += _split((name, simulated), total, shares.get((name, simulated), {}))
    return dict(found)


def _shares(environment: str, since: datetime, until: datetime | None) -> dict[Kind, dict[str, int]]:
    """Return, for each class, how many devices of the panel were served which variant."""
    served: dict[Kind, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    merged, fresh = (
        table._default_manager.filter(environment=environment, metric__in=TELLING, hour_at__gte=since)
        .filter(**({"hour_at__lt": until} if until is not None else {}))
        .values_list("device_class", "simulated", "variant", "device_id")
        for table in (PanelHour, PanelReport)
    )
    for name, simulated, variant, device in merged.union(fresh):
        served[name, simulated][variant].add(device)
    return {kind: {variant: len(devices) for variant, devices in variants.items()} for kind, variants in served.items()}


def _split(kind: Kind, total: int, shares: dict[str, int]) -> list[DeviceCount]:
    """Give the devices of a class to its variants by their shares; no variant that anybody has is left empty."""
    name, simulated = kind
    whole = sum(shares.values())
    if not whole:
        return [DeviceCount(name, simulated, "", total, True)]
    return [
        DeviceCount(name, simulated, variant, max(1, round(total * share / whole)), whole == total)
        for variant, share in sorted(shares.items())
    ]
