"""YAML that remembers where everything stands, so that whatever is wrong with it is said with file and line. No tables."""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from hawkops.core.errors import InvalidInput

Path = tuple[str | int, ...]
LARGEST_BYTES = 1_000_000
DEEPEST, MOST_PLACES = 12, 50_000
PLAIN = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp")
# YAML can write them as escapes; neither PostgreSQL nor a page can hold them
UNFIT = re.compile("[\x00\ud800-\udfff]")
_scalars = yaml.constructor.SafeConstructor()
# the C parser is thirteen times as quick, but what it composes recurses: `_shallow` looks at the depth before
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Document:
    """Plain data that JSON can hold (dates stay texts), and the line of each of its places."""

    name: str
    data: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of a place, or of what holds it."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]

    def refusal(self, path: Path, message: str) -> InvalidInput:
        """Return the error that says what is wrong, and where."""
        return InvalidInput(f"{self.name}, line {self.line(path)}: {message}.")


def read(text: bytes, *, name: str) -> Document:
    """Read YAML. Raises InvalidInput that says `file, line N: what is wrong`."""
    if len(text) > LARGEST_BYTES:
        raise InvalidInput(f"{name} has {len(text)} bytes; it may have {LARGEST_BYTES}.")
    try:
        _shallow(text, name)
        node = yaml.compose(text, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidInput(f"{name}, line {line}: {error.problem or 'is not YAML'}.") from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"{name} is not YAML: {error}.") from error
    lines: dict[Path, int] = {(): 1}
    data = _plain(node, (), lines, name) if node is not None else {}
    return Document(name, data, lines)


def _shallow(text: bytes, name: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST + 1:
                line = event.start_mark.line + 1 if event.start_mark else 1
                raise InvalidInput(f"{name}, line {line}: nested or repeated too much.")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _plain(node: yaml.Node, path: Path, lines: dict[Path, int], name: str) -> Any:
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
    if UNFIT.search(node.value):
        raise InvalidInput(
            f"{name}, line {node.start_mark.line + 1}: this text holds a character that can't be stored."
        )
    if node.tag in PLAIN:
        return node.value
    try:
        return _scalars.construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        line = node.start_mark.line + 1
        raise InvalidInput(f"{name}, line {line}: {node.value!r} can't be read here.") from error
