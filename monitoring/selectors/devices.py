"""How many devices reported; and what the door understood of them, for their authors."""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import connection
from django.db.models import Max, Q, Sum

from hawkops.core import clock
from hawkops.core.environments import Environment
from monitoring.domain.cardinality import OTHER
from monitoring.domain.panel import PLACES, Row
from monitoring.models import DeviceHourCount, DeviceNote, DoorTotal, LogLine, PanelHour, PanelReport

SHOWN_MOST = 50
# newest reports looked into for a device of one's own: seconds of what a large fleet sends
WAITING_MOST = 20_000
# How many devices' hours a count over many hours reads at most; with more it reads a share, so that it stays quick.
READ_MOST = 100_000
HOUR = timedelta(hours=1)
HOURS_MOST = 400 * 24

# A device is kept by its place on the ring, so that over many hours it was kept as likely as in its likeliest hour: its
# least weight counts. Of hours that were kept in part, or are too many, only those are read that were kept throughout;
# each then weighs at least as much as that share.
_SPAN = """
WITH span AS (
    SELECT greatest(
               max(weight), power(2, ceil(log(2, greatest(1, coalesce(sum(devices), 0) / %(most)s::numeric))))
           )::bigint AS weight
      FROM monitoring_devicehourcount
     WHERE environment = %(environment)s AND hour_at >= %(since)s AND hour_at < %(until)s AND NOT by_variant
), kept AS (
    SELECT NULL::timestamptz AS hour_at, device_class, simulated, place, device_id, variant,
           greatest(d.weight, (SELECT weight FROM span)) AS weight
      FROM monitoring_devicehour AS d
     WHERE environment = %(environment)s AND hour_at = ANY(%(hours)s)
       AND place < (SELECT %(places)s / weight FROM span)
)
"""
_HOURS = """
WITH kept AS (
    SELECT hour_at, device_class, simulated, place, device_id, variant, weight::bigint AS weight
      FROM monitoring_devicehour
     WHERE environment = %(environment)s AND hour_at = ANY(%(hours)s){open}
)
"""
_OPEN = """
       AND hour_at > coalesce(
           (SELECT max(hour_at) FROM monitoring_devicehourcount WHERE environment = %(environment)s), '-infinity')"""
# grouped by place first: numbers sort many times quicker than ids
_BY_CLASS = """
SELECT hour_at, device_class, simulated, '' AS variant, sum(weight)::bigint AS devices, max(weight) AS weight
  FROM (SELECT hour_at, device_class, simulated, min(weight) AS weight
          FROM kept GROUP BY place, hour_at, device_id, device_class, simulated) AS device
 GROUP BY hour_at, device_class, simulated
"""
# who said a variant at all counts for it only
_BY_VARIANT = """
, said AS (
    SELECT hour_at, device_class, simulated, place, device_id, variant, min(weight) AS weight
      FROM kept GROUP BY place, hour_at, device_id, device_class, simulated, variant
)
SELECT hour_at, device_class, simulated, variant, sum(weight)::bigint AS devices, max(weight) AS weight
  FROM said WHERE variant <> '' GROUP BY hour_at, device_class, simulated, variant
UNION ALL
SELECT hour_at, device_class, simulated, '', sum(weight)::bigint, max(weight)
  FROM (SELECT hour_at, device_class, simulated, min(weight) AS weight
          FROM said GROUP BY place, hour_at, device_id, device_class, simulated HAVING max(variant) = '') AS silent
 GROUP BY hour_at, device_class, simulated
"""
_SUMMED = """
UNION ALL
SELECT hour_at, device_class, simulated, variant, devices, weight FROM monitoring_devicehourcount
 WHERE environment = %(environment)s AND hour_at >= %(since)s AND hour_at < %(until)s AND by_variant = %(by_variant)s
"""
# the classes that have series, beside the counts: without a variant of any kind
_OWN = """
UNION ALL
SELECT NULL, device_class, simulated, NULL, 0, 1
  FROM (SELECT DISTINCT device_class, simulated FROM monitoring_series WHERE environment = %(environment)s) AS own
"""
_ORDER = " ORDER BY 1, 3, 2, 4"


@dataclass(frozen=True)
class DeviceCount:
    """How many devices of a class reported, of one variant or of any."""

    device_class: str
    simulated: bool
    variant: str  # "" when the device did not say
    devices: int  # weighted, rounded
    exact: bool


def shown_counts(
    environment: str, *, since: datetime, until: datetime | None = None, by_variant: bool = False
) -> list[DeviceCount]:
    """Count devices by class as their series are named: of classes that were folded, as "other". One query.

    Of the hours from the one that holds `since`, real devices first; who was on both sides counts on both.
    A class that had series before the environment had too many keeps its row; what it made later is in "other" too.
    """
    rows = _rows(_SPAN + (_BY_VARIANT if by_variant else _BY_CLASS) + _OWN, environment, since, until)
    own = {(name, simulated) for _, name, simulated, variant, *_ in rows if variant is None}
    found: list[DeviceCount] = []
    folded: dict[tuple[bool, str], DeviceCount] = {}
    for _, name, simulated, variant, devices, weight in rows:
        if variant is None:
            continue
        if (name, simulated) in own or (OTHER, simulated) not in own:
            found.append(DeviceCount(name, simulated, variant, devices, weight == 1))
            continue
        before = folded.get((simulated, variant), DeviceCount(OTHER, simulated, variant, 0, True))
        folded[simulated, variant] = replace(
            before, devices=before.devices + devices, exact=before.exact and weight == 1
        )
    for simulated in (False, True):
        if (OTHER, simulated) in own and not any(said[0] is simulated for said in folded):
            folded[simulated, ""] = DeviceCount(OTHER, simulated, "", 0, True)
    return sorted([*found, *folded.values()], key=lambda one: one.simulated)


