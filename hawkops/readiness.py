"""Whether a process can do what it is for, part by part. Liveness asks nobody; this asks everybody it needs."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

OK, DEGRADED, DOWN = "ok", "degraded", "down"
BROKER_SECONDS = 1.0
# a database behind a cut line does not even refuse: who asks must still be answered in time
DATABASE_SECONDS = 1.0
_migrated = False


@dataclass(frozen=True)
class Part:
    """One part: `degraded` is worth a look and no reason to take the process out of service."""

    name: str
    state: str
    says: str
    ms: float = 0.0

    def shown(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"state": self.state, "says": self.says, "ms": round(self.ms, 1)}


def _timed(name: str, ask: Callable[[], tuple[str, str]]) -> Part:
    began = time.perf_counter()
    state, says = ask()
    return Part(name, state, says, 1000 * (time.perf_counter() - began))


def database_and_migrations() -> list[Part]:
    """Ask the database, and once whether it has every migration of this code. Runs in a thread of its own."""
    try:
        return [_timed("database", _database), _timed("migrations", _migrations)]
    finally:
        connections.close_all()


async def asked() -> list[Part]:
    """Ask database, migrations and broker at once, and wait for none of them for long."""
    database = asyncio.wait_for(asyncio.to_thread(database_and_migrations), DATABASE_SECONDS)
    found, its = await asyncio.gather(database, asyncio.to_thread(broker), return_exceptions=True)
    if isinstance(its, BaseException):
        raise its
    if isinstance(found, TimeoutError):
        found = [Part("database", DOWN, f"does not answer within {DATABASE_SECONDS:g} s", 1000 * DATABASE_SECONDS)]
    if isinstance(found, BaseException):
        raise found
    return [*found, its]


def _database() -> tuple[str, str]:
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return DOWN, f"can't be read: {type(error).__name__}"
    return OK, "answers"


def _migrations() -> tuple[str, str]:
    global _migrated
    if not _migrated:
        try:
            missing = unapplied()
        except DatabaseError:
            return DOWN, "can't be read"
        if missing:
            return DOWN, f"{len(missing)} are not applied, {missing[0]} the first: run manage.py migrate"
        # applied once is applied for as long as this process runs
        _migrated = True
    return OK, "all applied"


def unapplied() -> list[str]:
    """Return the migrations of this code that the database lacks, in their order."""
    executor = MigrationExecutor(connections["default"])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label} {migration.name}" for migration, _ in plan]


def broker() -> Part:
    """Ask the broker. Without it pages, flags and kills go on, and sweepers do later what was enqueued."""
    return _timed("broker", _broker)


def _broker() -> tuple[str, str]:
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=BROKER_SECONDS, socket_timeout=BROKER_SECONDS
    )
    try:
        client.ping()
    except redis.RedisError as error:
        return DEGRADED, f"does not answer: {type(error).__name__}"
    finally:
        client.close()
    return OK, "answers"


def listener(silent_seconds: float | None, *, connected: bool) -> Part:
    """Judge a process's LISTEN line: without it pages and flags still look by themselves, only later."""
    if not connected:
        return Part("listener", DEGRADED, "not connected")
    if silent_seconds is not None and silent_seconds > 60:
        return Part("listener", DEGRADED, f"heard nothing for {silent_seconds:.0f} s")
    return Part("listener", OK, "connected")


def whole(parts: list[Part]) -> tuple[int, dict[str, Any]]:
    """Return status and JSON: 503 where a part is down."""
    states = {part.state for part in parts}
    state = DOWN if DOWN in states else DEGRADED if DEGRADED in states else OK
    return 503 if state == DOWN else 200, {"state": state, "parts": {part.name: part.shown() for part in parts}}
