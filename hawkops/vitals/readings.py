"""Readings of HawkOps' own parts. Each is a query or two; none of them waits for a process."""

import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import redis
from django.conf import settings
from django.db import connection

from hawkops.accounts.models import BreakGlassCode
from hawkops.accounts.selectors import credentials_ending, glass_open
from hawkops.backups.planned import EVERY, FAILED, last_at
from hawkops.core.environments import Environment
from hawkops.core.templatetags.look import number, spoken
from hawkops.core.verdicts import Verdict
from hawkops.history import selectors as history
from hawkops.vitals.registry import Vital, at_most, register
from incidents.selectors import escalations
from incidents.selectors import notifications as notification_selectors
from monitoring.domain.alerting import LATE_AFTER
from monitoring.selectors import alerts
from monitoring.selectors.pulses import Sign, ingest_lag_seconds, signs

# queue → how old its last message may be: scripts and checks may fill their workers for a while
QUEUES = {"critical": 120.0, "alerts": 90.0, "health": 300.0, "scripts": 900.0}
LISTENERS = {"console listener": "Console's listener", "gateway listener": "Gateway's listener"}
LISTENER_SECONDS, COURIER_SECONDS = 60.0, 60.0
HEARTBEAT_SECONDS, INGEST_SECONDS = 90.0, 300.0
# signed a little more often; heartbeats give the witness something new every 30 s
CHECKPOINT_SECONDS, WITNESS_SECONDS = 3_600.0, 90.0
SKEW_SECONDS = 2.0
DELIVERY_SECONDS = 300.0
WAITING_MOST = 1_000
CONNECTIONS_PERCENT = 85.0
# what the platform can't do without lies on the disk of the data folder, and of an embedded database
DISK_FREE_PERCENT = 5.0
KEYS_SOON = timedelta(days=14)
BACKUP_LATE = EVERY + timedelta(hours=6)


def _old(seconds: float | None) -> str:
    return "never" if seconds is None else f"{spoken(timedelta(seconds=round(seconds)))} ago"


def _age(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else max(0.0, (now - at).total_seconds())


def _history(now: datetime) -> Iterator[Vital]:
    age = _age(history.last_heartbeat_at(), now)
    yield at_most(
        "history_heartbeat",
        "History's heartbeat",
        age,
        HEARTBEAT_SECONDS,
        unit="s",
        sentence=f"Written {_old(age)}, every 30 s wanted; beat and a worker of `alerts` together write it.",
        advice="See that `beat` and the worker of `alerts` run, and that the broker answers.",
    )
    found = history.verification_latest()
    if found is None:
        yield Vital(
            "history_verified",
            "History verified",
            "It was never verified here; that is done every hour.",
            Verdict.NO_DATA,
            "Run `manage.py history_verify`.",
        )
        return
    age = _age(found.at, now) or 0.0
    yield Vital(
        "history_verified",
        "History verified",
        f"{number(found.head_seq)} entries {_old(age)}: " + ("all verify." if found.good else f"{found.why}."),
        Verdict.FAIL if not found.good else Verdict.STALE if age > 2 * 3600 else Verdict.PASS,
        "Keep what is there, and compare with a backup: `manage.py backup --check FILE`."
        if not found.good
        else "See that the worker of `critical` runs.",
        age,
        2 * 3600,
        "s",
    )


def _evaluator(now: datetime) -> Iterator[Vital]:
    for environment in Environment:
        age = _age(alerts.watched(environment).looked_at, now)
        yield at_most(
            f"evaluator_{environment}",
            f"Alert evaluation in {environment}",
            age,
            LATE_AFTER.total_seconds(),
            unit="s",
            sentence=f"Looked {_old(age)}, every 10 s wanted.",
            advice="See that the worker of `alerts` runs. Until then nothing alerts but this.",
        )


def _queues(found: dict[str, list[Sign]], now: datetime) -> Iterator[Vital]:
    lengths = _lengths()
    for queue, limit in QUEUES.items():
        newest = max(found.get(f"queue {queue}", []), key=lambda one: one.seen_at, default=None)
        age = _age(newest.at, now) if newest else None
        lag = f", after {newest.lag_seconds:.1f} s in the queue" if newest and newest.lag_seconds is not None else ""
        waiting = f" {number(lengths[queue])} wait." if queue in lengths else ""
        yield at_most(
            f"queue_{queue}",
            f"Queue {queue}",
            age,
            limit,
            unit="s",
            sentence=f"A message was taken {_old(age)}{lag}; one is sent every 30 s.{waiting}",
            advice=f"See that a worker takes from it (`celery -A hawkops worker -Q {queue}`), and what that is busy with.",
        )


def _lengths() -> dict[str, int]:
    client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1)
    try:
        return {queue: int(client.llen(queue)) for queue in QUEUES}
    except redis.RedisError:
        return {}
    finally:
        client.close()


