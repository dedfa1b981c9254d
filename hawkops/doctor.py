"""What an operator asks first when something is wrong: each thing that HawkOps stands on, asked directly, with what to do.

Nothing here needs HawkOps to run, and no part that is away keeps the others from being asked. Nothing is changed.
"""

import os
import platform
import shutil
import smtplib
import socket
import stat
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import redis
from django.conf import settings
from django.core.checks import ERROR, CheckMessage, run_checks
from django.db import DatabaseError, connections

from hawkops import readiness
from hawkops.core.errors import HawkOpsError
from hawkops.core.lines import hears
from hawkops.core.templatetags.look import number
from hawkops.core.verdicts import Verdict
from hawkops.history.keys import FILE, verifiers
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured
from hawkops.scripts.probes.measuring import Exit
from hawkops.vitals.readings import SKEW_SECONDS
from hawkops.vitals.registry import Vital, vitals
from monitoring.services.pulses import database_skew

POSTGRESQL_LEAST = 15
SECONDS = 3.0
# connections that a console, a gateway, five workers, beat, second path and witness hold at the most, and half as many again
CONNECTIONS_LEAST = 60
# what a round trip to the database may take: a page makes some dozens
ROUND_TRIP_MS = 5.0
SECRET_FILES = ("secret.key", "env", FILE)


@dataclass(frozen=True)
class Part:
    """A heading, and what is asked under it."""

    title: str
    ask: Callable[[], Iterator[Finding]]


def examined() -> Iterator[tuple[str, Finding]]:
    """Ask everything, part by part; gives each line with its heading. What fails unexpectedly is a line of its own."""
    for part in PARTS:
        try:
            for found in part.ask():
                yield part.title, found
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must be asked too
            yield part.title, failed(part.title, f"can't be asked: {_said(error)}")
    connections.close_all()


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(": ")


def _settings() -> Iterator[Finding]:
    """Django's own checks and ours; those of a deployment where people reach the console from elsewhere."""
    public = settings.CONSOLE_URL.startswith("https://")
    found = run_checks(include_deployment_checks=public)
    for one in found:
        yield _checked(one)
    if not found:
        yield passed("Settings", "nothing amiss" + ("" if public else "; those of a public address were not asked"))


def _checked(one: CheckMessage) -> Finding:
    said = f"{one.msg} {one.hint or ''}".strip()
    return (failed if one.level >= ERROR else unmeasured)(str(one.id), said)


def _machine() -> Iterator[Finding]:
    yield passed("Python", f"{platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    data = Path(settings.DATA)
    place = next((one for one in (data, *data.parents) if one.exists()), Path("/"))
    if not os.access(place, os.W_OK):
        yield failed("Data folder", f"{data} can't be written: give it to the user that runs HawkOps.")
    usage = shutil.disk_usage(place)
    free, least = 100 * usage.free / usage.total, settings.TELEMETRY_FREE_DISK_PERCENT
    judged = failed if free < least else passed
    yield judged("Disk", f"{free:.0f} % free at {place}, telemetry is refused below {least:g} %", value=free, unit="%")
    for name in SECRET_FILES:
        path = data / name
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield failed(name, f"others may read {path}: chmod 600 {path}")


def _postgresql() -> Iterator[Finding]:
    try:
        with psycopg.connect(settings.DATABASE_URL, autocommit=True, connect_timeout=int(SECONDS)) as line:
            yield from _server(line)
    except psycopg.Error as error:
        yield failed("PostgreSQL", f"can't be reached by DATABASE_URL: {_said(error)}")
        return
    if hears(settings.DATABASE_URL):
        yield passed("LISTEN", "hears what another connection says")
    else:
        yield failed("LISTEN", "hears nothing: give DATABASE_URL a direct connection, not a transaction pooler's")
    missing = readiness.unapplied()
    judged = failed if missing else passed
    yield judged("Migrations", f"{len(missing)} missing, {missing[0]} first: migrate" if missing else "all applied")
    _, skew = database_skew()
    judged = failed if abs(skew) > SKEW_SECONDS else passed
    yield judged("Clock", f"{skew:+.3f} s off the database's; keep time by NTP", value=skew, unit="s")


def _server(line: psycopg.Connection) -> Iterator[Finding]:
    version = line.info.server_version // 10_000
    judged = passed if version >= POSTGRESQL_LEAST else failed
    yield judged("PostgreSQL", f"{version}, {POSTGRESQL_LEAST} or newer wanted", value=float(version))
    ms = 1000 * statistics.median(_asked_once(line) for _ in range(21))
    judged = failed if ms > ROUND_TRIP_MS else passed
    yield judged("Round trip", f"{ms:.2f} ms, at most {ROUND_TRIP_MS:g} wanted", value=ms / 1000, unit="s")
    names = ("max_connections", "fsync", "synchronous_commit", "full_page_writes")
    has: dict[str, str] = dict(
        line.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(names)]).fetchall()
    )
    many = int(has.pop("max_connections"))
    judged = passed if many >= CONNECTIONS_LEAST else failed
    yield judged("Connections", f"max_connections is {many}, {CONNECTIONS_LEAST} or more wanted", value=float(many))
    # what a console has acknowledged must outlive the power
    unsafe = [name for name, value in has.items() if value == "off"]
    judged = failed if unsafe else passed
    yield judged("Durability", f"{', '.join(unsafe)} off: what was acknowledged can be lost" if unsafe else "on")
    owns = line.execute(
        "SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('history_historyentry')"
    ).fetchone()
    if owns is None:
        yield unmeasured("Two roles", "there are no tables yet")
    elif owns[0]:
        yield failed("Two roles", "DATABASE_URL's role owns the history and can alter it; see DATABASE_OWNER_URL")
    else:
        yield passed("Two roles", "the application's may not alter the history")


