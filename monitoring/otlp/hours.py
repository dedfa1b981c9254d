"""Who reported in the hour, as far as this process knows: what is to be written of it, bounded whatever the fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
import psycopg

from hawkops.core.environments import Environment
from monitoring.domain import panel
from monitoring.otlp.decoding import DeviceReport

# one device can't fill the table with variants of its own making
VARIANTS_MOST = 4
ENVIRONMENTS = [environment.value for environment in Environment]

NOTE = """
INSERT INTO monitoring_devicehour (environment, hour_at, device_id, device_class, simulated, variant, weight)
SELECT r ->> 0, %s, r ->> 1, r ->> 2, (r ->> 3)::bool, r ->> 4, (r ->> 5)::int
  FROM json_array_elements(%s::json) AS r ORDER BY 1, 3, 6
ON CONFLICT DO NOTHING RETURNING environment, device_id
"""
COUNT = """
SELECT environment, hour_at, sum(many), sum(weight)
  FROM (SELECT environment, hour_at, device_id, count(*) AS many, min(weight) AS weight FROM monitoring_devicehour
         WHERE environment = ANY(%s) AND hour_at = ANY(%s) GROUP BY environment, hour_at, device_id) AS device
 GROUP BY environment, hour_at
"""


class Row(NamedTuple):
    """What is written of a device that reports, or says a variant, for the first time in the hour."""

    environment: str
    device_id: str
    device_class: str
    simulated: bool
    variant: str
    weight: int


class Hour:
    """The devices of one hour. A group that is under way when the hour turns keeps its own."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        # environment and device -> its weight and the variants it said
        self._known: dict[tuple[str, str], tuple[int, frozenset[str]]] = {}
        self._rows: Counter[str] = Counter()
        self._devices: Counter[str] = Counter()
        self._before: dict[str, int] = {}

    @property
    def starts_at(self) -> datetime:
        """When it began."""
        return datetime.fromtimestamp(self.at, tz=UTC)

    async def count(self, line: psycopg.AsyncConnection[Any]) -> None:
        """Learn what is known of it, and of the hour before, here and by other gateways. One query."""
        before = datetime.fromtimestamp(self.at - 3600, tz=UTC)
        found = await line.execute(COUNT, [ENVIRONMENTS, [before, self.starts_at]])
        for environment, hour_at, rows, devices in await found.fetchall():
            if hour_at == before:
                self._before[environment] = int(devices)
            else:
                self._rows[environment] = max(self._rows[environment], int(rows))
                self._devices[environment] = max(self._devices[environment], int(devices))

    def active(self) -> dict[str, int]:
        """Return how many devices each environment has, by this hour or the one before: the panel's share needs it."""
        return {name: max(self._devices[name], self._before.get(name, 0)) for name in {*self._devices, *self._before}}

    def unseen(self, reports: Iterable[DeviceReport]) -> list[Row]:
        """Return what must be written: of devices, and of variants, that are new in this hour and kept."""
        known = self._known
        found: dict[tuple[str, str, str], Row] = {}
        added: Counter[tuple[str, str]] = Counter()
        for report in reports:
            seen = known.get((report.environment, report.device_id))
            if seen is not None:
                weight, said = seen
                if said.issuperset(report.variants) or len(said) >= VARIANTS_MOST:
                    continue
            else:
                weight, said = panel.hour_weight(self._rows[report.environment]), frozenset()
                if not panel.kept(report.device_id, weight):
                    continue
            device = (report.environment, report.device_id)
            for variant in report.variants:
                name = (*device, variant)
                if variant not in said and name not in found and len(said) + added[device] < VARIANTS_MOST:
                    added[device] += 1
                    found[name] = Row(*name[:2], report.device_class, report.simulated, variant, weight)
        return list(found.values())

    async def note(self, line: psycopg.AsyncConnection[Any], rows: list[Row]) -> list[tuple[str, str]]:
        """Write rows; return environment and device of each that was not there."""
        return await (await line.execute(NOTE, [self.starts_at, orjson.dumps([*map(tuple, rows)]).decode()])).fetchall()

    def committed(self, rows: list[Row], written: list[tuple[str, str]]) -> None:
        """Remember what was committed; what another process had written before is not counted again."""
        added = Counter(written)
        for row in rows:
            name = (row.environment, row.device_id)
            seen = self._known.get(name)
            if seen is None and added[name]:
                self._devices[row.environment] += row.weight
            weight, said = seen or (row.weight, frozenset())
            # who says something without a variant is known already: nothing is written of it again
            self._known[name] = (weight, said | {row.variant, ""})
        for environment, many in Counter(environment for environment, _ in written).items():
            self._rows[environment] += many
