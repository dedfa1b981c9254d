"""The census: of the active devices, how many obey a revision, how many are still to, how many can't be reached."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Census:
    """Counts against the active devices. Simulated devices are part of the counts and said apart."""

    revision: int
    obeyed: int
    pending: int
    unreachable: int
    simulated: int = 0

    @property
    def active(self) -> int:
        """All devices counted."""
        return self.obeyed + self.pending + self.unreachable

    @property
    def reached(self) -> int:
        """Devices that are known to be within reach: obeyed or pending."""
        return self.obeyed + self.pending

    def share(self, count: int) -> float:
        """Return a count as percent of the active devices (0 when there is none)."""
        return 100 * count / self.active if self.active else 0.0

    @property
    def obeyed_percent(self) -> float:
        """The share that obeys."""
        return self.share(self.obeyed)

    @property
    def settled(self) -> bool:
        """Whether nobody is pending any more."""
        return self.pending == 0
