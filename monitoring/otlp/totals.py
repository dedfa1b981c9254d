"""How much the door took and refused, hour by hour and reason by reason: reasons are bounded, so the table is too."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg

from hawkops.core import clock

# of each environment in an hour, for each process; more are counted together
REASONS_MOST = 100
TAKEN, OTHER = "", "other reasons"
UPSERT = """
INSERT INTO monitoring_doortotal AS t (environment, signal, hour_at, reason, payloads, points)
SELECT r ->> 0, r ->> 1, %s, r ->> 2, (r ->> 3)::bigint, (r ->> 4)::bigint
  FROM json_array_elements(%s::json) AS r ORDER BY 1, 2, 4
ON CONFLICT (environment, hour_at, signal, reason) DO UPDATE SET
  payloads = t.payloads + excluded.payloads, points = t.points + excluded.points
"""
_NUMBERS = re.compile(r"\d+")

# environment, signal, reason
Cause = tuple[str, str, str]


class Totals:
    """Adds up in memory what nothing else commits, and bounds how many reasons there are."""

    def __init__(self) -> None:
        self._hour = 0
        self._reasons: dict[str, set[str]] = {}
        self._payloads: Counter[Cause] = Counter()
        self._points: Counter[Cause] = Counter()

    def took(self, environment: str, signal: str, points: int) -> None:
        """Count a payload that was taken; written with the next `flush`."""
        cause = (environment, signal, TAKEN)
        self._payloads[cause] += 1
        self._points[cause] += points

    def refused(self, environment: str, signal: str, status: int, message: str) -> None:
        """Count a payload that was refused as a whole; written with the next `flush`.

        What follows a colon may be the sender's own words, and numbers differ each time: neither is kept.
        """
        self._payloads[environment, signal, f"{status}: {_NUMBERS.sub('…', message.partition(':')[0])}"[:300]] += 1

    @property
    def waiting(self) -> bool:
        """Whether anything is to be written."""
        return bool(self._payloads)

    async def flush(self, line: psycopg.AsyncConnection[Any]) -> None:
        """Write what was added up in memory. Raises psycopg.Error; then it waits for the next time."""
        payloads, points = self._payloads, self._points
        self._payloads, self._points = Counter(), Counter()
        try:
            await self.write(line, payloads, points)
        except BaseException:
            self._payloads.update(payloads)
            self._points.update(points)
            raise

    async def write(
        self, line: psycopg.AsyncConnection[Any], payloads: Mapping[Cause, int], points: Mapping[Cause, int]
    ) -> None:
        """Add to the hour's totals in one statement, within the transaction that is open."""
        hour = int(clock.now().timestamp()) // 3600 * 3600
        if hour != self._hour:
            self._hour, self._reasons = hour, {}
        sums: dict[Cause, list[int]] = {}
        for cause in payloads.keys() | points.keys():
            found = sums.setdefault(self._bounded(cause), [0, 0])
            found[0] += payloads.get(cause, 0)
            found[1] += points.get(cause, 0)
        rows = [(*cause, *found) for cause, found in sorted(sums.items())]
        await line.execute(UPSERT, [datetime.fromtimestamp(hour, tz=UTC), orjson.dumps(rows).decode()])

    def _bounded(self, cause: Cause) -> Cause:
        environment, signal, reason = cause
        reason = "".join(c for c in reason[:300] if c.isprintable())
        known = self._reasons.setdefault(environment, {TAKEN, OTHER})
        if reason not in known:
            if len(known) >= REASONS_MOST:
                return environment, signal, OTHER
            known.add(reason)
        return environment, signal, reason
