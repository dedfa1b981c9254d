"""Where harm sits now: for each backend the smallest set of cohorts whose exclusion makes the rest well.

A guardrail waits for a band of ages to close; in an emergency what the panel merged in this hour and the last one counts,
one value for each device. Devices are compared with those beside them that LiteRT is not served to where these measure the
same, else each is held against its limit. Bounded, and kept for a minute: nobody waits for it with a press.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

import orjson
from django.db import connection

from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from monitoring.domain.arms import Arm, belongs
from monitoring.domain.cohorts import CHANCE_MOST, Device, Exclusion, culprits
from monitoring.domain.metrics import INFERENCES
from monitoring.domain.targets import Profiles, Stage
from monitoring.selectors.criteria import criteria
from monitoring.selectors.profiles import profiles
from monitoring.selectors.telemetry import may_judge
from rollout.domain.guardrails import Role
from rollout.domain.rollback import BACKEND, cohort_constraints
from rollout.domain.targeting import Constraint
from rollout.models import PhaseRun
from rollout.selectors import guardrail_states
from rollout.selectors.arms import SAID
from rollout.selectors.census import ACTIVE_WITHIN

DEVICES_MOST, DEVICES_LEAST = 8_000, 30
HOURS = timedelta(hours=1)
KEPT_SECONDS = 60.0
PREFILL, DURATION, SWITCHES = "litert.prefill.throughput", "gen_ai.client.operation.duration", "litert.backend.switches"
METRICS = (INFERENCES, PREFILL, DURATION, SWITCHES)
# "the 95th percentile keeps the limit" allows so large a share of devices beyond it
BEYOND_MOST = 0.05
ERRORS, LATENCY, SWITCHED = "alert-error-rate", "alert-latency", "alert-switches"

_MEASURED = """
WITH seen AS (
    SELECT device_id, device_class, attributes::text AS said FROM rollout_censusdevice
     WHERE environment = %(environment)s AND last_seen_at >= %(active)s AND (%(simulated)s OR NOT simulated)
     ORDER BY md5(device_id) LIMIT %(most)s
)
SELECT s.device_id, s.device_class, s.said, p.metric, p.backend_actual, p.variant, p.outcome, sum(p.total), sum(p.count),
       count(DISTINCT p.hour_at)
  FROM seen AS s
  JOIN monitoring_panelhour AS p
    ON p.environment = %(environment)s AND p.device_id = s.device_id AND p.metric = ANY(%(metrics)s)
   AND p.hour_at >= %(since)s
 GROUP BY s.device_id, s.device_class, s.said, p.metric, p.backend_actual, p.variant, p.outcome
