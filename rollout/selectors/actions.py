"""Action items that hold the next phase back, as far as somebody above knows any: who keeps reviews registers them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rollout.domain.policy import Need

SHOWN = 3


@dataclass(frozen=True)
class ActionItem:
    """Something that must be done before exposure rises."""

    title: str
    owner: str


Source = Callable[[str], Iterable[ActionItem]]
_sources: list[Source] = []


def register(source: Source) -> None:
    """Make a source known; registering twice counts once."""
    if source not in _sources:
        _sources.append(source)


def need(environment: str) -> Need | None:
    """Return the line that is missing while any is open; None when nothing is."""
    found = [one for source in _sources for one in source(environment)]
    if not found:
        return None
    said = "; ".join(f"{one.title} ({one.owner or 'nobody'})" for one in found[:SHOWN])
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    sentence = f"Not done after a review: {said}{more}."
    return Need("actions", "Action items", False, sentence, f"{len(found)} open")
