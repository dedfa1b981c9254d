"""Group commit: many payloads, one transaction, then all their answers. What was acknowledged is on disk."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
import psycopg

from hawkops.core import clock
from hawkops.core.live import CHANNEL
from monitoring.domain import copying, panel
from monitoring.domain.copying import GATE
from monitoring.domain.sketch import Sketch
from monitoring.domain.tally import Tally
from monitoring.otlp.decoding import BUCKET_SECONDS, Decoded, DeviceReport, Ref, SeriesKey, Tallies
from monitoring.otlp.logs import CRASH_METRIC, CRASH_OUTCOME
from monitoring.otlp.rows import Line, Note
from monitoring.otlp.streams import Grown, Owned, Streams, note_uncounted, say_uncounted
from monitoring.otlp.totals import Cause, Totals

log = logging.getLogger(__name__)

GROUP_SECONDS = 0.003
GROUP_MOST = 1_000
LINES = 3
QUEUE_MOST = 4_000
ANNOUNCE_SECONDS = 1.0
# Beyond this many series in an environment new ones lose class, version, model and variant, visibly.
SERIES_MOST = 5_000
OTHER = "other"
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
COUNT_SERIES = "SELECT environment, count(*) FROM monitoring_series GROUP BY environment"
DEVICES = """
INSERT INTO monitoring_devicehour (environment, hour_at, device_id, device_class, simulated)
SELECT r ->> 0, %s, r ->> 1, r ->> 2, (r ->> 3)::bool FROM json_array_elements(%s::json) AS r ORDER BY 1, 3
ON CONFLICT DO NOTHING
"""
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
COPY monitoring_panelreport (environment, device_id, hour_at, metric, backend_actual, variant, outcome, device_class,
                             simulated, count, total, low, high) FROM STDIN
"""
ACTIVE = "SELECT environment, count(*) FROM monitoring_devicehour WHERE hour_at = %s GROUP BY environment"
COPY_LINES = f"COPY monitoring_logline ({', '.join(Line._fields)}) FROM STDIN"
LINES_LOCK = 0x6C6F676C  # any number of our own
COPY = f"COPY monitoring_rolluppartial ({copying.COLUMNS}) FROM STDIN (FORMAT BINARY)"


# device, hours since 1970, metric, actual backend, variant, outcome
PanelKey = tuple[DeviceReport, int, str, str, str, str]
# what COPY's text form would take for something else
ESCAPED = {ord("\\"): "\\\\", ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}


class Overloaded(Exception):
    """More payloads wait than may; the device must come back later."""


class Unavailable(Exception):
    """The database did not take the group; nothing of it was counted."""


