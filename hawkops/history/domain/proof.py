"""Holding a chain against what was signed and witnessed: the first bad row, what it is proven by, and up to where."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain as joined
from typing import Protocol

from hawkops.history.domain import chain
from hawkops.history.domain.chain import Break, Row
from hawkops.history.domain.checkpoint import Checkpoint, Unproven, Verifier, opened
from hawkops.history.domain.merkle import Frontier, Node, root_by


@dataclass(frozen=True)
class Link:
    """A row with the hash it builds on and its own; `label` and `salt` are its personal value, None once erased."""

    row: Row
    previous: str
    hash: str
    salt: bytes | None = None
    label: str | None = None


class Witness(Protocol):
    """What somebody outside the database wrote down of the chain."""

    def last(self) -> tuple[int, str] | None:
        """The newest head it saw (sequence, hash); None when it saw none."""
        ...

    def hash_at(self, seq: int) -> str | None:
        """The hash it saw of an entry; None when it did not see that one."""
        ...


@dataclass
class Findings:
    """What a verification found: the first break, or how far the chain is proven and by what."""

    seq: int = 0
    hash: str = chain.GENESIS
    broken: Break | None = None
    checkpoints: int = 0
    checkpoint_size: int | None = None
    signers: set[str] = field(default_factory=set)
    # up to here a copy outside the database says the same; what came later stands on the chain alone
    witnessed_seq: int | None = None


def verify(
    links: Iterable[Link],
    *,
    head: tuple[int, str] | None,
    notes: Iterable[tuple[int, str]] = (),
    verifiers: Iterable[Verifier] = (),
    witness: Witness | None = None,
) -> Findings:
    """Walk a whole chain once, from its first row.

    `notes` are signed checkpoints by size, smallest first, judged by `verifiers`. A row that was rewritten together with
    all that follows is found where the witness saw another hash; a chain cut short, where the witness or a checkpoint saw
    more. Nothing proves what is younger than both.
    """
    found = Findings()
    known, waiting, tree = list(verifiers), iter(notes), Frontier()
    next_note = next(waiting, None)
    last = witness.last() if witness else None

    def watched() -> Iterator[tuple[Row, str, str]]:
        nonlocal next_note
        for link in links:
            yield link.row, link.previous, link.hash
            # what follows runs once the chain has accepted the row
            found.seq, found.hash = link.row.seq, link.hash
            seen = witness.hash_at(link.row.seq) if witness and last and link.row.seq <= last[0] else None
            if seen is not None and seen != link.hash:
                raise _Found(link.row.seq, f"entry {link.row.seq} is not the one that was witnessed: it was rewritten")
            if link.label is not None and chain.commitment(link.salt or b"", link.label) != link.row.commitment:
                why = f"the name kept for entry {link.row.seq} is not the one it was written with"
                raise _Found(link.row.seq, why)
            tree.append(bytes.fromhex(link.hash))
            while next_note is not None and next_note[0] <= link.row.seq:
                _checked(next_note, tree, known, found)
                next_note = next(waiting, None)

    try:
        found.broken = chain.verify(watched(), head=head)
        if found.broken is None:
            found.broken = _cut(found, last, next_note, waiting)
    except _Found as one:
        found.broken = Break(one.seq, one.why)
    if last is not None and found.broken is None:
        found.witnessed_seq = last[0]
    return found


def unfit(link: Link, path: Sequence[Node], checkpoint: Checkpoint) -> str:
    """Say why a row by itself is not proven under a checkpoint by its inclusion proof; empty when it is."""
    seq = link.row.seq
    if chain.row_hash(link.previous, link.row) != link.hash:
        return f"entry {seq} was altered: its content does not give its hash"
    if link.label is not None and chain.commitment(link.salt or b"", link.label) != link.row.commitment:
        return f"the name kept for entry {seq} is not the one it was written with"
    if root_by(bytes.fromhex(link.hash), seq - 1, checkpoint.size, path) != checkpoint.root:
        return f"entry {seq} is not in the history that the checkpoint over {checkpoint.size} entries signs"
    return ""


class _Found(Exception):
    """A break that the chain by itself does not show."""

    def __init__(self, seq: int, why: str) -> None:
        super().__init__(why)
        self.seq = seq
        self.why = why


def _checked(note: tuple[int, str], tree: Frontier, verifiers: list[Verifier], found: Findings) -> None:
    size, text = note
    try:
        checkpoint, signer = opened(text, verifiers)
    except Unproven as error:
        raise _Found(size, f"the checkpoint at entry {size} proves nothing: {error}") from error
    if checkpoint.size != size or tree.size != size:
        raise _Found(size, f"the checkpoint kept for entry {size} speaks of {checkpoint.size} entries")
    if checkpoint.root != tree.root():
        start = (found.checkpoint_size or 0) + 1
        raise _Found(start, f"entries {start} to {size} are not what {signer.name} signed at entry {size}")
    found.checkpoints += 1
    found.checkpoint_size = size
    found.signers.add(signer.name)


def _cut(
    found: Findings, last: tuple[int, str] | None, note: tuple[int, str] | None, rest: Iterable[tuple[int, str]]
) -> Break | None:
    most, who = 0, ""
    for size, _text in joined([note] if note else [], rest):
        most, who = size, "signed in a checkpoint"
    if last is not None and last[0] > most:
        most, who = last[0], "witnessed"
    if most > found.seq:
        missing = f"entry {found.seq + 1}" if most == found.seq + 1 else f"entries {found.seq + 1} to {most}"
        return Break(found.seq + 1, f"{missing} were {who} and are gone")
    return None
