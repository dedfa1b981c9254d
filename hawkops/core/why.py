"""Why a verdict is what it is, as a value: what pages show in `parts/why.html` and the API says. Pure.

`monitoring.domain.why` makes it of a criterion; whoever judges something else makes his own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# beyond this an end says nothing
OPEN = 1e12


@dataclass(frozen=True)
class Band:
    """An interval on one scale with what it is held against; `{% band %}` draws it. An end that is None is open.

    `limits` are one boundary, or two between which it must lie; `floor` says that more is better. `zero` is the place of no
    difference, of a comparison. `words` say all of it, `short` its middle.
    """

    low: float | None
    middle: float
    high: float | None
    limits: tuple[float, ...]
    words: str
    short: str = ""
    floor: bool = False
    zero: float | None = None
    bad: bool = False


def finite(value: float) -> float | None:
    """Return an end of an interval as a band has it: None for one that says nothing."""
    return value if math.isfinite(value) and abs(value) < OPEN else None


Number = tuple[str, str]


@dataclass(frozen=True)
class Why:
    """Why a verdict is what it is. `method` says how value and interval are computed, `turns` what would change it.

    `key` names what was judged.
    """

    title: str
    numbers: tuple[Number, ...] = ()
    formula: str = ""
    method: str = ""
    turns: tuple[str, ...] = ()
    bands: tuple[Band, ...] = ()
    key: str = ""


def document(found: Why) -> dict[str, Any]:
    """Write it as plain data, which `why_of` reads again."""
    return asdict(found)


def why_of(data: Mapping[str, Any]) -> Why:
    """Read what `document` wrote, through JSON or not. Raises KeyError or TypeError for anything else."""
    return Why(
        title=data["title"],
        numbers=tuple((name, value) for name, value in data["numbers"]),
        formula=data["formula"],
        method=data["method"],
        turns=tuple(data["turns"]),
        bands=tuple(Band(**{**band, "limits": tuple(band["limits"])}) for band in data["bands"]),
        key=data["key"],
    )
