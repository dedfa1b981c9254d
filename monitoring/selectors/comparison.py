"""By how much the treatment is better than the control, with an interval: one value for each device of the panel."""

import math
from collections import defaultdict
from datetime import datetime

from django.db.models import Max, QuerySet, Sum

from monitoring.domain.arms import Arm, arm_of
from monitoring.domain.criteria import SAMPLES, Comparator, Criterion, Reading
from monitoring.domain.metrics import Direction, Kind
from monitoring.domain.statistics import means
from monitoring.domain.statistics.means import Sample
from monitoring.models import PanelHour
from monitoring.selectors.telemetry import Population, may_judge

ALPHA = 0.05


def between(one: Criterion, environment: str, population: Population | None, *, now: datetime) -> Reading:
    """Read a criterion that judges the interval of the change between treatment and control. One query.

    More is better unless the metric says otherwise; where less is better the change is turned round. What must be above its
    threshold is read at the interval's lower end, so that all of it lies above; what must only not have fallen, at its upper
    end. The interval holds at every look. Who said no variant is on neither side.
    """
    values: dict[Arm, dict[str, list[float]]] = {arm: defaultdict(lambda: [0.0, 0.0]) for arm in Arm}
    at: datetime | None = None
    rows = _rows(one, environment, population, now).values_list("device_id", "variant", "outcome", "backend_actual")
    for device, variant, outcome, backend, total, count, newest in rows.annotate(
        of_total=Sum("total"), of_count=Sum("count"), newest=Max("hour_at")
    ):
        arm = arm_of(variant)
        selected = not one.over.outcomes or outcome in one.over.outcomes
        # the control's inferences ran in the cloud
        on = arm is Arm.CONTROL or not one.over.backends or backend in one.over.backends
        if arm is None or not selected or outcome in one.over.not_outcomes or not on:
            continue
        kept = values[arm][device]
        kept[0], kept[1] = kept[0] + total, kept[1] + count
        at = max(at, newest) if at else newest
    counter = one.metric is not None and one.metric.kind is Kind.COUNTER
    treatment, control = (
        Sample.of([total if counter else total / count for total, count in values[arm].values() if count])
        for arm in (Arm.TREATMENT, Arm.CONTROL)
    )
    fewest = min(treatment.devices, control.devices)
    if not fewest:
        if at is None:
            return Reading(None)
        side = "control" if treatment.devices else "treatment"
        return Reading(None, at=at, note=f"nothing to compare with: no device of the {side} reports {one.over.metric}")
    found = means.change(treatment, control, alpha=ALPHA)
    low, middle, high = found.low, found.estimate, found.high
    if one.metric is not None and one.metric.direction is Direction.LOWER:
        low, middle, high = -high, -middle, -low
    if not math.isfinite(middle) or (not math.isfinite(low) and not math.isfinite(high)):
        return Reading(None, at=at, note=f"{fewest} of {SAMPLES} devices on the smaller side")
    ends = f"better by {_percent(middle)} ({_percent(low)} to {_percent(high)})"
    note = f"{ends}, {treatment.devices} devices against {control.devices} of the control"
    return Reading(low if one.comparator is Comparator.ABOVE else high, fewest, 0, at, note=note)


def _rows(one: Criterion, environment: str, population: Population | None, now: datetime) -> QuerySet[PanelHour]:
    rows = PanelHour.objects.filter(
        environment=environment, metric=one.over.metric, hour_at__gte=now - one.window, hour_at__lt=now
    )
    if population is not None and population.device_class:
        rows = rows.filter(device_class=population.device_class)
    if population is not None and population.simulated is not None:
        return rows.filter(simulated=population.simulated)
    return rows if may_judge(environment, simulated=True) else rows.filter(simulated=False)


def _percent(share: float) -> str:
    if not math.isfinite(share):
        return "without end"
    return f"{share * 100:+.1f}\u202f%".replace("-", "−")
