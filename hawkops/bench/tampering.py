"""What somebody who rules the database can do to the history, and whether the verifier finds and locates it."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import psycopg

from hawkops.bench.scratch import scratch_database
from hawkops.history.actors import Actor
from hawkops.history.domain import chain
from hawkops.history.domain.proof import Link
from hawkops.history.selectors import links
from hawkops.history.services import change, checkpoint_write, history_verify
from hawkops.history.witnessed import Folder
from hawkops.history.witnessing import checkpoint_look, witness_look

COPY_ENTRIES = (
    "COPY history_historyentry (seq, at, environment, actor, verb, subject, before_text, after_text, reason, request_id,"
    " cause_id, hidden, commitment, previous_hash, hash) FROM STDIN"
)
COPY_NAMES = "COPY history_personal (entry_id, salt, label) FROM STDIN"


Line = psycopg.Connection[tuple[object, ...]]


@dataclass
class Outcome:
    """By kind: how many were tried and how many found at the right entry; and what was missed, in words."""

    tried: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Tampered:
    """A chain after somebody's hand, the head recorded for it, and the first entry that is not what it was."""

    kind: str
    rows: list[Link]
    first: int


def tampered(original: list[Link], chance: random.Random) -> Tampered:
    """Alter, delete, insert, swap or cut, at a place drawn by chance; half of the time all hashes after it are made anew."""
    count = len(original)
    kind = chance.choice(("alter", "delete", "insert", "swap", "cut", "rename"))
    anew = kind not in ("cut", "rename") and chance.random() < 0.5
    at = chance.randrange(count - 1)
    rows = list(original)
    if kind == "alter":
        rows[at] = replace(rows[at], row=_altered(rows[at].row, chance))
    elif kind == "delete":
        del rows[at : at + chance.randint(1, min(5, count - 1 - at))]
    elif kind == "insert":
        rows.insert(at, replace(rows[at], row=replace(rows[at].row, reason="was never so", subject="flag:forged")))
    elif kind == "swap":
        other = chance.randrange(at + 1, count)
        rows[at], rows[other] = _content(rows[at], rows[other]), _content(rows[other], rows[at])
    elif kind == "cut":
        del rows[at:]
    else:
        rows[at] = replace(rows[at], label=f"{rows[at].label}-not")
    renumbered = kind == "insert" or anew
    rows = _chained(rows, at, renumber=renumbered, hashes=anew) if renumbered else rows
    return Tampered(f"{kind}, hashes made anew" if anew else kind, rows, at + 1)


def _altered(row: chain.Row, chance: random.Random) -> chain.Row:
    changes: list[dict[str, object]] = [
        {"reason": row.reason + "."},
        {"actor": "person:999"},
        {"at": row.at + timedelta(microseconds=1)},
        {"after": '{"override":"on"}'},
        {"hidden": not row.hidden},
        {"commitment": "0" * 64},
        {"verb": "flag.enabled"},
    ]
    return replace(row, **chance.choice(changes))  # type: ignore[arg-type]


def _content(place: Link, source: Link) -> Link:
    """Put another row's content at a place in the chain, with that place's number and hashes."""
    row = replace(source.row, seq=place.row.seq, cause=None)
    return Link(row, place.previous, place.hash, source.salt, source.label)


def _chained(rows: list[Link], start: int, *, renumber: bool, hashes: bool) -> list[Link]:
    previous = rows[start - 1].hash if start else chain.GENESIS
    made = rows[:start]
    for number, link in enumerate(rows[start:], start + 1):
        row = replace(link.row, seq=number, cause=None) if renumber else link.row
        # without its hashes made anew a chain keeps those it had; the database wants each to be followed once
        digest = chain.row_hash(previous, row) if hashes or link.row.subject == "flag:forged" else link.hash
        before = previous if hashes or link.row.subject == "flag:forged" else link.previous
        if not hashes and link.row.subject == "flag:forged":
            before = chain.row_hash("forged", row)
        made.append(replace(link, row=row, previous=before, hash=digest))
        previous = digest
    return made


def columns(row: chain.Row, previous: str, digest: str) -> tuple[object, ...]:
    """Return an entry as `COPY_ENTRIES` takes it."""
    return (*astuple(row), previous, digest)


def put(superuser: Line, rows: list[Link]) -> None:
    """Replace the whole history by other rows, every refusal switched off; the head is made to fit."""
    with superuser.transaction(), superuser.cursor() as cursor:
        for table in ("history_historyentry", "history_personal"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        cursor.execute("DELETE FROM history_personal")
        cursor.execute("DELETE FROM history_historyentry")
        with cursor.copy(COPY_ENTRIES) as copy:
            for link in rows:
                copy.write_row(columns(link.row, link.previous, link.hash))
        with cursor.copy(COPY_NAMES) as copy:
            for link in rows:
                if link.label is not None:
                    copy.write_row((link.row.seq, link.salt, link.label))
        for table in ("history_historyentry", "history_personal"):
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER ALL")
        last = rows[-1] if rows else None
        head = (last.row.seq, last.hash) if last else (0, chain.GENESIS)
        cursor.execute("UPDATE history_head SET seq = %s, hash = %s", head)


def furnished(folder: Folder, entries: int) -> list[Link]:
    """Write a history of some length, witnessed and signed on the way; return it."""
    for number in range(entries):
        with change(actor=Actor.rule(f"bench-{number % 7}"), environment="demo", reason=f"No {number}") as this:
            subject = f"flag:bench_{number % 11}"
            this.record("flag.percentage_set", subject=subject, before={"p": number}, after={"p": number + 1})
        if number % 40 == 39:
            checkpoint_write(after=timedelta())
            witness_look(folder)
    witness_look(folder)
    checkpoint_write(after=timedelta())
    checkpoint_look(folder)
    last = folder.last()
    assert last is not None
    return list(links(until_seq=last[0]))


def tamper(superuser: Line, folder: Folder, original: list[Link], chance: random.Random, times: int) -> Outcome:
    """Tamper so many times, verify each time, and put everything back."""
    outcome = Outcome()
    for _ in range(times):
        one = tampered(original, chance)
        put(superuser, one.rows)
        seen = history_verify(requested_by="bench", witness=folder)
        outcome.tried[one.kind] += 1
        if seen.bad_seq == one.first:
            outcome.found[one.kind] += 1
        else:
            outcome.missed.append(f"{one.kind} at {one.first}: {seen.bad_seq} {seen.why}")
    put(superuser, original)
    if not history_verify(requested_by="bench", witness=folder).good:
        outcome.missed.append("the original history does not verify")
    return outcome


def tampering_measure(say: Callable[[str], None], *, times: int = 1_000, entries: int = 120, seed: int = 1) -> int:
    """Tamper so many times in a database of its own; return how many were not found and located."""
    chance = random.Random(seed)  # noqa: S311 - drawn, not secret
    with scratch_database() as scratch, psycopg.connect(scratch.superuser_url, autocommit=True) as superuser:
        folder = Folder(Path(scratch.folder) / "witness")
        original = furnished(folder, entries)
        outcome = tamper(superuser, folder, original, chance, times)
    for kind in sorted(outcome.tried):
        say(f"  {kind:28} {outcome.found[kind]} of {outcome.tried[kind]} found, at the very entry")
    say(f"{sum(outcome.found.values())} of {times} found and located, of {len(original)} entries, all witnessed")
    for line in outcome.missed[:10]:
        say(f"  missed: {line}")
    return len(outcome.missed)