"""


@dataclass(frozen=True)
class Harmed:
    """A cohort as an override reaches it: its conditions, and what the search says of it."""

    name: str
    constraints: tuple[Constraint, ...]
    devices: int


@dataclass(frozen=True)
class Harm:
    """What one look found: of which backend, by what, and where.

    `cohorts` is empty where all are harmed alike (`everywhere`), and where no condition can name what was found (`why`).
    """

    backend: str
    title: str
    # against whom or what
    against: str
    cohorts: tuple[Harmed, ...] = ()
    everywhere: bool = False
    restored: bool = False
    excluded: int = 0
    devices: int = 0
    chance: float = 1.0
    why: str = ""


@dataclass(frozen=True)
class Search:
    """What was found, the most certain first, how many devices were looked at, and what had too few of them."""

    harms: tuple[Harm, ...]
    looked: tuple[str, ...]
    few: tuple[str, ...]
    devices: int
    at: datetime

    @property
    def best(self) -> Harm | None:
        """The one to act on."""
        return self.harms[0] if self.harms else None


@dataclass
class _One:
    """What one device says of itself, which side it is on, and its sums by metric, backend and outcome."""

    device_class: str
    said: tuple[str, ...]
    treated: bool
    sums: dict[tuple[str, str, str], tuple[float, float]]
    hours: int = 1


@dataclass(frozen=True)
class _Look:
    """Devices with a value each, of which more is worse."""

    backend: str
    title: str
    against: str
    devices: list[Device]
    limit: float | None
    counted: bool


_kept: dict[str, tuple[float, Search]] = {}
_lock = Lock()


def search(environment: str, run: PhaseRun | None = None) -> Search:
    """Look where harm sits now; what was found a moment ago is returned again. Four queries and up to a second or two."""
    with _lock:
        until, found = _kept.get(environment, (0.0, None))
    if found is not None and time.monotonic() < until:
        return found
    made = _searched(environment, run)
    with _lock:
        _kept[environment] = (time.monotonic() + KEPT_SECONDS, made)
    return made


def forget() -> None:
    """Forget what was found, so that the next look reads anew."""
    with _lock:
        _kept.clear()


def _searched(environment: str, run: PhaseRun | None) -> Search:
    now = clock.now()
    read = _read(environment, now)
    looks = list(_looks(environment, read))
    enough = [one for one in looks if sum(device.treatment for device in one.devices) >= DEVICES_LEAST]
    harms = list(_by_guardrails(run)) if run is not None else []
    for one in enough:
        found = culprits(
            one.devices, limit=one.limit, counted=one.counted or None, chance_most=CHANCE_MOST / len(enough)
        )
        if found.cohorts or found.everywhere:
            harms.append(_harm(one.backend, one.title, one.against, found))
    harms.sort(key=lambda one: one.chance)
    few = [one.title for one in looks if one.devices and one not in enough]
    return Search(tuple(harms), tuple(one.title for one in enough), tuple(few), len(read), now)


def _harm(backend: str, title: str, against: str, found: Exclusion) -> Harm:
    chance = min((one.chance for one in found.cohorts), default=CHANCE_MOST)
    whole = (found.restored, found.excluded, found.devices, chance)
    if found.everywhere:
        return Harm(backend, title, against, (), True, *whole)
    try:
        cohorts = tuple(
            Harmed(one.name, cohort_constraints(one.conditions), one.treatment + one.control) for one in found.cohorts
        )
    except InvalidInput as unfit:
        return Harm(backend, title, against, (), False, *whole, why=unfit.message)
    return Harm(backend, title, against, cohorts, not all(one.constraints for one in cohorts), *whole)


def _by_guardrails(run: PhaseRun) -> Iterator[Harm]:
    """Give what the last look of guardrails found, where that says which backend it is."""
    for row in guardrail_states.failing(run, Role.GUARDRAIL, Role.SIGNAL, Role.WATCH):
        kept: dict[str, Any] | None = row.state.exclusion if row.state is not None else None
        if not kept or not kept["cohorts"]:
            continue
        conditions = [[(name, value) for name, value in one["conditions"]] for one in kept["cohorts"]]
        backend = _backend_of(conditions)
        if not backend:
            continue
        try:
            cohorts = tuple(
                Harmed(one["name"], cohort_constraints(told), one["treatment"] + one["control"])
                for one, told in zip(kept["cohorts"], conditions, strict=True)
            )
        except InvalidInput:
            continue
        chance = min(one["chance"] for one in kept["cohorts"])
        whole = (kept["restored"], kept["excluded"], kept["devices"], chance)
        title = f"guardrail {row.guardrail.title}"
        yield Harm(backend, title, "the control", cohorts, not all(one.constraints for one in cohorts), *whole)


def _backend_of(conditions: Sequence[Sequence[tuple[str, str]]]) -> str:
    """Return the backend that cohorts name: a driver is the GPU's."""
    named = {value for told in conditions for name, value in told if name == BACKEND}
    if not named and all(any(name == "driver" for name, _ in told) for told in conditions):
        named = {"gpu"}
    return named.pop() if len(named) == 1 and named <= {"gpu", "npu"} else ""


