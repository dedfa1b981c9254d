"""How long a device may act on what it was told. Pure arithmetic on a monotonic clock that the caller reads.

The lease is counted from when the request left, not from when the answer came, so a slow answer never lengthens it.
"""

from dataclasses import dataclass

RENEW_AT = 1 / 3  # of the lease: two more tries fit before it ends
LEAST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Lease:
    """A span of monotonic time, in seconds, in which the last answer holds."""

    begins_at: float
    seconds: float

    @property
    def ends_at(self) -> float:
        """Return when the lease ends."""
        return self.begins_at + self.seconds

    def remaining(self, now: float) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self.ends_at - now)

    def holds(self, now: float) -> bool:
        """Tell whether the answer may still be acted on."""
        return now < self.ends_at

    def renewal_in(self, now: float) -> float:
        """Return the seconds to wait before renewing; a short pause when renewal is overdue."""
        return max(LEAST_PAUSE_SECONDS, self.begins_at + self.seconds * RENEW_AT - now)

    def renewed(self, *, sent_at: float, seconds: float) -> "Lease":
        """Return the lease that a new answer grants. An answer older than the one in hand changes nothing."""
        return self if sent_at < self.begins_at else Lease(sent_at, max(0.0, seconds))


NO_LEASE = Lease(float("-inf"), 0.0)
