"""Who relies on a script: apps above register what they know, and the script's page lists it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Use:
    """One gate that a script's result decides."""

    title: str
    where: str
    address: str


Find = Callable[[str, str], list[Use]]
_finders: list[Find] = []


def register(find: Find) -> None:
    """Make a finder known: it returns the uses of a script (environment, name)."""
    if find not in _finders:
        _finders.append(find)


def uses(environment: str, name: str) -> list[Use]:
    """Return who relies on a script in an environment."""
    return [use for find in _finders for use in find(environment, name)]
