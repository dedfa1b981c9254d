"""Critical incidents, as far as somebody above knows any: apps that keep incidents register how they are found."""

from collections.abc import Callable, Iterable
from datetime import datetime

from rollout.domain.validation import Critical

# environment, since -> the critical incidents that were open at any moment since then
Source = Callable[[str, datetime], Iterable[Critical]]
_sources: list[Source] = []


def register(source: Source) -> None:
    """Make a source known; registering twice counts once."""
    if source not in _sources:
        _sources.append(source)


def critical_incidents(environment: str, since: datetime) -> list[Critical]:
    """Return the critical incidents that were open at any moment since then, of every source."""
    return [one for source in _sources for one in source(environment, since)]
