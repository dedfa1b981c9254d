"""A/B tests: the devices that a flag serves `on` by its rules or percentage are divided among weighted arms. Pure.

A test stands inside the flag's exposure: the percentage stays the safe ramp, and a kill, an override or a pinned device
comes before it. The arms' buckets have a salt of their own, so that they don't depend on who was let in, and raising the
percentage moves nobody from one arm to another. Weights are fixed while a test runs: another weight is another test.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import mmh3

from hawkops.core.errors import InvalidInput
from monitoring.domain import arms as sides
from rollout.domain.equality import same

ARMS_LEAST, ARMS_MOST = 2, 8
WEIGHT_MOST = 10_000


@dataclass(frozen=True)
class Arm:
    """One arm: the variant that its devices are told, its share by weight, and the value they get."""

    variant: str
    weight: int
    value: Any

    @property
    def document(self) -> dict[str, Any]:
        """The arm as it is stored."""
        return {"variant": self.variant, "weight": self.weight, "value": self.value}


@dataclass(frozen=True)
class Experiment:
    """A running test of one flag. The first arm is the one that the others are compared with."""

    key: str
    salt: str
    arms: tuple[Arm, ...]

    @property
    def weights(self) -> tuple[int, ...]:
        """The arms' weights in their order."""
        return tuple(one.weight for one in self.arms)

    @property
    def alike(self) -> bool:
        """Whether every arm has the same value: an A/A test, which tests the testing."""
        first = self.arms[0].value
        return all(same(one.value, first) for one in self.arms)

    @property
    def document(self) -> dict[str, Any]:
        """The test as a flag's row stores it."""
        return {"key": self.key, "salt": self.salt, "arms": [one.document for one in self.arms]}

    def arm(self, targeting_key: str) -> Arm:
        """Return a device's arm: always the same one. Source: flagd's fractional evaluation, version 2."""
        total = self._ends[-1]
        place = (mmh3.hash(f"{self.salt}:{targeting_key}", 0, False) * total) >> 32
        return next(arm for arm, end in zip(self.arms, self._ends, strict=True) if place < end)

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        return tuple(accumulate(self.weights))


def experiment(document: Mapping[str, Any] | None) -> Experiment | None:
    """Read a stored test; None when there is none."""
    if not document:
        return None
    arms = tuple(Arm(one["variant"], one["weight"], one["value"]) for one in document["arms"])
    return Experiment(document["key"], document["salt"], arms)


def arms_checked(arms: Sequence[Arm], *, off: Any, safe: Any) -> tuple[Arm, ...]:
    """Return arms that can be told apart and divide devices. `off` and `safe` are the flag's values.

    Telemetry of an arm belongs to the control or the treatment by its name, so a name that means one of them must be it.
    Raises InvalidInput.
    """
    if not ARMS_LEAST <= len(arms) <= ARMS_MOST:
        raise InvalidInput(f"An A/B test has {ARMS_LEAST} to {ARMS_MOST} arms; this one has {len(arms)}.")
    names = [one.variant for one in arms]
    for one in arms:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,39}", one.variant):
            raise InvalidInput(
                f"{one.variant!r} is no name of an arm; use 1 to 40 small letters, digits, dots, dashes and underscores."
            )
        if names.count(one.variant) > 1:
            raise InvalidInput(f"Two arms are called {one.variant}; give each a name of its own.")
        if not 1 <= one.weight <= WEIGHT_MOST:
            raise InvalidInput(
                f"The weight of {one.variant} is {one.weight}; use whole numbers from 1 to {WEIGHT_MOST}."
            )
        means, serves_off = sides.arm_of(one.variant), same(one.value, off)
        if means is not None and (means is sides.Arm.CONTROL) is not serves_off:
            gets = "gets the off value" if serves_off else "gets another value than off"
            raise InvalidInput(f"An arm called {one.variant} counts as {means} everywhere, but this one {gets}.")
    made = Experiment("", "", tuple(arms))
    if same(off, safe) or made.alike:
        return made.arms
    raise InvalidInput(
        "This flag's safe value is its on value, so arms that get another one would leave it. Test a flag that is safe when"
        " it is off, or give every arm the same value."
    )


def moved(before: Experiment | None, after: Experiment | None, *, on: Any, safe: Any) -> bool:
    """Say whether devices that get `on` may be moved to a value that is neither safe nor what they all had.

    `on` is what they get where no test runs, `safe` the flag's safe value.
    """
    had, get = _values(before, on), _values(after, on)
    return any(not same(value, safe) and not all(same(value, other) for other in had) for value in get)


def _values(running: Experiment | None, on: Any) -> Sequence[Any]:
    return [arm.value for arm in running.arms] if running else [on]
