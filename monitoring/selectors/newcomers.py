"""Device ids that nobody knew: a leaked device key can invent them. Who counts devices registers here."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

WITHIN = timedelta(hours=1)
# fewer are nobody's concern: an office unpacks its phones
LEAST = 500


@dataclass(frozen=True)
class Newcomers:
    """Active devices, simulated ones left out, and how many of them were first seen within a span."""

    active: int
    new: int
    within: timedelta = WITHIN

    @property
    def is_burst(self) -> bool:
        """Whether more are new than were known before."""
        return self.new >= LEAST and self.new > self.active - self.new

    @property
    def sentence(self) -> str:
        """Say it with its numbers."""
        hours = self.within // timedelta(hours=1)
        span = "hour" if hours == 1 else f"{hours} hours"
        return f"{self.new} of {self.active} active devices were never seen before the last {span}"


Reader = Callable[[str], Newcomers]
_readers: list[Reader] = []


def register(reader: Reader) -> None:
    """Ask `reader(environment)` at each evaluation."""
    if reader not in _readers:
        _readers.append(reader)


def newcomers(environment: str) -> Newcomers | None:
    """Return who is new within the hour; None where nobody counts devices."""
    return _readers[0](environment) if _readers else None
