"""A team's own scripts: programs in `HAWKOPS_SCRIPTS_DIR` that say at their head, as YAML in comments, what they are."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings

from hawkops.core import located
from hawkops.core.errors import InvalidInput, NotFound
from hawkops.scripts import entries
from hawkops.scripts.catalogue import (
    BUNDLED,
    DURATION,
    MEGABYTE,
    SECONDS,
    Argument,
    Measurement,
    Script,
    a_duration,
    a_word,
    an_environment,
)

GROUP = "Own scripts"
# the YAML begins on the line below this one and ends with the comment
HEAD = re.compile(r"(#|//) hawkops:\s*")
HEAD_LINES_MOST, FILES_MOST = 200, 500
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,118}")
KEY = re.compile(r"[a-z][a-z0-9-]{0,39}")
# names that the run form sends beside a script's own
RESERVED = ("dry-run", "dry_run", "times", "needs", "schedule", "schedule-every", "schedule-at", "csrfmiddlewaretoken")
TYPES = ("text", "word", "integer", "duration", "environment", "choice", "switch")
MEMBERS = (
    "title",
    "means",
    "changes",
    "repeatable",
    "timeout",
    "memory",
    "processor",
    "alone",
    "arguments",
    "measures",
)
TIMEOUT_SECONDS = 300
TIMEOUT_SECONDS_MOST = 48 * 3600
Place = tuple[str | int, ...]
# path, and what changes with its text, its rights or the file itself
Seen = tuple[Path, int, int, int]


@dataclass(frozen=True)
class Own:
    """What the folder holds: scripts by name, and why the others can't be used, each with file and line."""

    scripts: dict[str, Script]
    refusals: tuple[str, ...]


def own() -> Own:
    """Return a team's own scripts as the folder stands now; without a folder of its own there are none."""
    folder = Path(settings.SCRIPTS_DIR)
    if folder == BUNDLED:
        return Own({}, ())
    seen = list(islice(_files(folder), FILES_MOST + 1))
    found = _read(folder, tuple(seen[:FILES_MOST]))
    if len(seen) <= FILES_MOST:
        return found
    cut = f"There are more than {FILES_MOST} files here; those after {_shown(folder, seen[FILES_MOST - 1][0])} are not read."
    return Own(found.scripts, (cut, *found.refusals))


def _files(folder: Path) -> Iterator[Seen]:
    """Go through the files in a stated order, those of a folder before its folders; what a dot hides is left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            try:
                status = path.stat()
            except OSError:  # gone since, or a link to nothing
                continue
            if stat.S_ISREG(status.st_mode):
                yield path, status.st_mtime_ns, status.st_ctime_ns, status.st_mode


def _shown(folder: Path, path: Path) -> str:
    """Return a file's name below the folder as a text that can be written, whatever bytes it consists of."""
    return os.fsencode(path.relative_to(folder)).decode("utf-8", errors="backslashreplace")


def catalogue() -> dict[str, Script]:
    """Return every script there is, the runbook's first."""
    return {**entries.CATALOGUE, **own().scripts}


def script(name: str) -> Script:
    """Return one script. Raises NotFound."""
    found = entries.CATALOGUE.get(name) or own().scripts.get(name)
    if found is None:
        raise NotFound(f"There is no script {name!r} in the catalogue.")
    return found


@lru_cache(maxsize=4)
def _read(folder: Path, files: tuple[Seen, ...]) -> Own:
    scripts: dict[str, Script] = {}
    refusals: list[str] = []
    for path, *_ in files:
        name = _shown(folder, path)
        if name in entries.CATALOGUE:
            continue
        try:
            if (head := _head(path)) is not None:
                scripts[name] = manifest(name, *head)
                if not os.access(path, os.X_OK):
                    del scripts[name]
                    raise InvalidInput(f"{name} is not executable: chmod +x {name}.")
        except InvalidInput as error:
            refusals.append(error.message)
        except OSError as error:
            refusals.append(f"{name} can't be read: {error.strerror}.")
    return Own(scripts, tuple(refusals))


def _head(path: Path) -> tuple[str, int] | None:
    """Return the YAML at a program's head and the number of lines above it; None when it has none."""
    with path.open("rb") as file:
        lines = file.read(64_000).decode("utf-8", errors="replace").splitlines()[:HEAD_LINES_MOST]
    for number, line in enumerate(lines):
        if found := HEAD.fullmatch(line):
            mark = found[1]
            text = []
            for below in lines[number + 1 :]:
                if not below.startswith(mark):
                    break
                text.append(below.removeprefix(mark))
            return "\n".join(text), number + 1
    return None


