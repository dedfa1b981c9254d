"""What devices of the panel observed over a window, one pair each: what says how sure a number of the fleet is."""

import math
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

import numpy as np
from django.db import connection, transaction
from django.db.models import Sum
from numpy.typing import NDArray

from monitoring.domain import panel
from monitoring.domain.arms import VARIANTS, Arm, arm_of, belongs
from monitoring.domain.criteria import Against, Aggregate, Criterion, Selection
from monitoring.domain.metrics import INFERENCES, Kind
from monitoring.domain.panel import DEVICES_MOST
from monitoring.domain.statistics.per_device import PerDevice
from monitoring.models import DeviceHourCount
from monitoring.selectors.telemetry import Population, may_judge

# a device that has reported one of these was there: what it never counted is a zero
PRESENT = (INFERENCES, "app.sessions")
SEEN = (Aggregate.MAX, Aggregate.COUNT)
# weeks of a whole panel take a while; what took long is not read again at once, but kept for so many times as long
READ_SECONDS, SLOW_SECONDS, KEPT_TIMES, KEPT_MOST = 60, 1.0, 60, 8
WORK_MEMORY = "128MB"
_OF_DEVICES = """
SELECT device_class, simulated, metric, backend_actual, variant, outcome,
       array_agg(device), array_agg(count), array_agg(total), array_agg(first)
  FROM (
    SELECT hashtextextended(device_id, 0) AS device, max(device_class) AS device_class, simulated, metric,
           backend_actual, variant, outcome, sum(count)::float8 AS count, sum(total) AS total,
           extract(epoch FROM min(hour_at))::float8 AS first
      FROM monitoring_panelhour
     WHERE environment = %(environment)s AND metric = ANY(%(metrics)s) AND hour_at >= %(since)s AND hour_at < %(until)s
       AND (%(simulated)s OR NOT simulated) AND (variant <> ALL(%(apart)s) OR metric = ANY(%(both)s))
     GROUP BY device_id, simulated, metric, backend_actual, variant, outcome
  ) AS device
 GROUP BY device_class, simulated, metric, backend_actual, variant, outcome
"""


@dataclass(frozen=True)
class Series:
    """What the panel's devices observed of one metric, on one backend and variant, with one outcome; a place a device."""

    device_class: str
    simulated: bool
    metric: str
    backend: str
    variant: str
    outcome: str
    devices: NDArray[np.int64]
    counts: NDArray[np.float64]
    totals: NDArray[np.float64]
    firsts: NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """What was read of the panel for some criteria of one window."""

    series: Sequence[Series]
    since: datetime
    until: datetime
    stands_for: float = 1.0

    def of_side(
        self, one: Criterion, population: Population | None, *, arm: Arm | None, strict: bool, backends: Sequence[str],
        within: str = "",
    ) -> PerDevice:  # fmt: skip
        """Return the pairs of one side: who said no variant counts as treatment unless only who said it counts (`strict`).

        `within` is the only device class that is looked at.
        """
        own = [
            x
            for x in self.series
            if (population is None or population.counts(x.device_class, simulated=x.simulated))
            and (population is None or population.arm in (None, arm_of(x.variant)))
            and within in ("", x.device_class)
            and (arm_of(x.variant) is arm if strict else belongs(x.variant, arm))
        ]
        selection = one.over
        observed = [x for x in own if x.metric == selection.metric and _selected(x, selection, backends)]
        if one.of is not None:
            whole = [x for x in own if x.metric == one.of.metric and _selected(x, one.of, backends)]
            return self._paired(observed, whole, "totals")
        if one.metric is not None and one.metric.kind is Kind.COUNTER:
            return self._paired(observed, [x for x in own if x.metric in (*PRESENT, selection.metric)], "")
        return self._paired(observed, observed, "counts")

    def _paired(self, amounts: Sequence[Series], of: Sequence[Series], name: str) -> PerDevice:
        """Sum up each device's amount and what it is of: totals, counts, or one for each that was there."""
        joined = [*amounts, *of]
        if not joined:
            return PerDevice(stands_for=self.stands_for)
        known, places = np.unique(np.concatenate([x.devices for x in joined]), return_inverse=True)
        ends = np.cumsum([x.devices.size for x in joined])[:-1]
        at = np.split(places.reshape(-1), ends)
        own, whole = np.zeros(known.size), np.zeros(known.size)
        for x, where in zip(amounts, at[: len(amounts)], strict=True):
            np.add.at(own, where, x.totals)
        for x, where in zip(of, at[len(amounts) :], strict=True):
            np.add.at(whole, where, getattr(x, name) if name else 0.0)
        if not name:
            whole[:] = 1.0
        first = np.full(known.size, math.inf)
        for x, where in zip(joined, at, strict=True):
            np.minimum.at(first, where, x.firsts)
        middle = self.since + (self.until - self.since) / 2
        newcomers = int(np.count_nonzero(first >= middle.timestamp()))
        return PerDevice.summed(own, whole, newcomers=newcomers, stands_for=self.stands_for)


