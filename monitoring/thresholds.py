"""The threshold file: YAML to criteria and back. What is wrong with it is said with file and line."""

from pathlib import Path
from typing import Any

import yaml

from hawkops.core import located
from hawkops.core.errors import InvalidInput
from monitoring.domain import criteria
from monitoring.domain.criteria import Criterion

FILE = Path(__file__).with_name("production-thresholds.yaml")
VERSION = 1
HEAD = "# Criteria as HawkOps holds them. Every field is explained under “How criteria work”.\n"


def load(path: Path = FILE) -> list[Criterion]:
    """Read a threshold file. Raises InvalidInput that says `file, line N: what is wrong`."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}.") from error
    return loads(text, name=path.name)


def loads(text: bytes, *, name: str) -> list[Criterion]:
    """Read the text of a threshold file."""
    document = located.read(text, name=name)
    if not isinstance(document.data, dict) or document.data.get("version") != VERSION:
        raise document.refusal(("version",), f"a threshold file begins with `version: {VERSION}`")
    if unknown := sorted(set(document.data) - {"version", "criteria"}):
        raise document.refusal((unknown[0],), f"{unknown[0]!r} is no part of a threshold file")
    rows = document.data.get("criteria")
    if not isinstance(rows, list) or not rows:
        raise document.refusal(("criteria",), "criteria is a list with at least one criterion")
    found: dict[str, Criterion] = {}
    for index, row in enumerate(rows):
        try:
            one = criteria.criterion(row, ("criteria", index))
        except criteria.Unfit as unfit:
            raise document.refusal(unfit.path, unfit.message) from unfit
        if one.key in found:
            raise document.refusal(("criteria", index, "key"), f"{one.key!r} stands here twice")
        found[one.key] = one
    return list(found.values())


def dumps(found: list[Criterion]) -> str:
    """Write criteria as a threshold file."""
    rows: list[dict[str, Any]] = [criteria.document(one) for one in found]
    lines = [
        f"  - {yaml.safe_dump(row, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000).strip()}"
        for row in rows
    ]
    return f"{HEAD}version: {VERSION}\ncriteria:\n" + "\n".join(lines) + "\n"
