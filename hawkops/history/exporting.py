"""The whole history as JSON lines, and a program that proves such a file anywhere with Python and `cryptography` only."""

import json
import zipapp
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings

from hawkops.core import clock
from hawkops.history import exported, selectors
from hawkops.history.keys import origin, verifiers
from hawkops.history.witnessed import Folder

# what the stand-alone program consists of: the very modules that verify here
MODULES = (
    "history/domain/chain.py",
    "history/domain/checkpoint.py",
    "history/domain/merkle.py",
    "history/domain/proof.py",
    "history/exported.py",
    "history/witnessed.py",
)


def export_lines() -> Iterator[str]:
    """Give the whole history line by line: what it is, the signed checkpoints, every entry. Reads in chunks."""
    folder = Folder(settings.WITNESS_DIR)
    notes = selectors.notes(folder)
    head = selectors.head()
    about: dict[str, object] = {
        "kind": "history",
        "schema": exported.SCHEMA,
        "origin": origin(),
        "at": clock.now().isoformat(),
        "head": {"seq": head.seq, "hash": head.hash},
        "verifiers": [str(one) for one in verifiers(folder, of=notes)],
    }
    yield _line(about)
    for size, note in notes:
        yield _line({"kind": "checkpoint", "size": size, "note": note})
    for link in selectors.links(until_seq=head.seq):
        yield _line(exported.written(link))


def _line(record: dict[str, object]) -> str:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n"


def verifier_program() -> bytes:
    """Return the stand-alone verifier as one file: `python verify_history.pyz FILE`."""
    return program(MODULES, "hawkops.history.exported:program")


def program(modules: Iterable[str], start: str) -> bytes:
    """Return some of our own modules as one file that Python runs; they import nothing else of ours."""
    source = Path(__file__).resolve().parents[1]
    with TemporaryDirectory() as made:
        root = Path(made) / "program" / "hawkops"
        for module in modules:
            target = root / module
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((source / module).read_bytes())
        for folder in {root, *(path.parent for path in root.rglob("*.py"))}:
            for package in (folder, *folder.parents):
                if package.is_relative_to(root):
                    (package / "__init__.py").write_text("")
        found = Path(made) / "verify.pyz"
        zipapp.create_archive(root.parent, found, "/usr/bin/env python3", start)
        return found.read_bytes()
