"""Target profiles and verdicts: the right class, the right environment, and never a pass by lack of data."""

import pytest

from hawkops.core.verdicts import Verdict
from monitoring.domain.targets import (
    Comparator,
    Profiles,
    Stage,
    Target,
    judge,
)
from monitoring.thresholds import load_profiles

PROFILES = Profiles(load_profiles())
FLOOR = Target(243.0, Comparator.AT_LEAST, "target")


def test_the_runbooks_numbers_belong_to_the_reference_class_and_to_prefill() -> None:
    for environment in ("production", "staging", "demo"):
        profile = PROFILES.of("snapdragon-8-gen3", environment)
        assert profile is not None
        found = [profile.target(Stage.PREFILL, backend) for backend in ("cpu", "gpu", "npu")]
        assert [target.threshold for target in found if target] == [243, 1_876, 5_836]
        assert profile.target(Stage.DECODE, "cpu") is None
        assert profile.target(Stage.PREFILL, "cloud") is None


def test_the_synthetic_profile_holds_in_demo_only() -> None:
    demo = PROFILES.of("synthetic-host", "demo")
    assert demo is not None
    assert demo.synthetic
    assert "synthetic" in demo.title
    assert demo.target(Stage.PREFILL, "gpu") is None
    for environment in ("production", "staging"):
        assert PROFILES.of("synthetic-host", environment) is None


def test_no_target_spans_two_kinds_of_device() -> None:
    assert PROFILES.common(["snapdragon-8-gen3"], "demo") is not None
    assert PROFILES.common(["snapdragon-8-gen3", "tensor-g4"], "demo") is None
    assert PROFILES.common(["tensor-g4"], "demo") is None
    assert PROFILES.common([], "demo") is None


@pytest.mark.parametrize(
    ("value", "count", "age", "target", "allowed", "verdict"),
    [
        (268.0, 100, 5.0, FLOOR, True, Verdict.PASS),
        (243.0, 100, 5.0, FLOOR, True, Verdict.PASS),
        (242.9, 100, 5.0, FLOOR, True, Verdict.FAIL),
        (2.99, 100, 5.0, Target(3.0, Comparator.BELOW, "gate"), True, Verdict.PASS),
        (3.0, 100, 5.0, Target(3.0, Comparator.BELOW, "gate"), True, Verdict.FAIL),
        (10.0, 100, 5.0, Target(10.0, Comparator.BELOW, "limit"), True, Verdict.FAIL),
        (268.0, 29, 5.0, FLOOR, True, Verdict.INSUFFICIENT),
        (268.0, 100, 400.0, FLOOR, True, Verdict.STALE),
        (None, 0, 400.0, FLOOR, True, Verdict.STALE),
        (None, 0, None, FLOOR, True, Verdict.NO_DATA),
        (268.0, 100, 5.0, None, True, Verdict.NO_DATA),
        (268.0, 100, 5.0, FLOOR, False, Verdict.NO_DATA),
    ],
)
def test_verdicts(
    value: float | None, count: int, age: float | None, target: Target | None, allowed: bool, verdict: Verdict
) -> None:
    judgement = judge(value=value, count=count, age_seconds=age, target=target, allowed=allowed)
    assert judgement.verdict is verdict
    assert judgement.sentence


def test_a_sentence_carries_its_numbers() -> None:
    assert judge(
        value=1_688.4, count=99, age_seconds=1, target=Target(1_876, Comparator.AT_LEAST, "target")
    ).sentence == ("10.0\u202f% below")
