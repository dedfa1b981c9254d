"""The interval of a quantile of merged observations, from the ranks that chance leaves possible. Pure."""

import math
from collections.abc import Callable

from monitoring.domain.grid import Distribution, Observed
from monitoring.domain.sketch import RELATIVE_ERROR
from monitoring.domain.statistics import proportions
from monitoring.domain.statistics.means import Interval
from monitoring.domain.statistics.proportions import CONFIDENCE, Events


def quantile(found: Observed, q: float, units: int | None = None) -> Interval | None:
    """Return the interval of a quantile: from the ranks that are not refused, each end to the edge of its bucket.

    A value is refused as the true quantile when the share of observations below it is too small, or too large, for q
    (Woodruff, Confidence intervals for medians and other position measures, 1952): when `proportions.below` finds twenty
    times more evidence for a smaller share than for q, or above it for a smaller one than 1 - q.

    That share counts as of so many independent `units`; without them every observation is one. Devices are the units where
    they are what varies: each counts once, with the share of its observations that lie below, and the bound holds whatever
    lies between devices and however alike the observations of one are. None without observations, or units.
    """
    value = found.quantile(q)
    if value is None or not isinstance(found, Distribution) or units == 0:
        return None
    placed, enough = found.placed, math.log(1 / (1 - CONFIDENCE))
    n = placed if units is None else min(units, placed)
    part = n / placed
    low = _first(lambda rank: proportions.below(Events(rank * part, n), q) < enough, placed)
    high = _first(
        lambda rank: rank > placed or proportions.below(Events((placed - rank) * part, n), 1 - q) >= enough, placed + 1
    )
    lowest = found.ranked(low - 1) if low > 0 else -math.inf
    highest = found.ranked(high - 1) if high <= placed else math.inf
    return Interval(value, *_widened(lowest, highest, found))


def _widened(low: float, high: float, found: Distribution) -> tuple[float, float]:
    """Return both ends moved outwards by what a bucket hides, within the extremes that were seen."""
    if math.isfinite(low):
        low = max(found.low, low - abs(low) * RELATIVE_ERROR)
    if math.isfinite(high):
        high = min(found.high, high + abs(high) * RELATIVE_ERROR)
    return low, high


def _first(holds: Callable[[int], bool], most: int) -> int:
    """Return the smallest number up to `most` for which a condition holds that holds for all larger ones."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
