"""Writing the history. The head of the chain is locked last, so that no other lock is ever taken after it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from hawkops.core import clock
from hawkops.history.actors import Actor
from hawkops.history.domain import chain
from hawkops.history.models import HEARTBEAT, Head, HistoryEntry, Personal, Verification
from hawkops.history.selectors import whole_chain


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
    """Append the drafts to the chain. Deferred foreign keys are checked first: they would lock after the head."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    head = Head.objects.select_for_update().get(pk=1)
    entries: list[HistoryEntry] = []
    personal: list[Personal] = []
    seq, last = head.seq, head.hash
    at = clock.now()
    for draft in drafts:
        seq += 1
        salt = os.urandom(16)
        entry = HistoryEntry(
            seq=seq,
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
            previous_hash=last,
        )
        entry.hash = last = chain.row_hash(last, entry.row())
        entries.append(entry)
        personal.append(Personal(entry_id=seq, salt=salt, label=draft.actor.label))
    HistoryEntry.objects.bulk_create(entries)
    Personal.objects.bulk_create(personal)
    head.seq, head.hash = seq, last
    head.save(update_fields=["seq", "hash"])
    return entries


def heartbeat_record() -> HistoryEntry:
    """Append the entry that makes silence visible; pages hide it by default."""
    with change(actor=Actor.rule("heartbeat")) as this:
        this.record(HEARTBEAT, subject="history:chain", hidden=True)
    return this.entries[0]


def history_verify(*, requested_by: str) -> Verification:
    """Walk the whole chain and store what was found."""
    started = time.monotonic()
    head = Head.objects.get(pk=1)
    silence = 0.0
    before: datetime | None = None

    def rows() -> Iterator[tuple[chain.Row, str, str]]:
        nonlocal silence, before
        for entry in whole_chain(until_seq=head.seq):
            if before is not None:
                silence = max(silence, (entry.at - before).total_seconds())
            before = entry.at
            yield entry.row(), entry.previous_hash, entry.hash

    found = chain.verify(rows(), head=(head.seq, head.hash))
    return Verification.objects.create(
        at=clock.now(),
        head_seq=head.seq,
        head_hash=head.hash,
        seconds=time.monotonic() - started,
        bad_seq=found.seq if found else None,
        why=found.why if found else "",
        longest_gap_seconds=silence if before else None,
        requested_by=requested_by,
    )


def verifications_prune(*, keep: timedelta = timedelta(days=90)) -> int:
    """Drop old results of the verifier (they prove nothing that a new run would not)."""
    return Verification.objects.filter(at__lt=clock.now() - keep).delete()[0]
