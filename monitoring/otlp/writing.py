"""Group commit: many payloads, one transaction, then all their answers. What was acknowledged is on disk."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import orjson
import psycopg

from hawkops.core import clock
from hawkops.core.lines import answering
from hawkops.core.live import CHANNEL
from monitoring.domain import copying, panel
from monitoring.domain.copying import GATE
from monitoring.domain.sketch import Sketch
from monitoring.domain.tally import Tally
from monitoring.otlp.decoding import BUCKET_SECONDS, Decoded, DeviceReport, Ref, SeriesKey, Tallies, panel_names
from monitoring.otlp.hours import Hour
from monitoring.otlp.logs import CRASH_METRIC, CRASH_OUTCOME
from monitoring.otlp.room import RECOUNT_SECONDS, RETRY_SECONDS, Room
from monitoring.otlp.rows import Line, Note
from monitoring.otlp.streams import Grown, Owned, Streams, note_uncounted, say_uncounted
from monitoring.otlp.totals import Cause, Totals

log = logging.getLogger(__name__)

GROUP_SECONDS = 0.002
GROUP_MOST = 1_000
LINES = 2
QUEUE_MOST = 4_000
ANNOUNCE_SECONDS = 1.0
SERIES_CACHED_MOST = 100_000
STOP_SECONDS = 5.0


DIGESTS = f"""
INSERT INTO monitoring_payloaddigest (digest, seen_at)
SELECT substring(joined FROM 32 * n - 31 FOR 32), seen_at
  FROM pg_advisory_xact_lock_shared({GATE}) AS gate,
       (SELECT %s::timestamptz AS seen_at, %b::bytea AS joined) AS said, generate_series(1, %s::int) AS n
ON CONFLICT DO NOTHING RETURNING digest
"""  # noqa: S608 - a constant
COLUMNS = SeriesKey._fields
NAMES = ", ".join(COLUMNS)
TYPES = ", ".join("%s::bool[]" if name == "simulated" else "%s::text[]" for name in COLUMNS)
WANTED = f"SELECT * FROM unnest({TYPES}) AS w({NAMES})"  # noqa: S608 - constants only
MAKE_SERIES = f"INSERT INTO monitoring_series ({NAMES}) {WANTED} ORDER BY {NAMES} ON CONFLICT DO NOTHING"
FIND_SERIES = f"SELECT id, {NAMES} FROM monitoring_series NATURAL JOIN ({WANTED}) AS wanted"  # noqa: S608
COUNTED = """
SELECT DISTINCT environment, app_version FROM monitoring_series WHERE metric = %s AND outcome <> %s
"""
NOTES = """
INSERT INTO monitoring_devicenote (environment, device_id, signal, received_at, device_class, simulated, accepted,
                                   rejected, details)
SELECT r ->> 0, r ->> 1, r ->> 2, (r ->> 3)::timestamptz, r ->> 4, (r ->> 5)::bool, (r ->> 6)::int, (r ->> 7)::int,
       (r -> 8)::jsonb
  FROM json_array_elements(%s::json) AS r
ON CONFLICT (environment, device_id, signal) DO UPDATE SET
  received_at = excluded.received_at, device_class = excluded.device_class, simulated = excluded.simulated,
  accepted = excluded.accepted, rejected = excluded.rejected, details = excluded.details
