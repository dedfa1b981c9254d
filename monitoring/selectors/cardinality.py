"""How many series of telemetry an environment has, and what was folded because they were too many."""

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count, Q

from hawkops.core import clock
from monitoring.domain.cardinality import BUSINESS_MOST, SERIES_HARD_MOST, SERIES_MOST
from monitoring.domain.metrics import BUSINESS_PREFIX
from monitoring.models import FoldedSeries, Series

FOLDED_SPAN = timedelta(hours=24)


@dataclass(frozen=True)
class Cardinality:
    """Series and business metrics of an environment beside their limits; `folded` counts those of the last day."""

    series: int
    business: int
    folded: int
    series_most: int = SERIES_MOST
    series_hard_most: int = SERIES_HARD_MOST
    business_most: int = BUSINESS_MOST

    @property
    def used(self) -> float:
        """The share of the series that fit before new ones fold."""
        return self.series / self.series_most

    @property
    def tight(self) -> bool:
        """Whether somebody should look at it."""
        return self.used >= 0.8 or self.folded > 0 or self.business >= self.business_most


def cardinality(environment: str) -> Cardinality:
    """Count an environment's series. Two queries."""
    found = Series.objects.filter(environment=environment).aggregate(
        series=Count("pk"), business=Count("metric", distinct=True, filter=Q(metric__startswith=BUSINESS_PREFIX))
    )
    since = clock.now() - FOLDED_SPAN
    folded = FoldedSeries.objects.filter(environment=environment, seen_at__gte=since).count()
    return Cardinality(found["series"], found["business"], folded)
