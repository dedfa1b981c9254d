"""What explains alerts away: apps above register what they know (a kill in force), monitoring what it knows (silence)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from monitoring.domain.alerting import Look


@dataclass(frozen=True)
class Quiet:
    """While this holds, the alerts that it covers are explained and need nobody. `cause` is the entry behind it."""

    reason: str
    covers: Callable[[Look], bool]
    cause: int | None = None


Provider = Callable[[str], Iterable[Quiet]]
_providers: list[Provider] = []


def register(provider: Provider) -> None:
    """Ask `provider(environment)` at each evaluation."""
    if provider not in _providers:
        _providers.append(provider)


def in_force(environment: str) -> list[Quiet]:
    """Return everything that explains alerts in an environment now."""
    return [quiet for provider in _providers for quiet in provider(environment)]