def _broker(_now: datetime) -> Iterator[Vital]:
    client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1)
    try:
        version = client.info("server")["redis_version"]
        yield Vital("broker", "Broker", f"Answers, {version}.", Verdict.PASS, "")
    except redis.RedisError as error:
        yield Vital(
            "broker",
            "Broker",
            f"Does not answer: {' '.join(str(error).split())[:150]}.",
            Verdict.FAIL,
            "Start Redis or Valkey again, or put REDIS_URL right. Kills and flags go on without it.",
        )
    finally:
        client.close()


def _processes(now: datetime) -> Iterator[Vital]:
    found = signs()
    yield from _queues(found, now)
    for part, title in LISTENERS.items():
        hosts: list[Sign | None] = [*found.get(part, [])]
        # every host for itself: one that is deaf must not hide behind another
        for one in hosts or [None]:
            age = _age(one.at, now) if one else None
            several = f" on {one.host}" if one and len(hosts) > 1 else ""
            yield at_most(
                part.replace(" ", "_") + several.replace(" on ", "@"),
                title + several,
                age,
                LISTENER_SECONDS,
                unit="s",
                sentence=f"Heard its own notification {_old(age)}, every 15 s wanted.",
                advice="Give DATABASE_URL a direct connection: LISTEN does not work through a transaction pooler.",
            )
    courier = max(found.get("courier", []), key=lambda one: one.seen_at, default=None)
    age = _age(courier.at, now) if courier else None
    yield at_most(
        "courier",
        "Courier",
        age,
        COURIER_SECONDS,
        unit="s",
        sentence=f"Ended its round {_old(age)}, every 5 s wanted; workers send every 10 s without it.",
        advice="See that the console runs and what its log says of the courier.",
    )
    second = escalations.second()
    age = _age(second.seen_at, now)
    yield at_most(
        "second_path",
        "Second path",
        age,
        escalations.SECOND_LATE_AFTER.total_seconds(),
        unit="s",
        sentence=f"Looked {_old(age)}; it pages by {', '.join(second.ways) or 'nothing: no way is set'}.",
        advice="See that `python -m hawkops.second_path` runs.",
    )
    skews = [(abs(one.skew_seconds), one) for rows in found.values() for one in rows]
    worst, where = max(skews, key=lambda pair: pair[0], default=(None, None))
    yield at_most(
        "clock_skew",
        "Clocks",
        worst,
        SKEW_SECONDS,
        unit="s",
        sentence="No process has said its time yet."
        if where is None
        else f"{where.part} on {where.host} is {where.skew_seconds:+.3f} s off the database's clock, the most of all.",
        advice="Let every host keep its time by NTP (chrony, systemd-timesyncd).",
    )


def _ingest(_now: datetime) -> Iterator[Vital]:
    lag = ingest_lag_seconds()
    yield at_most(
        "ingest_lag",
        "Ingest lag",
        lag,
        INGEST_SECONDS,
        unit="s",
        sentence="No telemetry waits for its rollup."
        if lag == 0
        else f"Telemetry of {_old(lag)} waits for its rollup; what was acknowledged is stored and is read all the same.",
        advice="See that the worker of `critical` runs and keeps up; the sizing table of the README says what it needs.",
    )


def _deliveries(now: datetime) -> Iterator[Vital]:
    waiting, oldest, failed = notification_selectors.backlog(now)
    age = 0.0 if oldest is None else _age(oldest, now)
    yield at_most(
        "deliveries",
        "Deliveries",
        age,
        DELIVERY_SECONDS,
        unit="s",
        sentence=f"{number(waiting)} wait, the oldest {_old(age)}; {number(failed)} failed in the last day."
        if waiting
        else f"None waits; {number(failed)} failed in the last day.",
        advice="Notifications says which channel does not take them.",
    )


def _proofs(now: datetime) -> Iterator[Vital]:
    if not settings.BACKUP_DIR and last_at() is None:
        yield Vital(
            "backup",
            "Backup",
            "There is none, and BACKUP_DIR is not set.",
            Verdict.NO_DATA,
            "Set BACKUP_DIR, or run `manage.py backup DIR` each day.",
        )
        return
    age, failed = _age(last_at(), now), last_at(FAILED)
    made = last_at()
    why = " The last try failed; the history says why." if failed and (made is None or failed > made) else ""
    found = at_most(
        "backup",
        "Backup",
        age,
        BACKUP_LATE.total_seconds(),
        unit="s",
        sentence=f"Made {_old(age)}, every day wanted.{why}",
        advice="Run `manage.py backup DIR`, and see why the planned one does not.",
    )
    yield found if made or not failed else Vital("backup", "Backup", found.sentence, Verdict.FAIL, found.advice)


