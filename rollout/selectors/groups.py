"""Reading target groups."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Count

from rollout.models import GroupMember, TargetGroup
from rollout.selectors import census, flags


@dataclass(frozen=True)
class Shown:
    """A group with how many devices it holds, how many of those are active, and the flags whose rules name it."""

    group: TargetGroup
    members: int
    active: int
    used_by: tuple[str, ...]


def shown(environment: str) -> list[Shown]:
    """Return the environment's groups. Four queries."""
    found = TargetGroup.objects.filter(environment=environment).annotate(count=Count("members"))
    rules = list(flags.live(environment).values_list("key", "rules"))
    heard = census.active(environment).values("device_id")
    members = GroupMember.objects.filter(group__environment=environment, targeting_key__in=heard)
    active = dict(members.values_list("group_id").annotate(devices=Count("pk")))
    return [
        Shown(
            group,
            group.count,
            active.get(group.pk, 0),
            tuple(flag for flag, documents in rules if any(one["group"] == group.key for one in documents)),
        )
        for group in found
    ]


def group(environment: str, key: str) -> TargetGroup | None:
    """Return one group, or None."""
    return TargetGroup.objects.filter(environment=environment, key=key).first()


def members(found: TargetGroup) -> Iterator[str]:
    """Give a group's targeting keys in order."""
    return found.members.order_by("targeting_key").values_list("targeting_key", flat=True).iterator(chunk_size=5_000)
