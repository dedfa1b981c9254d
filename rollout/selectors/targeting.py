"""What rules mean in numbers: who gets what now, who would after a change, and why one device gets its value."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from rollout.domain.compiled import Compiled
from rollout.domain.evaluation import in_audience
from rollout.domain.flags import ON, Flag, Snapshot
from rollout.domain.targeting import Context
from rollout.models import Flag as StoredFlag
from rollout.models import GroupMember, TargetGroup
from rollout.selectors import census, flags

# Beyond this many active devices a preview looks at this many and scales up.
LOOKED_AT_MOST = 100_000


@dataclass
class RuleReach:
    """Of how many devices a rule speaks, and how many it serves after the rules before it."""

    audience: int = 0
    served: int = 0


@dataclass
class Reach:
    """What a flag's state means for the active devices, and whom it changes against the state before."""

    active: int
    looked_at: int = 0
    on: int = 0
    joined: int = 0
    left: int = 0
    unsaid: int = 0
    rules: list[RuleReach] = field(default_factory=list)

    @property
    def estimated(self) -> bool:
        """Whether not every active device was looked at."""
        return self.looked_at < self.active


def groups(environment: str) -> Mapping[str, frozenset[str]]:
    """Return the targeting keys of every group."""
    found: dict[str, set[str]] = {
        key: set() for key in TargetGroup.objects.filter(environment=environment).values_list("key", flat=True)
    }
    members = GroupMember.objects.filter(group__environment=environment).values_list("group__key", "targeting_key")
    for group, member in members.iterator(chunk_size=5_000):
        found[group].add(member)
    return {key: frozenset(members) for key, members in found.items()}


def snapshot(environment: str) -> Snapshot:
    """Return what a gateway holds of an environment."""
    rows: list[StoredFlag] = flags.flags(environment)
    return Snapshot(
        environment,
        flags.revision(environment),
        {flag.key: flag.domain() for flag in rows},
        groups=groups(environment),
    )


def context(environment: str, targeting_key: str) -> Context:
    """Return a device as the census knows it; with nothing but its key when it does not."""
    said = census.attributes(environment, targeting_key)
    return Context(targeting_key, said)


def reach(now: Snapshot, key: str, after: Flag) -> Reach:
    """Evaluate a flag's state for every active device, and compare it with the state in the snapshot.

    A device that has said nothing of itself yet is counted by its key alone. Numbers are scaled up when there are more
    devices than are looked at.
    """
    found = Reach(census.active_count(now.environment), rules=[RuleReach() for _ in after.rules])
    then = replace(now, flags={**now.flags, key: after})
    unchanged = now.flags[key] == after
    stands, becomes = Compiled(now), Compiled(then)
    for device in _devices(now.environment):
        found.looked_at += 1
        found.unsaid += not device.attributes
        answer = becomes.evaluate(key, device)
        on = answer.variant == ON
        found.on += on
        if answer.rule:
            found.rules[answer.rule - 1].served += 1
        for place, rule in enumerate(after.rules):
            found.rules[place].audience += in_audience(then, rule, device)
        if not unchanged:
            was_on = stands.evaluate(key, device).variant == ON
            found.joined += on and not was_on
            found.left += was_on and not on
    return _scaled(found)


def _devices(environment: str) -> Iterator[Context]:
    rows = census.active(environment).order_by("device_id").values_list("device_id", "attributes")
    for key, said in rows[:LOOKED_AT_MOST].iterator(chunk_size=5_000):
        yield Context(key, said)


def _scaled(found: Reach) -> Reach:
    if not found.looked_at or not found.estimated:
        return found
    factor = found.active / found.looked_at
    for one in (found, *found.rules):
        for name in ("on", "joined", "left", "unsaid") if isinstance(one, Reach) else ("audience", "served"):
            setattr(one, name, round(getattr(one, name) * factor))
    return found
