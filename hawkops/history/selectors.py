"""Reading the history."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from itertools import pairwise
from operator import or_

from django.conf import settings
from django.db.models import Q, QuerySet

from hawkops.history.domain.chain import Row
from hawkops.history.domain.merkle import Frontier, paths
from hawkops.history.domain.proof import Link
from hawkops.history.keys import verifiers
from hawkops.history.models import HEARTBEAT, Checkpoint, Head, HistoryEntry, Verification
from hawkops.history.witnessed import Folder

CHUNK_ROWS = 5_000
# in the order of `Row`, then what `Link` adds
LINK_FIELDS = (
    "seq", "at", "environment", "actor", "verb", "subject", "before_text", "after_text", "reason", "request_id",
    "cause_id", "hidden", "commitment", "previous_hash", "hash", "personal__salt", "personal__label",
)  # fmt: skip


def entries(
    *,
    environment: str | None = None,
    verb_prefixes: Sequence[str] = (),
    verbs: Iterable[str] = (),
    subject: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    hidden: bool = False,
) -> QuerySet[HistoryEntry]:
    """Return entries newest first; `environment` also brings those that belong to none. One query when iterated.

    What people ask is found by `listing`.
    """
    found = HistoryEntry.objects.select_related("personal")
    if not hidden:
        found = found.filter(hidden=False)
    if environment is not None:
        found = found.filter(Q(environment=environment) | Q(environment=""))
    if verb_prefixes:
        found = found.filter(reduce(or_, (Q(verb__startswith=prefix) for prefix in verb_prefixes)))
    if verbs:
        found = found.filter(verb__in=list(verbs))
    if subject:
        found = found.filter(subject=subject)
    if since is not None:
        found = found.filter(at__gte=since)
    if until is not None:
        found = found.filter(at__lt=until)
    return found


def links(*, until_seq: int) -> Iterator[Link]:
    """Give the chain's rows up to one with their hashes and personal values, oldest first, read in chunks."""
    last = 0
    rows = HistoryEntry.objects.order_by("seq").values_list(*LINK_FIELDS)
    while chunk := list(rows.filter(seq__gt=last, seq__lte=until_seq)[:CHUNK_ROWS]):
        for *hashed, previous, digest, salt, label in chunk:
            yield Link(Row(*hashed), previous, digest, None if salt is None else bytes(salt), label)
        last = chunk[-1][0]


def hashes(*, after_seq: int) -> Iterator[str]:
    """Give the hashes of the entries after one, oldest first, read in chunks."""
    rows = HistoryEntry.objects.order_by("seq").values_list("seq", "hash")
    while chunk := list(rows.filter(seq__gt=after_seq)[: 10 * CHUNK_ROWS]):
        for _seq, digest in chunk:
            yield digest
        after_seq = chunk[-1][0]


def inclusion(seqs: Iterable[int], *, size: int) -> tuple[bytes, dict[int, list[bytes]]]:
    """Return the root over the first `size` entries, and the proof of each of some that it is in there (RFC 6962).

    Reads the hashes from the newest checkpoint before the first of them: 1 000 000 in some seconds.
    """
    leaves = sorted(seq - 1 for seq in seqs)
    kept = Checkpoint.objects.filter(size__lte=leaves[0] if leaves else size).order_by("-size").first()
    start = Frontier(kept.size, [bytes.fromhex(node) for node in kept.nodes]) if kept else Frontier()
    data = (bytes.fromhex(digest) for digest in hashes(after_seq=start.size))
    root, found = paths(leaves, size, data, start=start)
    return root, {leaf + 1: path for leaf, path in found.items()}


def notes(folder: Folder) -> list[tuple[int, str]]:
    """Return the signed checkpoints by size, smallest first: those of the database, and the witness's copies of others.

    Read them before the head: then one that speaks of more than the chain has means that it was cut.
    """
    return sorted({**dict(folder.checkpoints()), **dict(signed_notes())}.items())


def signed_notes() -> list[tuple[int, str]]:
    """Return the checkpoints that the database holds, by size, smallest first."""
    return list(Checkpoint.objects.order_by("size").values_list("size", "note"))


def hash_at(seq: int) -> str | None:
    """Return an entry's hash, or None when there is no such entry."""
    return HistoryEntry.objects.filter(pk=seq).values_list("hash", flat=True).first()


def checkpoint_latest() -> Checkpoint | None:
    """Return the newest signed checkpoint, or None before the first."""
    return Checkpoint.objects.order_by("-size").first()


def longest_silence(*, since: datetime, now: datetime) -> timedelta:
    """Return the longest time without an entry since then, the silence before `now` included. One query.

    The entry before `since` counts as the beginning of the first silence.
    """
    before = HistoryEntry.objects.filter(at__lt=since).order_by("-seq").values_list("at", flat=True).first()
    moments = list(HistoryEntry.objects.filter(at__gte=since, at__lte=now).order_by("seq").values_list("at", flat=True))
    start = [max(before, since)] if before else []
    return max((later - earlier for earlier, later in pairwise([*start, *moments, now])), default=timedelta())


def head() -> Head:
    """Return the end of the chain."""
    return Head.objects.get(pk=1)


def last_entry_at() -> datetime | None:
    """Return when anything was last written (heartbeats included); None on an empty chain."""
    return HistoryEntry.objects.order_by("-seq").values_list("at", flat=True).first()


def last_heartbeat_at() -> datetime | None:
    """Return when the heartbeat was last written, which only beat and a worker together do; None before the first."""
    found = HistoryEntry.objects.filter(verb=HEARTBEAT).order_by("-at")
    return found.values_list("at", flat=True).first()


def verification_latest() -> Verification | None:
    """Return the newest result of the verifier, or None if it never ran."""
    return Verification.objects.order_by("-at").first()


@dataclass(frozen=True)
class Proof:
    """What outside the database vouches for the history now; `amiss` is what the witness found, empty when nothing."""

    witnessed_seq: int | None
    witnessed_at: datetime | None
    checkpoint: Checkpoint | None
    signer: str
    amiss: str


def proof() -> Proof:
    """Return what the witness and the newest checkpoint say. A witness whose folder can't be read here says nothing."""
    folder, checkpoint = Folder(settings.WITNESS_DIR), checkpoint_latest()
    signer = str(verifiers()[0]) if checkpoint else ""
    try:
        last, at, amiss = folder.last(), folder.last_head_at(), folder.standing_alarm()
    except OSError:
        return Proof(None, None, checkpoint, signer, "")
    return Proof(last[0] if last else None, at, checkpoint, signer, amiss)
