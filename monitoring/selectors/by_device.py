"""What each device of the panel observed of a metric over some hours, by backend: one row a device, bounded by the panel."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum

from monitoring.models import PanelHour
from monitoring.selectors.telemetry import Population, may_judge


@dataclass(frozen=True)
class Amount:
    """What one device observed on one backend."""

    device_id: str
    device_class: str
    backend: str
    variant: str
    count: int
    total: float


def amounts(
    environment: str, metric: str, *, since: datetime, until: datetime, population: Population | None = None
) -> list[Amount]:
    """Return what devices observed in the hours from the one that holds `since`. One query.

    Simulated devices count where they may be judged; `population` leaves others out.
    """
    rows = PanelHour.objects.filter(
        environment=environment,
        metric=metric,
        hour_at__gte=since.replace(minute=0, second=0, microsecond=0),
        hour_at__lte=until,
    )
    names = ("device_id", "device_class", "simulated", "backend_actual", "variant")
    found = rows.values_list(*names).annotate(Sum("count"), Sum("total")).order_by()
    return [
        Amount(device, name, backend, variant, count, total)
        for device, name, simulated, backend, variant, count, total in found
        if may_judge(environment, simulated=simulated)
        and (population is None or population.counts(name, simulated=simulated))
    ]