def hourly_counts(
    environment: str, *, since: datetime, until: datetime | None = None, by_variant: bool = False
) -> dict[datetime, list[DeviceCount]]:
    """Count the devices of each hour. One query; hours that are over were summed up."""
    query = _HOURS.format(open=_OPEN) + (_BY_VARIANT if by_variant else _BY_CLASS) + _SUMMED
    found: dict[datetime, list[DeviceCount]] = {}
    for hour_at, name, simulated, variant, devices, weight in _rows(
        query, environment, since, until, by_variant=by_variant
    ):
        found.setdefault(hour_at, []).append(DeviceCount(name, simulated, variant, devices, weight == 1))
    return found


def hour_sums(environment: str, *, since: datetime, until: datetime) -> list[DeviceHourCount]:
    """Add up hours from devices' own rows, by class and by variant, not saved. Two queries."""
    return [
        DeviceHourCount(
            environment=environment,
            hour_at=hour_at,
            device_class=name,
            simulated=simulated,
            by_variant=by_variant,
            variant=variant,
            devices=devices,
            weight=weight,
        )
        for by_variant, query in ((False, _BY_CLASS), (True, _BY_VARIANT))
        for hour_at, name, simulated, variant, devices, weight in _rows(
            _HOURS.format(open="") + query, environment, since, until
        )
    ]


def _rows(
    query: str, environment: str, since: datetime, until: datetime | None, **more: Any
) -> list[tuple[Any, str, bool, Any, int, int]]:
    since = since.replace(minute=0, second=0, microsecond=0)
    until = until or max(since, clock.now()) + HOUR
    many = min(HOURS_MOST, max(0, math.ceil((until - since) / HOUR)))
    said = {
        "environment": environment,
        "since": since,
        "until": until,
        # one after the other: so the index finds the first places of each hour without reading the others
        "hours": [since + step * HOUR for step in range(many)],
        "most": READ_MOST,
        "places": PLACES,
        **more,
    }
    with connection.cursor() as cursor:
        cursor.execute(query + _ORDER, said)
        found: list[tuple[Any, str, bool, Any, int, int]] = cursor.fetchall()
    return found


def device_notes(environment: str, *, wanted: str = "", most: int = SHOWN_MOST) -> list[DeviceNote]:
    """Return the latest notes, newest first."""
    found = DeviceNote.objects.filter(environment=environment)
    if wanted:
        found = found.filter(Q(device_id__icontains=wanted) | Q(device_class__icontains=wanted))
    return list(found.order_by("-received_at")[:most])


@dataclass(frozen=True)
class Total:
    """What the door took, or refused for one reason; an empty reason means taken."""

    signal: str
    reason: str
    payloads: int
    points: int
    payloads_lately: int
    points_lately: int
    hour_at: datetime


def door_totals(environment: str, *, now: datetime | None = None) -> list[Total]:
    """Return what the door took and refused in 48 h, and of it in this hour and the one before; taken first."""
    now = now or clock.now()
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    lately = Q(hour_at__gte=this_hour - timedelta(hours=1))
    rows = (
        DoorTotal.objects.filter(environment=environment, hour_at__gt=this_hour - timedelta(hours=48))
        .values("signal", "reason")
        .annotate(
            all_payloads=Sum("payloads"),
            all_points=Sum("points"),
            late_payloads=Sum("payloads", filter=lately, default=0),
            late_points=Sum("points", filter=lately, default=0),
            last=Max("hour_at"),
        )
    )
    found = [
        Total(
            row["signal"],
            row["reason"],
            row["all_payloads"],
            row["all_points"],
            row["late_payloads"],
            row["late_points"],
            row["last"],
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: (bool(one.reason), -one.points, -one.payloads, one.signal, one.reason))


def device_understood(environment: str, device_id: str) -> list[DeviceNote]:
    """Return what was understood of a device's last payloads, metrics first; empty when nothing was noted."""
    found = DeviceNote.objects.filter(environment=environment, device_id=device_id)
    return sorted(found, key=lambda note: note.signal, reverse=True)


def device_lines(environment: str, device_id: str, *, most: int = 20) -> list[LogLine]:
    """Return a device's newest log lines, newest first."""
    return list(LogLine.objects.filter(environment=environment, device_id=device_id).order_by("-pk")[:most])


def own_observations(device_id: str, metric: str) -> int:
    """Return how many observations of a metric the panel holds of a device that reported just now, in any environment.

    Of this hour and the one before, and of the newest reports that wait: those have no index by device.
    """
    since = clock.now().replace(minute=0, second=0, microsecond=0) - HOUR
    hours = PanelHour.objects.filter(
        environment__in=list(Environment), device_id=device_id, hour_at__gte=since, metric=metric
    )
    merged: int = hours.aggregate(many=Sum("count", default=0))["many"]
    newest = PanelReport.objects.order_by("-pk").values("pk")[:WAITING_MOST]
    waiting = PanelReport.objects.filter(pk__in=newest, device_id=device_id).values_list("observed", flat=True)
    rows = (Row(*one) for report in waiting for one in orjson.loads(report))
    return merged + sum(row.observations for row in rows if row.metric == metric)
