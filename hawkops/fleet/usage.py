"""When a simulated device is used: by the hour of its own time zone, with hours offline, some mostly in a pocket. Pure.

Everything is a function of the seed and the moment, so that any order of asking gives the same answers.
"""

import math
import random
from dataclasses import dataclass
from functools import lru_cache

HOUR = 3600.0
# the share of the busiest hour's work in each local hour: a working day on a building site
BY_HOUR = (
    *(0.1, 0.1, 0.1, 0.1, 0.15, 0.3, 0.6, 0.85),
    *(1.0, 1.0, 1.0, 0.95, 0.8, 0.95, 1.0, 0.95),
    *(0.8, 0.6, 0.45, 0.35, 0.3, 0.25, 0.2, 0.15),
)
# hours from UTC, and their shares
ZONES = ((-8, 0.15), (-7, 0.1), (-6, 0.2), (-5, 0.3), (0, 0.1), (1, 0.15))
BACKGROUND_SHARE, BACKGROUND_LOAD = 0.15, 0.25
BACKGROUND_PAUSE, LONGEST_PAUSE_SECONDS = 6.0, HOUR  # such a device reports that many times less often
# an outage begins in that share of the spans of six hours; half of them last longer than the median
OUTAGE_SPAN_SECONDS, OUTAGE_SHARE = 6 * HOUR, 0.12
OUTAGE_MEDIAN_SECONDS, OUTAGE_SPREAD = 25 * 60.0, 1.0
SHORTEST_OUTAGE_SECONDS, LONGEST_OUTAGE_SECONDS = 2 * 60.0, 4 * HOUR


@dataclass(frozen=True)
class Usage:
    """How one device is used. A steady one is always online and equally busy."""

    seed: str
    zone_hours: int = 0
    background: bool = False
    steady: bool = False

    @classmethod
    def drawn(cls, seed: str) -> "Usage":
        """Draw the habits of a device."""
        chance = random.Random(seed)
        hours, shares = zip(*ZONES, strict=True)
        return cls(seed, chance.choices(hours, shares)[0], chance.random() < BACKGROUND_SHARE)

    def load(self, at: float) -> float:
        """Return the share of the busiest hour's work at a moment (seconds since 1970)."""
        if self.steady:
            return 1.0
        hour = at / HOUR + self.zone_hours
        whole = math.floor(hour)
        now, later = BY_HOUR[whole % 24], BY_HOUR[(whole + 1) % 24]
        return (now + (later - now) * (hour - whole)) * (BACKGROUND_LOAD if self.background else 1.0)

    def online(self, at: float) -> bool:
        """Tell whether the device reaches the network at a moment."""
        if self.steady:
            return True
        span = math.floor(at / OUTAGE_SPAN_SECONDS)
        outages = (_outage(self.seed, span - 1), _outage(self.seed, span))
        return not any(begins_at <= at < ends_at for begins_at, ends_at in outages)

    def report_seconds(self, usual: float) -> float:
        """Return the seconds between two reports, given those of a device in use."""
        if not self.background or self.steady:
            return usual
        return max(usual, min(usual * BACKGROUND_PAUSE, LONGEST_PAUSE_SECONDS))


@lru_cache(maxsize=65_536)
def _outage(seed: str, span: int) -> tuple[float, float]:
    """Return the outage that begins within a span of six hours; an empty one when there is none."""
    chance = random.Random(f"{seed} {span}")
    begins_at = (span + chance.random()) * OUTAGE_SPAN_SECONDS
    if chance.random() >= OUTAGE_SHARE:
        return begins_at, begins_at
    seconds = chance.lognormvariate(math.log(OUTAGE_MEDIAN_SECONDS), OUTAGE_SPREAD)
    return begins_at, begins_at + min(LONGEST_OUTAGE_SECONDS, max(SHORTEST_OUTAGE_SECONDS, seconds))