def keeps(one: Criterion) -> bool:
    """Whether the panel can say something of a criterion: it keeps its metrics, and not which backend was asked for."""
    names = [one.over.metric, *([one.of.metric] if one.of is not None else [])]
    apart = one.over.elsewhere or one.over.able
    return one.aggregate not in SEEN and not apart and not one.broken and all(map(panel.keeps, names))


def look(environment: str, wanted: Iterable[Criterion], window: timedelta, *, now: datetime) -> Look:
    """Read what criteria of one window ask of the panel. Two queries; of a large panel not each time anew."""
    read = [one for one in wanted if one.window == window and keeps(one)]
    names, both = set[str](), set[str]()
    for one in read:
        mine = {one.over.metric} | ({one.of.metric} if one.of is not None else set())
        if one.of is None and one.metric is not None and one.metric.kind is Kind.COUNTER:
            mine |= set(PRESENT)
        names |= mine
        both |= mine if one.against is Against.CONTROL or one.over.arm is not Arm.TREATMENT else set()
    since = now - window
    if not names:
        return Look((), since, now)
    asked = _Asked(environment, tuple(sorted(names)), tuple(sorted(both)), since, now)
    found = _series(asked)
    return Look(found, since, now, _stands_for(environment, since, now) if found else 1.0)


@dataclass(frozen=True)
class _Asked:
    """What is read: metrics, and those of both sides of the comparison."""

    environment: str
    metrics: tuple[str, ...]
    both: tuple[str, ...]
    since: datetime
    until: datetime

    @property
    def key(self) -> tuple[object, ...]:
        """What is read again before the hour turns is the same, but for the newest."""
        hours = [int(at.timestamp()) // 3_600 for at in (self.since, self.until)]
        return (self.environment, self.metrics, self.both, *hours)


_kept: OrderedDict[tuple[object, ...], tuple[float, list[Series]]] = OrderedDict()
_lock = Lock()


def _series(asked: _Asked) -> list[Series]:
    """Read the panel, or return what was read a moment ago where that took long."""
    with _lock:
        until, found = _kept.get(asked.key, (0.0, []))
    began = time.monotonic()
    if began < until:
        return found
    found = _read(asked)
    took = time.monotonic() - began
    if took >= SLOW_SECONDS:
        with _lock:
            _kept[asked.key] = (began + KEPT_TIMES * took, found)
            _kept.move_to_end(asked.key)
            while len(_kept) > KEPT_MOST:
                _kept.popitem(last=False)
    return found


def _read(asked: _Asked) -> list[Series]:
    control = [variant for variant, arm in VARIANTS.items() if arm is Arm.CONTROL]
    given: dict[str, Any] = {
        "environment": asked.environment,
        "metrics": list(asked.metrics),
        "both": list(asked.both),
        "since": asked.since,
        "until": asked.until,
        "simulated": may_judge(asked.environment, simulated=True),
        "apart": control,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{READ_SECONDS}s'; SET LOCAL work_mem = '{WORK_MEMORY}'")
        cursor.execute(_OF_DEVICES, given)
        rows = cursor.fetchall()
        cursor.execute("SET LOCAL statement_timeout TO DEFAULT; SET LOCAL work_mem TO DEFAULT")
    return [_series_of(row) for row in rows]


def _series_of(row: Sequence[Any]) -> Series:
    devices, *columns = row[6:]
    counts, totals, firsts = (np.array(one, dtype=float) for one in columns)
    name, simulated, metric, backend, variant, outcome = row[:6]
    known = np.array(devices, dtype=np.int64)
    return Series(name, simulated, metric, backend, variant, outcome, known, counts, totals, firsts)


def _selected(one: Series, selection: Selection, backends: Sequence[str]) -> bool:
    outcomes = not selection.outcomes or one.outcome in selection.outcomes
    return outcomes and one.outcome not in selection.not_outcomes and (not backends or one.backend in backends)


def _stands_for(environment: str, since: datetime, until: datetime) -> float:
    """Return for how many devices each of the panel stands at least: as in the hour in which the fewest reported.

    The panel keeps the same number of a larger fleet (`panel.share`); who was kept in one hour is kept for the whole time.
    """
    hours = DeviceHourCount.objects.filter(
        environment=environment, by_variant=False, hour_at__gte=since, hour_at__lt=until
    )
    fewest = min((one["many"] for one in hours.values("hour_at").annotate(many=Sum("devices"))), default=0)
    return max(1.0, fewest / DEVICES_MOST)
