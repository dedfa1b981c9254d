"""An exported history: one JSON object a line, and the program that proves it. Standard library and `cryptography` only.

    python verify_history.pyz FILE [--key VERIFIER ...] [--witness FOLDER]

Exit 0 when all of it holds, 1 when something does not (the first bad entry is named), 2 when it can't be read.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from hawkops.history.domain import proof
from hawkops.history.domain.chain import Break, Row
from hawkops.history.domain.checkpoint import Unproven, Verifier, opened
from hawkops.history.domain.proof import Findings, Link
from hawkops.history.witnessed import Folder

SCHEMA = "hawkops.history/1"
# some entries, each with its inclusion proof
PART = "hawkops.history-part/1"


class Unreadable(ValueError):
    """The file is no export; the message names the line."""


def written(link: Link) -> dict[str, object]:
    """Return an entry as it is exported; `personal` is absent where it was erased."""
    row = asdict(link.row)
    record = {"kind": "entry", **row, "at": link.row.at.isoformat(timespec="microseconds")}
    record |= {"previous_hash": link.previous, "hash": link.hash}
    if link.label is not None:
        record["personal"] = {"salt": (link.salt or b"").hex(), "label": link.label}
    return record


def read(record: dict[str, Any]) -> Link:
    """Read an exported entry. Raises KeyError, TypeError, ValueError."""
    personal = record.get("personal") or {}
    fields = {name: record[name] for name in Row.__dataclass_fields__}
    row = Row(**{**fields, "at": datetime.fromisoformat(record["at"])})
    if row.at.tzinfo is None:
        raise ValueError("the moment has no zone")
    salt, label = personal.get("salt"), personal.get("label")
    return Link(
        row, str(record["previous_hash"]), str(record["hash"]), None if salt is None else bytes.fromhex(salt), label
    )


def verify(
    lines: Iterable[str], *, keys: Iterable[Verifier] = (), witness: Folder | None = None
) -> tuple[Findings, dict[str, Any]]:
    """Prove an export; also return its first line. Keys given count alone; else those the export names.

    Raises Unreadable, OSError.
    """
    rows = _records(lines)
    _number, about = next(rows, (0, {}))
    if about.get("kind") != "history" or about.get("schema") != SCHEMA:
        raise Unreadable(f"line 1: an export begins with its schema, {SCHEMA}")
    try:
        head = (int(about["head"]["seq"]), str(about["head"]["hash"]))
        known = list(keys) or [Verifier.parse(str(text)) for text in about["verifiers"]]
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"line 1: {error}") from error
    notes: list[tuple[int, str]] = []
    first: list[tuple[int, dict[str, Any]]] = []
    # checkpoints stand before the entries, so that these are read one by one, however many there are
    for number, record in rows:
        if record.get("kind") != "checkpoint":
            first.append((number, record))
            break
        try:
            notes.append((int(record["size"]), str(record["note"])))
        except (KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"line {number}: no checkpoint can be read here: {error}") from error

    def links() -> Iterator[Link]:
        for number, record in chain(first, rows):
            try:
                if record["kind"] != "entry":
                    raise ValueError(f"{record['kind']!r} is no entry")
                yield read(record)
            except (KeyError, TypeError, ValueError) as error:
                raise Unreadable(f"line {number}: no entry can be read here: {error}") from error

    return proof.verify(links(), head=head, notes=sorted(notes), verifiers=known, witness=witness), about


def verify_part(lines: Iterable[str], *, keys: Iterable[Verifier] = ()) -> tuple[Findings, dict[str, Any]]:
    """Prove some entries, each under the checkpoint in the first line, which is also returned. Raises Unreadable."""
    rows = _records(lines)
    _number, about = next(rows, (0, {}))
    try:
        known = list(keys) or [Verifier.parse(str(text)) for text in about["verifiers"]]
        note = str(about["checkpoint"])
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"line 1: {error}") from error
    found = Findings()
    try:
        checkpoint, signer = opened(note, known)
    except Unproven as error:
        found.broken = Break(0, f"the checkpoint proves nothing: {error}")
        return found, about
    found.checkpoints, found.checkpoint_size = 1, checkpoint.size
    found.signers.add(signer.name)
    for number, record in rows:
        try:
            link, path = read(record), [bytes.fromhex(node) for node in record["proof"]]
            why = proof.unfit(link, path, checkpoint)
        except (KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"line {number}: no entry can be read here: {error}") from error
        if why:
            found.broken = Break(link.row.seq, why)
            break
        found.seq += 1
    return found, about


def sentences_part(found: Findings, about: dict[str, Any], *, trusted: bool) -> Iterator[str]:
    """Say what was proven of a part, and what was not."""
    if found.broken is not None:
        yield f"Entry {found.broken.seq}: {found.broken.why}."
        return
    signers = ", ".join(sorted(found.signers))
    yield (
        f"Each of the {found.seq} entries stands in the history of {found.checkpoint_size} entries of "
        f"{about.get('origin')}, signed by {signers}."
    )
    yield "That none is left out, only the whole history shows: manage.py history_export."
    if not trusted:
        yield "The keys are those the file names itself: give --key with one you had from elsewhere."


def _records(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise Unreadable(f"line {number}: no JSON: {error}") from error
        if not isinstance(record, dict):
            raise Unreadable(f"line {number}: no JSON object")
        yield number, record


def sentences(found: Findings, about: dict[str, Any], *, trusted: bool) -> Iterator[str]:
    """Say what was proven, and what was not."""
    if found.broken is not None:
        yield f"Entry {found.broken.seq}: {found.broken.why}."
        return
    yield f"All {found.seq} entries of {about.get('origin')} follow from one another; the last hash is {found.hash}."
    if found.checkpoints:
        signers = ", ".join(sorted(found.signers))
        yield f"{found.checkpoints} checkpoints, the last over {found.checkpoint_size} entries, signed by {signers}."
        if not trusted:
            yield "The keys are those the file names itself: give --key with one you had from elsewhere."
    else:
        yield "No checkpoint is in it: nobody signed any of this."
    if found.witnessed_seq is None:
        yield "No witness was given: a chain that was rewritten whole would look the same. Give --witness FOLDER."
    elif found.witnessed_seq < found.seq:
        yield f"Witnessed up to entry {found.witnessed_seq}; those after it stand on the chain alone."
    else:
        yield "All of it was witnessed outside the database."


def main(arguments: list[str] | None = None) -> int:
    """Prove the file that is named."""
    parser = argparse.ArgumentParser(prog="verify_history", description="Prove an exported change history.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--key", action="append", default=[], metavar="VERIFIER", help="who is trusted to have signed")
    parser.add_argument("--witness", type=Path, metavar="FOLDER", help="the witness's folder, or a copy of it")
    given = parser.parse_args(arguments)
    try:
        if given.witness and not given.witness.is_dir():
            raise Unreadable(f"{given.witness} is no folder")
        keys = [Verifier.parse(text) for text in given.key]
        witness = Folder(given.witness) if given.witness else None
        with given.file.open(encoding="utf-8") as lines:
            first = next(lines, "")
            part = f'"{PART}"' in first
            whole = chain([first] if first else [], lines)
            found, about = verify_part(whole, keys=keys) if part else verify(whole, keys=keys, witness=witness)
    except (OSError, Unproven, Unreadable, UnicodeDecodeError) as error:
        print(f"This can't be read: {error}.", file=sys.stderr)
        return 2
    for sentence in (sentences_part if part else sentences)(found, about, trusted=bool(keys)):
        print(sentence)
    return 1 if found.broken else 0


def program() -> None:
    """What the stand-alone file runs."""
    sys.exit(main())
