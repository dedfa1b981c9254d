"""The threshold file: YAML to criteria and back. What is wrong with it is said with file and line."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from hawkops.core import located
from hawkops.core.errors import InvalidInput
from monitoring.domain import criteria, targets
from monitoring.domain import thresholds as domain
from monitoring.domain.criteria import Criterion
from monitoring.domain.targets import Profile

FILE = Path(__file__).with_name("production-thresholds.yaml")
VERSION = 1
HEAD = "# Criteria as HawkOps holds them. Every field is explained under “How criteria work”.\n"


def load(path: Path = FILE) -> list[Criterion]:
    """Read a threshold file's criteria. Raises InvalidInput that says `file, line N: what is wrong`."""
    return loads(_text(path), name=path.name)


def load_profiles(path: Path = FILE) -> list[Profile]:
    """Read a threshold file's profiles of device classes. Raises InvalidInput as `load` does."""
    return loads_profiles(_text(path), name=path.name)


def load_sections(path: Path = FILE) -> dict[str, dict[str, Any]]:
    """Read a threshold file's other sections as plain data, checked. Raises InvalidInput as `load` does."""
    return loads_sections(_text(path), name=path.name)


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}.") from error


@lru_cache(maxsize=2)
def _document(text: bytes, *, name: str) -> located.Document:
    """Read the text, once for all three parts of a file and for every page that shows its drift. Nobody changes it."""
    document = located.read(text, name=name)
    if not isinstance(document.data, dict) or document.data.get("version") != VERSION:
        raise document.refusal(("version",), f"a threshold file begins with `version: {VERSION}`")
    if unknown := sorted(set(document.data) - {"version", "profiles", "criteria", *domain.SECTIONS}):
        raise document.refusal((unknown[0],), f"{unknown[0]!r} is no part of a threshold file")
    return document


def loads_profiles(text: bytes, *, name: str) -> list[Profile]:
    """Read the profiles in the text of a threshold file."""
    document = _document(text, name=name)
    rows = document.data.get("profiles") or []
    if not isinstance(rows, list):
        raise document.refusal(("profiles",), "profiles is a list")
    found: dict[str, Profile] = {}
    for index, row in enumerate(rows):
        try:
            one = targets.profile(row, ("profiles", index))
        except criteria.Unfit as unfit:
            raise document.refusal(unfit.path, unfit.message) from unfit
        if one.name in found:
            raise document.refusal(("profiles", index, "key"), f"{one.name!r} stands here twice")
        found[one.name] = one
    return list(found.values())


def loads_sections(text: bytes, *, name: str) -> dict[str, dict[str, Any]]:
    """Read the sections beside criteria and profiles in the text of a threshold file."""
    document = _document(text, name=name)
    found = {}
    for section in domain.SECTIONS:
        if section in document.data:
            try:
                found[section] = domain.document(section, document.data[section])
            except criteria.Unfit as unfit:
                raise document.refusal(unfit.path, unfit.message) from unfit
    return found


def loads(text: bytes, *, name: str) -> list[Criterion]:
    """Read the criteria in the text of a threshold file."""
    document = _document(text, name=name)
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


def dumps(
    found: list[Criterion],
    profiles: Iterable[Profile] = (),
    sections: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Write criteria, profiles and sections as a threshold file."""
    listed = _rows([targets.document(one) for one in profiles])
    head = f"{HEAD}version: {VERSION}\n" + (f"profiles:\n{listed}\n" if listed else "")
    for section, data in (sections or {}).items():
        head += f"{section}:\n" + "".join(f"  {name}: {_flow(value)}\n" for name, value in data.items())
    return f"{head}criteria:\n{_rows([criteria.document(one) for one in found])}\n"


def _rows(rows: list[dict[str, Any]]) -> str:
    return "\n".join(f"  - {_flow(row)}" for row in rows)


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()