"""
PANEL = """
COPY monitoring_panelreport (environment, device_id, device_class, simulated, observed) FROM STDIN
"""
COPY_LINES = f"COPY monitoring_logline ({', '.join(Line._fields)}) FROM STDIN"
LINES_LOCK = 0x6C6F676C  # any number of our own
COPY = f"COPY monitoring_rolluppartial ({copying.COLUMNS}) FROM STDIN (FORMAT BINARY)"


# What COPY's text form would take for something else; what devices say holds no other, and JSON none at all.
ESCAPED = {ord("\\"): "\\\\"}


class Overloaded(Exception):
    """More payloads wait than may; the device must come back later."""


class Unavailable(Exception):
    """The database did not take the group; nothing of it was counted."""


class _Waiting:
    __slots__ = ("decoded", "digest", "done", "environment")

    def __init__(self, digest: bytes, environment: str, decoded: Decoded) -> None:
        self.digest, self.environment, self.decoded = digest, environment, decoded
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Connection:
    """One connection of the writer, made again when it broke."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._open: psycopg.AsyncConnection[Any] | None = None

    async def connection(self) -> psycopg.AsyncConnection[Any]:
        """Return the open connection. Raises psycopg.OperationalError."""
        if self._open is None or self._open.closed:
            self._open = await psycopg.AsyncConnection.connect(
                self._dsn,
                connect_timeout=3,
                autocommit=True,
                application_name="hawkops-telemetry",
                options="-c statement_timeout=5000 -c lock_timeout=4000 -c idle_in_transaction_session_timeout=4000",
            )
        return self._open

    async def close(self) -> None:
        """Close it, however broken it is."""
        if self._open is not None:
            with suppress(psycopg.Error, OSError):
                await self._open.close()
            self._open = None


