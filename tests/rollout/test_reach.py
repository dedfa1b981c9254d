"""What rules mean in numbers is what evaluation says of every active device, one by one."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hawkops.core import clock
from hawkops.history.actors import Actor
from rollout.domain.evaluation import evaluate, in_audience
from rollout.domain.flags import Flag, Snapshot
from rollout.domain.targeting import Context, Rule, constraint
from rollout.models import CensusDevice, GroupMember, TargetGroup
from rollout.selectors import targeting
from rollout.services.flags import flags_seed
from rollout.services.groups import groups_seed

pytestmark = pytest.mark.django_db
SAID: list[dict[str, Any]] = [
    {},
    {"device.soc": "Tensor G4", "device.memory_mb": 8192},
    {"device.soc": "Tensor G4", "device.memory_mb": 4096, "model.artefact": ["a", "b"]},
    {"device.soc": "Snapdragon 8", "device.memory_mb": 8192},
]
OLD = constraint("device.memory_mb", "is below", "8000")
TENSOR = constraint("device.soc", "is", "tensor g4")
RULES = (
    Rule("off", constraints=(OLD,)),
    Rule("on", group="beta_testers", constraints=(TENSOR,)),
    Rule("on", 40_000, group="beta_testers"),
    Rule("on", 30_000, constraints=(TENSOR,)),
)


@pytest.fixture
def fleet() -> list[Context]:
    """Sixty active devices, a third of them testers, and some that are silent for long."""
    flags_seed(actor=Actor.system("test"))
    groups_seed(actor=Actor.system("test"))
    now = clock.now()
    devices = [(f"device-{number:02d}", SAID[number % len(SAID)]) for number in range(80)]
    CensusDevice.objects.bulk_create(
        CensusDevice(
            environment="demo",
            device_id=key,
            attributes=said,
            first_seen_at=now,
            last_seen_at=now - timedelta(hours=2 if number >= 60 else 0),
        )
        for number, (key, said) in enumerate(devices)
    )
    group = TargetGroup.objects.get(environment="demo", key="beta_testers")
    # some members never called, or not for long
    GroupMember.objects.bulk_create(
        GroupMember(group=group, targeting_key=f"device-{number:02d}") for number in range(0, 120, 3)
    )
    return [Context(key, said) for key, said in devices[:60]]


def flags_now(*, percent: int, requires: tuple[str, ...] = ()) -> tuple[Snapshot, Flag]:
    """The snapshot, with a flag at 25 % that LiteRT requires, and LiteRT with the rules."""
    now = targeting.snapshot("demo")
    halved = replace(now.flags["ai_fallback_to_cloud"], thousandths=25_000)
    now = replace(now, flags={**now.flags, "ai_fallback_to_cloud": halved})
    flag = replace(now.flags["litert_enabled"], thousandths=percent, pinned={"device-04": "off"}, requires=requires)
    return now, replace(flag, rules=RULES)


@pytest.mark.parametrize("requires", [(), ("ai_fallback_to_cloud",)])
@pytest.mark.parametrize("percent", [0, 50_000, 100_000])
def test_reach__any_state__counts_what_evaluation_says(
    fleet: list[Context], percent: int, requires: tuple[str, ...]
) -> None:
    now, after = flags_now(percent=percent, requires=requires)
    then = replace(now, flags={**now.flags, after.key: after})
    found = targeting.reach(now, after.key, after)
    answers = [evaluate(then, after.key, device) for device in fleet]
    before = [evaluate(now, after.key, device).variant == "on" for device in fleet]
    on = [answer.variant == "on" for answer in answers]
    assert (found.active, found.looked_at, found.on, found.unsaid) == (60, 60, sum(on), 15)
    assert 0 < found.on < 60
    assert found.joined == sum(a and not b for a, b in zip(on, before, strict=True))
    assert found.left == sum(b and not a for a, b in zip(on, before, strict=True))
    for place, rule in enumerate(RULES):
        assert found.rules[place].audience == sum(in_audience(then, rule, device) for device in fleet)
        assert found.rules[place].served == sum(answer.rule == place + 1 for answer in answers)
    same = targeting.reach(then, after.key, after)
    assert (same.on, same.joined, same.left, same.rules) == (found.on, 0, 0, found.rules)


@pytest.mark.parametrize(
    "rules", [(), RULES[:1], RULES[1:2], RULES[1:3], RULES[1:], (Rule("on"),), (Rule("on", group="nobody"),)]
)
def test_audience__any_rules__counts_each_device_once(fleet: list[Context], rules: tuple[Rule, ...]) -> None:
    now = targeting.snapshot("demo")
    expected = sum(any(in_audience(now, rule, device) for rule in rules) for device in fleet)
    assert targeting.audience(now, rules) == (60, expected)


def test_audience__of_no_devices__is_empty() -> None:
    flags_seed(actor=Actor.system("test"))
    assert targeting.audience(targeting.snapshot("demo"), [Rule("on")]) == (0, 0)