def manifest(name: str, text: str, above: int = 0) -> Script:
    """Read the YAML of one script. Raises InvalidInput that names file and line."""
    # empty lines in front make its lines those of the file
    document = located.read(("\n" * above + text).encode(), name=name)
    if not NAME.fullmatch(name) or ".." in name:
        raise InvalidInput(f"{name}: a script's name has letters, digits, dots and dashes, 119 at most.")
    if not isinstance(document.data, dict):
        raise document.refusal((), "must be members such as title and means")
    data = document.data
    _known(document, (), data, MEMBERS)
    arguments = tuple(_argument(document, ("arguments", i), row) for i, row in enumerate(_list(document, "arguments")))
    for index, argument in enumerate(arguments):
        if argument.name in (other.name for other in arguments[:index]):
            raise document.refusal(("arguments", index, "name"), f"there are two arguments {argument.name!r}")
    return Script(
        name,
        _text(document, ("title",), data.get("title")),
        _text(document, ("means",), data.get("means")),
        GROUP,
        tuple(_measurement(document, ("measures", i), row) for i, row in enumerate(_list(document, "measures"))),
        arguments,
        timeout_seconds=_seconds(document, "timeout", TIMEOUT_SECONDS),
        memory_bytes=_whole(document, "memory", 6_000) * MEGABYTE,
        cpu_seconds=_seconds(document, "processor", 0),
        changes_anything=_yes(document, ("changes",), data.get("changes"), False),
        idempotent=_yes(document, ("repeatable",), data.get("repeatable"), True),
        concurrency=_text(document, ("alone",), data["alone"]) if "alone" in data else "",
    )


def _known(document: located.Document, place: Place, data: dict[str, Any], members: tuple[str, ...]) -> None:
    for member in data:
        if member not in members:
            raise document.refusal((*place, member), f"there is no {member!r} here; there are {', '.join(members)}")


def _text(document: located.Document, place: Place, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 300:
        raise document.refusal(place, f"needs {place[-1]}, a text of 300 characters at most")
    return value.strip()


def _yes(document: located.Document, place: Place, value: Any, default: bool) -> bool:
    if not isinstance(value, bool | None):
        raise document.refusal(place, f"{place[-1]} is true or false")
    return default if value is None else value


def _list(document: located.Document, member: str) -> list[dict[str, Any]]:
    value = document.data.get(member, [])
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise document.refusal((member,), f"{member} is a list of members")
    return value


def _seconds(document: located.Document, member: str, default: int) -> int:
    value = document.data.get(member)
    if value is None:
        return default
    found = DURATION.fullmatch(value) if isinstance(value, str) else None
    seconds = int(found[1]) * SECONDS[found[2]] if found else 0
    if not 0 < seconds <= TIMEOUT_SECONDS_MOST:
        raise document.refusal((member,), f"{value!r} is not a duration up to 48h; write 30s, 10m or 2h")
    return seconds


def _whole(document: located.Document, member: str, default: int) -> int:
    value = document.data.get(member, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 10 <= value <= 1_000_000:
        raise document.refusal((member,), f"{member} is a whole number of MB, 10 or more")
    return value


def _argument(document: located.Document, place: Place, data: dict[str, Any]) -> Argument:
    _known(document, place, data, ("name", "help", "type", "choices", "required", "default"))
    name, kind = _text(document, (*place, "name"), data.get("name")), data.get("type", "text")
    if name in RESERVED:
        raise document.refusal((*place, "name"), f"{name!r} can't name an argument: HawkOps' own form uses it")
    if not KEY.fullmatch(name):
        raise document.refusal((*place, "name"), f"{name!r} can't name an argument: small letters, digits and dashes")
    if kind not in TYPES:
        raise document.refusal((*place, "type"), f"there is no type {kind!r}; there are {', '.join(TYPES)}")
    choices = data.get("choices", [])
    if (kind == "choice") != bool(choices):
        raise document.refusal((*place, "choices"), "choices belong to type choice, and it needs some")
    if not isinstance(choices, list) or not all(isinstance(choice, str) and choice for choice in choices):
        raise document.refusal((*place, "choices"), "choices are texts")
    checks = {"word": a_word, "integer": _integer, "duration": a_duration, "environment": an_environment}
    made = Argument(
        name,
        _text(document, (*place, "help"), data.get("help")),
        _one_of(tuple(choices)) if kind == "choice" else checks.get(kind, str),
        default=str(data.get("default", "")),
        choices=tuple(choices),
        switch=kind == "switch",
        required=_yes(document, (*place, "required"), data.get("required"), False),
    )
    try:
        if made.default:
            made.parse(made.default)
    except InvalidInput as error:
        raise document.refusal((*place, "default"), error.message.rstrip(".")) from error
    return made


def _measurement(document: located.Document, place: Place, data: dict[str, Any]) -> Measurement:
    _known(document, place, data, ("name", "title", "unit", "factor"))
    factor = data.get("factor", 1.0)
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        raise document.refusal((*place, "factor"), "factor is a number")
    name, title = (_text(document, (*place, member), data.get(member)) for member in ("name", "title"))
    return Measurement(name, title, str(data.get("unit", "")), float(factor))


def _integer(text: str) -> str:
    if not re.fullmatch(r"-?[0-9]{1,15}", text):
        raise InvalidInput(f"{text!r} is no whole number.")
    return text


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in choices:
            raise InvalidInput(f"{text!r} is none of {', '.join(choices)}.")
        return text

    return check
