"""How much room each environment has for new series and business metrics, as this process last counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import psycopg

from hawkops.core import clock
from monitoring.domain import cardinality
from monitoring.otlp.decoding import SeriesKey

RECOUNT_SECONDS = 60.0
# After so long series that were folded are looked at again: there may be room now.
RETRY_SECONDS = 600.0
FOLDED_MOST = 20_000
FOLDABLE = ("device_class", "app_version", "model", "variant", "outcome")

COUNT = """
SELECT environment, count(*), coalesce(array_agg(DISTINCT metric) FILTER (WHERE metric LIKE 'business.%%'), '{}'),
       (SELECT count(*) FROM monitoring_foldedseries AS f WHERE f.environment = s.environment)
  FROM monitoring_series AS s GROUP BY environment
"""
FOLDED = """
INSERT INTO monitoring_foldedseries (environment, digest, seen_at)
SELECT environment, digest, %s FROM unnest(%s::text[], %s::bytea[]) AS f(environment, digest) ORDER BY 1, 2
ON CONFLICT (environment, digest) DO UPDATE SET seen_at = excluded.seen_at
"""


class Room:
    """Decides what a new series is stored as. Counted again now and then, so that gateways agree and room is found."""

    def __init__(self) -> None:
        self.counted = False
        self._series: Counter[str] = Counter()
        self._business: dict[str, set[str]] = {}
        self._folded: Counter[str] = Counter()
        # whether anything was folded since the series were last looked at
        self.folds = False

    async def count(self, line: psycopg.AsyncConnection[Any]) -> None:
        """Count what is stored. One query."""
        rows = await (await line.execute(COUNT)).fetchall()
        self._series = Counter({environment: series for environment, series, _, _ in rows})
        self._business = {environment: set(names) for environment, _, names, _ in rows}
        self._folded = Counter({environment: folded for environment, _, _, folded in rows})
        self.counted = True

    def admits(self, environment: str, name: str) -> bool:
        """Say whether a business metric may be stored: known, or one of the first so many."""
        names = self._business.setdefault(environment, set())
        if name not in names and len(names) >= cardinality.BUSINESS_MOST:
            return False
        names.add(name)
        return True

    def place(self, key: SeriesKey) -> SeriesKey:
        """Return the series that a new one is stored as: itself while there is room."""
        series = self._series[key.environment]
        if series < cardinality.SERIES_MOST:
            return key
        said = {name: getattr(key, name) for name in FOLDABLE}
        lost: dict[str, Any] = {**cardinality.fold(key.metric, said, series=series)}
        return key._replace(**lost)

    def take(self, key: SeriesKey) -> None:
        """Count a series that is made."""
        self._series[key.environment] += 1

    async def note_folded(self, line: psycopg.AsyncConnection[Any], keys: Iterable[SeriesKey]) -> None:
        """Remember which series were folded, by digest, up to a limit; pages tell how many they are."""
        self.folds = True
        environments, digests = [], []
        for key in keys:
            if self._folded[key.environment] < FOLDED_MOST:
                self._folded[key.environment] += 1
                environments.append(key.environment)
                digests.append(hashlib.sha256("\0".join(map(str, key)).encode()).digest()[:16])
        if digests:
            await line.execute(FOLDED, [clock.now(), environments, digests])
