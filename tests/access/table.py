"""The table itself: one line for each address and method, one cell for each kind of caller."""

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hawkops.core.access import Role

FILE = Path(__file__).with_name("matrix.csv")
ANONYMOUS, NO_ROLE = "anonymous", "no role"
CALLERS = (ANONYMOUS, NO_ROLE, *(role.value for role in Role))
COLUMNS = ("door", "method", "address", "name", *CALLERS, "program")
# who is refused is answered with the status, or sent to the sign-in page
ALLOWED, OWN, SIGN_IN = "yes", "own", "sign in"


@dataclass(frozen=True)
class Line:
    """One address and method. A cell says `yes`, `own` (what is the caller's own), `sign in`, or the refusal's status.

    `program` names what a caller without a person must show, where it may come at all.
    """

    door: str
    method: str
    address: str
    name: str
    cells: tuple[str, ...]
    program: str = ""

    def cell(self, caller: str) -> str:
        """Return what a caller gets."""
        return self.cells[CALLERS.index(caller)]


def line(door: str, method: str, address: str, name: str, *, program: str = "", **cells: str) -> Line:
    """Make a line: `anonymous`, `no_role` and `others` give the cells, and a role's own name comes before `others`."""
    found = [cells[ANONYMOUS], cells.get("no_role", cells["others"])]
    found += [cells.get(role.value, cells["others"]) for role in Role]
    return Line(door, method, address, name, tuple(found), program)


def read() -> list[Line]:
    """Read the table of the repository."""
    with FILE.open(newline="") as file:
        first, *rows = csv.reader(file)
    assert tuple(first) == COLUMNS
    return [Line(row[0], row[1], row[2], row[3], tuple(row[4:-1]), row[-1]) for row in rows]


def written(lines: Iterable[Line]) -> str:
    """Write lines as the file holds them, in one order."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in sorted(lines, key=lambda one: (one.door, one.address, one.method)):
        writer.writerow([one.door, one.method, one.address, one.name, *one.cells, one.program])
    return out.getvalue()


def refreshed(lines: Iterable[Line]) -> list[Line]:
    """Return the table; `UPDATE_MATRIX=1` writes it anew from what the tests declare, for a person to review."""
    if os.environ.get("UPDATE_MATRIX"):
        FILE.write_text(written(lines))
    return read()
