"""How many users something is wrong for: devices with a failed or degraded session over active ones. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from monitoring.domain.alerting import Sign
from monitoring.domain.by_observation import ALPHA
from monitoring.domain.statistics import proportions
from monitoring.domain.statistics.proportions import Events

# with fewer devices one phone would wake everybody
DEVICES_LEAST = 10
# so large a share of a device's inferences that fails or answers wrongly degrades its session
DEGRADED_SHARE = 0.2
SLOT = timedelta(minutes=5)


@dataclass(frozen=True)
class Session:
    """What one device reported lately."""

    inferences: float
    failed: float
    crashes: float

    @property
    def is_affected(self) -> bool:
        """Whether it failed (the app crashed) or was degraded."""
        return self.crashes > 0 or (self.failed > 0 and self.failed >= DEGRADED_SHARE * self.inferences)


@dataclass(frozen=True)
class Affected:
    """How many of the active devices are affected; of a large fleet, of those in the panel."""

    devices: int
    affected: int
    within: timedelta

    @classmethod
    def of(cls, sessions: Iterable[Session], *, within: timedelta) -> Affected:
        """Count devices."""
        found = list(sessions)
        return cls(len(found), sum(one.is_affected for one in found), within)

    def sign(self, limit: float) -> Sign:
        """Say whether more than a share of the users are affected; too few devices say nothing."""
        if self.devices < DEVICES_LEAST:
            return Sign.UNKNOWN
        return Sign.BAD if self.affected > limit * self.devices else Sign.WELL

    def sentence(self, limit: float) -> str:
        """Say it with its interval."""
        minutes = f"{self.within.total_seconds() / 60:.0f} min"
        if self.devices < DEVICES_LEAST:
            return f"{self.devices} devices reported within {minutes}; it takes {DEVICES_LEAST} to say anything"
        found = proportions.share(Events(self.affected, self.devices), alpha=ALPHA)
        return (
            f"{self.affected} of {self.devices} active devices had a failed or degraded session within {minutes}:"
            f" {100 * found.estimate:.1f} %, between {100 * found.low:.1f} and {100 * found.high:.1f} %;"
            f" the limit is {100 * limit:g} %"
        )
