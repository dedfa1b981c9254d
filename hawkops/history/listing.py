"""Entries that a query finds, newest first, page by page: bounded reads whatever is asked and however many there are.

A query becomes one expression for the index `history_search`, in which rare and common conditions meet. The newest entries
are looked at first as they stand; older ones are taken from the index, in halves where it finds too many to sort. Nothing
is counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from hawkops.core.errors import InvalidInput
from hawkops.history.domain.query import ANY, NOWHERE, Query, Term
from hawkops.history.models import HistoryEntry

# looked at as they stand; and found at most before a span is halved
NEAR_ROWS, SORTED_MOST = 4_000, 2_000
EXPORT_ROWS = 1_000

_SCAN = "SELECT seq FROM history_historyentry WHERE seq >= %s AND seq < %s"
_PROBE = "SELECT seq FROM history_historyentry WHERE seq >= %s AND seq < %s AND search @@ %s::tsquery"


@dataclass(frozen=True)
class Asked:
    """A query as the database is asked it. `at` is half-open and holds besides."""

    search: str
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Page:
    """Entries newest first; `older_than` is what the next page is asked with, None on the last."""

    rows: list[HistoryEntry]
    older_than: int | None


def asked(query: Query, *, environment: str, readable: Sequence[str]) -> Asked:
    """Return what the database is asked. Without `env:` it is the environment and what belongs to none.

    Raises InvalidInput for an environment that the reader may not read: an entry of it must not be told by its absence.
    """
    parts: list[tuple[str, list[Any]]] = [_environments(query, environment, readable)]
    hidden = query.values("hidden")[-1:] or ("no",)
    if hidden[0] != "yes":
        parts.append((exact("h", "1" if hidden[0] == "only" else "0"), []))
    parts += [(f"!!({sql})" if term.negated else f"({sql})", given) for term, sql, given in _terms(query)]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT ({' && '.join(sql for sql, _ in parts)})::text",
            [one for _, values in parts for one in values],
        )
        return Asked(str(cursor.fetchone()[0]), query.since, query.until)


def page(wanted: Asked, *, before: int | None = None, limit: int) -> Page:
    """Return entries newest first, at most `limit`, all older than the entry `before`."""
    found = _seqs(wanted, before=before, limit=limit + 1)
    rows = HistoryEntry.objects.select_related("personal").in_bulk(found[:limit])
    return Page([rows[seq] for seq in found[:limit]], found[limit - 1] if len(found) > limit else None)


def stream(wanted: Asked, *, until_seq: int) -> Iterator[HistoryEntry]:
    """Give every entry of a query up to one, newest first, a thousand at a time: however many, memory stays bounded."""
    before: int | None = until_seq + 1
    while before is not None:
        found = page(wanted, before=before, limit=EXPORT_ROWS)
        yield from found.rows
        before = found.older_than


# ---- from words to the index's expression ----


def _environments(query: Query, environment: str, readable: Sequence[str]) -> tuple[str, list[Any]]:
    allowed = {"", *readable}
    named = query.values("env")
    wanted = _named(named, allowed) if named else {environment, ""}
    for term in query.terms:
        if term.name == "env" and term.negated:
            wanted -= _named(term.values, allowed)
    if not wanted:
        raise InvalidInput("No environment is left to look in. Take one env: away.")
    return "(" + " || ".join(exact("e", one) for one in sorted(wanted)) + ")", []


def _named(values: Sequence[str], allowed: set[str]) -> set[str]:
    named: set[str] = set()
    for value in values:
        if value != ANY and value != NOWHERE and value not in allowed:
            raise InvalidInput(f"You have no role in {value}, so its entries are not yours to read.")
        named |= allowed if value == ANY else {"" if value == NOWHERE else value}
    return named


def _terms(query: Query) -> Iterator[tuple[Term, str, list[Any]]]:
    """Yield conditions that all hold: each of words, each that is negated, and of each qualifier one of all its values."""
    asked_of = {term.name: term for term in query.terms if term.name and not term.negated}
    for name, term in asked_of.items():
        if name not in ("env", "hidden"):
            yield term, *_term(replace(term, values=query.values(name)))
    for term in query.terms:
        if term.negated and term.name == "hidden":
            raise InvalidInput("hidden: takes no minus; it is no, yes or only.")
        if term.name != "env" and (term.negated or not term.name):
            yield term, *_term(term)


def _term(term: Term) -> tuple[str, list[Any]]:
    if not term.name:
        return _words(term.values[0], whole=term.exact)
    parts: list[str] = []
    for value in term.values:
        if term.name == "actor":
            parts.append(_actor(value))
        elif term.name == "verb":
            parts.append(beginning("v", value.removesuffix("*")))
        elif term.name == "subject":
            parts += _subject(value)
        else:
            parts.append(exact({"cause": "c", "request": "r"}[term.name], value))
    return " || ".join(parts), []


def _subject(value: str) -> list[str]:
    """A whole subject (`run:77`), or the beginning of one, or of its name: `run:`, `run:7*`, `litert`."""
    if ":" in value and not value.endswith((":", "*")):
        return [exact("s", value)]
    begin = value.removesuffix("*")
    return [beginning("s", begin), beginning("i", begin)]


def _actor(value: str) -> str:
    """An actor by reference, by a kind of references (`rule:`), or by a name that still stands in some entry."""
    if value.endswith((":", "*")):
        return beginning("a", value.removesuffix("*"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT actor FROM history_actorname WHERE lower(label) = lower(%s)", [value])
        named = [str(row[0]) for row in cursor.fetchall()]
    return " || ".join(exact("a", one) for one in [value, *named])


def _words(value: str, *, whole: bool) -> tuple[str, list[Any]]:
    """Words in verb, subject, reason, before, after, or in the name of who did it.

    A word may be a beginning; one letter alone is a whole word.
    """
    open_ended = not whole and len(value) > 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT history_asked(%s, %s)::text", [value, open_ended])
        if not cursor.fetchone()[0]:
            raise InvalidInput(f"{value[:40]!r} holds no word to look for.")
        cursor.execute(
            "SELECT DISTINCT actor FROM history_actorname"
            " WHERE to_tsvector('simple', history_plain(label)) @@ history_asked(%s, false)",
            [value],
        )
        named = [exact("a", str(row[0])) for row in cursor.fetchall()]
    return " || ".join(["history_asked(%s, %s)", *named]), [value, open_ended]


def exact(kind: str, value: str) -> str:
    """Return the index's word for what an entry is, as SQL: `exact("v", "flag.killed")`."""
    return _literal(f"{kind}={value}", "")


