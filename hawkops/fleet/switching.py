"""When a device should change its configuration because throughput fell. Pure: readings and a clock go in.

A configuration is a backend with its threads. The reference is the median of the first readings after a change, raised
when later medians are better; a fall of the recent median by more than the threshold asks for the next configuration.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median

REFERENCE_READINGS = 5
RECENT_READINGS = 3


@dataclass(frozen=True)
class Configuration:
    """How inference runs: a backend, and for the CPU its number of threads."""

    backend: str
    threads: int = 1

    def __str__(self) -> str:
        return f"{self.backend}:{self.threads}" if self.backend == "cpu" else self.backend


@dataclass
class Switching:
    """Watches one device's throughput. Times are monotonic seconds."""

    configurations: list[Configuration]
    current: Configuration
    switched_at: float = float("-inf")
    reference: float | None = None
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=REFERENCE_READINGS))

    def reading(self, tokens_per_second: float) -> None:
        """Take note of one inference's throughput."""
        self._recent.append(tokens_per_second)
        if len(self._recent) == REFERENCE_READINGS:
            self.reference = max(self.reference or 0.0, median(self._recent))

    @property
    def drop(self) -> float:
        """Return by what share the recent median lies below the reference; 0 while there is too little to say."""
        if not self.reference or len(self._recent) < RECENT_READINGS:
            return 0.0
        return max(0.0, 1 - median(list(self._recent)[-RECENT_READINGS:]) / self.reference)

    def wanted(self, *, now: float, threshold: float, cooldown_seconds: float) -> Configuration | None:
        """Return the configuration to change to, or None to stay."""
        if len(self.configurations) < 2 or now - self.switched_at < cooldown_seconds or self.drop <= threshold:
            return None
        at = self.configurations.index(self.current) if self.current in self.configurations else -1
        return self.configurations[(at + 1) % len(self.configurations)]

    def switched(self, configuration: Configuration, *, now: float) -> None:
        """Take note that the device changed its configuration and start a new reference."""
        self.current, self.switched_at, self.reference = configuration, now, None
        self._recent.clear()

    def restart(self, configurations: list[Configuration], current: Configuration) -> None:
        """Begin anew with other configurations, as after a change of backend flags; the cooldown goes on."""
        self.configurations, self.current, self.reference = configurations, current, None
        self._recent.clear()
