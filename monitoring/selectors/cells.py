"""How many devices stand behind a number of one device class: by side of the comparison and backend, from the panel."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.contrib.postgres.aggregates import BoolOr
from django.db.models import Q

from monitoring.domain import metrics, panel
from monitoring.domain.criteria import Aggregate, Criterion
from monitoring.models import PanelHour
from monitoring.selectors.telemetry import ACTIVE_SPAN, Arm, DeviceClass, variants_of

# device class, simulated, key of the criterion -> devices; None where that isn't known
Cells = Mapping[tuple[str, bool, str], int | None]


def cell_devices(
    environment: str, wanted: Sequence[Criterion], classes: Sequence[DeviceClass], *, side: Arm | None, now: datetime
) -> Cells:
    """Count the devices that reported what each criterion reads, in this hour or the one before. One query.

    Of a large fleet the panel holds a part: what it counts is a number that there are at least.
    """
    everybody = [one for one in wanted if side is None and _of_class(one)]
    asked = {f"c{place}": one for place, one in enumerate(wanted) if one not in everybody and _subject(one)}
    found: dict[tuple[str, bool, str], int | None] = {
        (row.name, row.simulated, one.key): row.devices if one in everybody else 0 if one in asked.values() else None
        for row in classes
        for one in wanted
    }
    if not asked:
        return found
    hour = now.replace(minute=0, second=0, microsecond=0)
    rows = PanelHour.objects.filter(
        environment=environment,
        hour_at__gte=hour - ACTIVE_SPAN,
        hour_at__lte=hour,
        metric__in={_subject(one) for one in asked.values()},
    )
    if side is not None:
        rows = rows.filter(variant__in=variants_of(side))
    # a row for each device, counted here: a distinct count for each criterion would sort all rows as often
    stands = {name: BoolOr(_held(one)) for name, one in asked.items()}
    devices = rows.values("device_class", "simulated", "device_id").annotate(**stands)
    for device_class, simulated, *held in devices.values_list("device_class", "simulated", *asked):
        for one, stood in zip(asked.values(), held, strict=True):
            if stood:
                place = (device_class, simulated, one.key)
                found[place] = (found.get(place) or 0) + 1
    return found


def _of_class(one: Criterion) -> bool:
    """Whether every device of the class stands behind the number: it is counted per device, or of everything."""
    return not one.over.backends and _subject(one) in (None, metrics.INFERENCES)


def _subject(one: Criterion) -> str | None:
    """Return the metric whose reporters are counted; None when the panel doesn't keep it and a backend matters."""
    if one.aggregate in (Aggregate.COUNT, Aggregate.PER_DEVICE):
        return metrics.INFERENCES
    name = one.of.metric if one.of is not None else one.over.metric
    if panel.keeps(name):
        return name
    return None if one.over.backends else metrics.INFERENCES


def _held(one: Criterion) -> Q:
    held = Q(metric=_subject(one))
    return held & Q(backend_actual__in=one.over.backends) if one.over.backends else held
