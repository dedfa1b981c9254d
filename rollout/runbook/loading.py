"""Reading a runbook: what is missing or wrong is named with its line."""

from pathlib import Path
from typing import Any

import yaml

from hawkops.core.errors import InvalidInput

BUNDLED = Path(__file__).with_name("runbook-1.0.0.yaml")
REQUIRED = ("version", "title", "author", "date", "next_review", "owner", "approvers", "groups", "gates", "phases")
BOX_REQUIRED = ("key", "text", "stands_on")


def load(path: Path = BUNDLED) -> dict[str, Any]:
    """Return a runbook as plain data (dates as text). Raises InvalidInput with file and line."""
    text = path.read_text()
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidInput(f"{path.name}:{line}: {error.problem}.") from error
    if not isinstance(document, dict) or not isinstance(root, yaml.MappingNode):
        raise InvalidInput(f"{path.name}:1: a runbook is a mapping.")
    if missing := [name for name in REQUIRED if name not in document]:
        raise InvalidInput(f"{path.name}:1: {missing[0]} is missing.")
    seen: set[str] = set()
    for node in _boxes(root):
        members = {key.value: value.value for key, value in node.value}
        line = node.start_mark.line + 1
        for name in BOX_REQUIRED:
            if not members.get(name):
                raise InvalidInput(f"{path.name}:{line}: a box needs {name}.")
        if ("check" in members) == ("comes_with" in members):
            raise InvalidInput(f"{path.name}:{line}: {members['key']} needs either check or comes_with.")
        if members["key"] in seen:
            raise InvalidInput(f"{path.name}:{line}: {members['key']} stands twice.")
        seen.add(members["key"])
    found: dict[str, Any] = _plain(document)
    return found


def _boxes(root: yaml.MappingNode) -> list[yaml.MappingNode]:
    found: list[yaml.MappingNode] = []
    for key, value in root.value:
        if key.value == "gates":
            found += value.value
        elif key.value == "groups":
            for group in value.value:
                found += [box for name, boxes in group.value if name.value == "boxes" for box in boxes.value]
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else value
