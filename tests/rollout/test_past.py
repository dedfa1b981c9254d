"""A flag at any moment, whatever was done to it and to others with it: rebuilt as it stood then."""

import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.history.services import history_verify
from hawkops.history.travel import siblings, visit
from rollout.domain.experiments import Arm
from rollout.domain.targeting import Rule, constraint
from rollout.models import Experiment, Flag
from rollout.services.experiments import experiment_end, experiment_start
from rollout.services.flags import flag_percentage_set, flag_requires_set, flag_rules_set, flag_salt_set, flags_seed
from rollout.services.forcing import flag_value_force
from rollout.services.initialising import flags_zero
from rollout.services.overrides import backends_disable, flag_override_set, kill, reenable, scoped_disable
from rollout.services.own_flags import flag_archive, flag_create
from rollout.services.values import flag_values_set

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("test")
KEYS = ("litert_enabled", "litert_gpu_backend", "ai_fallback_to_cloud", "litert_max_concurrent_inferences")
GIVEN: dict[str, Any] = {"environment": "demo", "actor": SYSTEM, "reason": "Because"}


def standing() -> dict[str, dict[str, Any]]:
    """Every flag of demo as its row says: what entries name of it."""
    return {
        flag.key: {**flag.state(), "requires": flag.requires, "salt": flag.salt, "on": flag.on, "off": flag.off}
        for flag in Flag.objects.filter(environment="demo")
    }


def _acts(chance: random.Random) -> list[Callable[[], object]]:
    key = chance.choice(KEYS)
    revision = Flag.objects.get(environment="demo", key=key).revision
    where = (constraint("soc", "is", "sm8650"),)
    return [
        lambda: flag_percentage_set(key=key, percent=chance.randrange(101), **GIVEN),
        lambda: flag_rules_set(
            key=key,
            rules=[Rule("on", thousandths=chance.randrange(1, 100_000), constraints=where)] * chance.randrange(2),
            pinned={"dev-1": "on"} if chance.random() < 0.5 else {},
            expected_revision=revision,
            **GIVEN,
        ),
        lambda: flag_override_set(key=key, variant=chance.choice(["on", "off", ""]), **GIVEN),
        lambda: flag_requires_set(
            key="litert_gpu_backend",
            requires=chance.sample(["litert_enabled", "litert_npu_backend"], 1),
            expected_revision=Flag.objects.get(environment="demo", key="litert_gpu_backend").revision,
            **GIVEN,
        ),
        lambda: flag_salt_set(key=key, salt=f"salt-{chance.randrange(9)}", expected_revision=revision, **GIVEN),
        lambda: kill(**GIVEN),
        lambda: reenable(keys=KEYS, **GIVEN),
        lambda: backends_disable(**GIVEN),
        lambda: flags_zero(keys=KEYS[:2], **GIVEN),
        lambda: scoped_disable(keys=KEYS[:2], cohorts=[where], **GIVEN),
        lambda: flag_value_force(key=KEYS[3], value=chance.randrange(1, 8), **GIVEN),
        lambda: flag_values_set(
            key=KEYS[3],
            on=chance.randrange(1, 8),
            off=4,
            schema=None,
            expected_revision=Flag.objects.get(environment="demo", key=KEYS[3]).revision,
            **GIVEN,
        ),
        lambda: experiment_start(
            flag=key,
            key=f"test-{chance.randrange(10**9)}",
            title="Test",
            hypothesis="",
            arms=[Arm("a", 1, None), Arm("b", 1, None)],
            **GIVEN,
        ),
        lambda: [experiment_end(key=one.key, **GIVEN) for one in Experiment.objects.filter(ended_at=None)],
    ]


@pytest.mark.parametrize("seed", range(4))
def test_flags__after_any_acts__at_every_moment__are_as_they_stood(seed: int) -> None:
    chance = random.Random(seed)
    flags_seed(actor=SYSTEM)
    stood: list[tuple[int, datetime, dict[str, dict[str, Any]]]] = []

    def note() -> None:
        last = HistoryEntry.objects.order_by("-seq")[0]
        stood.append((last.seq, last.at, standing()))

    note()
    for _ in range(24):
        seq = Head.objects.get().seq
        try:
            chance.choice(_acts(chance))()
        except HawkOpsError:
            continue
        if Head.objects.get().seq > seq:
            note()
    assert len(stood) > 10
    for seq, at, flags in stood:
        for key in KEYS:
            for found in (visit("demo", f"flag:{key}", at=at), visit("demo", f"flag:{key}", at=at, until_seq=seq)):
                said = found.state.values
                for name in ("percentage", "override", "revision", "rules", "pinned", "scoped_overrides"):
                    assert said.get(name) == flags[key].get(name), (seed, seq, key, name)
                for name in set(said) & set(flags[key]) - {"experiment"}:
                    assert said[name] == flags[key][name], (seed, seq, key, name)
                assert (said.get("experiment") or {}).get("key") == (flags[key].get("experiment") or {}).get("key")
                assert not [one for one in found.state.unlike if one[0] != "experiment"], (seed, seq, key)
    assert history_verify(requested_by="test").good


def test_siblings__are_all_flags_of_the_moment__archived_and_later_ones_too() -> None:
    flags_seed(actor=SYSTEM)
    made = flag_create(
        key="own_flag",
        title="Own",
        explanation="What on does",
        kind="boolean",
        on=True,
        off=False,
        schema=None,
        safe_variant="off",
        actor=SYSTEM,
        reason="New",
    )
    before = made[0].at
    flag = Flag.objects.get(environment="demo", key="own_flag")
    gone = flag_archive(key="own_flag", expected_revision=flag.revision, **GIVEN)
    assert gone is not None
    then = {one.subject: one.state for one in siblings("demo", "flag:litert_enabled", at=made[-1].at)}
    assert then["flag:own_flag"].values["percentage"] == 0
    assert then["flag:own_flag"].ended is None
    now = {one.subject: one.state for one in siblings("demo", "flag:litert_enabled", at=gone.at)}
    assert now["flag:own_flag"].ended is not None
    assert now["flag:own_flag"].ended.verb == "flag.archived"
    assert now["flag:litert_enabled"].values["percentage"] == 100
    assert before < gone.at
