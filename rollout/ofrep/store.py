"""Snapshots and device keys in memory: loaded from PostgreSQL, replaced on NOTIFY, re-checked so that a lost one heals."""

import asyncio
import hashlib
import hmac
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from hawkops.core.lines import answering
from hawkops.core.live import Listener
from rollout.domain import targeting
from rollout.domain.experiments import experiment
from rollout.domain.flags import Flag, FlagType, Override, Snapshot, scoped_override
from rollout.ofrep.answers import Answers

log = logging.getLogger(__name__)

RECHECK_SECONDS = 2.0
USE_NOTED_SECONDS = 120.0
# What is in memory here changes with entries of these verbs.
WAKING = ("flag.", "group.", "experiment.", "key.")
# A gateway stays believable this long without its database; afterwards it serves safe values.
LEASE_SECONDS = 900

FLAGS = """
SELECT e.environment AS environment, e.revision AS environment_revision,
       f.key, f.type, f."on", f."off", f.safe_variant, f.thousandths, f.salt, f.requires,
       f.rules, f.pinned, f.scoped_overrides,
       f.override_variant, f.override_reason, f.lease_seconds, f.experiment
  FROM rollout_environmentflags e
  LEFT JOIN rollout_flag f ON f.environment = e.environment AND f.archived_at IS NULL
 ORDER BY e.environment, f.position, f.key
"""
KEYS = "SELECT id, environment, name, key_hash, expires_at FROM accounts_devicekey WHERE revoked_at IS NULL"
USED = """
UPDATE accounts_devicekey SET last_used_at = now()
 WHERE id = ANY(%s) AND (last_used_at IS NULL OR last_used_at < now() - make_interval(secs => %s))
"""
GROUPS = "SELECT id, environment, key, revision FROM rollout_targetgroup"
MEMBERS = "SELECT targeting_key FROM rollout_groupmember WHERE group_id = %s"
REVISIONS = "SELECT environment, revision FROM rollout_environmentflags"


@dataclass(frozen=True)
class KeyInfo:
    """What a door knows of the key a device presented."""

    pk: int
    environment: str
    name: str
    # seconds since 1970; infinite for one that never ends
    ends: float
    stream_token: str


@dataclass(frozen=True)
class _Group:
    environment: str
    key: str
    revision: int
    members: frozenset[str]


