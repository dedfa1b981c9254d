"""Reading the census. Active devices are those heard of within the last hour."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.db.models import Count, Max, Q, QuerySet

from hawkops.core import clock
from monitoring.selectors.newcomers import WITHIN, Newcomers
from rollout.domain.census import Census
from rollout.domain.targeting import Constraint
from rollout.models import CensusDevice

ACTIVE_WITHIN = timedelta(hours=1)
LEASE = timedelta(seconds=900)


def active(environment: str) -> QuerySet[CensusDevice]:
    """Return the active devices."""
    return CensusDevice.objects.filter(environment=environment, last_seen_at__gte=clock.now() - ACTIVE_WITHIN)


def census(environment: str, revision: int, *, lease: timedelta = LEASE) -> Census:
    """Count obeyed, pending and unreachable devices at a revision. One query.

    Pending: not yet obeying, and its lease (counted from its last contact) still runs. Unreachable: silent for longer;
    one that keeps leases serves its safe values by now.
    """
    obeys = Q(obeyed_revision__gte=revision)
    heard = Q(last_seen_at__gte=clock.now() - lease)
    counts = active(environment).aggregate(
        obeyed=Count("pk", filter=obeys),
        pending=Count("pk", filter=~obeys & heard),
        unreachable=Count("pk", filter=~obeys & ~heard),
        simulated=Count("pk", filter=Q(simulated=True)),
    )
    return Census(revision=revision, **counts)


def reach(environment: str, key: str) -> int:
    """Return how many active devices were last served this flag's `on` value: the ones a kill will touch."""
    return active(environment).filter(served_on__contains=[key]).count()


def reaches(environment: str, keys: list[str]) -> dict[str, int]:
    """Return `reach` for several flags. One query."""
    counts = active(environment).aggregate(
        **{f"n{index}": Count("pk", filter=Q(served_on__contains=[key])) for index, key in enumerate(keys)}
    )
    return {key: counts[f"n{index}"] for index, key in enumerate(keys)}


def served(environment: str, keys: Iterable[str]) -> list[tuple[dict[str, Any], frozenset[str], bool, int]]:
    """Return (what devices say of themselves, which of the flags they were served `on`, simulated, how many). One query.

    Of active devices that were served one of them at least; few rows, however many devices.
    """
    wanted = sorted(set(keys))
    rows = active(environment).filter(served_on__overlap=wanted) if wanted else CensusDevice.objects.none()
    counted = rows.values_list("attributes", "served_on", "simulated").annotate(devices=Count("pk")).order_by()
    return [(said, frozenset(on) & set(wanted), simulated, devices) for said, on, simulated, devices in counted]


def active_count(environment: str) -> int:
    """Return how many devices are active."""
    return active(environment).count()


def simulated_count(environment: str) -> int:
    """Return how many of them are simulated."""
    return active(environment).filter(simulated=True).count()


def newcomers(environment: str, *, within: timedelta = WITHIN) -> Newcomers:
    """Count the active devices, simulated ones left out, and those of them first seen within a span. One query."""
    counts = active(environment).filter(simulated=False)
    new = Count("pk", filter=Q(first_seen_at__gt=clock.now() - within))
    return Newcomers(within=within, **counts.aggregate(active=Count("pk"), new=new))


def classes(environment: str) -> list[tuple[str, bool, int]]:
    """Return (device class, simulated, active devices), largest first."""
    rows = (
        active(environment).values_list("device_class", "simulated").annotate(devices=Count("pk")).order_by("-devices")
    )
    return [(device_class, simulated, devices) for device_class, simulated, devices in rows]


def devices(environment: str, *, limit: int = 50) -> list[CensusDevice]:
    """Return active devices, last heard of first."""
    return list(active(environment).order_by("-last_seen_at")[:limit])


def profiles(environment: str) -> list[tuple[dict[str, Any], int]]:
    """Return what active devices say of themselves, and how many say just that: few rows, however many devices."""
    rows = active(environment).values_list("attributes").annotate(devices=Count("pk")).order_by()
    return list(rows)


def said(environment: str, attribute: str) -> dict[str, str]:
    """Return what each active device says of itself in one attribute, by device; those that don't say it are left out."""
    rows = active(environment).filter(attributes__has_key=attribute).values_list("device_id", "attributes")
    return {device: str(found[attribute]) for device, found in rows if found[attribute] not in ("", None)}


