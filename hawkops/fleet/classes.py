"""The classes of simulated devices: speeds where somebody published them, stated assumptions where nobody did. Pure.

Published prefill / decode speeds are those of flagship phones under performance lock and of mid-range phones in a
pipeline benchmark; a simulated device is a bit slower or faster than its class, and slows down when it gets warm.
"""

import random
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Speed:
    """Tokens per second of one backend, and where the figures come from."""

    prefill: float
    decode: float
    source: str


@dataclass(frozen=True)
class DeviceClass:
    """Devices with the same chip."""

    soc: str
    models: tuple[str, ...]
    ai_model: str
    speeds: MappingProxyType[str, Speed]
    memory_megabytes: tuple[float, float]
    share: float
    sustained: float  # of the burst speed, once warm
    silent_fallback: float  # share of devices whose accelerator silently gives the CPU's work


def _class(
    soc: str,
    models: tuple[str, ...],
    ai_model: str,
    speeds: dict[str, Speed],
    memory_megabytes: tuple[float, float],
    *,
    share: float,
    sustained: float,
    silent_fallback: float = 0.0,
) -> DeviceClass:
    frozen = MappingProxyType(speeds)
    return DeviceClass(soc, models, ai_model, frozen, memory_megabytes, share, sustained, silent_fallback)


# The runbook's floors are the published speeds of a Galaxy S24 Ultra under performance lock (LiteRT-LM README, 2025-06-14).
# No fleet of that phone would keep them warm and in a pocket; the reference class is one generation newer.
_NEWER = "assumed: 1.6 times the published Galaxy S24 Ultra"
_PIPELINE = "pipeline benchmark, Galaxy A16 to A56: 24–52 prefill, 15–23 decode, 415–482 MB"
_ASSUMED = "assumed, no published figure"

CLASSES = (
    _class(
        "snapdragon-8-elite",
        ("SM-S938B", "SM-S936B"),
        "gemma3-1b",
        {
            "cpu": Speed(390.0, 60.0, _NEWER),
            "gpu": Speed(3000.0, 62.0, _NEWER),
            "npu": Speed(9300.0, 80.0, _NEWER),
        },
        (980.0, 1240.0),
        share=0.25,
        sustained=0.85,
        silent_fallback=0.03,
    ),
    _class(
        "tensor-g4",
        ("Pixel 9", "Pixel 9 Pro"),
        "gemma3-1b",
        {"cpu": Speed(170.0, 31.0, _ASSUMED), "gpu": Speed(980.0, 30.0, _ASSUMED)},
        (1010.0, 1290.0),
        share=0.2,
        sustained=0.75,
        silent_fallback=0.05,
    ),
    _class(
        "exynos-1480",
        ("SM-A556B",),
        "gemma3-270m",
        {"cpu": Speed(52.0, 23.0, _PIPELINE), "gpu": Speed(96.0, 24.0, _ASSUMED)},
        (415.0, 482.0),
        share=0.3,
        sustained=0.8,
        silent_fallback=0.12,
    ),
    _class(
        "dimensity-7050",
        ("motorola edge 40 neo", "RMX3771"),
        "gemma3-270m",
        {"cpu": Speed(38.0, 19.0, _ASSUMED)},
        (415.0, 482.0),
        share=0.25,
        sustained=0.75,
    ),
)

# a short question: warm, the slowest class still answers within 5 s
PREFILL_TOKENS, DECODE_TOKENS = 64, 16
WARM_SECONDS = 60.0
APP_VERSIONS = ("1.0.0", "1.0.0", "1.0.0", "0.9.4")


@dataclass(frozen=True)
class Sample:
    """One simulated inference."""

    requested: str
    actual: str
    seconds: float
    first_token_seconds: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    memory_bytes: float = 0.0
    error: str = ""


@dataclass
class Body:
    """One simulated device: how it differs from its class, and how warm it is."""

    device_class: DeviceClass
    chance: random.Random
    pace: float = 1.0
    memory_bytes: float = 0.0
    falls_back_silently: bool = False
    busy_since: float | None = field(default=None)

    @classmethod
    def born(cls, device_class: DeviceClass, chance: random.Random) -> "Body":
        """Make a device of a class."""
        low, high = device_class.memory_megabytes
        return cls(
            device_class,
            chance,
            pace=chance.lognormvariate(0, 0.06),
            memory_bytes=chance.uniform(low, high) * 1e6,
            falls_back_silently=chance.random() < device_class.silent_fallback,
        )

    def actual(self, requested: str) -> str:
        """Return the backend that really works when another is requested."""
        if requested not in self.device_class.speeds or (requested != "cpu" and self.falls_back_silently):
            return "cpu"
        return requested

    def infer(self, requested: str, *, now: float) -> Sample:
        """Simulate one local inference."""
        if self.busy_since is None:
            self.busy_since = now
        backend = self.actual(requested)
        speed = self.device_class.speeds[backend]
        warm = now - self.busy_since > WARM_SECONDS
        pace = self.pace * (self.device_class.sustained if warm else 1.0) * self.chance.lognormvariate(0, 0.08)
        prefill, decode = speed.prefill * pace, speed.decode * pace
        first_token = PREFILL_TOKENS / prefill + 1 / decode
        seconds = first_token + (DECODE_TOKENS - 1) / decode
        memory = self.memory_bytes * self.chance.uniform(0.97, 1.03)
        error = "litert_error" if self.chance.random() < 0.002 else ""
        return Sample(requested, backend, seconds, first_token, prefill, decode, memory, error)

    def ask_cloud(self, requested: str) -> Sample:
        """Simulate a request that the cloud answers instead."""
        self.busy_since = None
        return Sample(requested, "cloud", min(1.8, self.chance.lognormvariate(-0.8, 0.35)))
