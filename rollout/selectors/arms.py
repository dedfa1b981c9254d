"""Who is in which arm of a phase since when, what the panel has of them, and who of them reports."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import connection, transaction

from monitoring.domain.arms import Arm
from monitoring.domain.cardinality import OTHER
from monitoring.domain.statistics.ratio import ALPHA, SampleRatio, sample_ratio, together
from monitoring.domain.statistics.reporting import Reports
from monitoring.domain.statistics.values import BAND_ENDS
from monitoring.selectors.telemetry import may_judge
from rollout.domain import guardrails as domain
from rollout.domain.bucketing import bucket
from rollout.domain.evaluation import in_audience
from rollout.domain.flags import OFF
from rollout.domain.guardrails import Served, Stay
from rollout.domain.runbook import Phase
from rollout.domain.targeting import Context, Rule
from rollout.models import CensusDevice, GuardrailBand, PhaseRun
from rollout.selectors import phases, targeting

# after the end of an hour devices may still send what they measured in it, and the panel merges what waits
CLOSED_AFTER = timedelta(minutes=5)
READ_SECONDS = 60
# devices that were offline when a band ended have told of it within so many hours, or not at all
LATE_HOURS = 2
# what a device says of itself that tells where a harm sits, besides the backend, as `cohorts.ATTRIBUTES` has them
SAID = ("device.soc", "device.gpu.driver", "os.api", "device.model.identifier")

_SUMS = """
SELECT s.n, p.metric, p.backend_actual, p.outcome, sum(p.total), sum(p.count)
  FROM unnest(%(ids)s::text[], %(firsts)s::bigint[], %(lasts)s::bigint[]) WITH ORDINALITY
       AS s(device_id, first, last, n)
  JOIN monitoring_panelhour AS p
    ON p.environment = %(environment)s AND p.device_id = s.device_id AND p.metric = ANY(%(metrics)s)
   AND p.hour_at >= to_timestamp(s.first * 3600) AND p.hour_at < to_timestamp(s.last * 3600)
 GROUP BY s.n, p.metric, p.backend_actual, p.outcome
"""
# the newest and the oldest hour of each, by one step in the index
_HEARD = """
SELECT s.n, (extract(epoch FROM newest.hour_at) / 3600)::bigint, (extract(epoch FROM oldest.hour_at) / 3600)::bigint
  FROM unnest(%(ids)s::text[], %(firsts)s::bigint[], %(lasts)s::bigint[]) WITH ORDINALITY
       AS s(device_id, first, last, n)
 CROSS JOIN LATERAL (
       SELECT p.hour_at FROM monitoring_panelhour AS p
        WHERE p.environment = %(environment)s AND p.device_id = s.device_id
          AND p.hour_at >= to_timestamp(s.first * 3600) AND p.hour_at < to_timestamp(s.last * 3600)
        ORDER BY p.hour_at DESC LIMIT 1) AS newest
 CROSS JOIN LATERAL (
       SELECT p.hour_at FROM monitoring_panelhour AS p
        WHERE p.environment = %(environment)s AND p.device_id = s.device_id
          AND p.hour_at >= to_timestamp(s.first * 3600) AND p.hour_at < to_timestamp(s.last * 3600)
        ORDER BY p.hour_at LIMIT 1) AS oldest
"""


@dataclass(frozen=True)
class Member:
    """A device's stay in an arm, with its class."""

    device_id: str
    device_class: str
    stay: Stay
    # what it says of itself, in the order of SAID
    said: tuple[str, ...] = ()


@dataclass
class Arms:
    """The devices of a phase that are in an arm, once for each stay."""

    run: PhaseRun
    phase: Phase
    now: datetime
    members: list[Member] = field(default_factory=list)
    # bands that are over for good and were read from the panel: by first hour and band
    read: dict[tuple[int, int], "Band"] = field(default_factory=dict)

    @property
    def closed(self) -> int:
        """The hour, since 1970, before which every hour is closed and merged."""
        return closed(self.now)

    @property
    def steps(self) -> list[Served]:
        """The steps that were done."""
        return served(self.run)

    def last(self, member: Member) -> int:
        """Return the hour before which a member's hours count."""
        return self.closed if member.stay.end is None else min(member.stay.end, self.closed)

    def columns(self) -> dict[str, Any]:
        """Return the members' stays as columns of a query; hours that are not closed are left out."""
        return {
            "environment": self.run.release.environment,
            "ids": [one.device_id for one in self.members],
            "firsts": [one.stay.first for one in self.members],
            "lasts": [self.last(one) for one in self.members],
        }