def meeting(environment: str, constraints: Iterable[Constraint], *, served: str) -> tuple[int, int]:
    """Count the active devices that meet every constraint, and those of them that were served a flag's `on` value."""
    wanted = list(constraints)
    on = Count("pk", filter=Q(served_on__contains=[served]))
    rows = active(environment).values_list("attributes").annotate(devices=Count("pk"), on=on).order_by()
    meets = [(devices, on) for attributes, devices, on in rows if all(one.matches(attributes) for one in wanted)]
    return sum(devices for devices, _ in meets), sum(on for _, on in meets)


def attributes(environment: str, device_id: str) -> dict[str, Any]:
    """Return what a device said of itself, of the attributes that rules know; empty when nothing is known."""
    found = CensusDevice.objects.filter(environment=environment, device_id=device_id)
    return found.values_list("attributes", flat=True).first() or {}


def confirmed_last(environment: str) -> list[tuple[str, bool, datetime]]:
    """Return (device class, simulated, last contact) of active devices that confirmed a revision. One query."""
    rows = active(environment).filter(obeyed_revision__gt=0).values_list("device_class", "simulated")
    return [(device_class, simulated, at) for device_class, simulated, at in rows.annotate(last=Max("last_seen_at"))]


def obeyed_last_at(environment: str, revision: int) -> object:
    """Return when the last device that obeys the revision confirmed it; None when none does."""
    return active(environment).filter(obeyed_revision__gte=revision).aggregate(last=Max("obeyed_at"))["last"]


def obeyed_share_at(environment: str, revision: int, share: float) -> tuple[datetime, int, int] | None:
    """Return when so large a share of the active devices obeyed a revision, how many that are, and of how many.

    None until they do, and without any device. Two queries.
    """
    obeys = Q(obeyed_revision__gte=revision, obeyed_at__isnull=False)
    counts = active(environment).aggregate(devices=Count("pk"), obeyed=Count("pk", filter=obeys))
    wanted = ceil(share * counts["devices"])
    if not wanted or counts["obeyed"] < wanted:
        return None
    moments = active(environment).filter(obeys).order_by("obeyed_at").values_list("obeyed_at", flat=True)
    return moments[wanted - 1], wanted, counts["devices"]


def settled_at(environment: str, revision: int, *, lease: timedelta = LEASE) -> datetime | None:
    """Return when the last active device obeyed a revision or its lease ended; None while one is pending, or without any.

    One query.
    """
    obeys = Q(obeyed_revision__gte=revision)
    silent = Q(last_seen_at__lt=clock.now() - lease)
    found = active(environment).aggregate(
        devices=Count("pk"),
        pending=Count("pk", filter=~obeys & ~silent),
        obeyed_last=Max("obeyed_at", filter=obeys),
        silent_last=Max("last_seen_at", filter=~obeys & silent),
    )
    if not found["devices"] or found["pending"]:
        return None
    ended = found["silent_last"] + lease if found["silent_last"] else None
    return max((at for at in (found["obeyed_last"], ended) if at is not None), default=None)


@dataclass(frozen=True)
class Obeyed:
    """Of the devices that could obey a press, how many did; `simulated` of those."""

    devices: int
    obeyed: int
    simulated: int


def obeyed_since(environment: str, revision: int, at: datetime, *, simulated: bool) -> Obeyed:
    """Count, of the devices known before a moment and heard of since, those that obey a revision or a later one.

    Who asks for no flags (told nothing ever) can't obey and isn't counted; simulated ones only where they may judge.
    """
    asking = Q(told_revision__gt=0) | Q(obeyed_revision__gt=0)
    found = CensusDevice.objects.filter(asking, environment=environment, first_seen_at__lte=at, last_seen_at__gte=at)
    if not simulated:
        found = found.filter(simulated=False)
    obeys = Q(obeyed_revision__gte=revision)
    counts = found.aggregate(
        devices=Count("pk"),
        obeyed=Count("pk", filter=obeys),
        simulated=Count("pk", filter=obeys & Q(simulated=True)),
    )
    return Obeyed(**counts)
