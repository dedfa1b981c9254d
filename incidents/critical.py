"""Critical incidents, as validations and decisions ask for them."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Q
from django.urls import reverse

from incidents.models import Incident
from rollout.domain.validation import Critical


def critical(environment: str, since: datetime) -> Iterable[Critical]:
    """Return the incidents that were critical at any moment since then, from when to when they were. One query."""
    rows = Incident.objects.filter(environment=environment, critical_from__isnull=False).filter(
        Q(critical_until=None) | Q(critical_until__gte=since)
    )
    for one in rows.order_by("critical_from"):
        assert one.critical_from is not None
        address = reverse("incidents:incident", kwargs={"environment": environment, "pk": one.pk})
        yield Critical(str(one), one.critical_from, one.critical_until, address)
