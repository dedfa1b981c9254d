"""What can go wrong in a fleet, by name: each scenario breaks one criterion and leaves the others alone. Pure.

A scenario changes what devices experience from a moment on. Tests and demos share these, so each says which criterion of
`monitoring/production-thresholds.yaml` it breaks, which flags must be on for that, and how soon it shall be found.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType

from hawkops.fleet.classes import CLASSES, OLD_APP, Activity, Body, Sample

REFERENCE = CLASSES[0]
REGRESSED_DRIVER, REGRESSED_PREFILL = REFERENCE.gpu_drivers[0][0], 0.6
LEAK_BYTES_PER_SECOND, LEAK_MOST_BYTES = 100e6 / 60, 3.2e9
SECONDS_PER_SWITCH = 5.0
CRASHED_SHARE = 0.05  # few enough that less than 10 % of the devices are struck in 15 minutes
MISMATCH_SHARE, WRONG_SPEED = 0.3, 1.4

SampleHook = Callable[[Sample, Body, float], Sample]
ActivityHook = Callable[[Activity, random.Random], Activity]


class UnknownScenario(ValueError):
    """There is no scenario of that name."""


def _same_sample(sample: Sample, body: Body, elapsed_seconds: float) -> Sample:
    return sample


def _same_activity(activity: Activity, chance: random.Random) -> Activity:
    return activity


@dataclass(frozen=True)
class Scenario:
    """One thing that goes wrong. `sample` gets the seconds since it began; `criterion` is empty when nothing breaks."""

    name: str
    sentence: str
    criterion: str = ""
    detected_within_seconds: float = 0.0
    flags: tuple[str, ...] = ()
    sample: SampleHook = _same_sample
    activity: ActivityHook = _same_activity


@dataclass(frozen=True)
class Injection:
    """A scenario and when it begins, in seconds since 1970."""

    scenario: Scenario
    begins_at: float

    def sample(self, sample: Sample, body: Body, *, at: float) -> Sample:
        """Change an inference that ran at a moment."""
        if at < self.begins_at or not sample.local:
            return sample
        return self.scenario.sample(sample, body, at - self.begins_at)

    def activity(self, activity: Activity, chance: random.Random, *, since: float) -> Activity:
        """Change what a device did since a moment; a span that began before the scenario stays as it is."""
        return activity if since < self.begins_at else self.scenario.activity(activity, chance)


def hits(chance: random.Random, number: int, share: float) -> int:
    """Return how many of a number of trials succeed."""
    return sum(chance.random() < share for _ in range(number))


def arrivals(chance: random.Random, mean: float) -> int:
    """Return how many independent events happen when so many are expected (Poisson; from 20 on the normal curve)."""
    if mean > 20:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    number, passed = 0, chance.expovariate(1.0)
    while passed < mean:
        number += 1
        passed += chance.expovariate(1.0)
    return number


def _slow_driver(sample: Sample, body: Body, elapsed_seconds: float) -> Sample:
    struck = body.device_class.soc == REFERENCE.soc and body.gpu_driver == REGRESSED_DRIVER
    if sample.actual != "gpu" or not struck:
        return sample
    return sample.at_speed(sample.prefill * REGRESSED_PREFILL, sample.decode)


def _npu_on_cpu(sample: Sample, body: Body, elapsed_seconds: float) -> Sample:
    """An old app names the backend that it asked for; a newer one reads LiteRT's log and names the CPU."""
    speeds = body.device_class.speeds
    if sample.actual != "npu" or body.device_class.soc != REFERENCE.soc:
        return sample
    prefill = sample.prefill * speeds["cpu"].prefill / speeds["npu"].prefill
    decode = sample.decode * speeds["cpu"].decode / speeds["npu"].decode
    return replace(sample.at_speed(prefill, decode), actual="npu" if body.app_version == OLD_APP else "cpu")


def _leak(sample: Sample, body: Body, elapsed_seconds: float) -> Sample:
    leaked = sample.memory_bytes + elapsed_seconds * LEAK_BYTES_PER_SECOND
    return replace(sample, memory_bytes=min(leaked, LEAK_MOST_BYTES))


def _storm(activity: Activity, chance: random.Random) -> Activity:
    if not activity.local:
        return activity
    return replace(activity, switches=activity.switches + arrivals(chance, activity.seconds / SECONDS_PER_SWITCH))


def _crash(activity: Activity, chance: random.Random) -> Activity:
    return replace(activity, crashes=activity.crashes + hits(chance, activity.sessions, CRASHED_SHARE))


def _faster(sample: Sample, body: Body, elapsed_seconds: float) -> Sample:
    return sample.at_speed(sample.prefill * WRONG_SPEED, sample.decode * WRONG_SPEED)


def _wrong(activity: Activity, chance: random.Random) -> Activity:
    return replace(activity, parity_mismatches=hits(chance, activity.parity_checks, MISMATCH_SHARE))


HEALTHY = Scenario("healthy", "Nothing goes wrong; every criterion holds.")
SCENARIOS = MappingProxyType(
    {
        one.name: one
        for one in (
            HEALTHY,
            Scenario(
                "gpu-regression",
                f"GPU driver {REGRESSED_DRIVER} on {REFERENCE.soc} reads prompts at {REGRESSED_PREFILL} of its speed: "
                "breaks alert-gpu-throughput within 4 minutes.",
                "alert-gpu-throughput",
                240.0,
                ("litert_enabled", "litert_gpu_backend"),
                sample=_slow_driver,
            ),
            Scenario(
                "npu-on-cpu",
                f"LiteRT on {REFERENCE.soc} does the NPU's work on the CPU and says so in its log only, so that "
                f"app {OLD_APP} still calls it npu: breaks alert-npu-throughput within 4 minutes.",
                "alert-npu-throughput",
                240.0,
                ("litert_enabled", "litert_npu_backend"),
                sample=_npu_on_cpu,
            ),
            Scenario(
                "memory-leak",
                "Every device holds 100 MB more each minute, past 1 800 MB and 2 GB: breaks alert-memory within "
                "15 minutes.",
                "alert-memory",
                900.0,
                ("litert_enabled",),
                sample=_leak,
            ),
            Scenario(
                "switch-storm",
                f"Every device changes its backend each {SECONDS_PER_SWITCH:.0f} seconds: breaks alert-switches within "
                "3 minutes.",
                "alert-switches",
                180.0,
                ("litert_enabled",),
                activity=_storm,
            ),
            Scenario(
                "crash-wave",
                f"{CRASHED_SHARE:.0%} of the app's sessions crash: breaks alert-crash-rate within 10 minutes, "
                "once they bring three crashes more than chance would.",
                "alert-crash-rate",
                600.0,
                activity=_crash,
            ),
            Scenario(
                "wrong-but-fast",
                f"LiteRT becomes {WRONG_SPEED} times as fast and {MISMATCH_SHARE:.0%} of the parity checks don't match: "
                "breaks alert-wrong-results within 3 minutes.",
                "alert-wrong-results",
                180.0,
                ("litert_enabled",),
                sample=_faster,
                activity=_wrong,
            ),
        )
    }
)


def scenario(name: str) -> Scenario:
    """Return the scenario of a name. Raises UnknownScenario."""
    found = SCENARIOS.get(name)
    if found is None:
        raise UnknownScenario(f"There is no scenario {name!r}; there are {', '.join(SCENARIOS)}.")
    return found
