"""The audit trail: complete, in order, unaltered, without a silence, and beyond the application's power to change."""

import argparse
from collections.abc import Iterator
from datetime import timedelta

from django.db import connection

from hawkops.core import clock
from hawkops.history import selectors
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change, history_verify
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured

SILENCE_SECONDS = 60.0
DAY = timedelta(hours=24)
TABLE = HistoryEntry._meta.db_table
TRIGGERS = ("history_no_update_delete", "history_no_truncate", "history_announce")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the runbook's window."""
    parser.add_argument("--last-24h", dest="last_day", action="store_true", help="look at the last 24 hours only")


def audit_trails(given: argparse.Namespace) -> Iterator[Finding]:
    """Write a test entry, verify the whole chain with it, look for silences, and try the database's refusal."""
    with change(actor=Actor.rule("validate-audit-trails")) as this:
        this.record("history.tested", subject="history:chain", hidden=True)
    test = this.entries[0].seq
    found = history_verify(requested_by="validate-audit-trails")
    if not found.good:
        yield failed("Chain", f"entry {found.bad_seq}: {found.why}")
    elif found.head_seq < test:
        yield failed("Chain", f"the test entry {test} is not in it")
    else:
        yield passed("Chain", f"{found.head_seq} entries verify in {found.seconds:.2f} s, test entry {test} among them")
    yield silences(given.last_day)
    yield coverage(given.last_day)
    yield rights()
    yield trigger()


def silences(last_day: bool) -> Finding:
    """Find the longest gap between two entries; heartbeats come every 30 seconds, so a minute of silence is a gap."""
    since = clock.now() - DAY if last_day else None
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT count(*) FILTER (WHERE gap > %s), max(gap), max(at) FILTER (WHERE gap > %s) FROM (
              SELECT at, extract(epoch FROM at - lag(at) OVER (ORDER BY seq)) AS gap
                FROM {TABLE} WHERE %s::timestamptz IS NULL OR at >= %s
            ) AS entries
            """,  # noqa: S608 - our own table's name
            [SILENCE_SECONDS, SILENCE_SECONDS, since, since],
        )
        many, longest, last = cursor.fetchone()
    newest = selectors.last_entry_at()
    now_silent = (clock.now() - newest).total_seconds() if newest else 0.0
    longest = max(float(longest or 0.0), now_silent)
    span = "the last 24 hours" if last_day else "the whole history"
    if many:
        words = f"{many} gaps above {SILENCE_SECONDS:.0f} s in {span}, longest {longest:.0f} s"
        words += f", the last ended {last:%d %b %H:%M} UTC"
        return failed("Silence", words, value=longest, unit="s", name="audit_log_gaps")
    if now_silent > SILENCE_SECONDS:
        words = f"nothing was written for {now_silent:.0f} s; is beat running?"
        return failed("Silence", words, value=longest, unit="s", name="audit_log_gaps")
    return passed("Silence", f"longest gap {longest:.0f} s in {span}", value=longest, unit="s", name="audit_log_gaps")


def coverage(last_day: bool) -> Finding:
    """Count what was recorded, and by whom."""
    since = clock.now() - DAY if last_day else None
    entries = selectors.entries(since=since)
    many, people = entries.count(), entries.filter(actor__startswith="person:").values("actor").distinct().count()
    if not many:
        return unmeasured("Entries", "nothing but heartbeats in this time")
    return passed(
        "Entries", f"{many} changes by {people} people and by rules", value=float(many), name="history.entries"
    )


def rights() -> Finding:
    """Ask the database whether the application's role may alter an entry."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, has_table_privilege(%s, 'UPDATE'), has_table_privilege(%s, 'DELETE'),"
            " has_table_privilege(%s, 'TRUNCATE')",
            [TABLE] * 3,
        )
        role, *may = cursor.fetchone()
    if any(may):
        return failed("Rights", f"the role {role} may alter entries: use two roles (DATABASE_OWNER_URL)")
    return passed("Rights", f"the role {role} may add entries, not alter or delete them")


def trigger() -> Finding:
    """Ask the database whether its own refusal is switched on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT array_agg(tgname::text) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgenabled <> 'D'", [TABLE]
        )
        (on,) = cursor.fetchone()
    missing = [name for name in TRIGGERS if name not in (on or [])]
    if missing:
        return failed("Refusal", f"the database does not refuse: {', '.join(missing)} missing or switched off")
    return passed("Refusal", "the database itself refuses UPDATE, DELETE and TRUNCATE, and announces every entry")
