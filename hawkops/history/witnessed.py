"""The witness's folder: the hash of every entry, and each head with its moment. Standard library only.

`hashes` holds 32 bytes an entry, in order; `heads-YYYY-MM-DD.jsonl` a line for each head seen; `checkpoints/` the signed
ones by size; `keys` who may sign them; `forks/` what a restore left behind. All of it only grows. A file whose end was torn
by a crash or a full disk is cut back to its last whole record before anything is added.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

HASH_BYTES = 32


class Folder:
    """What a witness wrote down, to be read and added to. Reads raise OSError when the folder can't be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hashes = path / "hashes"
        self._kept: tuple[int, bytes] = (0, b"")

    def count(self) -> int:
        """Return how many entries were witnessed: 1 to this."""
        try:
            return self._hashes.stat().st_size // HASH_BYTES
        except FileNotFoundError:
            return 0

    def last(self) -> tuple[int, str] | None:
        """Return the newest entry witnessed (sequence, hash); None before the first."""
        count = self.count()
        found = self.hash_at(count) if count else None
        return (count, found) if found else None

    def hash_at(self, seq: int) -> str | None:
        """Return the hash witnessed of an entry, or None. Reads ahead: a walk in order costs one read in many."""
        start, held = self._kept
        if not start <= seq - 1 < start + len(held) // HASH_BYTES:
            try:
                with self._hashes.open("rb") as file:
                    file.seek((seq - 1) * HASH_BYTES)
                    start, held = seq - 1, file.read(HASH_BYTES * 8_192)
            except FileNotFoundError:
                return None
            self._kept = start, held
        at = (seq - 1 - start) * HASH_BYTES
        found = held[at : at + HASH_BYTES]
        return found.hex() if len(found) == HASH_BYTES else None

    def add(self, hashes: Iterable[str]) -> int:
        """Write down the hashes of the next entries, on disk when this returns; return the new count. Raises OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = b"".join(bytes.fromhex(one) for one in hashes)
        with self._hashes.open("ab") as file:
            whole = file.tell() // HASH_BYTES * HASH_BYTES
            if file.tell() != whole:
                file.truncate(whole)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._kept = (0, b"")
        return self.count()

    def note_head(self, seq: int, digest: str, at: datetime) -> None:
        """Write down that the chain ended here at this moment. Raises OSError."""
        self._line(f"heads-{at.astimezone(UTC):%Y-%m-%d}.jsonl", {"at": _moment(at), "seq": seq, "hash": digest})

    def note_alarm(self, seq: int, why: str, at: datetime) -> None:
        """Write down what no longer stands, and since when. Raises OSError."""
        self._line("alarms.jsonl", {"at": _moment(at), "seq": seq, "why": why})

    def go_back(self, seq: int, why: str, at: datetime) -> int:
        """Accept that the history goes on from an earlier entry, as after a restore; return how many it lost.

        What was witnessed of the lost ones is kept under `forks/`, never deleted. Raises OSError.
        """
        lost = self.count() - seq
        if lost <= 0:
            return 0
        kept = self.path / "forks" / f"{at.astimezone(UTC):%Y%m%dT%H%M%S%f}-after-{seq}"
        (kept / "checkpoints").mkdir(mode=0o700, parents=True)
        with self._hashes.open("rb") as file, (kept / "hashes").open("wb") as copy:
            file.seek(seq * HASH_BYTES)
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())
        for path in (self.path / "checkpoints").glob("*.txt"):
            if int(path.stem) > seq:
                path.rename(kept / "checkpoints" / path.name)
        self._line("forks.jsonl", {"at": _moment(at), "seq": seq, "lost": lost, "why": why})
        with self._hashes.open("r+b") as file:
            file.truncate(seq * HASH_BYTES)
            os.fsync(file.fileno())
        self._kept = (0, b"")
        return lost

    def standing_alarm(self) -> str:
        """Return what is amiss and was not accepted since; empty when nothing is."""
        alarms, forks = self.alarms(), list(self._lines("forks.jsonl"))
        if not alarms or (forks and str(forks[-1]["at"]) >= str(alarms[-1]["at"])):
            return ""
        return str(alarms[-1]["why"])

    def alarms(self) -> list[dict[str, object]]:
        """Return what was found amiss, oldest first."""
        return list(self._lines("alarms.jsonl"))

    def last_head_at(self) -> datetime | None:
        """Return when the witness last saw a new head; None before the first."""
        for path in sorted(self.path.glob("heads-*.jsonl"), reverse=True):
            lines = list(self._lines(path.name))
            if lines:
                return datetime.fromisoformat(str(lines[-1]["at"]))
        return None

    def keep_checkpoint(self, size: int, note: str) -> None:
        """Keep a copy of a signed checkpoint; one that is kept already stays as it is. Raises OSError."""
        folder = self.path / "checkpoints"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{size:012}.txt"
        if not path.exists():
            fresh = path.with_suffix(".new")
            fresh.write_text(note, encoding="utf-8")
            fresh.replace(path)

    def checkpoints(self) -> Iterator[tuple[int, str]]:
        """Give the kept checkpoints by size, smallest first."""
        for path in sorted((self.path / "checkpoints").glob("*.txt")):
            yield int(path.stem), path.read_text(encoding="utf-8")

    def keep_key(self, verifier: str) -> None:
        """Keep who may sign. Raises OSError."""
        if verifier not in self.signers():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self.path / "keys").open("a", encoding="utf-8") as file:
                file.write(verifier + "\n")

    def signers(self) -> list[str]:
        """Return who may sign, as this witness learnt of them."""
        try:
            return (self.path / "keys").read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return []

    def _line(self, name: str, record: dict[str, object]) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.path / name).open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # torn
                    file.write(b"\n")
            file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _lines(self, name: str) -> Iterator[dict[str, object]]:
        try:
            text = (self.path / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue  # torn
            if isinstance(found, dict):
                yield found


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")
