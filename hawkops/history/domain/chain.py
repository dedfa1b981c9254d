"""The hash chain, in standard library only: `hash = SHA-256(previous hash ‖ canonical JSON of the row)`."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64
SECRET_WORDS = ("password", "secret", "token", "api_key", "private_key", "key_hash", "authorization")
MASK = "•••"


@dataclass(frozen=True)
class Row:
    """The hashed part of one entry. `before` and `after` are the stored texts (canonical JSON) or None.

    `commitment` stands for the personal values, which are kept apart and may be erased.
    """

    seq: int
    at: datetime
    environment: str
    actor: str
    verb: str
    subject: str
    before: str | None
    after: str | None
    reason: str
    request_id: str
    cause: int | None
    hidden: bool
    commitment: str


@dataclass(frozen=True)
class Break:
    """The first row that does not follow from the one before it, and why."""

    seq: int
    why: str


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, UTF-8 kept."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def masked(value: Any) -> Any:
    """Replace the values of members whose name says they are secret."""
    if isinstance(value, dict):
        return {
            name: MASK if any(word in str(name).lower() for word in SECRET_WORDS) else masked(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


def commitment(salt: bytes, personal: str) -> str:
    """Return the salted commitment to a personal value: it proves the value while it exists, and nothing after."""
    return hashlib.sha256(salt + personal.encode()).hexdigest()


def tail(row: Row) -> str:
    """Return the canonical JSON of a row behind its sequence and moment, which the database adds as it appends."""
    return canonical(
        [
            row.environment,
            row.actor,
            row.verb,
            row.subject,
            row.before,
            row.after,
            row.reason,
            row.request_id,
            row.cause,
            row.hidden,
            row.commitment,
        ]
    )[1:]


def row_hash(previous: str, row: Row) -> str:
    """Return the row's hash as 64 hexadecimal digits."""
    moment = row.at.astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(f'{previous}[{row.seq},"{moment}",{tail(row)}'.encode()).hexdigest()


def verify(
    rows: Iterable[tuple[Row, str, str]], *, head: tuple[int, str] | None = None, after: tuple[int, str] = (0, GENESIS)
) -> Break | None:
    """Walk (row, previous hash, hash) in order of seq and return the first break, or None.

    `after` is what a part of a chain goes on from. `head` is the sequence and hash the chain is known to have reached; a
    chain that ends earlier was cut.
    """
    seq, last = after
    for row, previous, stored in rows:
        if row.seq != seq + 1:
            return Break(seq + 1, f"entry {seq + 1} is missing; the next one present is {row.seq}")
        if previous != last:
            return Break(row.seq, f"entry {row.seq} does not follow entry {seq}: the hash it builds on differs")
        if row_hash(previous, row) != stored:
            return Break(row.seq, f"entry {row.seq} was altered: its content does not give its hash")
        seq, last = row.seq, stored
    if head is not None:
        if seq < head[0]:
            return Break(seq + 1, f"entry {seq + 1} to {head[0]} are missing at the end")
        if seq == head[0] and last != head[1]:
            return Break(seq, f"entry {seq} is not the head that was recorded")
        if seq > head[0]:
            return Break(head[0] + 1, f"entry {head[0] + 1} lies beyond the recorded head")
    return None


def gaps(times: Iterable[tuple[int, datetime]], *, longer_than_seconds: float) -> Iterator[tuple[int, float]]:
    """Yield (seq after the silence, seconds of silence) where two neighbours lie too far apart."""
    before: datetime | None = None
    for seq, at in times:
        if before is not None and (silence := (at - before).total_seconds()) > longer_than_seconds:
            yield seq, silence
        before = at
