"""What the witness does at each look: write down what is new, and notice at once when what it saw no longer stands."""

from dataclasses import dataclass

from django.conf import settings

from hawkops.core import clock, outbound
from hawkops.core.errors import Conflict, HawkOpsError
from hawkops.history import selectors
from hawkops.history.actors import Actor
from hawkops.history.keys import verifiers
from hawkops.history.services import change, checkpoint_write
from hawkops.history.witnessed import Folder

# so many hashes are written down at once while catching up
BATCH = 20_000


@dataclass(frozen=True)
class Look:
    """What a look saw: the head it wrote down, whether that is news, and what is amiss (empty when nothing)."""

    seq: int
    hash: str
    is_new: bool
    amiss: str = ""


def witness_look(folder: Folder) -> Look:
    """Look at the head once and write it down. Raises OSError when the folder can't be written, and database errors.

    What was witnessed and no longer stands is never overwritten: the witness stays where it was and says so.
    """
    last = folder.last()
    if last is not None and (amiss := _amiss(*last)):
        if folder.standing_alarm() != amiss:
            folder.note_alarm(last[0], amiss, clock.now())
        return Look(*last, is_new=False, amiss=amiss)
    seq, batch = (last[0] if last else 0), list[str]()
    for digest in selectors.hashes(after_seq=seq):
        batch.append(digest)
        if len(batch) == BATCH:
            folder.add(batch)
            batch = []
    if batch:
        folder.add(batch)
    newest = folder.last()
    if newest is None or newest == last:
        return Look(*(newest or (0, "")), is_new=False)
    folder.note_head(*newest, clock.now())
    return Look(*newest, is_new=True)


def fork_accept(folder: Folder, *, actor: Actor, reason: str) -> tuple[int, int]:
    """Accept that the history goes on from an earlier entry than the witness saw: a restore, say; write that down.

    Returns the entry up to which both agree and how many witnessed ones are lost. Raises Conflict where nothing is amiss.
    """
    count, agreed = folder.count(), 0
    for digest in selectors.hashes(after_seq=0):
        if agreed == count or folder.hash_at(agreed + 1) != digest:
            break
        agreed += 1
    if agreed == count:
        raise Conflict("The witness and the history agree: there is nothing to accept.")
    with change(actor=actor, reason=reason) as this:
        after = {"agreed": agreed, "witnessed": count, "lost": count - agreed}
        this.record("history.fork_accepted", subject="history:chain", after=after)
    return agreed, folder.go_back(agreed, reason, clock.now())


def _amiss(seq: int, digest: str) -> str:
    stored = selectors.hash_at(seq)
    if stored is None:
        return f"the history has no entry {seq} any more, which was witnessed: it was cut"
    if stored != digest:
        return f"entry {seq} is not the one that was witnessed: the history was rewritten"
    return ""


def checkpoint_look(folder: Folder) -> str | None:
    """Sign a checkpoint when one is due and keep copies of all; return a new one's note. Raises InvalidInput, OSError."""
    for verifier in verifiers():
        folder.keep_key(str(verifier))
    made = checkpoint_write()
    kept = {size for size, _note in folder.checkpoints()}
    for size, note in selectors.signed_notes():
        if size not in kept:
            folder.keep_checkpoint(size, note)
    return made.note if made else None


def told_elsewhere(look: Look, note: str | None) -> bool:
    """Send a head, and a checkpoint when there is one, to `WITNESS_URL`; whether it was taken."""
    body = {"seq": look.seq, "hash": look.hash, "at": clock.now().isoformat(), "checkpoint": note, "amiss": look.amiss}
    try:
        return 200 <= outbound.post(settings.WITNESS_URL, json=body).status < 300
    except (HawkOpsError, outbound.Undelivered):
        return False
