"""Old rows go in many small statements: each ends long before the session's time limit, and what is gone stays gone."""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import Error, connection, models, transaction

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 10_000
# of one kind of rows and one run; what is left waits for the next run, a minute later
BUDGET_SECONDS = 3.0
# A row that was touched meanwhile stands elsewhere and is looked at again: that is why the age is asked for twice. Each
# batch begins where the last one ended, because what was deleted is walked over until it is vacuumed.
_DROP = """
WITH gone AS (
    DELETE FROM {table} WHERE {column} < %(limit)s AND ctid = ANY(ARRAY(
        SELECT ctid FROM {table} WHERE {column} < %(limit)s{where} ORDER BY {column} LIMIT %(most)s
    )) RETURNING {column} AS reached
)
SELECT count(*), max(reached) FROM gone
"""
# For the rest of a transaction. A table that was filled in a hurry has no statistics yet, and would be read and sorted
# whole for each batch.
BY_INDEX = (
    "SELECT set_config(name, 'off', true) FROM unnest('{enable_sort,enable_seqscan,enable_bitmapscan}'::text[]) AS name"
)


def rows_drop(
    model: type[models.Model], column: str, limit: datetime | int, *, environment: str = "", until: float | None = None
) -> int:
    """Delete the rows whose column is below the limit, lowest first, and return how many; some may be left.

    The column needs an index; with an environment, one on both. `until` is of the monotonic clock.
    """
    until = time.monotonic() + BUDGET_SECONDS if until is None else until
    given: dict[str, Any] = {"limit": limit, "most": ROWS_AT_ONCE, "environment": environment}
    where = " AND environment = %(environment)s" if environment else ""
    dropped = 0
    with connection.cursor() as cursor:
        while True:
            with transaction.atomic():
                cursor.execute(BY_INDEX)
                cursor.execute(_DROP.format(table=model._meta.db_table, column=column, where=where), given)
                many, reached = cursor.fetchone()
            dropped += int(many)
            if many < ROWS_AT_ONCE or time.monotonic() > until:
                return dropped
            if "reached" not in given:
                where += f" AND {column} >= %(reached)s"
            given["reached"] = reached


def each(*prunes: Callable[[], int]) -> None:
    """Call them all: one that fails is named and stops no other."""
    for prune in prunes:
        try:
            prune()
        except Error as error:
            log.warning("prune.failed: %s: %s", prune.__name__, error)
            connection.close_if_unusable_or_obsolete()
