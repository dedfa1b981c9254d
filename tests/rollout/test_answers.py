"""What the doors answer in bulk is what evaluation says, whoever asked before."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.evaluation import evaluate_all
from rollout.domain.flags import ON, Flag, FlagType, Snapshot
from rollout.domain.targeting import Constraint, Context, Operator, Rule, kept
from rollout.ofrep import answers
from rollout.ofrep.answers import Answers
from tests.rollout.test_compiled import contexts, snapshots

LEASE, SPENT = 899, 1


def bulk(ready: Answers, context: dict[str, Any]) -> Any:
    """The flags that a device gets."""
    found = ready.bulk(context.get("targetingKey", ""), ready.profile(context), context)
    return orjson.loads(found.written(ready, LEASE, SPENT, "", "token").whole.body)["flags"]


@settings(max_examples=150, deadline=None)
@given(snapshots(), st.lists(contexts, min_size=1, max_size=8))
def test_bulk__any_devices_one_after_another__is_what_evaluation_says(
    snapshot: Snapshot, devices: list[Context]
) -> None:
    ready = Answers(snapshot)
    for device in devices:
        context = {"targetingKey": device.targeting_key, **device.attributes}
        expected = [
            {
                "key": one.key,
                "value": one.value,
                "variant": one.told,
                "reason": one.reason,
                "metadata": {"revision": 7, "lease_seconds": LEASE},
            }
            for one in evaluate_all(snapshot, device)
        ]
        assert bulk(ready, context) == expected
        profile = ready.profile(context)
        assert profile.attributes == kept(context)
        found = ready.bulk(device.targeting_key, profile, context)
        assert found.served_on == tuple(one.key for one in evaluate_all(snapshot, device) if one.variant == ON)


def only_for(value: str) -> Answers:
    """A flag that is on where an attribute, known or not, is this."""
    rules = tuple(
        Rule("on", constraints=(Constraint(name, Operator.IS, (value,)),)) for name in ("device.soc", "their.own")
    )
    flag = Flag("f", FlagType.BOOLEAN, True, False, "off", 0, "s", rules=rules)
    return Answers(Snapshot("demo", 7, {"f": flag}))


@pytest.mark.parametrize("name", ["device.soc", "their.own"])
def test_profile__values_that_python_takes_for_equal__are_told_apart(name: str) -> None:
    ready = only_for("true")
    said = [
        bulk(ready, {"targetingKey": "d", name: value})[0]["value"] for value in (1, 1.0, True, "1", "TRUE", [True])
    ]
    assert said == [False, False, True, False, True, True]


def test_profile__simulated_and_class__are_those_of_the_asking_device() -> None:
    ready = only_for("x")
    one = ready.profile({"device.soc": "a\x00b", "hawkops.simulated": True})
    other = ready.profile({"device_class": "tablet", "hawkops.simulated": 1})
    assert (one.device_class, one.simulated) == ("ab", True)
    assert (other.device_class, other.simulated) == ("tablet", False)


def test_profile__the_same_said_with_other_things_nobody_reads__is_shared() -> None:
    ready = only_for("x")
    first = ready.profile({"targetingKey": "a", "device.soc": "x", "hawkops.revision": 3})
    assert ready.profile({"noise": 1, "device.soc": "x", "targetingKey": "b"}) is first


def test_profile__many_or_long_ones__take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PROFILES_MOST", 3)
    ready = only_for("x")
    for number in range(10):
        ready.profile({"device.soc": str(number)})
    assert len(ready._profiles) <= 3
    long = {"device.soc": ["x" * 70] * 50}
    kept_before = dict(ready._profiles)
    assert bulk(ready, {"targetingKey": "d", **long})[0]["value"] is False
    assert ready._profiles == kept_before


def test_lease__of_a_whole_answer__is_no_longer_than_that_of_any_flag_in_it() -> None:
    flags = {
        key: Flag(key, FlagType.BOOLEAN, True, False, "off", 0, "s", lease_seconds=seconds)
        for key, seconds in (("a", 900), ("b", 30))
    }
    ready = Answers(Snapshot("demo", 7, flags))
    context = {"targetingKey": "d1"}
    found = ready.bulk("d1", ready.profile(context), context).written(ready, 890, 10, "", "token")
    assert (b"hawkops-lease-seconds", b"20") in found.unchanged.headers
    assert orjson.loads(found.whole.body)["metadata"]["lease_seconds"] == 20
    assert ready.lease(880, 40) == 0
