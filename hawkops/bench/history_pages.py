"""The history's page over a million entries: every filter through the real view, on its first page and on later ones.

It needs nothing running: a PostgreSQL of its own is started in a temporary folder, filled with a valid chain, and removed.
"""

import random
import re
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
from django.conf import settings
from django.test import Client
from django.test.utils import override_settings

from hawkops.accounts.services.people import person_create
from hawkops.bench.scratch import scratch_database
from hawkops.bench.tampering import COPY_ENTRIES, COPY_NAMES, columns
from hawkops.core.access import Role
from hawkops.history.actors import Actor
from hawkops.history.domain import chain
from hawkops.history.models import HistoryEntry

ENTRIES = 1_000_000
TURNS = 5
WANTED_SECONDS = 1.0
START = datetime(2026, 1, 1, tzinfo=UTC)

# what is asked, and how it lies in the history
FILTERS = {
    "": "nothing, the newest",
    "verb:flag.": "a tenth of all",
    "verb:flag.killed": "one in ten thousand",
    "actor:mia": "a common name",
    "env:all actor:retired": "acted in the first thousand only",
    "actor:nobody-ever": "never acted",
    "subject:flag:litert_enabled": "common",
    "env:all subject:run:77": "one, very old",
    "litert": "a common word",
    "st": "beginning of very many words",
    "zebrafinch": "a word of three entries, old",
    "zebrafinch verb:run.": "a rare word and a common verb that never meet",
    "actor:mia verb:run.": "both common, never together",
    "actor:rule:alerts verb:alert. memory": "all common, and together",
    '"memory above limit"': "words side by side",
    '"limit above memory"': "the same words, never so",
    "-verb:run. -verb:alert. -actor:mia": "what is left",
    "env:staging": "the oldest twentieth only",
    "env:staging verb:alert.": "many, all of them old",
    "since:2026-02-01 until:2026-02-03 verb:flag.": "two days in the middle",
    "hidden:only": "heartbeats",
    "cause:4100": "what one entry led to",
    "request:0000000000000fa0": "one request",
}


def history_pages_measure(say: Callable[[str], None], *, entries: int = ENTRIES, turns: int = TURNS) -> float:
    """Time every filter, print one line each, and return the slowest page's seconds."""
    with scratch_database() as scratch:
        started = time.perf_counter()
        _fill(scratch.owner_url, entries)
        say(f"{entries:,}".replace(",", "\u202f") + f" entries, made in {time.perf_counter() - started:.0f} s")
        head = HistoryEntry.objects.order_by("-seq").values_list("seq", flat=True).first()
        if head != entries:
            raise AssertionError(f"the chain ends at {head}")
        worst = 0.0
        with override_settings(STORAGES=_plain_static(), ALLOWED_HOSTS=["localhost"]):
            client = _reader()
            client.get("/production/history")
            every: list[float] = []
            for line, meaning in FILTERS.items():
                seconds, rows = _timed(client, line, turns, entries)
                every += seconds
                worst = max(worst, *seconds)
                say(
                    f"  {line or '(no filter)':46} {meaning:46} median {statistics.median(seconds) * 1000:4.0f} ms, "
                    f"worst {max(seconds) * 1000:4.0f} ms, {len(seconds)} pages, {rows} rows on the first"
                )
        say(
            f"{len(FILTERS)} filters, first and later pages: median {statistics.median(every) * 1000:.0f} ms, "
            f"worst {worst * 1000:.0f} ms (wanted: {WANTED_SECONDS * 1000:.0f})"
        )
    return worst


def _timed(client: Client, line: str, turns: int, entries: int) -> tuple[list[float], int]:
    """Ask for the first page, the two after it, one in the middle and one near the beginning, several times each."""
    seconds, first = [], 0
    for turn in range(turns):
        given = {"q": line}
        for place in range(3):
            took, body = _asked(client, given)
            seconds.append(took)
            if place == 0 and turn == 0:
                first = body.count("<tr>") - 1
            older = re.search(r"before=(\d+)", body)
            if older is None:
                break
            given["before"] = older[1]
        for share in (0.5, 0.02):
            seconds.append(_asked(client, {"q": line, "before": str(int(entries * share))})[0])
    return seconds, max(0, first)


def _asked(client: Client, given: dict[str, str]) -> tuple[float, str]:
    started = time.perf_counter()
    answer = client.get("/production/history", given)
    took = time.perf_counter() - started
    if answer.status_code != 200:
        raise AssertionError(f"{given} was answered with {answer.status_code}")
    return took, answer.content.decode()


