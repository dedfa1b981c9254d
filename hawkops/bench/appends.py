"""What the chain costs: appends beside unchained inserts of the same row, in one run, on one connection and eight."""

import os
import secrets
import time
from collections.abc import Callable
from multiprocessing import get_context

import psycopg

from hawkops.bench.scratch import scratch_database

SECONDS = 4.0
ROUNDS = 3
WANTED = {1: 0.35, 8: 0.15}
# the same columns and indexes, the search's too; without the triggers and without a name beside it
UNCHAINED = "CREATE TABLE bench_unchained (LIKE history_historyentry INCLUDING ALL)"
INSERT = (
    "INSERT INTO bench_unchained (seq, at, environment, actor, verb, subject, before_text, after_text, reason, request_id,"
    " cause_id, hidden, commitment, previous_hash, hash) VALUES (%s, now(), 'production', 'person:1', 'flag.override_set',"
    " 'flag:litert_enabled', %s, %s, 'Production incident', 'r', NULL, false, %s, %s, %s)"
)
BEFORE, AFTER = '{"override":null,"percentage":25}', '{"override":"off","percentage":25}'


def _insert(url: str, seconds: float) -> int:
    """Insert rows for a while, a transaction each; return how many."""
    done, start = 0, secrets.randbits(50) << 10
    with psycopg.connect(url, autocommit=True) as line:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            digest = secrets.token_hex(32)
            line.execute(INSERT, [start + done, BEFORE, AFTER, digest, digest, digest])
            done += 1
    return done


def _append(url: str, seconds: float) -> int:
    """Append entries by the product's own service for a while, a transaction each; return how many."""
    os.environ["DATABASE_URL"] = url
    import django

    django.setup()
    from hawkops.history.actors import Actor
    from hawkops.history.services import change

    actor, done = Actor("person:1", "mia"), 0
    before, after = {"override": None, "percentage": 25}, {"override": "off", "percentage": 25}
    with change(actor=actor) as this:  # connects
        this.record("bench.begun", subject="bench:1")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with change(actor=actor, environment="production", reason="Production incident", request_id="r") as this:
            this.record("flag.override_set", subject="flag:litert_enabled", before=before, after=after)
        done += 1
    return done


def appends_measure(say: Callable[[str], None], *, seconds: float = SECONDS, rounds: int = ROUNDS) -> dict[int, float]:
    """Measure both in turns, each connection in a process of its own; return the ratio by their number."""
    ratios: dict[int, float] = {}
    with scratch_database(durable=True) as scratch:
        with psycopg.connect(scratch.owner_url, autocommit=True) as owner:
            owner.execute(UNCHAINED)
            owner.execute(
                f"GRANT ALL ON bench_unchained TO {psycopg.conninfo.conninfo_to_dict(scratch.database_url)['user']}"
            )
            version = owner.info.server_version // 10_000
        context = get_context("spawn")
        for connections in WANTED:
            plain = chained = 0
            with context.Pool(connections) as pool:
                for _ in range(rounds):
                    for measure in (_insert, _append):
                        given = [(scratch.database_url, seconds)] * connections
                        done = sum(pool.starmap(measure, given, chunksize=1))
                        plain, chained = (plain + done, chained) if measure is _insert else (plain, chained + done)
            took = seconds * rounds
            ratios[connections] = chained / plain
            say(
                f"PostgreSQL {version}, {connections} connections: {chained / took:.0f} history appends a second, "
                f"{plain / took:.0f} unchained inserts; {ratios[connections]:.2f} × (wanted: {WANTED[connections]})"
            )
    return ratios
