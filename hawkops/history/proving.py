"""Proving some entries by themselves: each stands in the history that a checkpoint signs, without the rest of it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings

from hawkops.core import clock
from hawkops.core.errors import Conflict
from hawkops.history import exported, selectors
from hawkops.history.domain.checkpoint import opened
from hawkops.history.domain.proof import Link
from hawkops.history.keys import verifiers
from hawkops.history.models import HistoryEntry
from hawkops.history.services import checkpoint_write
from hawkops.history.witnessed import Folder


@dataclass(frozen=True)
class Proven:
    """A signed checkpoint over a history, who may have signed it, and the inclusion proofs of some of its entries."""

    origin: str
    note: str
    verifiers: tuple[str, ...]
    proofs: dict[int, list[bytes]]

    def written(self, entry: HistoryEntry) -> dict[str, object]:
        """Return an entry as it is exported, with its proof."""
        return {**exported.written(link_of(entry)), "proof": [node.hex() for node in self.proofs[entry.seq]]}


def proven(seqs: Sequence[int]) -> Proven:
    """Return the proofs of some entries. Signs a checkpoint first where the last one does not cover them all.

    Raises Conflict where the history does not give what was signed, another checkpoint is being written, or the folder of
    the key can't be used; InvalidInput for a key that is none.
    """
    last = max(seqs, default=0)
    kept = selectors.checkpoint_latest()
    try:
        if kept is None or kept.size < last:
            kept = checkpoint_write(after=timedelta()) or selectors.checkpoint_latest()
    except OSError as error:
        raise Conflict(f"The folder of the signing key can't be used: {error.strerror}.") from error
    if kept is None or kept.size < last:
        raise Conflict(
            "A checkpoint is being written, and does not cover the newest entries yet. Ask again in a moment."
        )
    known = verifiers(Folder(settings.WITNESS_DIR), of=[(kept.size, kept.note)])
    signed, _signer = opened(kept.note, known)
    root, proofs = selectors.inclusion(seqs, size=kept.size)
    if root != signed.root:
        raise Conflict(
            f"The history does not give what was signed at entry {kept.size}, so nothing can be proven from it. "
            "Press “Verify now” on the history's page: it names the first bad entry."
        )
    return Proven(signed.origin, kept.note, tuple(str(one) for one in known), proofs)


def link_of(entry: HistoryEntry) -> Link:
    """Return an entry with its hashes and, unless erased, its personal value."""
    personal = getattr(entry, "personal", None)
    salt, label = (bytes(personal.salt), personal.label) if personal else (None, None)
    return Link(entry.row(), entry.previous_hash, entry.hash, salt, label)


def part_lines(entries: Sequence[HistoryEntry], *, asked: str) -> Iterator[str]:
    """Give some entries line by line, provable by themselves with the program of `history_export`."""
    found = proven([one.seq for one in entries])
    about: dict[str, object] = {
        "kind": "part",
        "schema": exported.PART,
        "origin": found.origin,
        "at": clock.now().isoformat(timespec="seconds"),
        "asked": asked,
        "verifiers": list(found.verifiers),
        "checkpoint": found.note,
    }
    return _lines(about, (found.written(one) for one in entries))


def _lines(about: dict[str, object], records: Iterable[dict[str, object]]) -> Iterator[str]:
    for record in (about, *records):
        yield json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n"