class SnapshotStore:
    """The gateway's memory of flags and keys, and when it last confirmed them."""

    def __init__(
        self, dsn: str, *, secret: str, on_change: Callable[[Snapshot], None], lease_seconds: int = LEASE_SECONDS
    ) -> None:
        self._dsn = dsn
        self._lease_seconds = lease_seconds
        self._secret = secret.encode()
        self._on_change = on_change
        self._answers: dict[str, Answers] = {}
        self._keys: dict[str, KeyInfo] = {}
        # by what a device presents: only keys that exist, so strangers can't fill it
        self._presented: dict[str, KeyInfo] = {}
        self._streams: dict[str, KeyInfo] = {}
        self._groups: dict[int, _Group] = {}
        # keys that were presented since that was last written down
        self._used: set[int] = set()
        self._use_noted = float("-inf")
        self._confirmed = float("-inf")
        self._wanted = asyncio.Event()
        self.listener = Listener(dsn, on_event=self._on_event, on_connect=self._on_connect)
        self._task: asyncio.Task[None] | None = None
        self._line: psycopg.AsyncConnection[Any] | None = None

    async def start(self) -> None:
        """Load everything once, then follow. Raises psycopg.Error when the database can't be read at all."""
        await self._load()
        self.listener.start()
        self._task = asyncio.create_task(self._follow(), name="snapshots")

    async def stop(self) -> None:
        """Stop following."""
        await self.listener.stop()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._disconnect()

    def snapshot(self, environment: str) -> Snapshot | None:
        """Return the environment's flags, or None when it has none."""
        answers = self._answers.get(environment)
        return answers.snapshot if answers else None

    def answers(self, environment: str) -> Answers | None:
        """Return the environment's flags, ready to be asked, or None when it has none."""
        return self._answers.get(environment)

    def key(self, presented: str) -> KeyInfo | None:
        """Return the key's information, or None when it is unknown, revoked or expired."""
        found = self._presented.get(presented)
        if found is None:
            found = self._keys.get(hashlib.sha256(presented.encode()).hexdigest())
            if found is not None:
                self._presented[presented] = found
        return self._valid(found)

    def stream_key(self, token: str) -> KeyInfo | None:
        """Return whose stream token it is; a token lives as long as its key."""
        return self._valid(self._streams.get(token))

    @property
    def unconfirmed_seconds(self) -> float:
        """Seconds since PostgreSQL last confirmed what is in memory."""
        return time.monotonic() - self._confirmed

    @property
    def spent_seconds(self) -> int:
        """Whole seconds that are gone from every lease."""
        return math.ceil(self.unconfirmed_seconds)

    def lease(self) -> tuple[int, int]:
        """Return what is left of the gateway's lease, and what is spent."""
        spent = math.ceil(time.monotonic() - self._confirmed)
        return max(0, self._lease_seconds - spent), spent

    def lease_seconds(self, flag_lease: int | None = None) -> int:
        """Return what is left of the gateway's lease, or of a flag's, counted from the last confirmed read."""
        return max(0, (self._lease_seconds if flag_lease is None else flag_lease) - self.spent_seconds)

    def _valid(self, key: KeyInfo | None) -> KeyInfo | None:
        if key is None or key.ends <= time.time():
            return None
        self._used.add(key.pk)
        return key

    def _on_event(self, event: dict[str, Any]) -> None:
        if event.get("topic") == "history" and str(event.get("verb", "")).startswith(WAKING):
            self._wanted.set()

    async def _on_connect(self) -> None:
        self._wanted.set()

    async def _follow(self) -> None:
        """Load when told to, and look at the revisions every few seconds anyway."""
        while True:
            told = True
            try:
                await asyncio.wait_for(self._wanted.wait(), RECHECK_SECONDS)
            except TimeoutError:
                told = False
            self._wanted.clear()
            try:
                if told or await self._moved():
                    await self._load()
                await self._note_use()
            except (psycopg.Error, OSError) as error:
                log.warning("snapshots.unconfirmed", extra={"error": str(error)})
                await self._disconnect()
                await asyncio.sleep(0.5)

    async def _note_use(self) -> None:
        """Write down which keys were presented, exact to some minutes: a row for each request would cost more than it."""
        now = time.monotonic()
        if not self._used or now - self._use_noted < USE_NOTED_SECONDS:
            return
        self._use_noted, used, self._used = now, self._used, set()
        line = await self._connection()
        with answering(line):
            await line.execute(USED, [list(used), USE_NOTED_SECONDS])

    async def _connection(self) -> psycopg.AsyncConnection[Any]:
        if self._line is None or self._line.closed:
            self._line = await psycopg.AsyncConnection.connect(
                self._dsn, autocommit=True, connect_timeout=3, row_factory=dict_row, options="-c statement_timeout=3000"
            )
        return self._line

    async def _disconnect(self) -> None:
        if self._line is not None:
            with suppress(psycopg.Error, OSError):
                await self._line.close()
            self._line = None

    async def _moved(self) -> bool:
        line = await self._connection()
        asked = time.monotonic()
        with answering(line):
            rows = await (await line.execute(REVISIONS)).fetchall()
        moved = {row["environment"]: row["revision"] for row in rows} != {
            name: answers.snapshot.revision for name, answers in self._answers.items()
        }
        if not moved:
            self._confirmed = asked
        return moved

    async def _load(self) -> None:
        line = await self._connection()
        asked = time.monotonic()
        with answering(line):
            rows, keys, members = await self._read(line)
        groups: dict[str, dict[str, frozenset[str]]] = {}
        for group in members.values():
            groups.setdefault(group.environment, {})[group.key] = group.members
        self._groups = members
        fresh = {name: self._ready(snapshot) for name, snapshot in _snapshots(rows, groups).items()}
        self._keys = {row["key_hash"]: self._info(row) for row in keys}
        self._presented = {}
        self._streams = {info.stream_token: info for info in self._keys.values()}
        self._confirmed = asked
        before, self._answers = self._answers, fresh
        for name, answers in fresh.items():
            if name in before and before[name].snapshot.revision != answers.snapshot.revision:
                self._on_change(answers.snapshot)

    async def _read(
        self, line: psycopg.AsyncConnection[Any]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[int, _Group]]:
        """Return flags, keys and groups as they were at one moment."""
        async with line.transaction():
            await line.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            rows = await (await line.execute(FLAGS)).fetchall()
            keys = await (await line.execute(KEYS)).fetchall()
            return rows, keys, await self._groups_read(line)

    def _ready(self, snapshot: Snapshot) -> Answers:
        """Make a snapshot ready to be asked; one that is in use already stays."""
        known = self._answers.get(snapshot.environment)
        return known if known is not None and known.snapshot == snapshot else Answers(snapshot)

    async def _groups_read(self, line: psycopg.AsyncConnection[Any]) -> dict[int, _Group]:
        """Return all groups by id; members are read anew only of those that changed."""
        found = {}
        for row in await (await line.execute(GROUPS)).fetchall():
            known = self._groups.get(row["id"])
            if known is None or known.revision != row["revision"]:
                rows = await (await line.execute(MEMBERS, [row["id"]])).fetchall()
                members = frozenset(member["targeting_key"] for member in rows)
                known = _Group(row["environment"], row["key"], row["revision"], members)
            found[row["id"]] = known
        return found

    def _info(self, row: dict[str, Any]) -> KeyInfo:
        # Bound to the key's own hash: it never expires by itself and ends with the key.
        token = hmac.new(self._secret, f"stream:{row['key_hash']}".encode(), hashlib.sha256).hexdigest()[:40]
        expires_at: datetime | None = row["expires_at"]
        return KeyInfo(
            row["id"], row["environment"], row["name"], expires_at.timestamp() if expires_at else math.inf, token
        )


def _snapshots(rows: list[dict[str, Any]], groups: Mapping[str, Mapping[str, frozenset[str]]]) -> dict[str, Snapshot]:
    flags: dict[str, dict[str, Flag]] = {}
    revisions: dict[str, int] = {}
    for row in rows:
        revisions[row["environment"]] = row["environment_revision"]
        group = flags.setdefault(row["environment"], {})
        if row["key"] is None:
            continue
        group[row["key"]] = Flag(
            key=row["key"],
            type=FlagType(row["type"]),
            on=row["on"],
            off=row["off"],
            safe_variant=row["safe_variant"],
            thousandths=row["thousandths"],
            salt=row["salt"],
            requires=tuple(row["requires"]),
            override=Override(row["override_variant"], row["override_reason"]) if row["override_variant"] else None,
            lease_seconds=row["lease_seconds"],
            scoped=tuple(scoped_override(document) for document in row["scoped_overrides"]),
            pinned=row["pinned"],
            rules=tuple(targeting.rule(document) for document in row["rules"]),
            experiment=experiment(row["experiment"]),
        )
    return {
        name: Snapshot(name, revision, flags[name], groups=groups.get(name, {})) for name, revision in revisions.items()
    }
