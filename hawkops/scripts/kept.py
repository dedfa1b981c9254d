"""Files that a program leaves in the folder HAWKOPS_FILES names: texts of a few kinds, kept with its run for good."""

import hashlib
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")
# texts only: secrets can be masked in nothing else
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".xml": "application/xml; charset=utf-8",
}
FILES_MOST, FILE_BYTES = 8, 4_000_000


@dataclass(frozen=True)
class Kept:
    """A file as it is kept, after secrets were masked in it."""

    name: str
    content: bytes

    @property
    def sha256(self) -> str:
        """The digest under which the history knows it."""
        return hashlib.sha256(self.content).hexdigest()


def kind(name: str) -> str:
    """Return the content type of a kept file."""
    return KINDS[Path(name).suffix]


def read(folder: Path, *, masked: Callable[[str], str]) -> tuple[list[Kept], str]:
    """Return the files in a folder by name, and a sentence about what was left out (empty when nothing was)."""
    found: list[Kept] = []
    reasons: list[str] = []
    names: list[str] = []
    with suppress(OSError):  # the program may have removed the folder
        names = sorted(one.name for one in folder.iterdir())
    for name in names:
        if len(found) == FILES_MOST:
            reasons.append(f"{FILES_MOST} files are kept, and there are more")
            break
        try:
            found.append(Kept(name, masked(_text(folder, name)).encode()))
        except (OSError, ValueError) as why:
            reasons.append(str(why.args[-1]))
    return found, f"Not every file is kept: {reasons[0]}." if reasons else ""


def _text(folder: Path, name: str) -> str:
    """Return a file's text; there may be anything in its place. Raises OSError or ValueError with the reason."""
    if not NAME.fullmatch(name) or Path(name).suffix not in KINDS:
        raise ValueError(f"a name is letters, digits, dots and dashes and ends in {', '.join(KINDS)}")
    # a link leads out of the folder, and a pipe would never end
    with os.fdopen(os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{name} is no plain file")
        data = file.read(FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        raise ValueError(f"{name} is longer than {FILE_BYTES / 1e6:g} MB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{name} is no UTF-8 text") from None