def drawn(run: PhaseRun, *, now: datetime) -> Arms:
    """Return a phase's arms. A pass over the census; they follow from the buckets alone."""
    phase = phases.phase_of(run.release, run.number)
    assert phase is not None  # the release keeps its runbook
    return Arms(run, phase, now, list(_members(run, phase)))


def closed(now: datetime) -> int:
    """Return the hour, since 1970, before which every hour is closed and merged at a moment."""
    return int((now - CLOSED_AFTER).timestamp()) // domain.HOUR_SECONDS


def served(run: PhaseRun) -> list[Served]:
    """Return the steps of a phase as they were done."""
    return [Served(datetime.fromisoformat(one["at"]), one["thousandths"]) for one in run.served]


@contextmanager
def _patient() -> Iterator[Any]:
    """Give a cursor for a read that takes its time, once an hour: weeks of a whole panel."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{READ_SECONDS}s'")
        yield cursor
        cursor.execute("SET LOCAL statement_timeout TO DEFAULT")


# (member's number from 0, band) → metric, backend, outcome → (total, count)
Sums = dict[tuple[int, int], dict[tuple[str, str, str], tuple[float, int]]]
# the same of one band, by device, with a key that JSON knows
Band = dict[str, dict[str, tuple[float, int]]]
BEGINS = (0, *BAND_ENDS)


def sums(arms: Arms, metrics: Iterable[str]) -> Sums:
    """Return what the panel has of metrics, by member and band of ages. Two queries at most.

    A band counts when all its hours are closed and were spent in the arm. What was read of bands that are over for good
    stays in `arms.read`, for who keeps it.
    """
    names = sorted(set(metrics))
    if not arms.members or not names:
        return {}
    kept = GuardrailBand.objects.filter(run=arms.run)
    known: dict[tuple[int, int], Band] = {
        (row.first, row.band): orjson.loads(row.sums) for row in kept if set(names) <= set(row.metrics)
    }
    missing = {
        (one.stay.first, band)
        for one in arms.members
        for band, end in enumerate(BAND_ENDS)
        if one.stay.first + end <= arms.last(one) and (one.stay.first, band) not in known
    }
    fresh = _read(arms, missing, names) if missing else {}
    arms.read = {key: band for key, band in fresh.items() if key[0] + BAND_ENDS[key[1]] + LATE_HOURS <= arms.closed}
    known |= fresh
    found: Sums = {}
    for number, one in enumerate(arms.members):
        last = arms.last(one)
        for band, end in enumerate(BAND_ENDS):
            if one.stay.first + end > last:
                break
            if own := known[one.stay.first, band].get(one.device_id):
                found[number, band] = {_key(text): (total, count) for text, (total, count) in own.items()}
    return found


def _read(arms: Arms, missing: set[tuple[int, int]], names: list[str]) -> dict[tuple[int, int], Band]:
    """Read bands from the panel. One query."""
    found: dict[tuple[int, int], Band] = {key: {} for key in missing}
    wanted = [
        (one, band)
        for one in arms.members
        for band, end in enumerate(BAND_ENDS)
        if (one.stay.first, band) in missing and one.stay.first + end <= arms.last(one)
    ]
    columns = {
        "environment": arms.run.release.environment,
        "ids": [one.device_id for one, _ in wanted],
        "firsts": [one.stay.first + BEGINS[band] for one, band in wanted],
        "lasts": [one.stay.first + BAND_ENDS[band] for one, band in wanted],
        "metrics": names,
    }
    with _patient() as cursor:
        cursor.execute(_SUMS, columns)
        for number, metric, backend, outcome, total, count in cursor.fetchall():
            one, band = wanted[number - 1]
            own = found[one.stay.first, band].setdefault(one.device_id, {})
            own["\t".join((metric, backend, outcome))] = (total, int(count))
    return found


def _key(text: str) -> tuple[str, str, str]:
    metric, backend, outcome = text.split("\t", 2)
    return metric, backend, outcome


@dataclass(frozen=True)
class Heard:
    """Who reports: as many from each arm as were drawn, in all and in each class, and how many in the last closed hour.

    A ratio is None while no step has two arms; of classes all share one alpha, as large as that of all devices.
    """

    reports: dict[Arm, Reports]
    ratio: SampleRatio | None = None
    by_class: dict[str, SampleRatio] = field(default_factory=dict)


def heard(arms: Arms, classes: Iterable[str] = ()) -> Heard:
    """Return who reports. One query."""
    if not arms.members:
        return Heard({arm: Reports(0, 0) for arm in Arm})
    last = arms.closed - 1
    known: Counter[Arm] = Counter()
    told: Counter[Arm] = Counter()
    reported: list[Member] = []
    with _patient() as cursor:
        cursor.execute(_HEARD, arms.columns())
        for number, newest, oldest in cursor.fetchall():
            member = arms.members[number - 1]
            reported.append(member)
            # of those that are still in their arm and had reported before the hour
            if member.stay.end is None and oldest < last:
                known[member.stay.arm] += 1
                told[member.stay.arm] += newest >= last
    by_class: dict[str, list[Member]] = {name: [] for name in {*classes, OTHER}} if classes else {}
    for member in reported if by_class else ():
        by_class[member.device_class if member.device_class in by_class else OTHER].append(member)
    parts = {name: _ratio(arms.steps, members, alpha=ALPHA / 2 / len(by_class)) for name, members in by_class.items()}
    return Heard(
        {arm: Reports(known[arm], told[arm]) for arm in Arm},
        _ratio(arms.steps, reported, alpha=ALPHA / 2 if by_class else ALPHA),
        {name: part for name, part in sorted(parts.items()) if part is not None and any(part.counts)},
    )


def _ratio(steps: Iterable[Served], reported: Iterable[Member], *, alpha: float) -> SampleRatio | None:
    """Compare who reports with who was drawn, for each step's newcomers; None while no step has two arms."""
    came: dict[int, Counter[Arm]] = defaultdict(Counter)
    for member in reported:
        came[member.stay.first][member.stay.arm] += 1
    before, found = (0, 0), []
    for step in steps:
        weights = step.weights
        fresh = tuple(now - then for now, then in zip(weights, before, strict=True))
        first = -(-int(step.at.timestamp()) // domain.HOUR_SECONDS)
        counts = came.get(first, Counter())
        if min(fresh) > 0:
            found.append(sample_ratio([counts[Arm.TREATMENT], counts[Arm.CONTROL]], list(fresh)))
        before = weights
    return replace(together(found), alpha=alpha) if found else None


def _members(run: PhaseRun, phase: Phase) -> Iterator[Member]:
    """Go through the devices of the phase's audience that are in an arm, once for each stay.

    Left out: whom rules before the phase's own, a pin or an override for some devices serve: they were not drawn by chance.
    """
    snapshot = targeting.snapshot(run.release.environment)
    flag = snapshot.flags.get(phase.flag)
    steps = served(run)
    if flag is None or not steps:
        return
    own = phases.own_rules(flag, phase)
    before = [rule for rule in flag.rules if rule not in own]
    known = CensusDevice.objects.filter(environment=run.release.environment, last_seen_at__gte=run.started_at)
    rows = known.values_list("device_id", "attributes", "device_class", "simulated")
    for device_id, said, device_class, simulated in rows.iterator(chunk_size=5_000):
        if not may_judge(run.release.environment, simulated=simulated) or device_id in flag.pinned:
            continue
        context = Context(device_id, said)
        if any(in_audience(snapshot, scoped, context) for scoped in flag.scoped):
            continue
        if not any(in_audience(snapshot, rule, context) for rule in own):
            continue
        place = bucket(flag.salt, device_id)
        if any(_takes(rule, place) and in_audience(snapshot, rule, context) for rule in before):
            continue
        for stay in domain.stays(place, steps):
            kind = (str(said.get("device.soc") or device_class), *(str(said.get(name) or "") for name in SAID[1:]))
            yield Member(device_id, device_class, stay, kind)


def _takes(rule: Rule, place: int) -> bool:
    return rule.variant == OFF or place < rule.thousandths
