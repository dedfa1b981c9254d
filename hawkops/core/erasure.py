"""Erasing a device: each app says how it forgets one, nobody calls an app above."""

from collections.abc import Callable

# environment, device id → rows erased
Eraser = Callable[[str, str], int]
_ERASERS: dict[str, Eraser] = {}


def register(what: str, erase: Eraser) -> None:
    """Name what an app keeps of a device and how it forgets it. Called once, when the app starts."""
    _ERASERS[what] = erase


def erasers() -> dict[str, Eraser]:
    """Return them all, by what they erase."""
    return dict(_ERASERS)
