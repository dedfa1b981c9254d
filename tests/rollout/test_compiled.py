"""A compiled snapshot answers what evaluation answers, for any flags, rules, groups and devices."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from rollout.domain.bucketing import BUCKETS
from rollout.domain.compiled import NOT_ELIGIBLE, Compiled
from rollout.domain.evaluation import Evaluation, KeyMissing, evaluate, evaluate_all
from rollout.domain.experiments import Arm, Experiment
from rollout.domain.flags import Flag, FlagType, Override, Snapshot
from rollout.domain.targeting import Constraint, Context, Operator, Rule

KEYS = [f"flag-{number}" for number in range(5)]
DEVICES = [f"device-{number}" for number in range(6)]
GROUPS = ["friends", "testers", "nobody-made-it"]
# per attribute what rules compare with, and what devices say; each kind of comparison, with values that are none
SAID: dict[str, tuple[list[str], list[Any]]] = {
    "device.soc": (["Tensor G4", "true", "512"], ["tensor g4 ", True, 512, "", None, ["x", "TENSOR G4"], {}]),
    "device.gpu.driver": (["512", "1.4-rc1", "r38p1", "512.0"], ["512.8", 512, "1.4", "r38p1-01eac0", "?", ["512"]]),
    "device.memory_mb": (["8192", "1e3"], [8192, "8192.0", 999, "much", float("1e308"), True, [8192, 1]]),
    "unheard.of": (["a", "B"], ["b", "c", 1]),
}
variants = st.sampled_from(["on", "off"])
shares = st.sampled_from([0, 1, 30_000, 60_000, BUCKETS - 1, BUCKETS])


@st.composite
def constraints(draw: st.DrawFn) -> Constraint:
    attribute = draw(st.sampled_from(sorted(SAID)))
    operator = draw(st.sampled_from(Operator))
    several = operator in (Operator.IS, Operator.IS_NOT)
    values = draw(st.lists(st.sampled_from(SAID[attribute][0]), min_size=1, max_size=3 if several else 1, unique=True))
    return Constraint(attribute, operator, tuple(values))


some_constraints = st.lists(constraints(), max_size=2).map(tuple)
rules = st.builds(Rule, variants, shares, st.sampled_from(["", *GROUPS]), some_constraints)
overrides = st.builds(Override, variants, st.sampled_from(["incident", "drill"]))
scoped = st.builds(Override, variants, st.just("driver"), some_constraints, st.sampled_from(["", "", *GROUPS]))
arms = st.lists(
    st.builds(Arm, st.sampled_from("abc"), st.integers(1, 3), st.integers(0, 3)),
    min_size=2,
    max_size=3,
    unique_by=lambda one: one.variant,
)
running = st.builds(Experiment, st.just("test"), st.sampled_from(["e1", "e2"]), arms.map(tuple))
flags = st.builds(
    Flag,
    key=st.just(""),
    type=st.sampled_from([FlagType.FLOAT, FlagType.INTEGER, FlagType.JSON]),
    on=st.integers(0, 9),
    off=st.integers(0, 9),
    safe_variant=variants,
    thousandths=shares,
    salt=st.sampled_from(["", "s1", "ü"]),
    # forwards and backwards; a circle has no answer, see below
    requires=st.lists(st.sampled_from([*KEYS, "unknown"]), max_size=2).map(tuple),
    override=st.one_of(st.none(), st.none(), overrides),
    scoped=st.lists(scoped, max_size=3).map(tuple),
    pinned=st.dictionaries(st.sampled_from(DEVICES), variants, max_size=2),
    rules=st.lists(rules, max_size=4).map(tuple),
    experiment=st.one_of(st.none(), running),
)
contexts = st.builds(
    Context,
    st.sampled_from(["", *DEVICES]),
    st.fixed_dictionaries({}, optional={name: st.sampled_from(said) for name, (_, said) in SAID.items()}),
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Flags in any order whose requirements make no circle."""
    ranked = draw(st.permutations(KEYS))
    made = {}
    for rank, key in enumerate(ranked):
        given_ = draw(flags)
        allowed = {*ranked[:rank], "unknown"}
        made[key] = Flag(
            **{**given_.__dict__, "key": key, "requires": tuple(one for one in given_.requires if one in allowed)}
        )
    groups = {name: draw(st.frozensets(st.sampled_from(DEVICES))) for name in GROUPS[:2]}
    return Snapshot("demo", 7, {key: made[key] for key in KEYS}, lockdown=draw(st.booleans()), groups=groups)


