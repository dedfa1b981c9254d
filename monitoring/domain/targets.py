"""Target profiles: which number a device class, on a model, in a stage, on a backend has to reach; and what a reading says.

The runbook's 243 / 1 876 / 5 836 are prefill speeds of the reference devices. A class without a profile has no absolute
target. The profile of the generated model on this kind of host is synthetic and holds in the environment demo only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from hawkops.core.verdicts import Verdict


class Stage(StrEnum):
    """Reading the prompt, or writing the answer."""

    PREFILL = "prefill"
    DECODE = "decode"


class Comparator(StrEnum):
    """How a reading must stand to its threshold."""

    AT_LEAST = "≥"
    BELOW = "<"

    def holds(self, value: float, threshold: float) -> bool:
        """Whether the value meets the threshold."""
        return value >= threshold if self is Comparator.AT_LEAST else value < threshold


@dataclass(frozen=True)
class Target:
    """A threshold in the metric's own unit, and what it is called on the page."""

    threshold: float
    comparator: Comparator
    label: str


@dataclass(frozen=True, eq=False)
class Profile:
    """Targets of some device classes on some models."""

    name: str
    title: str
    device_classes: frozenset[str]
    environments: frozenset[str]
    synthetic: bool
    throughput: Mapping[tuple[Stage, str], float]

    def covers(self, *, device_class: str, environment: str) -> bool:
        """Whether the profile speaks of this class in this environment."""
        return device_class in self.device_classes and environment in self.environments

    def target(self, stage: Stage, backend: str) -> Target | None:
        """Return the floor on the 5th percentile of tokens per second, None when the profile has none."""
        threshold = self.throughput.get((stage, backend))
        return None if threshold is None else Target(threshold, Comparator.AT_LEAST, "target")


DEMO = frozenset({"demo"})
EVERYWHERE = frozenset({"production", "staging", "demo"})

# Gemma3-1B, 1 024 prompt tokens: CPU and GPU measured on a Galaxy S24 Ultra, NPU on a Galaxy S25 Ultra.
REFERENCE = Profile(
    name="reference",
    title="reference device class",
    device_classes=frozenset({"snapdragon-8-gen3", "snapdragon-8-elite"}),
    environments=EVERYWHERE,
    synthetic=False,
    throughput={(Stage.PREFILL, "cpu"): 243.0, (Stage.PREFILL, "gpu"): 1_876.0, (Stage.PREFILL, "npu"): 5_836.0},
)

# Floors for the generated 0.8 MB model on an ordinary two-core server that does other work too: alone it reaches 30 000
# and 5 000. A software-emulated GPU never counts, so there is none for it.
SYNTHETIC_HOST = Profile(
    name="synthetic-host",
    title="synthetic profile: generated model on this host, demo only",
    device_classes=frozenset({"synthetic-host"}),
    environments=DEMO,
    synthetic=True,
    throughput={(Stage.PREFILL, "cpu"): 1_000.0, (Stage.DECODE, "cpu"): 200.0},
)

PROFILES = (REFERENCE, SYNTHETIC_HOST)

MINIMUM_SAMPLE = 30
STALE_AFTER_SECONDS = 300.0


def profile_for(*, device_class: str, environment: str) -> Profile | None:
    """Return the profile that judges a device class there, None when it has no absolute target."""
    return next((p for p in PROFILES if p.covers(device_class=device_class, environment=environment)), None)


def common_profile(device_classes: Iterable[str], *, environment: str) -> Profile | None:
    """Return the profile that all given classes share, None when they share none: no target spans two kinds of device."""
    found = {profile_for(device_class=name, environment=environment) for name in device_classes}
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class Judgement:
    """A verdict and the sentence with its numbers."""

    verdict: Verdict
    sentence: str


def distance(value: float, threshold: float) -> str:
    """Say how far a value lies from its threshold: `10.0 % below`."""
    share = abs(value / threshold - 1) * 100
    return f"{share:.1f}\u202f% {'above' if value >= threshold else 'below'}"


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f}\u202fs"
    return f"{seconds / 60:.0f}\u202fmin" if seconds < 5_400 else f"{seconds / 3_600:.1f}\u202fh"


def judge(
    *,
    value: float | None,
    count: int,
    age_seconds: float | None,
    target: Target | None,
    minimum_sample: int = MINIMUM_SAMPLE,
    allowed: bool = True,
) -> Judgement:
    """Judge a reading. Too old and too few say so instead of passing; without a target nothing is judged.

    `allowed` is false for a subject that may not count here, such as simulated devices outside demo.
    """
    if age_seconds is None:
        return Judgement(Verdict.NO_DATA, "nothing has reported yet")
    if value is None or count == 0:
        return Judgement(Verdict.STALE, f"no data for {_spoken(age_seconds)}")
    if not allowed:
        return Judgement(Verdict.NO_DATA, "wrong subject: simulated devices, not judged here")
    if target is None:
        return Judgement(Verdict.NO_DATA, "no absolute target for these devices")
    if age_seconds > STALE_AFTER_SECONDS:
        return Judgement(Verdict.STALE, f"the last reading is {_spoken(age_seconds)} old")
    if count < minimum_sample:
        return Judgement(Verdict.INSUFFICIENT, f"{count} of {minimum_sample} samples")
    met = target.comparator.holds(value, target.threshold)
    return Judgement(Verdict.PASS if met else Verdict.FAIL, distance(value, target.threshold))
