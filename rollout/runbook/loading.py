"""Reading a runbook file: YAML to plain data, then to the runbook; every error names the file and its line."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hawkops.core.errors import InvalidInput
from rollout.domain import runbook as domain

FOLDER = Path(__file__).parent
CURRENT = FOLDER / "runbook-1.0.0.yaml"
LARGEST_BYTES = 1_000_000
DEEPEST, MOST_PLACES = 12, 50_000
PLAIN = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp")
_scalars = yaml.constructor.SafeConstructor()


@dataclass(frozen=True)
class Loaded:
    """A runbook with the plain data it came from and the SHA-256 of its text."""

    runbook: domain.Runbook
    document: dict[str, Any]
    digest: str


def load(path: Path = CURRENT) -> Loaded:
    """Read and check a runbook file. Raises InvalidInput that says `file, line N: what is wrong`."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path.name} can't be read: {error.strerror}.") from error
    return loads(text, name=path.name)


def loads(text: bytes, *, name: str) -> Loaded:
    """Read and check a runbook's text."""
    if len(text) > LARGEST_BYTES:
        raise InvalidInput(f"{name} has {len(text)} bytes; a runbook has at most {LARGEST_BYTES}.")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidInput(f"{name}, line {line}: {error.problem or 'is not YAML'}.") from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"{name} is not YAML: {error}.") from error
    lines: dict[domain.Path, int] = {(): 1}
    document = _plain(node, (), lines, name) if node is not None else {}
    try:
        found = domain.runbook(document)
    except domain.Unfit as unfit:
        raise InvalidInput(f"{name}, line {_line(unfit.path, lines)}: {unfit.message}.") from unfit
    return Loaded(found, document, hashlib.sha256(text).hexdigest())


def _line(path: domain.Path, lines: dict[domain.Path, int]) -> int:
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _plain(node: yaml.Node, path: domain.Path, lines: dict[domain.Path, int], name: str) -> Any:
    """Turn a node into plain data that JSON can hold (dates stay texts), noting where each thing stands."""
    lines.setdefault(path, node.start_mark.line + 1)
    if len(path) > DEEPEST or len(lines) > MOST_PLACES:  # aliases can make a small file endless
        raise InvalidInput(f"{name}, line {node.start_mark.line + 1}: nested or repeated too much.")
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key, str):
                raise InvalidInput(f"{name}, line {line}: a name must be a text.")
            if key in found:
                raise InvalidInput(f"{name}, line {line}: {key!r} stands here twice.")
            lines[(*path, key)] = line
            found[key] = _plain(value_node, (*path, key), lines, name)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, index), lines, name) for index, item in enumerate(node.value)]
    if node.tag in PLAIN:
        return node.value
    try:
        return _scalars.construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        line = node.start_mark.line + 1
        raise InvalidInput(f"{name}, line {line}: {node.value!r} can't be read here.") from error