def _room(_now: datetime) -> Iterator[Vital]:
    place = next((one for one in (settings.DATA, *settings.DATA.parents) if one.exists()), Path("/"))
    usage = shutil.disk_usage(place)
    free = 100 * usage.free / usage.total
    yield Vital(
        "disk",
        "Disk",
        f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free where the data folder lies.",
        Verdict.FAIL if free < DISK_FREE_PERCENT else Verdict.PASS,
        "Make room. Telemetry is refused first, below TELEMETRY_FREE_DISK_PERCENT.",
        free,
        DISK_FREE_PERCENT,
        "% free",
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_database_size(current_database()), (SELECT count(*) FROM pg_stat_activity WHERE backend_type ="
            " 'client backend'), current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int"
        )
        size, used, most = cursor.fetchone()
    quota = settings.TELEMETRY_DATABASE_GB
    yield Vital(
        "database_size",
        "Database size",
        f"{size / 1e9:.2f} GB" + (f" of the {quota:g} GB that telemetry may fill." if quota else ", without a quota."),
        Verdict.FAIL if quota and size > quota * 1e9 else Verdict.PASS,
        "Raise TELEMETRY_DATABASE_GB, or send less.",
        size / 1e9,
        quota or None,
        "GB",
    )
    yield at_most(
        "database_connections",
        "Database connections",
        100 * used / most,
        CONNECTIONS_PERCENT,
        unit="%",
        sentence=f"{used} of {most} are in use, by everybody.",
        advice="Raise max_connections of PostgreSQL, or run fewer processes.",
    )


def _keys(now: datetime) -> Iterator[Vital]:
    """Keys and tokens in use that end soon, and whose successor nobody has made."""
    found = credentials_ending(now=now, within=KEYS_SOON)
    said = "; ".join(f"{one.title} ends {'on' if one.ends > now else 'since'} {one.ends:%d %b %Y}" for one in found[:5])
    yield Vital(
        "credentials",
        "Keys and tokens",
        f"{said}, without a successor." if found else f"None that is in use ends within {KEYS_SOON.days} days.",
        Verdict.FAIL if found else Verdict.PASS,
        "Rotate them under People and keys, and give whoever carries them the new one.",
        float(len(found)),
        0.0,
    )


def _glass(now: datetime) -> Iterator[Vital]:
    """Whether somebody works behind a break-glass code, and whether one is sealed for the next time."""
    title, newest = "Break-glass code", BreakGlassCode.objects.first()
    opened = glass_open()
    sealed = BreakGlassCode.objects.filter(opened_at=None, revoked_at=None).count()
    make = "Make one and seal it: People and keys, or `manage.py break_glass_create`."
    if opened is not None:
        until = f"{opened.open_until:%H:%M} UTC"
        said = f"Opened {_old(_age(opened.opened_at, now))}, until {until}: {opened.reason}"
        yield Vital(
            "break_glass", title, said, Verdict.FAIL, "Find out who it is; the history shows each of their acts."
        )
    elif sealed:
        yield Vital("break_glass", title, f"{sealed} sealed.", Verdict.PASS, "")
    elif newest is None:
        yield Vital("break_glass", title, "None was ever made.", Verdict.NO_DATA, make)
    else:
        yield Vital("break_glass", title, "None is sealed: the last was opened or taken back.", Verdict.FAIL, make)


def process_memory_bytes() -> int:
    """Return what this process holds in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def register_all() -> None:
    """Register every reading of HawkOps' own; a proof's stands with whoever makes it."""
    register("history", _history)
    register("evaluator", _evaluator)
    register("broker", _broker)
    register("processes", _processes)
    register("ingest", _ingest)
    register("deliveries", _deliveries)
    register("checkpoint", _checkpoint)
    register("backup", _proofs)
    register("credentials", _keys)
    register("break_glass", _glass)
    register("room", _room)


def _checkpoint(now: datetime) -> Iterator[Vital]:
    proof = history.proof()
    age = (now - proof.checkpoint.at).total_seconds() if proof.checkpoint else None
    yield at_most(
        "checkpoint",
        "Last checkpoint",
        age,
        CHECKPOINT_SECONDS,
        unit="s",
        sentence=f"Signed {_old(age)}.",
        advice="Is the process witness running, and can it read HISTORY_SIGNING_KEY?",
    )
    seen = (now - proof.witnessed_at).total_seconds() if proof.witnessed_at else None
    if proof.amiss:
        advice = "Keep the witness's folder and the database as they are; history_verify names the first bad entry."
        yield Vital("witness", "Witness", f"It saw another history: {proof.amiss}.", Verdict.FAIL, advice)
        return
    yield at_most(
        "witness",
        "Witness",
        seen,
        WITNESS_SECONDS,
        unit="s",
        sentence=f"Saw the head {_old(seen)}.",
        advice="Is the process witness running, and can it write WITNESS_DIR? Till then the chain alone proves what is new.",
    )