class GroupWriter:
    """Take decoded payloads, commit them in groups, then release whoever waits.

    Several groups are under way at once: while one waits for the disk, the next is added up.
    """

    def __init__(self, dsn: str) -> None:
        self._lines = [Connection(dsn) for _ in range(LINES)]
        self._announcing = Connection(dsn)
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._busy = 0
        self._streams = Streams()
        self.totals = Totals()
        self._series: dict[Ref | SeriesKey, int] = {}
        self.room = Room()
        self._learned = time.monotonic()
        self._counting = Connection(dsn)
        self._hour = Hour()
        self._announced: dict[str, float] = {}
        self._owed: set[str] = set()
        self._counted: frozenset[tuple[str, str]] = frozenset()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Count what is stored, if the database answers, so that the first payload meets the limits; begin to commit."""
        await self._count()
        self._tasks = [asyncio.create_task(self._run(line), name="group-writer") for line in self._lines]
        self._tasks.append(asyncio.create_task(self._pay_owed(), name="group-announcer"))
        self._tasks.append(asyncio.create_task(self._count_again(), name="group-counter"))

    async def stop(self) -> None:
        """Commit what waits, then stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                while self._waiting or self._busy:
                    await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in (*self._lines, self._announcing, self._counting):
            await line.close()

    async def write(self, digest: bytes, environment: str, decoded: Decoded) -> bool:
        """Return once the payload is committed: True when it counted, False when it had been counted before.

        Raises Overloaded or Unavailable; then nothing was counted.
        """
        if len(self._waiting) >= QUEUE_MOST:
            raise Overloaded
        waiting = _Waiting(digest, environment, decoded)
        self._waiting.append(waiting)
        self._wake.set()
        return await waiting.done

    async def _run(self, line: Connection) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(GROUP_SECONDS)
            group, self._waiting = self._waiting[:GROUP_MOST], self._waiting[GROUP_MOST:]
            if not self._waiting:
                self._wake.clear()
            if not group:
                continue
            self._busy += 1
            try:
                await self._commit_all(line, group)
            except asyncio.CancelledError:
                self._fail(group)
                raise
            except Exception:  # a mistake of ours: the device sends again, and the writer goes on
                log.exception("telemetry.group_broken")
                self._fail(group)
            finally:
                self._busy -= 1

    async def _commit_all(self, line: Connection, group: list[_Waiting], *, again: bool = True) -> None:
        """Commit a group; if the database refuses it, each payload alone, so that one can't fail the others."""
        try:
            connection = await line.connection()
            with answering(connection):
                await self._commit(connection, group)
        except (psycopg.OperationalError, OSError) as error:
            # A connection that died while idle says so only now. Digests make a second try harmless.
            await line.close()
            if again:
                await self._commit_all(line, group, again=False)
                return
            log.warning("telemetry.unwritten: %s (%d payloads)", error, len(group))
            self._fail(group)
        except Exception as error:
            if not isinstance(error, psycopg.Error):
                log.exception("telemetry.group_failed (%d payloads)", len(group))
                await line.close()
            log.warning("telemetry.group_refused: %s (%d payloads)", error, len(group))
            self._series = {}  # a series may have been removed behind our back
            if len(group) == 1 and not again:
                self._fail(group)
                return
            for waiting in group:
                await self._commit_all(line, [waiting], again=False)

    def _fail(self, group: list[_Waiting]) -> None:
        for waiting in group:
            if not waiting.done.done():
                waiting.done.set_exception(Unavailable())

    async def _commit(self, line: psycopg.AsyncConnection[Any], group: list[_Waiting]) -> None:
        unique = {waiting.digest: waiting for waiting in group}
        if any(waiting.decoded.crashes for waiting in group):
            await self._learn_counted(line)
        hour = await self._begin_hour(line)
        shares = {environment: panel.share(many) for environment, many in hour.active().items()}
        batch = _Batch(unique.values(), self._counted, shares)
        series = await self._series_ids(line, batch.series)
        async with line.transaction():
            new = await self._new(line, sorted(unique))
            if len(new) < len(unique):
                unique = {digest: waiting for digest, waiting in unique.items() if digest in new}
                batch = _Batch(unique.values(), self._counted, shares)
            grown = await self._streams.grow(line, batch.cumulative) if batch.cumulative else None
            if grown is not None:
                batch.add_increments(grown)
            uncounted = say_uncounted(grown, batch.notes) if grown is not None else None
            unseen = hour.unseen(report for waiting in unique.values() for report in waiting.decoded.reports)
            noted = await hour.note(line, unseen) if unseen else []
            if batch.notes:
                await line.execute(NOTES, [orjson.dumps([tuple(note) for note in batch.notes]).decode()])
            if uncounted:
                await note_uncounted(line, uncounted)
            if batch.tallies:
                rows = [(series[slot[0]], slot[1], tally.sketch()) for slot, tally in batch.tallies.items()]
                await self._copy(line, rows)
            if batch.panel:
                async with line.cursor() as cursor, cursor.copy(PANEL) as copy:
                    await copy.write("".join(batch.panel))
            environments = {waiting.environment for waiting in unique.values()}
            announced = await self._announce(line, environments)
            if batch.refused_points:
                await self.totals.write(line, batch.refused_payloads, batch.refused_points)
            if batch.lines:
                await _copy_lines(line, batch.lines)
        if grown is not None:
            grown.settle()
        # committed: only now is any of it true
        hour.committed(unseen, noted)
        self._announced.update(dict.fromkeys(announced, time.monotonic()))
        self._owed -= announced
        self._owed |= environments - announced
        for waiting in group:
            if not waiting.done.done():
                waiting.done.set_result(unique.get(waiting.digest) is waiting)

    async def _begin_hour(self, line: psycopg.AsyncConnection[Any]) -> Hour:
        """Return the present hour; a new one forgets who reported before, but not how many they were."""
        at = int(clock.now().timestamp()) // 3600 * 3600
        if at != self._hour.at:
            hour = Hour(at)
            await hour.count(line)
            if at != self._hour.at:  # another line may have been faster
                self._hour = hour
        return self._hour

    async def _learn_counted(self, line: psycopg.AsyncConnection[Any]) -> None:
        """Learn which versions of the app count their crashes themselves; their crash events must not count again."""
        rows = await (await line.execute(COUNTED, [CRASH_METRIC, CRASH_OUTCOME])).fetchall()
        self._counted = frozenset((row[0], row[1]) for row in rows)

    async def _new(self, line: psycopg.AsyncConnection[Any], digests: list[bytes]) -> Collection[bytes]:
        """Insert the digests and return those that were not there."""
        found = await line.execute(DIGESTS, [clock.now(), b"".join(digests), len(digests)])
        if found.rowcount == len(digests):
            return digests
        return {bytes(row[0]) for row in await found.fetchall()}

    async def _series_ids(
        self, line: psycopg.AsyncConnection[Any], slots: set[Ref | SeriesKey]
    ) -> dict[Ref | SeriesKey, int]:
        """Return the ids of all series, making what is missing in a transaction of its own.

        Whoever forgets them puts an empty table in place of this one: a group under way keeps what it was given.
        """
        if len(self._series) > SERIES_CACHED_MOST:
            self._series = {}
        known = self._series
        unknown = {slot for slot in slots if slot not in known}
        if not unknown:
            return known
        keys = {slot.key if isinstance(slot, Ref) else slot for slot in unknown}
        missing = sorted(key for key in keys if key not in known)
        if missing:
            known.update(await self._placed(line, missing))
        for slot in unknown:
            if isinstance(slot, Ref):
                known[slot] = known[slot.key]
        return known

    async def _placed(self, line: psycopg.AsyncConnection[Any], missing: list[SeriesKey]) -> dict[Ref | SeriesKey, int]:
        """Return the ids of what series are stored as, made where they are new: themselves, or folded."""
        room = self.room
        if not room.counted:
            await room.count(line)
        found = await self._find(line, missing)
        new = [key for key in missing if key not in found]
        elsewhere = {room.place(key) for key in new}.difference(missing)
        if elsewhere:
            found.update(await self._find(line, sorted(elsewhere)))
        wanted: dict[SeriesKey, SeriesKey] = {}
        make: set[SeriesKey] = set()
        for key in new:
            wanted[key] = place = room.place(key)
            if place not in found and place not in make:
                make.add(place)
                room.take(place)
        if make:
            await line.execute(MAKE_SERIES, _columns(sorted(make)))
            found.update(await self._find(line, sorted(make)))
        folded = [key for key, place in wanted.items() if place != key]
        if folded:
            await room.note_folded(line, folded)
        ids: dict[Ref | SeriesKey, int] = {}
        ids.update(found.items())
        ids.update((key, found[place]) for key, place in wanted.items())
        return ids

    async def _count_again(self) -> None:
        """Count series and devices now and then, as other gateways make them too, and forget what was folded."""
        while True:
            await asyncio.sleep(RECOUNT_SECONDS)
            await self._count()
            if self.room.folds and time.monotonic() - self._learned >= RETRY_SECONDS:
                self.room.folds = False
                self._learned = time.monotonic()
                self._series = {}

    async def _count(self) -> None:
        try:
            line = await self._counting.connection()
            with answering(line):
                await self.room.count(line)
                if self._hour.at:
                    await self._hour.count(line)
        except (psycopg.Error, OSError) as error:
            log.warning("telemetry.count_failed: %s", error)
            await self._counting.close()

    async def _find(self, line: psycopg.AsyncConnection[Any], keys: list[SeriesKey]) -> dict[SeriesKey, int]:
        rows = await (await line.execute(FIND_SERIES, _columns(keys))).fetchall()
        return {SeriesKey(*row[1:]): row[0] for row in rows}

    async def _copy(self, line: psycopg.AsyncConnection[Any], rows: list[tuple[int, int, Sketch]]) -> None:
        data = copying.binary(
            (
                series_id,
                bucket,
                BUCKET_SECONDS,
                sketch.count,
                sketch.total,
                sketch.squares,
                sketch.low,
                sketch.high,
                sketch.buckets_bytes(),
            )
            for series_id, bucket, sketch in rows
        )
        async with line.cursor() as cursor, cursor.copy(COPY) as copy:
            await copy.write(data)

    async def _announce(self, line: psycopg.AsyncConnection[Any], environments: set[str]) -> set[str]:
        """Tell the pages, at most once a second for each environment; what is left over is owed."""
        now = time.monotonic()
        due = {e for e in environments if now - self._announced.get(e, float("-inf")) >= ANNOUNCE_SECONDS}
        for environment in due:
            payload = orjson.dumps({"topic": "telemetry", "environment": environment}).decode()
            await line.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
        return due

    async def _pay_owed(self) -> None:
        """Tell the pages of the last group too, though nothing came after it."""
        while True:
            await asyncio.sleep(ANNOUNCE_SECONDS)
            if not self._owed:
                continue
            try:
                line = await self._announcing.connection()
                with answering(line):
                    due = await self._announce(line, set(self._owed))
            except (psycopg.Error, OSError) as error:
                log.warning("telemetry.announce_failed: %s", error)
                await self._announcing.close()
                self._owed.clear()
                continue
            self._announced.update(dict.fromkeys(due, time.monotonic()))
            self._owed -= due


