"""What rules mean in numbers: who gets what now, who would after a change, and why one device gets its value."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from django.db.models import TextField
from django.db.models.functions import Cast

from rollout.domain.compiled import Compiled, Settled
from rollout.domain.evaluation import in_audience
from rollout.domain.flags import ON, Flag, Snapshot
from rollout.domain.targeting import Context, Rule
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
    # of those that leave
    left_simulated: int = 0
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


def audience(now: Snapshot, rules: Iterable[Rule]) -> tuple[int, int]:
    """Count the active devices, and those that some rule speaks of, whatever its share; each once.

    Devices that say the same are asked about together; only members of a rule's group are looked at one by one.
    """
    given = list(rules)
    everywhere = [rule for rule in given if not rule.group]

    def meant(said: Mapping[str, Any]) -> bool:
        return any(in_audience(now, rule, Context("", said)) for rule in everywhere)

    profiles = census.profiles(now.environment)
    found = sum(devices for said, devices in profiles if meant(said))
    if grouped := [rule for rule in given if rule.group]:
        names = {rule.group for rule in grouped}
        members = GroupMember.objects.filter(group__environment=now.environment, group__key__in=names)
        rows = census.active(now.environment).filter(device_id__in=members.values("targeting_key"))
        for key, said in rows.values_list("device_id", "attributes").iterator(chunk_size=5_000):
            device = Context(key, said)
            found += not meant(said) and any(in_audience(now, rule, device) for rule in grouped)
    return sum(devices for _, devices in profiles), found


@dataclass
class _Alike:
    """Devices that say the same of themselves: what that settles, and which rules it leaves in question."""

    said: Mapping[str, Any]
    then: Settled
    now: Settled
    # places of rules that speak of all of them, and of members of a group only
    meant: list[int]
    grouped: list[tuple[int, frozenset[str]]]
    devices: int = 0


def reach(now: Snapshot, key: str, after: Flag) -> Reach:
    """Evaluate a flag's state for every active device, and compare it with the state in the snapshot.

    A device that has said nothing of itself yet is counted by its key alone. Numbers are scaled up when there are more
    devices than are looked at.
    """
    found = Reach(census.active_count(now.environment), rules=[RuleReach() for _ in after.rules])
    unchanged = now.flags[key] == after
    before = Compiled(now)
    then = before if unchanged else Compiled(replace(now, flags={**now.flags, key: after}))
    alike: dict[str, _Alike] = {}
    for device_id, written, simulated in _devices(now.environment):
        kind = alike.get(written)
        if kind is None:
            kind = alike[written] = _kind(now, orjson.loads(written), before, then, after.rules)
        kind.devices += 1
        device = Context(device_id, kind.said)
        answer = then.chosen(key, kind.then, device)
        on = answer.variant == ON
        found.on += on
        if answer.rule:
            found.rules[answer.rule - 1].served += 1
        for place, members in kind.grouped:
            found.rules[place].audience += device_id in members
        if not unchanged:
            was_on = before.chosen(key, kind.now, device).variant == ON
            found.joined += on and not was_on
            found.left += was_on and not on
            found.left_simulated += simulated and was_on and not on
    for kind in alike.values():
        found.looked_at += kind.devices
        found.unsaid += 0 if kind.said else kind.devices
        for place in kind.meant:
            found.rules[place].audience += kind.devices
    return _scaled(found)


def _kind(now: Snapshot, said: Mapping[str, Any], before: Compiled, then: Compiled, rules: tuple[Rule, ...]) -> _Alike:
    fits = [
        (place, rule)
        for place, rule in enumerate(rules)
        if in_audience(now, replace(rule, group=""), Context("", said))
    ]
    grouped = [(place, now.groups.get(rule.group, frozenset())) for place, rule in fits if rule.group]
    meant = [place for place, rule in fits if not rule.group]
    return _Alike(said, then.settled(said), before.settled(said), meant, grouped)


def _devices(environment: str) -> Iterator[tuple[str, str, bool]]:
    """Return active devices with what they said as text: those that said the same needn't be read twice."""
    rows = census.active(environment).order_by("device_id").annotate(written=Cast("attributes", TextField()))
    return rows.values_list("device_id", "written", "simulated")[:LOOKED_AT_MOST].iterator(chunk_size=5_000)


def _scaled(found: Reach) -> Reach:
    if not found.looked_at or not found.estimated:
        return found
    factor = found.active / found.looked_at
    for one in (found, *found.rules):
        for name in (
            ("on", "joined", "left", "left_simulated", "unsaid") if isinstance(one, Reach) else ("audience", "served")
        ):
            setattr(one, name, round(getattr(one, name) * factor))
    return found