def beginning(kind: str, value: str) -> str:
    """Return it for all that begin so."""
    return _literal(f"{kind}={value}", ":*")


def _literal(lexeme: str, ending: str) -> str:
    """One word of the index as SQL: quoted as a tsquery's word, then as a string; percent signs doubled for the driver."""
    word = "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'" + ending
    return "'" + word.replace("'", "''").replace("%", "%%") + "'::tsquery"


# ---- from the index to entries ----


def _seqs(wanted: Asked, *, before: int | None, limit: int) -> list[int]:
    with transaction.atomic(), connection.cursor() as cursor:
        high = _head() + 1 if before is None else min(before, _head() + 1)
        late = _later_than(wanted, high)
        near = max(1, late - NEAR_ROWS)
        found = _scan(wanted, near, late)[:limit]
        if late < high or (len(found) < limit and near > 1):
            # the index is the way to what is not near, whatever is guessed of how common a word is
            for setting in ("enable_seqscan = off", "enable_indexscan = off", "work_mem = '32MB'"):
                cursor.execute(f"SET LOCAL {setting}")
            # what was written later, by a clock that had been put back
            later = _older(wanted, late, high, limit) if late < high else []
            found = [*later, *found][:limit]
            if len(found) < limit and near > 1:
                found += _older(wanted, 1, near, limit - len(found))
            for setting in ("enable_seqscan", "enable_indexscan", "work_mem"):
                cursor.execute(f"SET LOCAL {setting} TO DEFAULT")
    return found


def _head() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq FROM history_head WHERE id = 1")
        return int(cursor.fetchone()[0])


def _later_than(wanted: Asked, high: int) -> int:
    """Return the number after the entry that is the last before `until` by its time.

    What is asked for lies below it, all but what a clock wrote that had been put back.
    """
    if wanted.until is None:
        return high
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq FROM history_historyentry WHERE at < %s ORDER BY at DESC LIMIT 1", [wanted.until])
        found = cursor.fetchone()
    return min(high, int(found[0]) + 1) if found else 1


def _scan(wanted: Asked, low: int, high: int) -> list[int]:
    """Look at every entry between two numbers that lie near each other, newest first."""
    return sorted(_read(_SCAN + " AND search @@ %s::tsquery", wanted, low, high), reverse=True)


def _older(wanted: Asked, low: int, high: int, limit: int, *, many: bool = False) -> list[int]:
    """Take the newest between two numbers from the index; `many` says that there are too many to sort all."""
    if not many:
        found = _read(_PROBE, wanted, low, high, most=SORTED_MOST + 1)
        if len(found) <= SORTED_MOST:
            return sorted(found, reverse=True)[:limit]
    if high - low <= NEAR_ROWS:
        return _scan(wanted, low, high)[:limit]
    middle = (low + high) // 2
    newer = _older(wanted, middle, high, limit)
    if len(newer) >= limit:
        return newer
    return newer + _older(wanted, low, middle, limit - len(newer), many=not newer)


def _read(sql: str, wanted: Asked, low: int, high: int, *, most: int | None = None) -> list[int]:
    given: list[Any] = [low, high, wanted.search]
    for words, moment in ((" AND at >= %s", wanted.since), (" AND at < %s", wanted.until)):
        if moment is not None:
            sql += words
            given.append(moment)
    if most is not None:
        sql += f" LIMIT {most}"
    with connection.cursor() as cursor:
        cursor.execute(sql, given)
        return [int(row[0]) for row in cursor.fetchall()]