class _Batch:
    """What the payloads of one transaction say, added up."""

    def __init__(
        self,
        counted: Collection[_Waiting],
        crashes_counted: frozenset[tuple[str, str]],
        shares: Mapping[str, float],
    ) -> None:
        self._shares = shares
        self.tallies: Tallies = {}
        self.cumulative: list[Owned] = []
        self.refused_payloads: Counter[Cause] = Counter()
        self.refused_points: Counter[Cause] = Counter()
        self.lines: list[Line] = []
        # rows of the panel in PostgreSQL's text form of COPY
        self.panel: list[str] = []
        notes: dict[tuple[str, str, str], Note] = {}
        for waiting in counted:
            decoded = waiting.decoded
            decoded.add_to(self.tallies)
            if decoded.cumulative:
                self.cumulative += [(decoded, point) for point in decoded.cumulative]
            if decoded.reasons:
                for why, count in decoded.reasons.items():
                    self.refused_payloads[waiting.environment, decoded.signal, why] += 1
                    self.refused_points[waiting.environment, decoded.signal, why] += count
            self.lines += decoded.lines
            notes.update((note[:3], note) for note in decoded.notes)
            for slot in decoded.crashes:
                if (slot[0].environment, slot[0].app_version) not in crashes_counted:
                    self.tallies.setdefault(slot, Tally()).add_value(1.0)
            for part in decoded.parts or (decoded,):  # one for each resource: a collector sends many devices at once
                for report in part.reports:
                    if panel.member(report.device_id, shares.get(report.environment, 1.0)):
                        self._add_to_panel(report, part)
        self.notes = [notes[name] for name in sorted(notes)]

    def _add_to_panel(self, report: DeviceReport, decoded: Decoded) -> None:
        observed = decoded.of_device()
        if observed:
            self._add_observed(report, observed)

    def _add_observed(self, report: DeviceReport, observed: list[tuple[str | float, ...]]) -> None:
        names = (report.environment, report.device_id, report.device_class, "t" if report.simulated else "f")
        parts = (*names, orjson.dumps(observed).decode())
        self.panel.append("\t".join([one.translate(ESCAPED) if "\\" in one else one for one in parts]) + "\n")

    @property
    def series(self) -> set[Ref | SeriesKey]:
        """Every series whose id will be needed."""
        return {slot for slot, _ in self.tallies} | {point.key for _, point in self.cumulative}

    def add_increments(self, grown: Grown) -> None:
        """Add what cumulative streams grew by, and what of them did not count."""
        for key, bucket, sketch, device_id in grown.found:
            self.tallies.setdefault((key, bucket), Tally()).sketches.append(sketch)
            names = panel_names(key)
            if names and device_id and panel.member(device_id, self._shares.get(key.environment, 1.0)):
                report = DeviceReport(key.environment, device_id, key.device_class, key.simulated, None)
                self._add_observed(
                    report, [(*names, bucket // 3600, sketch.count, sketch.total, sketch.low, sketch.high)]
                )
        self.refused_points.update(grown.totals())


async def _copy_lines(line: psycopg.AsyncConnection[Any], lines: list[Line]) -> None:
    """Write log lines last, one transaction after another: so ids grow in the order of commits, and no reader that
    goes on from an id misses a line."""
    await line.execute("SELECT pg_advisory_xact_lock(%s)", [LINES_LOCK])
    async with line.cursor() as cursor, cursor.copy(COPY_LINES) as copy:
        for one in lines:
            await copy.write_row(one)


def _columns(keys: list[SeriesKey]) -> list[list[Any]]:
    return [[getattr(key, name) for key in keys] for name in COLUMNS]
