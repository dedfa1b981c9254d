"""One try: a call in a savepoint that is rolled back, and what it would have left behind."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, settings

Answer = TypeVar("Answer")
# how many times as much as in CI
MORE = int(os.environ.get("FUZZ", "0"))
# what a look may write: when a token was seen last, and the session of whoever looks
LOOKS = {"accounts_apitoken", "django_session", "usersessions_usersession"}
# and that a person was looked up, or something taken out
RECORDED = {"history_historyentry", "history_personal", "history_head", "history_actorname"}


def seconds(examples: int) -> settings:
    """Return hypothesis' settings for so many examples of a quick test."""
    return settings(
        max_examples=examples * max(MORE, 1),
        derandomize=not MORE,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink] if MORE else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Tried(Generic[Answer]):
    """What a call answered, and the tables that it would have left otherwise than it found them."""

    answer: Answer
    changed: frozenset[str]


def tried(call: Callable[[], Answer]) -> Tried[Answer]:
    """Call inside a transaction, look at every table that it wrote to, and undo it."""
    before = _written()
    with transaction.atomic():
        answer = call()
        after = _written()
        touched = {name for name in after if after[name] != before.get(name, 0)} - LOOKS
        found = {name: digest(name) for name in touched}
        transaction.set_rollback(True)
    # rows written and taken back are counted as written
    return Tried(answer, frozenset(name for name in touched if digest(name) != found[name]))


def _written() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables"
            " WHERE n_tup_ins + n_tup_upd + n_tup_del > 0"
        )
        return dict(cursor.fetchall())


def digest(table: str) -> str | None:
    """Return everything that a table holds, in short; None for an empty one."""
    with connection.cursor() as cursor:
        name = connection.ops.quote_name(table)
        cursor.execute(f"SELECT md5(string_agg(one::text, '' ORDER BY one::text)) FROM {name} AS one")
        row = cursor.fetchone()
        return str(row[0]) if row and row[0] else None
