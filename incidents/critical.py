"""What of incidents holds a release: critical ones, and action items of reviews that are not done."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Q
from django.urls import reverse

from incidents.models import Incident
from incidents.selectors.incidents import holding
from rollout.domain.validation import Critical
from rollout.selectors.actions import ActionItem


def critical(environment: str, since: datetime) -> Iterable[Critical]:
    """Return the incidents that were critical at any moment since then, from when to when they were. One query."""
    rows = Incident.objects.filter(environment=environment, critical_from__isnull=False).filter(
        Q(critical_until=None) | Q(critical_until__gte=since)
    )
    for one in rows.order_by("critical_from"):
        assert one.critical_from is not None
        address = reverse("incidents:incident", kwargs={"environment": environment, "pk": one.pk})
        yield Critical(str(one), one.critical_from, one.critical_until, address)


def action_items(environment: str) -> Iterable[ActionItem]:
    """Return the action items that are not done. One query."""
    for one in holding(environment):
        yield ActionItem(one.title, one.owner.username if one.owner else "")