def outcome(ask: Any, key: str, context: Context) -> Evaluation | str:
    """What an evaluation says, or that it needs a targeting key."""
    try:
        found: Evaluation = ask(key, context)
    except KeyMissing:
        return "key missing"
    return found


def exactly(found: Evaluation | str) -> str:
    """An answer with its types: 2 is not 2.0."""
    return repr(found)


@settings(max_examples=400, deadline=None)
@given(snapshots(), st.lists(contexts, min_size=1, max_size=6))
def test_compiled__any_flags_and_devices__answers_what_evaluation_answers(
    snapshot: Snapshot, devices: list[Context]
) -> None:
    compiled = Compiled(snapshot)
    for context in devices:
        for key in KEYS:
            expected = outcome(lambda key, context: evaluate(snapshot, key, context), key, context)
            assert exactly(outcome(compiled.evaluate, key, context)) == exactly(expected)
        expected_all = evaluate_all(snapshot, context)
        assert list(map(exactly, compiled.evaluate_all(context))) == list(map(exactly, expected_all))


@settings(max_examples=200, deadline=None)
@given(snapshots(), contexts)
def test_compiled__single_and_bulk__agree(snapshot: Snapshot, context: Context) -> None:
    compiled = Compiled(snapshot)
    in_bulk = dict(zip(KEYS, compiled.evaluate_all(context), strict=True))
    for key, place in zip(KEYS, compiled.places(context.targeting_key, context.attributes), strict=True):
        if place != NOT_ELIGIBLE:
            assert compiled.evaluate(key, context) == in_bulk[key]
        else:
            assert outcome(compiled.evaluate, key, context) == "key missing"
            assert (in_bulk[key].variant, in_bulk[key].reason) == ("off", "UNKNOWN")


@settings(deadline=None)
@given(snapshots(), contexts, contexts)
@example(Snapshot("demo", 1), Context(), Context("device-1"))
def test_compiled__what_does_not_depend_on_the_device__is_the_same_for_two(
    snapshot: Snapshot, one: Context, other: Context
) -> None:
    compiled = Compiled(snapshot)
    first, second = (compiled.places(each.targeting_key, each.attributes) for each in (one, other))
    assert all(first[i] == second[i] for i in range(len(first)) if i not in compiled.depending)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, BUCKETS), st.integers(0, BUCKETS), st.text("abc123", max_size=8))
def test_compiled__raised_and_lowered__keeps_its_devices_and_returns_the_same(one: int, other: int, salt: str) -> None:
    low, high = sorted((one, other))
    fleet = [f"device-{number}" for number in range(200)]

    def served(by_rule: bool, share: int) -> set[str]:
        rule = (Rule("on", share),) if by_rule else ()
        flag = Flag("f", FlagType.BOOLEAN, True, False, "off", 0 if by_rule else share, salt, rules=rule)
        compiled = Compiled(Snapshot("demo", 1, {"f": flag}))
        return {device for device in fleet if compiled.evaluate("f", Context(device)).variant == "on"}

    for by_rule in (False, True):
        before, raised = served(by_rule, low), served(by_rule, high)
        assert before <= raised
        assert served(by_rule, low) == before
        assert served(by_rule, high) == raised
    assert served(True, high) == served(False, high)


def test_compiled__flags_that_require_each_other__fail_when_asked_and_leave_the_rest_alone() -> None:
    def flag(key: str, *requires: str) -> Flag:
        return Flag(key, FlagType.BOOLEAN, True, False, "off", BUCKETS, "s", requires=requires)

    compiled = Compiled(Snapshot("demo", 1, {"a": flag("a", "b"), "b": flag("b", "a"), "c": flag("c")}))
    assert compiled.evaluate("c", Context("device-1")).variant == "on"
    for key in ("a", "b"):
        try:
            compiled.evaluate(key, Context("device-1"))
        except RecursionError:
            continue
        raise AssertionError(f"{key} has an answer")
