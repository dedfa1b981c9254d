"""Taking plain data apart: members by type, and what is wrong with one said with its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any, TypeVar

Path = tuple[str | int, ...]
T = TypeVar("T")

KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
SPAN = re.compile(r"([1-9]\d{0,3})([smhd])")
# neither infinity nor NaN, which JSON lacks, nor a whole number that no float holds
MOST = 1e15
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Unfit(Exception):
    """Something in the runbook can't be used as it is; `path` says where."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


class Reader:
    """Takes members out of a mapping by type, and refuses what is left over: a misspelt name is never ignored."""

    def __init__(self, value: Any, path: Path) -> None:
        if not isinstance(value, Mapping):
            raise Unfit(path, "must be a mapping")
        self._value = value
        self._path = path
        self._left = set(value)

    def take(self, name: str) -> tuple[Any, Path]:
        """Return a member as it stands, with its place."""
        self._left.discard(name)
        return self._value.get(name), (*self._path, name)

    def text(self, name: str, default: str | None = None) -> str:
        """Read a text; one that is needed unless there is a default."""
        value, path = self.take(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value.strip():
            raise Unfit(path if name in self._value else self._path, f"needs {name}, a text")
        return value

    def key(self, name: str = "key") -> str:
        """Read a key: small letters, digits and _."""
        value = self.text(name)
        if not KEY.fullmatch(value):
            raise Unfit((*self._path, name), f"{value!r} is not a key: small letters, digits and _")
        return value

    def one_of(self, name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        """Read one of some words."""
        value = self.text(name, default)
        if value and value not in allowed:
            raise Unfit((*self._path, name), f"{value!r} is not one of {', '.join(allowed)}")
        return value

    def number(self, name: str) -> float | None:
        """Read a number from 0 on; None when it is absent."""
        value, path = self.take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
            raise Unfit(path, f"{name} must be a number, 0 or more")
        return float(value)

    def percent(self, name: str) -> float:
        """Read a number from 0 to 100."""
        value = self.number(name)
        if value is None or value > 100:
            raise Unfit((*self._path, name) if name in self._value else self._path, f"needs {name}, from 0 to 100")
        return value

    def yes(self, name: str) -> bool:
        """Read true or false; absent is false."""
        value, path = self.take(name)
        if value not in (None, True, False):
            raise Unfit(path, f"{name} is true or false")
        return bool(value)

    def day(self, name: str) -> date:
        """Read a date."""
        value = self.text(name)
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise Unfit((*self._path, name), f"{value!r} is not a date; write 2025-01-09") from None

    def span(self, name: str) -> timedelta:
        """Read a length of time."""
        value = self.text(name)
        found = SPAN.fullmatch(value)
        if found is None:
            raise Unfit((*self._path, name), f"{value!r} is not a span; write 30m, 24h or 14d")
        return timedelta(**{UNITS[found[2]]: int(found[1])})

    def texts(self, name: str) -> tuple[str, ...]:
        """Read a list of texts; absent is empty."""
        value, path = self.take(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise Unfit(path, f"{name} must be a list of texts")
        return tuple(value)

    def pairs(self, name: str) -> dict[str, str]:
        """Read a mapping of texts; absent is empty."""
        value, path = self.take(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise Unfit(path, f"{name} must be a mapping of texts")
        for key, text in value.items():
            # `on` and `1` are no texts in YAML, and a script takes texts
            if not isinstance(key, str) or not isinstance(text, str) or not text.strip():
                raise Unfit((*path, key), f"{key!r} needs a text in quotation marks")
        return dict(value)

    def items(self, name: str, read: Callable[[Any, Path], T], *, needed: bool = True) -> tuple[T, ...]:
        """Read a list, each item by a function; one that is needed has an item at least."""
        value, path = self.take(name)
        if value is None and not needed:
            return ()
        if not isinstance(value, list) or (needed and not value):
            raise Unfit(path if name in self._value else self._path, f"needs {name}, a list")
        return tuple(read(one, (*path, index)) for index, one in enumerate(value))

    def end(self) -> None:
        """Refuse members that nobody took."""
        if self._left:
            name = min(str(one) for one in self._left)
            raise Unfit((*self._path, name), f"{name!r} is not known here")
