"""PostgreSQL: ended, slow, out of connections, out of disk. Valkey: killed, and started again empty."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psycopg

from hawkops.bench.faults.load import ENVIRONMENT, KILLED
from hawkops.bench.faults.proxy import Way
from hawkops.bench.faults.rounds import Bench, Fault, Missing, Named
from hawkops.embedded.postgres import APPLICATION, OWNER

SLOW_SECONDS = 0.1
LOCK_SECONDS = 12.0
FULL_SECONDS = 12.0
SETTLED_SECONDS = 6.0
# more than the guard wants free stays free at first, then less, then nothing
GUARD_SECONDS = 9.0
KEEP_PERCENT = 8.0


@contextmanager
def restarted(bench: Bench) -> Iterator[None]:
    """Immediate shutdown: everybody is cut off, and the next start recovers from the log."""
    bench.system.postgres_restart(signal.SIGQUIT)
    yield


@contextmanager
def backend_killed(bench: Bench) -> Iterator[None]:
    """SIGKILL of one backend: PostgreSQL ends all others and recovers."""
    with bench.system.superuser() as line:
        row = line.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'hawkops-telemetry' ORDER BY pid LIMIT 1"
        ).fetchone()
    if row is None:
        raise Missing("no backend of the gateway was found")
    os.kill(int(str(row[0])), signal.SIGKILL)
    yield


@contextmanager
def slow(bench: Bench) -> Iterator[None]:
    """Everything that a program and PostgreSQL say to each other is late, each way."""
    wires = [bench.system.wires[name] for name in ("gateway", "console", "workers")]
    for wire in wires:
        wire.be(Way.OPEN, delay_seconds=SLOW_SECONDS)
    try:
        yield
    finally:
        for wire in wires:
            wire.be(Way.OPEN)


@contextmanager
def locked(bench: Bench) -> Iterator[None]:
    """A session of ours holds the head of the history and the flags, and says nothing more."""
    options = "-c lock_timeout=5000 -c statement_timeout=5000 -c idle_in_transaction_session_timeout=4000"
    with psycopg.connect(bench.system.postgres.url(APPLICATION), options=options) as line:
        line.execute("SELECT 1 FROM history_head FOR UPDATE")
        line.execute("SELECT 1 FROM rollout_environmentflags FOR UPDATE")
        line.execute("SELECT 1 FROM rollout_flag FOR UPDATE")
        bench.kill()
        yield
        # by now PostgreSQL has ended it
        with suppress(psycopg.Error):
            line.rollback()


def crowded(role: str) -> Fault:
    """Take every connection that is left, as one of the roles; while they last, nobody new comes in."""

    @contextmanager
    def fault(bench: Bench) -> Iterator[None]:
        lines: list[psycopg.Connection[tuple[object, ...]]] = []
        url = bench.system.postgres.url(role)
        # one that was never asked to kill has no connection for that yet
        bench.system.kill("console")
        bench.system.wait(40, lambda: bool(_answered(bench)))
        bench.wait(SETTLED_SECONDS)
        try:
            for _ in range(3):
                with suppress(psycopg.OperationalError):
                    while len(lines) < 1_000:
                        lines.append(psycopg.connect(url, connect_timeout=3))
                time.sleep(0.2)
            bench.result.notes.append(f"{len(lines)} connections held")
            started = time.monotonic()
            _emergency_page(bench)
            bench.kill()
            if bench.killed_at is not None and bench.killed_at - started > 10:
                bench.result.findings.append("the kill came through late: it had no connection")
            yield
        finally:
            for line in lines:
                line.close()

    return fault


def _answered(bench: Bench) -> int:
    with suppress(httpx.TransportError):
        return int(httpx.get(f"{bench.system.console}/readyz", timeout=3).status_code == 200)
    return 0


def _emergency_page(bench: Bench) -> None:
    """Ask for what the emergency page asks for, without a wait."""
    try:
        answer = httpx.get(
            f"{bench.system.console}/api/v1/{ENVIRONMENT}/flags/{KILLED}",
            headers={"Authorization": f"Bearer {bench.load.token}"},
            timeout=8,
        )
        bench.result.notes.append(f"a read answers {answer.status_code}")
    except httpx.TransportError as error:
        bench.result.notes.append(f"a read ends in {type(error).__name__}")


@contextmanager
def full(bench: Bench) -> Iterator[None]:
    """Fill PostgreSQL's disk: first so far that telemetry gives way, then to the last byte; a kill is pressed in both."""
    system = bench.system
    if not system.has_disk:
        raise Missing("no small file system may be mounted here")
    ballast = [system.postgres.home / "ballast-1", system.postgres.home / "ballast-2"]
    try:
        _fill(ballast[0], KEEP_PERCENT)
        bench.wait(GUARD_SECONDS)
        refused = bench.load.ledger.refused["503"]
        bench.wait(3)
        if bench.load.ledger.refused["503"] == refused:
            bench.result.findings.append(f"telemetry was still taken with {KEEP_PERCENT:g} % free")
        bench.kill(10)
        if bench.killed_at is not None:
            bench.result.notes.append(f"kill works with {KEEP_PERCENT:g} % free while telemetry is refused")
        _fill(ballast[1], 0.0)
        bench.wait(FULL_SECONDS)
        bench.result.notes.append("to the last byte: " + _pressed(bench))
        yield
    finally:
        for file in ballast:
            file.unlink(missing_ok=True)


def _pressed(bench: Bench) -> str:
    """Press another stop while nothing is free, and say what came of it."""
    try:
        answer = bench.load.api("POST", "backends/gpu/disable", {"reason": "bench faults"}, timeout=8)
    except httpx.HTTPStatusError as error:
        return f"disabling the GPU answers {error.response.status_code}"
    except httpx.TransportError as error:
        return f"disabling the GPU ends in {type(error).__name__}"
    return f"disabling the GPU answers {answer.status_code}"


def _fill(file: Path, keep_percent: float) -> None:
    """Take space until only so much is left."""
    with file.open("wb") as taken:
        disk = os.statvfs(file.parent)
        size = int((disk.f_bavail - disk.f_blocks * keep_percent / 100) * disk.f_frsize)
        if size > 0:
            os.posix_fallocate(taken.fileno(), 0, size)


def valkey(*, empty: bool) -> Fault:
    """SIGKILL, and a start with what it kept, or without."""

    @contextmanager
    def fault(bench: Bench) -> Iterator[None]:
        bench.system.valkey_restart(empty=empty)
        yield

    return fault


FAULTS = (
    Named("postgres", "PostgreSQL shut down at once, recovering", restarted),
    Named("backend", "SIGKILL of a PostgreSQL backend", backend_killed),
    Named("slow", f"PostgreSQL {SLOW_SECONDS * 1000:.0f} ms late each way", slow, 15),
    Named("locked", "a frozen session holds history and flags", locked, LOCK_SECONDS),
    Named("crowded", "connections used up by another role", crowded(OWNER), 8),
    Named("crowded-own", "connections used up by our own role", crowded(APPLICATION), 8),
    Named("disk", "PostgreSQL's disk full", full),
    Named("valkey", "kill -9 of Valkey", valkey(empty=False)),
    Named("valkey-empty", "Valkey restarted empty", valkey(empty=True)),
)
