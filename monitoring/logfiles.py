"""Reading files that others write: on from where the last look ended, through rotation, truncation and rubbish.

Nothing is kept here and nothing is written: whoever reads stores the place it gets back.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from monitoring.domain.patterns import cleaned

READ_MOST = 1024 * 1024
LINES_MOST = 5_000
HEAD_BYTES = 256
# A beginning shorter than this may be the same in two files.
HEAD_TELLS = 64
NEIGHBOURS_MOST = 2_000
NOT_THERE = "not there"


@dataclass(frozen=True)
class Place:
    """A place in a file. Without an inode it is the beginning of whatever file stands there next."""

    inode: str = ""
    offset: int = 0
    head_bytes: int = 0
    head_digest: str = ""


@dataclass(frozen=True)
class FileLine:
    """A line, and the place behind it."""

    text: str
    end: Place


@dataclass(frozen=True)
class Chunk:
    """What one read gave. `more`: there is more to read at once. `trouble`: why nothing could be read."""

    place: Place
    lines: list[FileLine] = field(default_factory=list)
    size: int = 0
    more: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class _File:
    number: int
    inode: str
    size: int

    def head(self, length: int) -> str:
        return hashlib.sha256(os.pread(self.number, length, 0)).hexdigest()[:16] if length else ""

    def place(self, offset: int) -> Place:
        """Return a place in this file."""
        length = min(self.size, HEAD_BYTES)
        return Place(self.inode, offset, length, self.head(length))

    def holds(self, place: Place) -> bool:
        """Whether the place lies in this file: it is as long, and begins as it began."""
        long_enough = self.size >= max(place.offset, place.head_bytes)
        return long_enough and self.head(place.head_bytes) == place.head_digest


def read_on(path: Path, place: Place | None) -> Chunk:
    """Read complete lines on from a place; None is the first look, which begins at the end of what is there.

    What was left unread of a rotated file is read first, as long as it stands beside the new one.
    """
    try:
        with _opened(path) as current:
            return _read(path, current, place)
    except FileNotFoundError:
        return _read(path, None, place)
    except OSError as error:
        return Chunk(place or Place(), trouble=f"can't be read: {error.strerror or error}")


def tail(path: Path, most: int) -> list[str]:
    """Return the newest lines, oldest first, of the last megabytes. Raises OSError."""
    with _opened(path) as file:
        start = max(0, file.size - 4 * READ_MOST)
        rows = os.pread(file.number, 4 * READ_MOST, start).split(b"\n")
    return [text for row in rows[1 if start else 0 :][-most - 1 :] if (text := cleaned(row))][-most:]


def _read(path: Path, current: _File | None, place: Place | None) -> Chunk:
    if place is None:
        return _first(current)
    if current is not None and place.inode == current.inode and current.holds(place):
        return _lines(current, place)
    if place.inode:
        replaced = current is not None and current.size > 0
        with _rotated(path, place) as old:
            if old is not None:
                chunk = _lines(old, place, ended=replaced)
                if chunk.more or not replaced:
                    return chunk
                if chunk.lines:
                    return replace(chunk, place=Place(), more=True)
    if current is None:
        return Chunk(place, trouble=NOT_THERE)
    return _lines(current, Place(inode=current.inode))


def _first(current: _File | None) -> Chunk:
    """Begin behind the last complete line: older lines would be counted as if they were written now."""
    if current is None:
        return Chunk(Place(), trouble=NOT_THERE)
    start = max(0, current.size - READ_MOST)
    end = start + os.pread(current.number, current.size - start, start).rfind(b"\n") + 1
    return Chunk(current.place(end), size=current.size)


def _lines(file: _File, place: Place, *, ended: bool = False) -> Chunk:
    """Read complete lines; of a file that `ended`, the last one needs no line end."""
    begun = file.place(place.offset)
    data = os.pread(file.number, READ_MOST, place.offset)
    to_end = place.offset + len(data) >= file.size
    lines: list[FileLine] = []
    at = 0
    while at < len(data) and len(lines) < LINES_MOST:
        end = data.find(b"\n", at)
        if end < 0:
            in_pieces = at == 0 and len(data) == READ_MOST
            if not in_pieces and not (ended and to_end):
                break
            end = len(data) - 1
        lines.append(FileLine(cleaned(data[at : end + 1]), replace(begun, offset=place.offset + end + 1)))
        at = end + 1
    more = bool(lines) and not (to_end and (at == len(data) or len(lines) < LINES_MOST))
    return Chunk(lines[-1].end if lines else begun, lines, file.size, more)


@contextmanager
def _opened(path: Path) -> Iterator[_File]:
    """Open an ordinary file for reading; a pipe or a folder is refused and never waited for."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is no ordinary file")
        yield _File(number, str(found.st_ino), found.st_size)
    finally:
        os.close(number)


@contextmanager
def _rotated(path: Path, place: Place) -> Iterator[_File | None]:
    """Find the file that the place lies in among its neighbours: renamed, or copied before it was truncated."""
    with ExitStack() as opened:
        found: _File | None = None
        for neighbour in _neighbours(path):
            with ExitStack() as trying, suppress(OSError):
                file = trying.enter_context(_opened(neighbour))
                same = file.inode == place.inode or place.head_bytes >= HEAD_TELLS
                if same and file.holds(place) and (found is None or file.inode == place.inode):
                    found = file
                    opened.push(trying.pop_all())
        yield found


def _neighbours(path: Path) -> list[Path]:
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in islice(entries, NEIGHBOURS_MOST)]
    except OSError:
        return []
    return [path.parent / name for name in sorted(names) if name != path.name and name.startswith(path.stem)]
