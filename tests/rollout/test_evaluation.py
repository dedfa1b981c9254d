"""Evaluation as a table: what wins over what, and what a device without a key gets."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.domain.evaluation import KeyMissing, UnknownFlag, evaluate, evaluate_all, safe
from rollout.domain.flags import Flag, FlagType, Override, Snapshot, raises_exposure
from rollout.domain.targeting import Context, Rule, constraint

DEVICE = Context("device-1")

LITERT = Flag("litert_enabled", FlagType.BOOLEAN, True, False, "off", 100_000, "l")
GPU = Flag("litert_gpu_backend", FlagType.BOOLEAN, True, False, "off", 100_000, "g", requires=("litert_enabled",))
CLOUD = Flag("ai_fallback_to_cloud", FlagType.BOOLEAN, True, False, "on", 0, "c")
RATIO = Flag("ratio", FlagType.FLOAT, 2, 1, "off", 100_000, "r")
COUNT = Flag("count", FlagType.INTEGER, 2.0, 4, "off", 0, "n")


def snapshot(*flags: Flag, **more: Any) -> Snapshot:
    """An environment with these flags."""
    return Snapshot("demo", 7, {flag.key: flag for flag in flags}, **more)


@pytest.mark.parametrize(
    "flags,key,variant,reason",
    [
        ((LITERT,), "litert_enabled", "on", "STATIC"),
        ((replace(LITERT, thousandths=0),), "litert_enabled", "off", "STATIC"),
        ((replace(LITERT, override=Override("off", "incident")),), "litert_enabled", "off", "DISABLED"),
        ((replace(CLOUD, override=Override("on", "incident")),), "ai_fallback_to_cloud", "on", "STATIC"),
        ((LITERT, GPU), "litert_gpu_backend", "on", "STATIC"),
        ((replace(LITERT, override=Override("off", "x")), GPU), "litert_gpu_backend", "off", "DISABLED"),
        ((GPU,), "litert_gpu_backend", "off", "DISABLED"),
        ((LITERT, replace(GPU, override=Override("on", "x"))), "litert_gpu_backend", "on", "STATIC"),
    ],
)
def test_evaluate__order__first_match_wins(flags: tuple[Flag, ...], key: str, variant: str, reason: str) -> None:
    found = evaluate(snapshot(*flags), key, DEVICE)
    assert (found.variant, found.reason) == (variant, reason)


def test_evaluate__lockdown__serves_safe_values_over_everything() -> None:
    locked = snapshot(LITERT, replace(CLOUD, override=Override("off", "x")), lockdown=True)
    assert [found.variant for found in evaluate_all(locked, DEVICE)] == ["off", "on"]


def test_evaluate__without_targeting_key__is_an_error_only_where_the_answer_depends_on_it() -> None:
    half = replace(LITERT, thousandths=50_000)
    assert evaluate(snapshot(LITERT), "litert_enabled", Context()).value is True
    with pytest.raises(KeyMissing):
        evaluate(snapshot(half), "litert_enabled", Context())
    assert evaluate_all(snapshot(half), Context())[0].variant == "off"


def test_evaluate__unknown_flag__is_said() -> None:
    with pytest.raises(UnknownFlag):
        evaluate(snapshot(), "nope", DEVICE)


def test_value__declared_type__decides_the_number() -> None:
    found = evaluate(snapshot(RATIO), "ratio", DEVICE).value
    assert isinstance(found, float) and found == 2.0
    found = evaluate(snapshot(replace(COUNT, thousandths=100_000)), "count", DEVICE).value
    assert isinstance(found, int) and found == 2


def test_safe__gateway_cut_off__serves_each_flags_safe_variant() -> None:
    assert safe(LITERT).value is False
    assert safe(CLOUD).value is True


@given(st.integers(0, 100_000), st.uuids())
def test_evaluate__lowered_and_raised_again__returns_the_same_devices(thousandths: int, device: object) -> None:
    before = evaluate(
        snapshot(replace(LITERT, thousandths=thousandths)), "litert_enabled", Context(str(device))
    ).variant
    lowered = replace(LITERT, thousandths=0)
    again = replace(lowered, thousandths=thousandths)
    assert evaluate(snapshot(again), "litert_enabled", Context(str(device))).variant == before


@given(st.integers(0, 100_000), st.uuids())
def test_evaluate__single_and_bulk__agree(thousandths: int, device: object) -> None:
    shot = snapshot(replace(LITERT, thousandths=thousandths), GPU, CLOUD, RATIO, COUNT)
    assert evaluate_all(shot, Context(str(device))) == [evaluate(shot, key, Context(str(device))) for key in shot.flags]


ON, OFF = Override("on", "x"), Override("off", "x")


@pytest.mark.parametrize(
    "flag,thousandths,override,raises",
    [
        (replace(LITERT, thousandths=10), 20, None, True),
        (replace(LITERT, thousandths=20), 10, None, False),
        (LITERT, None, OFF, False),
        (replace(LITERT, override=OFF), None, None, True),
        (replace(LITERT, override=OFF), 0, None, False),
        (replace(CLOUD, thousandths=100_000), 50_000, None, True),
        (CLOUD, 100_000, None, False),
        (CLOUD, None, ON, False),
        (replace(CLOUD, override=ON), None, None, True),
    ],
)
def test_raises_exposure__judged_by_the_safe_value(
    flag: Flag, thousandths: int | None, override: Override | None, raises: bool
) -> None:
    after = replace(flag, thousandths=flag.thousandths if thousandths is None else thousandths, override=override)
    assert raises_exposure(flag, after) is raises


def test_raises_exposure__another_salt__raises_where_a_share_is_served() -> None:
    for thousandths, raises in ((0, False), (50_000, True), (100_000, False)):
        flag = replace(LITERT, thousandths=thousandths)
        assert raises_exposure(flag, replace(flag, salt="other")) is raises


def test_raises_exposure__a_requirement_dropped__raises_where_something_is_served() -> None:
    gated = replace(LITERT, thousandths=50_000, requires=("other",))
    assert raises_exposure(gated, replace(gated, requires=()))
    assert not raises_exposure(replace(gated, requires=()), gated)
    assert not raises_exposure(replace(gated, thousandths=0), replace(gated, thousandths=0, requires=()))
    fallback = replace(CLOUD, thousandths=100_000)
    assert raises_exposure(fallback, replace(fallback, requires=("other",))), "where the other is off, fallback ends"


TEXT = Flag("prompt", FlagType.STRING, "new", "old", "off", 0, "p")
TEXT_SAFE_ON = replace(TEXT, safe_variant="on", thousandths=100_000)
TESTERS_ON, TESTERS_OFF = Rule("on", group="testers"), Rule("off", group="testers")


@pytest.mark.parametrize(
    ("flag", "variant", "raises"),
    [
        # the unsafe value: only where some device may get it
        (TEXT, "on", False),
        (replace(TEXT, thousandths=1), "on", True),
        (replace(TEXT, thousandths=100_000), "on", True),
        (replace(TEXT, rules=(TESTERS_ON,)), "on", True),
        (replace(TEXT, rules=(replace(TESTERS_ON, thousandths=0),)), "on", False),
        (replace(TEXT, rules=(Rule("off"), TESTERS_ON), thousandths=100_000), "on", False),
        (replace(TEXT, pinned={"d1": "on"}), "on", True),
        (replace(TEXT, pinned={"d1": "off"}), "on", False),
        (replace(TEXT, scoped=(Override("on", "x", (constraint("device.soc", "is", "a"),)),)), "on", True),
        (replace(TEXT, override=ON), "on", True),
        (replace(TEXT, thousandths=100_000, override=OFF), "on", False),
        (replace(TEXT, thousandths=100_000, requires=("other",)), "on", True),
        # the safe value: a kill, a lockdown and a lost gateway serve it, whoever gets it now
        (TEXT, "off", True),
        (replace(TEXT, thousandths=100_000), "off", True),
        (replace(TEXT, override=ON), "off", True),
        (TEXT_SAFE_ON, "on", True),
        (replace(TEXT_SAFE_ON, override=OFF), "on", True),
        # off is the unsafe one
        (TEXT_SAFE_ON, "off", False),
        (replace(TEXT_SAFE_ON, thousandths=99_999), "off", True),
        (replace(TEXT_SAFE_ON, rules=(TESTERS_OFF,)), "off", True),
        (replace(TEXT_SAFE_ON, override=OFF), "off", True),
        (replace(TEXT_SAFE_ON, thousandths=0, override=ON), "off", False),
        (replace(TEXT_SAFE_ON, requires=("other",)), "off", True),
        (replace(TEXT_SAFE_ON, rules=(TESTERS_ON,)), "off", True),
    ],
)
def test_raises_exposure__another_value(flag: Flag, variant: str, raises: bool) -> None:
    given: dict[str, Any] = {variant: "another"}
    assert raises_exposure(flag, replace(flag, **given)) is raises


def test_raises_exposure__the_same_value_of_another_type__is_another_value() -> None:
    known = replace(TEXT, type=FlagType.JSON, on={"a": 1}, off={}, thousandths=100_000)
    assert raises_exposure(known, replace(known, on={"a": True}))
    assert not raises_exposure(known, replace(known, on={"a": 1}))
    ratio = replace(RATIO, on=2)
    assert not raises_exposure(ratio, replace(ratio, on=2.0)), "devices get 2.0 both times"


def test_raises_exposure__another_value_and_off_for_everybody__is_lowering() -> None:
    everybody = replace(TEXT, thousandths=100_000)
    assert not raises_exposure(everybody, replace(everybody, on="another", thousandths=0))
    assert raises_exposure(everybody, replace(everybody, on="another", thousandths=50_000))
