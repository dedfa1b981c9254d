"""Reading the signs of life of HawkOps' own processes, and how far the rollups are behind."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from monitoring.models import Pulse

# of the newest of so many that wait: devices that were offline send old ones among them
LOOKED_AT = 200
_LAG = """
SELECT extract(epoch FROM now() - max(bucket_at)) FROM (
    SELECT bucket_at FROM monitoring_rolluppartial
     WHERE width_seconds = 10 AND id > coalesce((SELECT rolled_id FROM monitoring_rolledup WHERE width_seconds = 60), 0)
     ORDER BY id LIMIT %s
) AS waiting
"""


@dataclass(frozen=True)
class Sign:
    """What a part of one host said last."""

    part: str
    host: str
    at: datetime | None
    seen_at: datetime
    lag_seconds: float | None
    skew_seconds: float


def signs() -> dict[str, list[Sign]]:
    """Return what every part said, by part and then host. One query."""
    found: dict[str, list[Sign]] = {}
    for row in Pulse.objects.order_by("part", "host"):
        sign = Sign(row.part, row.host, row.at, row.seen_at, row.lag_seconds, row.skew_seconds)
        found.setdefault(row.part, []).append(sign)
    return found


def ingest_lag_seconds() -> float:
    """Return how old the telemetry is that waits longest for its rollup; 0 where none does. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_LAG, [LOOKED_AT])
        lag = cursor.fetchone()[0]
    return max(0.0, float(lag or 0.0))