def _asked_once(line: psycopg.Connection) -> float:
    began = time.perf_counter()
    line.execute("SELECT 1")
    return time.perf_counter() - began


def _broker() -> Iterator[Finding]:
    client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=SECONDS, socket_timeout=SECONDS)
    try:
        yield passed("Broker", f"answers, {client.info('server')['redis_version']}")
        memory = client.info("memory")
        policy = memory.get("maxmemory_policy", "noeviction")
        judged = passed if policy == "noeviction" or not memory.get("maxmemory") else failed
        yield judged("Eviction", f"{policy}; under another than noeviction messages vanish when memory is short")
    except redis.RedisError as error:
        yield failed("Broker", f"can't be reached by REDIS_URL: {_said(error)}. Kills and flags go on without it.")
    finally:
        client.close()


def _doors() -> Iterator[Finding]:
    for title, base in (("Console", settings.CONSOLE_URL), ("Gateway", settings.GATEWAY_URL)):
        url = f"{base}/readyz"
        try:
            answer = httpx.get(url, timeout=SECONDS)
        except httpx.HTTPError as error:
            yield failed(title, f"{url} does not answer: {_said(error)}")
            continue
        judged = passed if answer.status_code == httpx.codes.OK else failed
        yield judged(title, f"{url} answered {answer.status_code}{_parts(answer)}")


def _parts(answer: httpx.Response) -> str:
    try:
        parts = answer.json()["parts"]
        return "".join(f"; {name} {one['says']}" for name, one in parts.items() if one["state"] != readiness.OK)
    except (ValueError, KeyError, TypeError):
        return ", which is no answer of HawkOps"


def _proof() -> Iterator[Finding]:
    kept = settings.HISTORY_SIGNING_KEY or (Path(settings.DATA) / FILE).exists()
    if not kept:
        yield unmeasured("Signing key", "there is none yet; the process witness makes it")
    else:
        try:
            yield passed("Signing key", f"{len(verifiers())} keys may have signed the history")
        except (HawkOpsError, OSError) as error:
            yield failed("Signing key", _said(error))
    for title, folder in (("Witness", str(settings.WITNESS_DIR)), ("Backup", settings.BACKUP_DIR)):
        if not folder:
            yield unmeasured(title, "BACKUP_DIR is not set: nothing is backed up by itself")
        elif Path(folder).exists() and not os.access(folder, os.W_OK):
            yield failed(title, f"{folder} can't be written")
        elif not Path(folder).exists():
            yield unmeasured(title, f"{folder} is not there yet")
        else:
            yield passed(title, f"{folder} can be written")


def _ways_out() -> Iterator[Finding]:
    """How people are told when the first path is gone. Nothing is sent: the daily page check does that."""
    if not (settings.SECOND_PATH_EMAIL or settings.SECOND_PATH_WEBHOOK):
        yield unmeasured("Second path", "has no way: set SECOND_PATH_EMAIL or SECOND_PATH_WEBHOOK")
    if not settings.HEARTBEAT_URL:
        yield unmeasured("Heartbeat", "nobody elsewhere notices when this host is gone: set HEARTBEAT_URL")
    if not settings.EMAIL_HOST:
        yield unmeasured("Mail", "SMTP_URL is not set")
        return
    server = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
    try:
        made = smtplib.SMTP_SSL if settings.EMAIL_USE_SSL else smtplib.SMTP
        with made(settings.EMAIL_HOST, settings.EMAIL_PORT, timeout=SECONDS) as line:
            code, _ = line.noop()
    except (OSError, smtplib.SMTPException) as error:
        yield failed("Mail", f"{server} does not answer: {_said(error)}")
        return
    judged = passed if code == 250 else failed
    yield judged("Mail", f"{server} answered {code}; nothing was sent")


def _signs() -> Iterator[Finding]:
    """What the platform page shows."""
    try:
        for one in vitals():
            yield _sign(one)
    except DatabaseError as error:
        yield failed("Signs of life", f"can't be read: {_said(error)}")


def _sign(one: Vital) -> Finding:
    if one.failing:
        return failed(one.title, f"{one.sentence} {one.advice}")
    if one.verdict is not Verdict.PASS:
        return unmeasured(one.title, f"{one.verdict.label}: {one.sentence} {one.advice}")
    return passed(one.title, one.sentence)


PARTS = (
    Part("Settings", _settings),
    Part("Machine", _machine),
    Part("PostgreSQL", _postgresql),
    Part("Broker", _broker),
    Part("Proof and backup", _proof),
    Part("Ways out", _ways_out),
    Part("Doors", _doors),
    Part("Signs of life", _signs),
)


def summary(found: Sequence[Finding]) -> str:
    """Say how many lines hold, and how many don't."""
    outcomes = Counter(one.outcome for one in found)
    return (
        f"{number(len(found))} lines on {socket.gethostname()}: {outcomes[Exit.FAILED]} fail, "
        f"{outcomes[Exit.UNMEASURED]} could not be judged"
    )
