"""What explains alerts away: apps above register what they know (a kill in force), monitoring what it knows (silence)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Quiet:
    """While this holds, alerts on these metrics (by prefix) are explained and need nobody."""

    reason: str
    prefixes: tuple[str, ...]

    def covers(self, metric: str) -> bool:
        """Whether it explains an alert on a metric."""
        return metric.startswith(self.prefixes)


Provider = Callable[[str], Iterable[Quiet]]
_providers: list[Provider] = []


def register(provider: Provider) -> None:
    """Ask `provider(environment)` at each evaluation."""
    if provider not in _providers:
        _providers.append(provider)


def in_force(environment: str) -> list[Quiet]:
    """Return everything that explains alerts in an environment now."""
    return [quiet for provider in _providers for quiet in provider(environment)]
