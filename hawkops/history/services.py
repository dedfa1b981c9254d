"""Writing the history. The head of the chain is locked last, so that no other lock is ever taken after it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from hawkops.core import clock
from hawkops.history import selectors
from hawkops.history.actors import Actor
from hawkops.history.domain import chain, proof
from hawkops.history.domain.checkpoint import Checkpoint as SignedCheckpoint
from hawkops.history.domain.checkpoint import sign
from hawkops.history.domain.merkle import Frontier
from hawkops.history.keys import origin, signing_key, verifiers
from hawkops.history.models import HEARTBEAT, Checkpoint, HistoryEntry, Verification
from hawkops.history.witnessed import Folder

# so that the last one is younger than an hour at any moment
CHECKPOINT_EVERY = timedelta(minutes=55)
VERIFICATIONS_KEPT = timedelta(days=90)
# any number that nobody else takes for another purpose
CHECKPOINT_LOCK = 0x6861_776B_0001


@dataclass(frozen=True)
class _Draft:
    environment: str
    actor: Actor
    verb: str
    subject: str
    before: str | None
    after: str | None
    reason: str
    request_id: str
    cause: int | None
    hidden: bool


@dataclass
class Change:
    """The change under way: what its services record is appended when the outermost one ends."""

    actor: Actor
    environment: str
    reason: str
    request_id: str
    cause: int | None
    drafts: list[_Draft] = field(default_factory=list)
    entries: list[HistoryEntry] = field(default_factory=list)

    @property
    def entry(self) -> HistoryEntry | None:
        """The first entry, once the change has ended; None within a larger one, which appends its entries at its end."""
        return self.entries[0] if self.entries else None

    def record(
        self,
        verb: str,
        *,
        subject: str,
        before: Any = None,
        after: Any = None,
        reason: str | None = None,
        hidden: bool = False,
    ) -> None:
        """Note one entry: `verb` as `noun.past_participle`, `subject` as `noun:id`, states as JSON-like values."""
        self.drafts.append(
            _Draft(
                environment=self.environment,
                actor=self.actor,
                verb=verb,
                subject=subject,
                before=None if before is None else chain.canonical(chain.masked(before)),
                after=None if after is None else chain.canonical(chain.masked(after)),
                reason=(self.reason if reason is None else reason).replace("\x00", ""),
                request_id=self.request_id,
                cause=self.cause,
                hidden=hidden,
            )
        )


_open: ContextVar[Change | None] = ContextVar("history_change", default=None)


@contextmanager
def change(
    *,
    actor: Actor,
    environment: str = "",
    reason: str = "",
    cause: int | None = None,
    request_id: str = "",
) -> Iterator[Change]:
    """Open a transaction whose entries are appended together when it ends; inside another one, join it.

    Lock rows with `select_for_update(no_key=True)` before saving. Nothing is written when the block raises.
    """
    outer = _open.get()
    if outer is not None and connection.in_atomic_block:
        inner = Change(
            actor, environment or outer.environment, reason or outer.reason, outer.request_id, cause or outer.cause
        )
        with transaction.atomic():
            yield inner
        outer.drafts.extend(inner.drafts)
        inner.entries = outer.entries
        return
    this = Change(actor, environment, reason, request_id, cause)
    with transaction.atomic():
        token = _open.set(this)
        try:
            yield this
        finally:
            _open.reset(token)
        if this.drafts:
            this.entries.extend(_append(this.drafts))


def _append(drafts: list[_Draft]) -> list[HistoryEntry]:
    """Append the drafts to the chain, in one statement: the head is locked last, and for as short as can be."""
    at = clock.now()
    entries: list[HistoryEntry] = []
    rows: list[dict[str, Any]] = []
    for draft in drafts:
        salt = os.urandom(16)
        entry = HistoryEntry(
            seq=0,
            at=at,
            environment=draft.environment,
            actor=draft.actor.reference,
            verb=draft.verb,
            subject=draft.subject,
            before_text=draft.before,
            after_text=draft.after,
            reason=draft.reason,
            request_id=draft.request_id,
            cause_id=draft.cause,
            hidden=draft.hidden,
            commitment=chain.commitment(salt, draft.actor.label),
        )
        entries.append(entry)
        rows.append(
            {
                "environment": entry.environment,
                "actor": entry.actor,
                "verb": entry.verb,
                "subject": entry.subject,
                "before": entry.before_text,
                "after": entry.after_text,
                "reason": entry.reason,
                "request_id": entry.request_id,
                "cause": entry.cause_id,
                "hidden": entry.hidden,
                "commitment": entry.commitment,
                "tail": chain.tail(entry.row()),
                "salt": salt.hex(),
                "label": draft.actor.label,
            }
        )
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM history_append(%s, %s::jsonb)", [at, json.dumps(rows)])
        appended = cursor.fetchall()
    for entry, (seq, moment, previous_hash, digest) in zip(entries, appended, strict=True):
        entry.seq, entry.at, entry.previous_hash, entry.hash = seq, moment, previous_hash, digest
        entry._state.adding, entry._state.db = False, connection.alias
    return entries


def heartbeat_record() -> HistoryEntry:
    """Append the entry that makes silence visible; pages hide it by default."""
    with change(actor=Actor.rule("heartbeat")) as this:
        this.record(HEARTBEAT, subject="history:chain", hidden=True)
    return this.entries[0]


def history_verify(*, requested_by: str, witness: Folder | None = None) -> Verification:
    """Walk the whole chain, hold it against what was signed and witnessed, and store what was found.

    `witness` is the folder of `WITNESS_DIR` unless another one is given.
    """
    started = time.monotonic()
    folder = witness or Folder(settings.WITNESS_DIR)
    # read before the head: what the witness saw has been committed, so that the head can't be older
    seen, notes = _Seen(folder, folder.last()), selectors.notes(folder)
    head = selectors.head()
    silence = 0.0
    before: datetime | None = None

    def links() -> Iterator[proof.Link]:
        nonlocal silence, before
        for link in selectors.links(until_seq=head.seq):
            if before is not None:
                silence = max(silence, (link.row.at - before).total_seconds())
            before = link.row.at
            yield link

    found = proof.verify(
        links(),
        head=(head.seq, head.hash),
        notes=notes,
        verifiers=verifiers(folder, of=notes),
        witness=seen,
    )
    return Verification.objects.create(
        at=clock.now(),
        head_seq=head.seq,
        head_hash=head.hash,
        seconds=time.monotonic() - started,
        bad_seq=found.broken.seq if found.broken else None,
        why=found.broken.why if found.broken else "",
        longest_gap_seconds=silence if before else None,
        requested_by=requested_by,
        checkpoints=found.checkpoints,
        checkpoint_size=found.checkpoint_size,
        witnessed_seq=found.witnessed_seq,
    )


@dataclass(frozen=True)
class _Seen:
    """The witness as it stood when a verification began: what it writes meanwhile is not asked for."""

    folder: Folder
    newest: tuple[int, str] | None

    def last(self) -> tuple[int, str] | None:
        return self.newest

    def hash_at(self, seq: int) -> str | None:
        return self.folder.hash_at(seq)


def checkpoint_write(*, after: timedelta = CHECKPOINT_EVERY) -> Checkpoint | None:
    """Sign what the chain has become since the last checkpoint; None when that one is younger than `after` or says it all.

    Raises InvalidInput when there is no fit key, OSError when its folder can't be written.
    """
    key, name = signing_key(), origin()
    with transaction.atomic():
        with connection.cursor() as cursor:  # one at a time, without waiting
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [CHECKPOINT_LOCK])
            if not cursor.fetchone()[0]:
                return None
        at = clock.now()
        last = Checkpoint.objects.order_by("-size").first()
        if last is not None and at - last.at < after:
            return None
        tree = Frontier(last.size, [bytes.fromhex(node) for node in last.nodes]) if last else Frontier()
        for digest in selectors.hashes(after_seq=tree.size):
            tree.append(bytes.fromhex(digest))
        if last is not None and tree.size == last.size:
            return None
        note = sign(SignedCheckpoint(name, tree.size, tree.root()), name, key)
        return Checkpoint.objects.create(size=tree.size, at=at, note=note, nodes=[node.hex() for node in tree.nodes])


def verifications_prune(*, keep: timedelta = VERIFICATIONS_KEPT) -> int:
    """Drop old results of the verifier (they prove nothing that a new run would not)."""
    return Verification.objects.filter(at__lt=clock.now() - keep).delete()[0]