def _reader() -> Client:
    client = Client(HTTP_HOST="localhost")
    client.force_login(person_create(username="auditor", actor=Actor.system("bench"), roles=[Role.AUDITOR]))
    return client


def _plain_static() -> dict[str, dict[str, str]]:
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    return {**settings.STORAGES, "staticfiles": plain}


# ---- a history of its own ----


def _fill(owner_url: str, entries: int) -> None:
    """Write a valid chain. What sorts words in is built at the end, which is faster."""
    with psycopg.connect(owner_url, autocommit=True) as owner:
        index = owner.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'history_search'").fetchone()
        assert index is not None
        owner.execute("DROP INDEX history_search")
        rows = _rows(entries)
        last = chain.GENESIS
        for begin in range(0, entries, 20_000):
            part = [next(rows) for _ in range(min(20_000, entries - begin))]
            with owner.transaction(), owner.cursor() as cursor:
                with cursor.copy(COPY_ENTRIES) as copy:
                    for row, _ in part:
                        previous, last = last, chain.row_hash(last, row)
                        copy.write_row(columns(row, previous, last))
                with cursor.copy(COPY_NAMES) as copy:
                    for row, label in part:
                        copy.write_row((row.seq, b"salt", label))
        owner.execute("UPDATE history_head SET seq = %s, hash = %s", [entries, last])
        owner.execute(index[0])
        owner.execute("VACUUM ANALYZE history_historyentry")
        owner.execute("VACUUM ANALYZE history_personal")
        owner.execute("ANALYZE history_actorname")


def _rows(entries: int) -> Iterator[tuple[chain.Row, str]]:
    """Give entries as a busy installation leaves them, a quarter of a minute apart, with what the filters look for."""
    chance = random.Random(1)  # noqa: S311 - shapes, not secrets
    people = [("person:1", "mia"), ("person:2", "ben"), ("person:3", "ana")]
    spacing = timedelta(seconds=15)
    for seq in range(1, entries + 1):
        actor, label, verb, subject = "rule:heartbeat", "heartbeat", "history.heartbeat", "history:chain"
        before: dict[str, object] | None = None
        after: dict[str, object] | None = None
        reason, drawn = "", chance.random()
        if seq % 10_000 == 5_000:
            (actor, label), verb, subject = people[seq % 3], "flag.killed", "flag:litert_enabled"
            reason = "Production incident"
        elif drawn < 0.1:
            (actor, label), verb = people[seq % 3], "flag.percentage_set"
            subject = f"flag:{('litert_enabled', 'litert_gpu_backend', 'ai_fallback_to_cloud')[seq % 7 % 3]}"
            before = {"percentage": seq % 100, "override": None, "revision": seq}
            after = {"percentage": (seq + 5) % 100, "override": None, "revision": seq + 1}
            reason = "Phase 3 as planned"
        elif drawn < 0.5:
            actor, label, verb, subject = "rule:scripts", "scripts", "run.finished", f"run:{seq}"
            before = {"state": "running"}
            after = {
                "script": "scripts/test-gpu-performance.sh",
                "state": "passed",
                "verdict": "PASS",
                "exit_code": 0,
                "summary": f"prefill {1_700 + seq % 300} tokens per second",
                "measured": {"litert.prefill.throughput": 1_700 + seq % 300, "litert.memory.peak": seq % 2_000},
            }
        elif drawn < 0.8:
            actor, label, verb, subject = "rule:alerts", "alerts", "alert.fired", f"alert:{seq % 50}"
            after = {"state": "firing", "criterion": "alert-memory", "value": seq % 4_000, "severity": "warning"}
            reason = f"memory above limit: {seq % 4_000} MB"
        if seq % 100_000 == 77 and seq < 300_000:
            reason, verb, subject = "the zebrafinch release", "release.commented", f"release:{seq}"
        if seq == 78:
            subject = "run:77"
        if seq < 1_000 and seq % 3 == 0:
            actor, label = "person:9", "retired"
        yield (
            chain.Row(
                seq=seq,
                at=START + seq * spacing,
                environment="" if verb == "history.heartbeat" else "staging" if seq < entries // 20 else "production",
                actor=actor,
                verb=verb,
                subject=subject,
                before=None if before is None else chain.canonical(before),
                after=None if after is None else chain.canonical(after),
                reason=reason,
                request_id=f"{seq:016x}" if actor.startswith("person:") or seq == 4_000 else "",
                cause=4_100 if 4_100 < seq < 4_140 else seq - 1 if seq % 5 == 0 else None,
                hidden=verb == "history.heartbeat",
                commitment=chain.commitment(b"salt", label),
            ),
            label,
        )