@dataclass(eq=False)
class _Waiting:
    digest: bytes
    environment: str
    decoded: Decoded
    done: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


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
        self._series_counts: dict[str, int] | None = None
        self._hour = 0
        self._devices: set[tuple[str, str]] = set()
        self._seen: Counter[str] = Counter()
        self._active: dict[str, int] = {}
        self._announced: dict[str, float] = {}
        self._owed: set[str] = set()
        self._counted: frozenset[tuple[str, str]] = frozenset()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to commit."""
        self._tasks = [asyncio.create_task(self._run(line), name="group-writer") for line in self._lines]
        self._tasks.append(asyncio.create_task(self._pay_owed(), name="group-announcer"))

    async def stop(self) -> None:
        """Commit what waits, then stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                while self._waiting or self._busy:
                    await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in (*self._lines, self._announcing):
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
            await self._commit(await line.connection(), group)
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
        hour = int(clock.now().timestamp()) // 3600 * 3600
        if hour != self._hour:
            await self._begin_hour(line, hour)
        shares = {environment: panel.share(many) for environment, many in self._active.items()}
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
            unseen = self._unseen(unique.values())
            if unseen:
                await self._note_devices(line, unseen)
            if batch.notes:
                await line.execute(NOTES, [orjson.dumps([tuple(note) for note in batch.notes]).decode()])
            if uncounted:
                await note_uncounted(line, uncounted)
            if batch.tallies:
                rows = [(series[slot[0]], slot[1], tally.sketch()) for slot, tally in batch.tallies.items()]
                await self._copy(line, rows)
            if batch.panel:
                async with line.cursor() as cursor, cursor.copy(PANEL) as copy:
                    await copy.write(batch.panel_text())
            environments = {waiting.environment for waiting in unique.values()}
            announced = await self._announce(line, environments)
            if batch.refused_points:
                await self.totals.write(line, batch.refused_payloads, batch.refused_points)
            if batch.lines:
                await _copy_lines(line, batch.lines)
        if grown is not None:
            grown.settle()
        # committed: only now is any of it true
        self._devices.update((report.environment, report.device_id) for report in unseen)
        for environment, many in Counter(report.environment for report in unseen).items():
            self._seen[environment] += many
            self._active[environment] = max(self._active.get(environment, 0), self._seen[environment])
        self._announced.update(dict.fromkeys(announced, time.monotonic()))
        self._owed -= announced
        self._owed |= environments - announced
        for waiting in group:
            if not waiting.done.done():
                waiting.done.set_result(unique.get(waiting.digest) is waiting)

    async def _begin_hour(self, line: psycopg.AsyncConnection[Any], hour: int) -> None:
        """Forget who reported in the hour before, but not how many they were: the panel's share depends on it."""
        before = datetime.fromtimestamp(hour - 3600, tz=UTC)
        rows = await (await line.execute(ACTIVE, [before])).fetchall()
        self._hour, self._devices, self._seen, self._active = hour, set(), Counter(), dict(rows)

    async def _learn_counted(self, line: psycopg.AsyncConnection[Any]) -> None:
        """Learn which versions of the app count their crashes themselves; their crash events must not count again."""
        rows = await (await line.execute(COUNTED, [CRASH_METRIC, CRASH_OUTCOME])).fetchall()
        self._counted = frozenset((row[0], row[1]) for row in rows)

    def _unseen(self, counted: Iterable[_Waiting]) -> list[DeviceReport]:
        """Return who reports for the first time in this hour, as far as this process knows."""
        reports = {
            (report.environment, report.device_id): report for waiting in counted for report in waiting.decoded.reports
        }
        return [report for seen, report in reports.items() if seen not in self._devices]

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
            if self._series_counts is None:
                rows = await (await line.execute(COUNT_SERIES)).fetchall()
                self._series_counts = dict(rows)
            wanted = {key: key for key in missing}
            found = await self._find(line, missing)
            for key in missing:
                if key in found:
                    continue
                if self._series_counts.get(key.environment, 0) >= SERIES_MOST:
                    wanted[key] = key._replace(device_class=OTHER, app_version=OTHER, model=OTHER, variant=OTHER)
                else:
                    self._series_counts[key.environment] = self._series_counts.get(key.environment, 0) + 1
            make = sorted(set(wanted.values()) - set(found))
            if make:
                await line.execute(MAKE_SERIES, _columns(make))
                found.update(await self._find(line, make))
            for key in missing:
                known[key] = found[wanted[key]]
        for slot in unknown:
            if isinstance(slot, Ref):
                known[slot] = known[slot.key]
        return known

    async def _find(self, line: psycopg.AsyncConnection[Any], keys: list[SeriesKey]) -> dict[SeriesKey, int]:
        rows = await (await line.execute(FIND_SERIES, _columns(keys))).fetchall()
        return {SeriesKey(*row[1:]): row[0] for row in rows}

    async def _note_devices(self, line: psycopg.AsyncConnection[Any], reports: list[DeviceReport]) -> None:
        rows = [(report.environment, report.device_id, report.device_class, report.simulated) for report in reports]
        await line.execute(DEVICES, [datetime.fromtimestamp(self._hour, tz=UTC), orjson.dumps(rows).decode()])

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
                due = await self._announce(await self._announcing.connection(), set(self._owed))
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
        # a device's hour and series -> count, total, low and high of what it observed
        self.panel: dict[PanelKey, list[float]] = {}
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
        for ref, bucket, value in decoded.numbers:
            self._add_for(report, ref, bucket, 1, value, value, value)
        for ref, bucket, count, total, low, high, *_ in decoded.points:
            self._add_for(report, ref, bucket, count, total, low, high)
        for (slot, bucket), one in decoded.sketches.items():
            self._add_for(report, slot, bucket, one.count, one.total, one.low, one.high)

    def _add_for(
        self,
        report: DeviceReport,
        slot: Ref | SeriesKey,
        bucket: int,
        count: int,
        total: float,
        low: float,
        high: float,
    ) -> None:
        key = slot.key if isinstance(slot, Ref) else slot
        if not count or key.metric not in panel.METRICS:
            return
        place = (report, bucket // 3600, key.metric, key.backend_actual, key.variant, key.outcome)
        found = self.panel.get(place)
        if found is None:
            self.panel[place] = [count, total, low, high]
            return
        found[0] += count
        found[1] += total
        found[2] = min(found[2], low)
        found[3] = max(found[3], high)

    def panel_text(self) -> str:
        """Return the panel's rows in PostgreSQL's text form of COPY."""
        lines = []
        for (report, hour, metric, backend, variant, outcome), (count, total, low, high) in self.panel.items():
            names = (report.environment, report.device_id, _hour_text(hour), metric, backend, variant, outcome)
            text = "\t".join(name.translate(ESCAPED) for name in (*names, report.device_class))
            lines.append(f"{text}\t{'t' if report.simulated else 'f'}\t{count}\t{total!r}\t{low!r}\t{high!r}\n")
        return "".join(lines)

    @property
    def series(self) -> set[Ref | SeriesKey]:
        """Every series whose id will be needed."""
        return {slot for slot, _ in self.tallies} | {point.key for _, point in self.cumulative}

    def add_increments(self, grown: Grown) -> None:
        """Add what cumulative streams grew by, and what of them did not count."""
        for key, bucket, sketch, device_id in grown.found:
            self.tallies.setdefault((key, bucket), Tally()).sketches.append(sketch)
            if device_id and panel.member(device_id, self._shares.get(key.environment, 1.0)):
                report = DeviceReport(key.environment, device_id, key.device_class, key.simulated, None)
                self._add_for(report, key, bucket, sketch.count, sketch.total, sketch.low, sketch.high)
        self.refused_points.update(grown.totals())


async def _copy_lines(line: psycopg.AsyncConnection[Any], lines: list[Line]) -> None:
    """Write log lines last, one transaction after another: so ids grow in the order of commits, and no reader that
    goes on from an id misses a line."""
    await line.execute("SELECT pg_advisory_xact_lock(%s)", [LINES_LOCK])
    async with line.cursor() as cursor, cursor.copy(COPY_LINES) as copy:
        for one in lines:
            await copy.write_row(one)


@lru_cache(maxsize=64)
def _hour_text(hour: int) -> str:
    return datetime.fromtimestamp(hour * 3600, tz=UTC).isoformat()


def _columns(keys: list[SeriesKey]) -> list[list[Any]]:
    return [[getattr(key, name) for key in keys] for name in COLUMNS]
