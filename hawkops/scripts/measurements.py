"""What a program measured, read from the file it wrote: one JSON object a line, and only what can be stored and drawn."""

import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULT_BYTES = 2_000_000


class Unfit(ValueError):
    """A line that is no measurement, or holds what nothing can keep."""


def read(path: Path) -> tuple[list[dict[str, Any]], str]:
    """Return the measurements, and a sentence about what was left out (empty when nothing was).

    A measurement is an object with a `name`. Its numbers are finite; NUL and lone surrogates, which PostgreSQL refuses,
    become replacement characters.
    """
    try:
        text, whole = _text(path)
    except OSError as error:
        return [], f"The result file can't be read ({error.strerror}): what was measured is lost."
    found: list[dict[str, Any]] = []
    reasons: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append(_measurement(line))
            except Unfit as unfit:
                reasons.append(f"line {number} {unfit}")
    said = [f"{len(reasons)} left out of the result file: {reasons[0]}."] if reasons else []
    if not whole:
        said.append(f"The result file is longer than {RESULT_BYTES / 1e6:g} MB; what came after that is left out.")
    return found, " ".join(said)


def _text(path: Path) -> tuple[str, bool]:
    """Return the file's whole lines within the limit, and whether that is all; there may be anything in its place."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "it is no plain file")
        data = file.read(RESULT_BYTES + 1)
    if len(data) <= RESULT_BYTES:
        return data.decode(errors="replace"), True
    return data[:RESULT_BYTES].rpartition(b"\n")[0].decode(errors="replace"), False


def _measurement(line: str) -> dict[str, Any]:
    try:
        result = dict(_kept(json.loads(line, parse_constant=_refused)))
    except RecursionError:
        raise Unfit("is nested too deep") from None
    except Unfit:
        raise
    except (TypeError, ValueError):
        raise Unfit("is no JSON object") from None
    if not isinstance(result.get("name"), str):
        raise Unfit("has no name")
    return result


def _refused(constant: str) -> None:
    raise Unfit(f"holds {constant}, which is no number")


def _kept(value: Any) -> Any:
    """Return a value as it can be stored; raises Unfit for a number that can't be drawn."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            finite = math.isfinite(float(value))
        except OverflowError:
            finite = False
        if not finite:
            raise Unfit("holds a number too large to keep")
        return value
    if isinstance(value, list):
        return [_kept(item) for item in value]
    if isinstance(value, dict):
        return dict(_pairs(value))
    return value


def _pairs(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        yield _kept(name), _kept(item)
