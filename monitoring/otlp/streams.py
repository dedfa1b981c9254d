"""Cumulative streams on their way into a group's transaction: what each grew by, and what could not be counted and why."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg

from hawkops.core import clock
from monitoring.domain import cumulative
from monitoring.domain.metrics import BUSINESS_PREFIX
from monitoring.domain.sketch import Sketch, Unreadable
from monitoring.otlp.decoding import CumulativePoint, Decoded, SeriesKey
from monitoring.otlp.rows import Note

# Beyond this many in an environment new ones are refused: each costs a row, and a lock whenever it reports.
STREAMS_MOST = 100_000
COUNT_SECONDS = 10.0
NAMES_MOST = 30
COUNT = "SELECT count(*) FROM monitoring_cumulativestream WHERE environment = %s"
MAKE = """
INSERT INTO monitoring_cumulativestream (digest, environment, state, seen_at)
SELECT d, e, '', %s FROM unnest(%s::bytea[], %s::text[]) AS n(d, e) ORDER BY d ON CONFLICT DO NOTHING
"""
LOCK = "SELECT digest, state FROM monitoring_cumulativestream WHERE digest = ANY(%s) ORDER BY digest FOR UPDATE"
KEEP = """
UPDATE monitoring_cumulativestream AS s SET state = n.state, seen_at = %s
  FROM unnest(%s::bytea[], %s::bytea[]) AS n(digest, state) WHERE s.digest = n.digest
"""
# whoever is locked is being written anew
NOTED = """
UPDATE monitoring_devicenote AS n SET details = n.details || jsonb_build_object('not_counted', found.said)
  FROM (SELECT id, (r -> 2)::jsonb AS said FROM json_array_elements(%s::json) AS r
          JOIN monitoring_devicenote ON environment = r ->> 0 AND device_id = r ->> 1 AND signal = 'metrics'
         ORDER BY id FOR UPDATE OF monitoring_devicenote SKIP LOCKED) AS found
 WHERE n.id = found.id
"""

Owned = tuple[Decoded, CumulativePoint]


@dataclass
class Grown:
    """What a group's cumulative points added, and which of them were not counted or not taken."""

    found: list[tuple[SeriesKey, int, Sketch, str]] = field(default_factory=list)
    uncounted: list[tuple[Decoded, CumulativePoint, str]] = field(default_factory=list)
    refused: list[tuple[Decoded, str]] = field(default_factory=list)

    def not_counted(self) -> dict[tuple[str, str], Counter[str]]:
        """Return how many points of each device did not count, by reason."""
        devices: dict[tuple[str, str], Counter[str]] = {}
        for _, point, why in self.uncounted:
            said = f"{point.key.metric} {why}"
            devices.setdefault((point.key.environment, point.device_id), Counter())[said] += 1
        return devices

    def totals(self) -> Counter[tuple[str, str, str]]:
        """Return how many points did not count by environment, signal and reason."""
        return Counter(
            (point.key.environment, decoded.signal, f"{point.key.metric} {why}")
            for decoded, point, why in self.uncounted
        )

    def settle(self) -> None:
        """Tell the payloads what was refused of them, once the group is committed."""
        for decoded, why in self.refused:
            decoded.accepted -= 1
            decoded.reasons[why] += 1


class Streams:
    """The last points of all streams, kept in the database: any gateway may take the next one."""

    def __init__(self) -> None:
        self._counted: dict[str, tuple[float, int]] = {}

    async def grow(self, line: psycopg.AsyncConnection[Any], points: list[Owned]) -> Grown:
        """Return what each stream grew by, and remember its last points, within the open transaction."""
        grown = Grown()
        now = clock.now()
        now_ns = int(now.timestamp() * 1e9)
        environments = {point.stream: point.key.environment for _, point in points}
        # those that are there are locked first: nobody prunes them before their new points are kept
        streams = await self._locked(line, list(environments))
        missing = environments.keys() - streams.keys()
        make = sorted(await self._with_room(line, {stream: environments[stream] for stream in missing}))
        if make:
            await line.execute(MAKE, [now, make, [environments[stream] for stream in make]])
            streams |= await self._locked(line, make)
        moved = set()
        for decoded, one in sorted(points, key=lambda owned: owned[1].point.at_ns):
            stream = streams.get(one.stream)
            if stream is None:
                why = f"cumulative stream beyond {STREAMS_MOST} of an environment: send delta, or fewer attributes"
                grown.refused.append((decoded, why))
                grown.uncounted.append((decoded, one, "is of a " + why))
                continue
            step = cumulative.follow(stream, one.point, now_ns=now_ns)
            if step.stream is not stream:
                streams[one.stream] = step.stream
                moved.add(one.stream)
            if step.why:
                grown.uncounted.append((decoded, one, step.why))
            if step.grown is not None:
                try:
                    sketch = step.grown.sketch(signed=one.key.metric.startswith(BUSINESS_PREFIX))
                except Unreadable as error:
                    grown.uncounted.append((decoded, one, str(error)))
                    continue
                if sketch.count:
                    grown.found.append((one.key, one.bucket, sketch, one.device_id))
        kept = sorted(moved)
        await line.execute(KEEP, [now, kept, [cumulative.pack(streams[stream]) for stream in kept]])
        return grown

    async def _locked(self, line: psycopg.AsyncConnection[Any], wanted: list[bytes]) -> dict[bytes, cumulative.Stream]:
        """Return the stored streams among some, held until the transaction ends."""
        rows = await (await line.execute(LOCK, [wanted])).fetchall()
        return {bytes(digest): cumulative.unpack(bytes(state)) for digest, state in rows}

    async def _with_room(self, line: psycopg.AsyncConnection[Any], missing: dict[bytes, str]) -> list[bytes]:
        """Return which of the unknown streams may be made."""
        made = []
        for stream, environment in missing.items():
            counted_at, many = self._counted.get(environment, (float("-inf"), 0))
            if time.monotonic() - counted_at > COUNT_SECONDS:
                row = await (await line.execute(COUNT, [environment])).fetchone()
                counted_at, many = time.monotonic(), row[0] if row else 0
            if many < STREAMS_MOST:
                made.append(stream)
                many += 1
            self._counted[environment] = (counted_at, many)
        return made


def say_uncounted(grown: Grown, notes: Sequence[Note]) -> dict[tuple[str, str], Counter[str]]:
    """Put what did not count into the notes that the group is about to write; return it of devices without one."""
    devices = grown.not_counted()
    for note in notes:
        said = devices.pop((note.environment, note.device_id), None) if note.signal == "metrics" else None
        if said:
            note.details["not_counted"] = [list(one) for one in said.most_common(NAMES_MOST)]
    return devices


async def note_uncounted(line: psycopg.AsyncConnection[Any], devices: Mapping[tuple[str, str], Counter[str]]) -> None:
    """Add what did not count to notes written earlier; after the group's own notes, for it waits for no lock."""
    rows = [(*device, [list(one) for one in said.most_common(NAMES_MOST)]) for device, said in sorted(devices.items())]
    await line.execute(NOTED, [orjson.dumps(rows).decode()])
