"""Reading drills: the five switches with their last drill, what is under way, and how many of its devices obey."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, OuterRef, Q

from hawkops.core import clock
from monitoring.selectors.telemetry import may_judge
from rollout.domain import drills as domain
from rollout.domain.census import Census
from rollout.models import CensusDevice, Drill, Flag, GroupMember
from rollout.selectors import census, flags

# how long a passed drill counts where no release walks, as in the bundled runbook
GOOD_FOR = timedelta(days=14)


@dataclass(frozen=True)
class Audience:
    """A group's active devices: (device, simulated) of those that count in a drill, and how many don't, and why."""

    devices: tuple[tuple[str, bool], ...]
    uncounted: int
    unreachable: int

    @property
    def simulated(self) -> int:
        """How many of those that count are simulated."""
        return sum(simulated for _, simulated in self.devices)


@dataclass(frozen=True)
class Switch:
    """A kill switch with its newest drill that is over, and the one that is not."""

    flag: Flag
    last: Drill | None
    running: Drill | None
    good_until: datetime | None


@dataclass(frozen=True)
class Running:
    """A drill under way with its group's census, and how long it may still take."""

    drill: Drill
    census: Census
    left: timedelta

    @property
    def back(self) -> bool:
        """Whether its override is lifted and the devices come back."""
        return self.drill.state == domain.State.RESTORED


def audience(environment: str, group: str) -> Audience:
    """Return who in a group counts in a drill now. One query.

    Simulated devices count where they may judge; who was silent for longer than a lease serves safe values by itself.
    """
    members = GroupMember.objects.filter(group__environment=environment, group__key=group)
    heard = census.active(environment).filter(device_id__in=members.values("targeting_key"))
    since = clock.now() - census.LEASE
    devices, uncounted, unreachable = [], 0, 0
    for device_id, simulated, seen in heard.values_list("device_id", "simulated", "last_seen_at").order_by("device_id"):
        if not may_judge(environment, simulated=simulated):
            uncounted += 1
        elif seen < since:
            unreachable += 1
        else:
            devices.append((device_id, simulated))
    return Audience(tuple(devices), uncounted, unreachable)


def due() -> list[Drill]:
    """Return the drills that are not over, oldest first."""
    return list(Drill.objects.filter(state__in=domain.OPEN).order_by("pk"))


def under_way(environment: str) -> list[Drill]:
    """Return the environment's drills that are not over, oldest first."""
    return list(Drill.objects.filter(environment=environment, state__in=domain.OPEN).order_by("pk"))


def drill(environment: str, pk: int) -> Drill | None:
    """Return one drill, or None."""
    return Drill.objects.filter(environment=environment, pk=pk).first()


def drills(environment: str, *, limit: int = 50) -> list[Drill]:
    """Return drills, newest first."""
    return list(Drill.objects.filter(environment=environment).order_by("-pk")[:limit])


def proofs(environment: str, keys: Iterable[str], since: datetime) -> dict[str, Drill]:
    """Return each flag's newest drill that proves something, if it was pressed since then. One query."""
    found = Drill.objects.filter(
        environment=environment,
        flag__in=list(keys),
        outcome__in=[one.value for one in domain.Outcome if one.verdict],
        pressed_at__gte=since,
    ).order_by("flag", "-pressed_at")
    return {one.flag: one for one in found.distinct("flag")}


def switches(environment: str, keys: Iterable[str], *, good_for: timedelta = GOOD_FOR) -> list[Switch]:
    """Return the kill switches in the runbook's order. Three queries."""
    stored = {flag.key: flag for flag in flags.flags(environment)}
    running = {one.flag: one for one in under_way(environment)}
    over = Drill.objects.filter(environment=environment, ended_at__isnull=False).exclude(pressed_at=None)
    last = {one.flag: one for one in over.order_by("flag", "-ended_at").distinct("flag")}
    proven = proofs(environment, keys, clock.now() - good_for)
    return [
        Switch(stored[key], last.get(key), running.get(key), _good_until(proven.get(key), good_for))
        for key in keys
        if key in stored
    ]


def _good_until(proof: Drill | None, good_for: timedelta) -> datetime | None:
    passed = proof is not None and proof.outcome == domain.Outcome.OBEYED
    return proof.pressed_at + good_for if proof is not None and proof.pressed_at and passed else None


def counts(found: Drill) -> Census:
    """Return how many of a drill's devices obey it, or after its end are back. One query; of a drill that is under way."""
    back = found.state == domain.State.RESTORED
    revision = (found.restored_revision if back else found.revision) or 0
    known = CensusDevice.objects.filter(environment=found.environment, device_id=OuterRef("device_id"))
    came = Q(back_at__isnull=False) if back else Q(obeyed_at__isnull=False)
    obeys = came | Q(Exists(known.filter(obeyed_revision__gte=revision)))
    heard = Q(Exists(known.filter(last_seen_at__gte=clock.now() - census.LEASE)))
    said = found.members.aggregate(
        obeyed=Count("pk", filter=obeys),
        pending=Count("pk", filter=~obeys & heard),
        unreachable=Count("pk", filter=~obeys & ~heard),
        simulated=Count("pk", filter=Q(simulated=True)),
    )
    return Census(revision=revision, **said)


def running(found: Drill) -> Running:
    """Return how a drill that was pressed goes on. One query."""
    until = found.restores_at
    if found.state == domain.State.RESTORED and found.ended_at is not None:
        until = found.ended_at + timedelta(minutes=found.minutes)
    return Running(found, counts(found), max(until - clock.now(), timedelta()) if until else timedelta())