def _read(environment: str, now: datetime) -> list[_One]:
    since = now.replace(minute=0, second=0, microsecond=0) - HOURS
    given: dict[str, Any] = {
        "environment": environment,
        "active": now - ACTIVE_WITHIN,
        "simulated": may_judge(environment, simulated=True),
        "most": DEVICES_MOST,
        "metrics": list(METRICS),
        "since": since,
    }
    with connection.cursor() as cursor:
        cursor.execute(_MEASURED, given)
        rows = cursor.fetchall()
    found: dict[str, _One] = {}
    for device_id, device_class, said, metric, backend, variant, outcome, total, count, hours in rows:
        one = found.get(device_id)
        if one is None:
            told = orjson.loads(said)
            one = found[device_id] = _One(device_class, tuple(str(told.get(name) or "") for name in SAID), True, {})
        one.treated = one.treated and belongs(variant, Arm.TREATMENT)
        one.hours = max(one.hours, hours)
        own = one.sums.get((metric, backend, outcome), (0.0, 0.0))
        one.sums[metric, backend, outcome] = (own[0] + total, own[1] + float(count))
    return list(found.values())


def _looks(environment: str, read: Sequence[_One]) -> Iterator[_Look]:
    """Give every look that there is something to see in, by backend: failures, throughput, latency; and switches."""
    limits = {one.key: one.threshold for one in criteria(keys=[ERRORS, LATENCY, SWITCHED]) if not one.broken}
    known = profiles()
    for backend in ("gpu", "npu"):
        name = backend.upper()
        failing = [(one, _failed(one, backend)) for one in read]
        yield _against(f"{name} failures", backend, failing, limits.get(ERRORS))
        slow = [(one, _slow(environment, one, backend, known)) for one in read if one.treated]
        yield _beyond(f"{name} throughput", backend, slow, "its class's floor")
        late = [(one, _late(one, backend, limits.get(LATENCY))) for one in read if one.treated]
        yield _beyond(f"{name} latency", backend, late, "the limit of the alert")
    switching = [(one, _switching(one, limits.get(SWITCHED))) for one in read if one.treated]
    yield _beyond("Backend switches", "adaptive", switching, "the limit of the alert")


def _against(title: str, backend: str, values: Sequence[tuple[_One, float | None]], limit: float | None) -> _Look:
    """Compare shares with the control's; with fewer of it than tell anything, with the limit."""
    told = [(one, value) for one, value in values if value is not None]
    control = sum(not one.treated for one, _ in told)
    if control >= DEVICES_LEAST:
        return _Look(backend, title, "the control", [_device(one, value) for one, value in told], None, True)
    own = [_device(one, value) for one, value in told if one.treated] if limit is not None and 0 < limit < 1 else []
    return _Look(backend, title, "the limit of the alert", own, limit, True)


def _beyond(title: str, backend: str, values: Sequence[tuple[_One, float | None]], against: str) -> _Look:
    """Look how large a share of devices is beyond a limit of their own."""
    devices = [_device(one, value) for one, value in values if value is not None]
    return _Look(backend, title, against, devices, BEYOND_MOST, True)


def _device(one: _One, value: float) -> Device:
    return Device(("", *one.said), one.treated, value)


def _failed(one: _One, backend: str) -> float | None:
    """Return the share of inferences that failed: on the backend, of a device beside them wherever it ran them."""
    total = bad = 0.0
    for (metric, ran, outcome), (amount, _) in one.sums.items():
        if metric == INFERENCES and (ran == backend or not one.treated):
            total += amount
            bad += amount if outcome not in ("", "ok") else 0.0
    return bad / total if total else None


def _mean(one: _One, metric: str, backend: str) -> float | None:
    found = [kept for (name, ran, _), kept in one.sums.items() if name == metric and ran == backend]
    count = sum(many for _, many in found)
    return sum(total for total, _ in found) / count if count else None


def _slow(environment: str, one: _One, backend: str, known: Profiles) -> float | None:
    profile = known.of(one.device_class, environment)
    target = profile.target(Stage.PREFILL, backend) if profile is not None else None
    speed = _mean(one, PREFILL, backend)
    return None if target is None or speed is None else float(speed < target.threshold)


def _late(one: _One, backend: str, limit: float | None) -> float | None:
    seconds = _mean(one, DURATION, backend)
    return None if limit is None or seconds is None else float(seconds > limit)


def _switching(one: _One, limit: float | None) -> float | None:
    switches = sum(total for (metric, _, _), (total, _) in one.sums.items() if metric == SWITCHES)
    ran = any(metric == INFERENCES for metric, _, _ in one.sums)
    return None if limit is None or not ran else float(switches / one.hours > limit)
