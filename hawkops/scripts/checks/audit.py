"""The audit trail: complete, in order, unaltered, without a silence, and beyond the application's power to change."""

import argparse
from collections.abc import Iterator
from datetime import timedelta

from django.db import connection

from hawkops.core import clock
from hawkops.history import selectors
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry, Verification
from hawkops.history.services import change, history_verify
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured

# signed a little more often
CHECKPOINT_AGE_MOST = timedelta(hours=1)
SILENCE_SECONDS = 60.0
DAY = timedelta(hours=24)
TABLE = HistoryEntry._meta.db_table
TRIGGERS = ("history_no_update_delete", "history_no_truncate", "history_announce")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the runbook's window."""
    parser.add_argument("--last-24h", dest="last_day", action="store_true", help="look at the last 24 hours only")


def audit_trails(given: argparse.Namespace) -> Iterator[Finding]:
    """Look for silences, write a test entry, verify the whole chain with it, and try the database's refusal."""
    silence = silences(given.last_day)  # before the test entry, which would end it
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
    yield witnessed(found)
    yield silence
    yield coverage(given.last_day)
    yield rights()
    yield trigger()


def witnessed(found: Verification) -> Finding:
    """Say what outside the database vouches for the chain: signed checkpoints, and the witness."""
    title = "Proof"
    if not found.good:
        return failed(title, "the chain is broken: see above")
    newest = selectors.checkpoint_latest()
    if newest is None or (age := clock.now() - newest.at) > CHECKPOINT_AGE_MOST:
        since = f"since {newest.at:%d %b %H:%M} UTC" if newest else "ever"
        return failed(title, f"no checkpoint was signed {since}; is the witness running?")
    signed = f"{found.checkpoints} signed checkpoints hold, the last {age.total_seconds() / 60:.0f} min old"
    if found.witnessed_seq is None:
        return unmeasured(
            title, f"{signed}; no witness has seen the chain: is it running, and WITNESS_DIR the right one?"
        )
    return passed(title, f"{signed}; {found.limit[0].lower()}{found.limit[1:-1]}")


def silences(last_day: bool) -> Finding:
    """Find the longest time without an entry; heartbeats come every 30 seconds, so a minute of silence is a gap.

    A silence that began before the window counts from the window's edge, and the one that still lasts counts too.
    """
    title, name, now = "Silence", "audit_log_gaps", clock.now()
    newest = selectors.last_entry_at()
    if newest is None:
        return unmeasured(title, "nothing was ever written")
    since = now - DAY if last_day else None
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT count(*) FILTER (WHERE gap > %(most)s), max(gap), max(at) FILTER (WHERE gap > %(most)s) FROM (
              SELECT at, extract(epoch FROM at - greatest(before, %(since)s)) AS gap FROM (
                SELECT at, lag(at) OVER (ORDER BY seq) AS before FROM {TABLE}
                 WHERE seq >= coalesce(
                   (SELECT seq FROM {TABLE} WHERE at < %(since)s ORDER BY at DESC, seq DESC LIMIT 1), 0)
              ) AS every WHERE before IS NOT NULL AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
            ) AS entries
            """,  # noqa: S608 - our own table's name
            {"most": SILENCE_SECONDS, "since": since},
        )
        many, longest, last = cursor.fetchone()
    lasting = (now - (max(newest, since) if since else newest)).total_seconds()
    longest = max(float(longest or 0.0), lasting)
    span = "the last 24 hours" if last_day else "the whole history"
    words = []
    if many:
        words.append(f"{many} gaps above {SILENCE_SECONDS:.0f} s in {span}, longest {longest:.0f} s")
        words.append(f"the last ended {last:%d %b %H:%M} UTC")
    if lasting > SILENCE_SECONDS:
        words.append(f"nothing was written for {lasting:.0f} s")
    # asking for this very run writes entries too, so only the heartbeat itself tells whether it goes on
    beat = selectors.last_heartbeat_at()
    if beat is None:
        words.append("no heartbeat was ever written; is beat running?")
    elif (quiet := (now - beat).total_seconds()) > SILENCE_SECONDS:
        words.append(f"no heartbeat for {quiet:.0f} s; is beat running?")
    if words:
        return failed(title, ", ".join(words), value=longest, unit="s", name=name)
    return passed(title, f"longest gap {longest:.0f} s in {span}", value=longest, unit="s", name=name)


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
