"""Targeting: what constraints compare, what rules mean, what can't be kept, and which change is a raise."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawkops.core.errors import InvalidInput
from rollout.domain.evaluation import KeyMissing, evaluate, evaluate_all, explain
from rollout.domain.flags import Flag, FlagType, Override, Snapshot, raises_exposure
from rollout.domain.targeting import Constraint, Context, Operator, Rule, constraint, rule, rules_checked, version

LITERT = Flag("litert_enabled", FlagType.BOOLEAN, True, False, "off", 0, "l")
GROUPS = {"testers": frozenset({"d1", "d2"}), "friends": frozenset({"d2", "d3"})}
DRIVER = "device.gpu.driver"


def served(flag: Flag, key: str = "d1", **attributes: Any) -> str:
    """Which variant a device gets."""
    said = {name.replace("_", "."): value for name, value in attributes.items()}
    return evaluate(Snapshot("demo", 1, {flag.key: flag}, groups=GROUPS), flag.key, Context(key, said)).variant


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("2.9", "2.10"),
        ("1.4.0-rc1", "1.4"),
        ("1.4.0-alpha", "1.4.0-beta"),
        ("508.762", "512"),
        ("r37p0", "r38p1-01eac0"),
    ],
)
def test_version__compares_as_versions(lower: str, higher: str) -> None:
    one, other = version(lower), version(higher)
    assert one is not None and other is not None and one < other


def test_version__trailing_zeros_and_builds__do_not_count() -> None:
    assert version("1.4") == version("v1.4.0+77") == version("1.4.0.0")
    assert version("OpenGL ES 3.2") is None


@pytest.mark.parametrize(
    ("typed", "said", "matches"),
    [
        (("device.soc", "is", "SM8650, Tensor G3"), "tensor g3", True),
        (("device.soc", "is", "SM8650"), "SM8550", False),
        (("device.soc", "is not", "SM8650"), "SM8550", True),
        (("device.soc", "is not", "SM8650"), None, False),
        ((DRIVER, "is below", "512"), "508.762", True),
        ((DRIVER, "is below", "512"), "512.0", False),
        ((DRIVER, "is at least", "512"), "512.800", True),
        ((DRIVER, "is below", "512"), "unknown", False),
        ((DRIVER, "is", "512"), "512.0", True),
        (("device.memory_mb", "is at least", "5500"), 7_800, True),
        (("device.memory_mb", "is at least", "5500"), "4000", False),
        (("device.memory_mb", "is at least", "5500"), float("nan"), False),
        (("hawkops.simulated", "is", "true"), True, True),
        (("model.artefact", "is", "gemma-3"), ["other", "Gemma-3"], True),
        (("model.artefact", "is not", "gemma-3"), ["other", "gemma-3"], False),
        (("app.flavour", "is", "beta"), "beta", True),
    ],
)
def test_constraint__what_it_compares(typed: tuple[str, str, str], said: Any, matches: bool) -> None:
    assert constraint(*typed).matches({} if said is None else {typed[0]: said}) is matches


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("device soc", "is", "x"), "Name the attribute"),
        (("device.soc", "matches", "x"), "use one of"),
        (("device.soc", "is", " , "), "Say what"),
        (("device.soc", "is below", "9"), "is text"),
        ((DRIVER, "is below", "512, 513"), "one value, not 2"),
        ((DRIVER, "is below", "new"), "no version"),
        (("device.memory_mb", "is at least", "much"), "no number"),
        (("device.soc", "is", "x" * 81), "80 printable"),
    ],
)
def test_constraint__unfit__is_refused_in_words(typed: tuple[str, str, str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        constraint(*typed)


def test_rules__first_match_serves_and_the_percentage_comes_last() -> None:
    old = constraint(DRIVER, "is below", "512")
    flag = replace(LITERT, rules=(Rule("off", constraints=(old,)), Rule("on", group="testers")))
    assert served(flag, "d1") == "on"
    assert served(flag, "d1", device_gpu_driver="508.1") == "off"
    assert served(flag, "d3") == "off"
    assert served(replace(flag, thousandths=100_000), "d3") == "on"
    assert served(replace(flag, pinned={"d3": "on", "d1": "off"}), "d3") == "on"
    assert served(replace(flag, pinned={"d3": "on", "d1": "off"}), "d1") == "off"
    assert served(replace(LITERT, rules=(Rule("on", 0, group="testers"),))) == "off"


def test_rules__without_a_targeting_key__only_what_does_not_divide_applies() -> None:
    everybody = replace(LITERT, rules=(Rule("on", constraints=(constraint("device.soc", "is", "a"),)),))
    assert served(everybody, "", device_soc="a") == "on"
    for divides in (Rule("on", 50_000), Rule("on", group="testers")):
        flag = replace(LITERT, rules=(divides,))
        with pytest.raises(KeyMissing):
            served(flag, "")
        assert evaluate_all(Snapshot("demo", 1, {flag.key: flag}, groups=GROUPS), Context())[0].variant == "off"


def test_explain__says_every_step_and_answers_as_evaluation_does() -> None:
    flag = replace(
        LITERT,
        thousandths=100_000,
        rules=(Rule("on", group="friends"), Rule("off", constraints=(constraint(DRIVER, "is below", "512"),))),
    )
    shot = Snapshot("demo", 1, {flag.key: flag}, groups=GROUPS)
    answer, steps = explain(shot, flag.key, Context("d1"))
    assert answer == evaluate(shot, flag.key, Context("d1"))
    assert [(step.sentence, step.applied) for step in steps] == [
        ("Rule 1, serve on to devices in friends: it is not in friends", False),
        ("Rule 2, serve off to devices GPU driver is below 512: it does not say its device.gpu.driver", False),
        ("100 % of devices", True),
    ]


def both(*constraints: Constraint) -> tuple[Rule, ...]:
    """One rule of two conditions."""
    return (Rule("on", constraints=constraints),)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ((Rule("on", group="nobody"),), "no group 'nobody'"),
        (both(Constraint(DRIVER, Operator.AT_LEAST, ("5",)), Constraint(DRIVER, Operator.BELOW, ("5",))), "never match"),
        (both(constraint("device.soc", "is", "a"), constraint("device.soc", "is", "b")), "never match"),
        (both(constraint("device.soc", "is", "a"), constraint("device.soc", "is not", "A")), "never match"),
        ((Rule("on", 50_000), Rule("off", 20_000, group="testers")), "Rule 2 is never reached: rule 1"),
        ((Rule("on", 100_001),), "from 0 to 100"),
    ],
)  # fmt: skip
def test_rules_checked__what_can_never_match__is_refused(rules: tuple[Rule, ...], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        rules_checked(rules, groups=frozenset(GROUPS))


def test_rules_checked__a_model_artefact_beside_another__is_possible() -> None:
    both = (constraint("model.artefact", "is", "a"), constraint("model.artefact", "is", "b"))
    assert rules_checked((Rule("on", constraints=both),), groups=frozenset())


SHARES = st.sampled_from([0, 30_000, 60_000, 100_000])
VARIANTS = st.sampled_from(["on", "off"])
RULES = st.builds(
    Rule,
    VARIANTS,
    SHARES,
    st.sampled_from(["", "testers", "friends"]),
    st.lists(
        st.sampled_from([constraint("device.soc", "is", "a"), constraint(DRIVER, "is below", "5")]),
        max_size=2,
        unique=True,
    ).map(tuple),
)
SCOPED = st.builds(
    lambda variant, where: Override(variant, "x", (where,)),
    VARIANTS,
    st.sampled_from([constraint("device.soc", "is", "a"), constraint(DRIVER, "is below", "5")]),
)
FLAGS = st.builds(
    lambda safe, share, rules, pinned, scoped: replace(
        LITERT, safe_variant=safe, thousandths=share, rules=tuple(rules), pinned=pinned, scoped=tuple(scoped)
    ),
    VARIANTS,
    SHARES,
    st.lists(RULES, max_size=3),
    st.dictionaries(st.sampled_from(["d1", "d9"]), VARIANTS, max_size=2),
    st.lists(SCOPED, max_size=2),
)
EVERYBODY = [
    (f"d{number}", {"device_soc": soc, "device_gpu_driver": driver})
    for number in range(12)
    for soc in ("a", "b")
    for driver in ("4", "6")
]


@settings(max_examples=400)
@given(FLAGS, FLAGS)
def test_raises_exposure__a_lowering_moves_no_device_away_from_its_safe_value(before: Flag, other: Flag) -> None:
    after = replace(other, safe_variant=before.safe_variant)
    if raises_exposure(before, after):
        return
    for key, said in EVERYBODY:
        if served(before, key, **said) == before.safe_variant:
            assert served(after, key, **said) == before.safe_variant


TEXTS = st.sampled_from(["a", "b"])


@settings(max_examples=400)
@given(FLAGS, FLAGS, TEXTS, TEXTS, TEXTS, TEXTS, st.sampled_from([None, "on", "off"]), st.booleans())
def test_raises_exposure__a_lowering_serves_the_safe_value_or_what_was_served(
    before: Flag, other: Flag, on: str, off: str, new_on: str, new_off: str, forced: str | None, only: bool
) -> None:
    texts: dict[str, Any] = {"type": FlagType.STRING, "safe_variant": before.safe_variant}
    before = replace(before, on=on, off=off, override=Override(forced, "x") if forced else None, **texts)
    after = replace(before if only else replace(other, **texts), on=new_on, off=new_off)
    if raises_exposure(before, after):
        return
    safe = before.value(before.safe_variant)
    assert after.value(before.safe_variant) == safe
    for key, said in EVERYBODY:
        then = after.value(served(after, key, **said))
        assert then in (safe, before.value(served(before, key, **said)))


@given(FLAGS)
def test_raises_exposure__no_change__is_none(flag: Flag) -> None:
    assert not raises_exposure(flag, flag)


@pytest.mark.parametrize("taken", [Rule("on", 30_000, group="testers"), Rule("on", group="testers")])
def test_raises_exposure__less_of_the_same_rule__is_lowering(taken: Rule) -> None:
    keeps_off = Rule("off", constraints=(constraint(DRIVER, "is below", "5"),))
    before = replace(LITERT, rules=(keeps_off, taken), thousandths=10_000)
    narrower = replace(taken, constraints=(constraint("device.soc", "is", "a"),))
    for rules in ((keeps_off,), (keeps_off, replace(taken, thousandths=1)), (keeps_off, narrower), ()):
        assert raises_exposure(before, replace(before, rules=rules)) is (rules == ())
    assert raises_exposure(before, replace(before, rules=(taken, keeps_off))), "those kept off may get it now"


@given(RULES)
def test_rule__stored_and_read__is_the_same(one: Rule) -> None:
    assert rule(one.document()) == one


@given(st.lists(RULES, max_size=3), SHARES, st.sampled_from([key for key, _ in EVERYBODY]))
def test_raising_a_percentage__removes_no_device(rules: list[Rule], share: int, key: str) -> None:
    flag = replace(LITERT, rules=tuple(rules), thousandths=share)
    if served(flag, key) == "on":
        assert served(replace(flag, thousandths=100_000), key) == "on"
