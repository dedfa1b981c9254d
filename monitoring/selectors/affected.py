"""Which devices had a failed or degraded session lately."""

from datetime import datetime, timedelta

from django.db.models import Max, Sum

from monitoring.domain.affected import SLOT, Affected, Session
from monitoring.models import PanelSlot
from monitoring.selectors.sections import rules
from monitoring.selectors.telemetry import may_judge


def affected(environment: str, *, now: datetime, within: timedelta | None = None) -> Affected:
    """Count the affected ones of the devices that count towards a verdict. Two queries; by slots of five minutes."""
    span = within or rules().users_affected_within
    rows = PanelSlot.objects.filter(environment=environment, slot_at__gt=now - max(span, SLOT), slot_at__lte=now)
    if not may_judge(environment, simulated=True):
        rows = rows.filter(simulated=False)
    sums = (
        rows.values("device_id")
        .annotate(inferences=Sum("inferences"), failed=Sum("failed"), crashes=Sum("crashes"))
        .values_list("inferences", "failed", "crashes")
        .order_by()
    )
    return Affected.of((Session(*one) for one in sums), within=span)


def simulated(environment: str, *, now: datetime) -> bool:
    """Say whether only simulated devices speak there, so that an alert says so. One query."""
    rows = PanelSlot.objects.filter(environment=environment, slot_at__gt=now - 3 * SLOT)
    return bool(rows.exists()) and not rows.filter(simulated=False).exists()


def newest_at(environment: str) -> datetime | None:
    """Return the newest slot of an environment. One query."""
    found: datetime | None = PanelSlot.objects.filter(environment=environment).aggregate(at=Max("slot_at"))["at"]
    return found
