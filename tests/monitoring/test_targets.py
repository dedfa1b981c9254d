"""Target profiles: the right class, the right environment, the right stage."""

from monitoring.domain.targets import Profiles, Stage
from monitoring.thresholds import load_profiles

PROFILES = Profiles(load_profiles())


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
