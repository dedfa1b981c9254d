"""The classes of simulated devices: speeds where somebody published them, stated assumptions where nobody did. Pure.

Published speeds are those of flagship phones under performance lock and of mid-range phones in a pipeline benchmark; a
simulated device is a bit slower or faster than its class, and slows down when it gets warm.
"""

import random
from dataclasses import dataclass, replace
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
    memory_megabytes: tuple[float, float]  # that an inference takes
    share: float  # of the fleet; assumed
    sustained: float  # of the burst speed, once warm
    silent_fallback: float  # share of devices whose accelerator silently gives the CPU's work
    gpu_drivers: tuple[tuple[str, float], ...]  # versions and their shares
    os_api: int  # Android's
    ram_megabytes: int


def _class(
    soc: str,
    models: tuple[str, ...],
    ai_model: str,
    speeds: dict[str, Speed],
    memory_megabytes: tuple[float, float],
    *,
    share: float,
    sustained: float,
    gpu_drivers: tuple[tuple[str, float], ...],
    os_api: int,
    ram_megabytes: int,
    silent_fallback: float = 0.0,
) -> DeviceClass:
    frozen = MappingProxyType(speeds)
    return DeviceClass(
        soc,
        models,
        ai_model,
        frozen,
        memory_megabytes,
        share,
        sustained,
        silent_fallback,
        gpu_drivers,
        os_api,
        ram_megabytes,
    )


_PIPELINE = "pipeline benchmark, Galaxy A16 to A56: 24–52 prefill, 15–23 decode, 415–482 MB"
_ASSUMED = "assumed, no published figure"
_README = "LiteRT-LM README, 2025-06-14: Galaxy S24 Ultra, performance lock, 1 024 prompt tokens"
_TARGET = "the runbook's NPU target, a Galaxy S25 Ultra's; its decode speed is assumed"

# The phones whose speeds the runbook made its floors of. No simulated fleet has them: the floors are what they reach under
# performance lock, so that warm, in a pocket and each a bit different they would miss them with most of their inferences.
GEN3 = _class(
    "snapdragon-8-gen3",
    ("SM-S928B",),
    "gemma3-1b",
    {"cpu": Speed(243.24, 43.56, _README), "gpu": Speed(1876.5, 44.57, _README)},
    (980.0, 1240.0),
    share=0.0,
    sustained=0.85,
    gpu_drivers=(("502.0", 1.0),),
    os_api=34,
    ram_megabytes=12_000,
)
ELITE = _class(
    "snapdragon-8-elite",
    ("SM-S938B",),
    "gemma3-1b",
    {**GEN3.speeds, "npu": Speed(5836.0, 58.0, _TARGET)},
    (980.0, 1240.0),
    share=0.0,
    sustained=0.85,
    gpu_drivers=(("508.0", 1.0),),
    os_api=35,
    ram_megabytes=12_000,
)
PUBLISHED = (GEN3, ELITE)
PREFILL_GAIN, DECODE_GAIN = 1.6, 1.4


def _newer(published: Speed, phone: str) -> Speed:
    source = f"assumed: {PREFILL_GAIN} × prefill and {DECODE_GAIN} × decode of the {phone}"
    return Speed(round(published.prefill * PREFILL_GAIN), round(published.decode * DECODE_GAIN), source)


CLASSES = (
    # the reference class of a healthy fleet: a generation newer than the phones behind the floors, so that 95 % of its
    # inferences reach them though it is warm
    _class(
        "snapdragon-8-elite-gen5",
        ("SM-S948B", "SM-S946B"),
        "gemma3-1b",
        {
            "cpu": _newer(GEN3.speeds["cpu"], "Galaxy S24 Ultra"),
            "gpu": _newer(GEN3.speeds["gpu"], "Galaxy S24 Ultra"),
            "npu": _newer(ELITE.speeds["npu"], "Galaxy S25 Ultra"),
        },
        (980.0, 1240.0),
        share=0.3,
        sustained=0.85,
        gpu_drivers=(("508.762", 0.4), ("512.800", 0.6)),
        os_api=36,
        ram_megabytes=12_000,
        silent_fallback=0.03,
    ),
    _class(
        "tensor-g4",
        ("Pixel 9", "Pixel 9 Pro"),
        "gemma3-1b",
        {"cpu": Speed(170.0, 31.0, _ASSUMED), "gpu": Speed(980.0, 30.0, _ASSUMED)},
        (1010.0, 1290.0),
        share=0.3,
        sustained=0.75,
        gpu_drivers=(("48.0", 0.5), ("51.0", 0.5)),
        os_api=35,
        ram_megabytes=16_000,
        silent_fallback=0.05,
    ),
    _class(
        "exynos-1480",
        ("SM-A556B",),
        "gemma3-270m",
        {"cpu": Speed(52.0, 23.0, _PIPELINE), "gpu": Speed(96.0, 24.0, _ASSUMED)},
        (415.0, 482.0),
        share=0.25,
        sustained=0.8,
        gpu_drivers=(("2.0.1", 0.3), ("2.1.0", 0.7)),
        os_api=35,
        ram_megabytes=8_000,
        silent_fallback=0.12,
    ),
    _class(
        "dimensity-7050",
        ("motorola edge 40 neo", "RMX3771"),
        "gemma3-270m",
        {"cpu": Speed(38.0, 19.0, _ASSUMED)},
        (415.0, 482.0),
        share=0.15,
        sustained=0.75,
        gpu_drivers=(("38.1", 1.0),),
        os_api=33,
        ram_megabytes=8_000,
    ),
)

# a short question and an answer of a few words: warm, the slowest class still answers sooner than the cloud
PREFILL_TOKENS, DECODE_TOKENS = 20, 5
# a photograph goes up, the answer comes back: the median of the whole fleet is three times that of its own answers
CLOUD_MEDIAN_SECONDS, CLOUD_SPREAD, CLOUD_LONGEST_SECONDS = 1.35, 0.18, 1.8
WARM_SECONDS, COOL_SECONDS = 60.0, 180.0  # of work until warm, of rest until cool
FAILED_SHARE = 0.0002  # at night few devices infer: one failure among 100 breaks the limit of 1 %
OLD_APP = "0.9.4"
APP_VERSIONS = ("1.0.0", "1.0.0", "1.0.0", OLD_APP)


def answer_seconds(prefill: float, decode: float) -> tuple[float, float]:
    """Return the seconds to the first token and to the last, at speeds in tokens per second."""
    first_token = PREFILL_TOKENS / prefill + 1 / decode
    return first_token, first_token + (DECODE_TOKENS - 1) / decode


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
    warm: bool = False

    @property
    def local(self) -> bool:
        """Tell whether the device itself answered."""
        return self.actual != "cloud"

    def at_speed(self, prefill: float, decode: float) -> "Sample":
        """Return the same inference at other speeds, in tokens per second."""
        first_token, seconds = answer_seconds(prefill, decode)
        return replace(self, seconds=seconds, first_token_seconds=first_token, prefill=prefill, decode=decode)


@dataclass(frozen=True)
class Activity:
    """What one device did between two reports."""

    seconds: float
    samples: tuple[Sample, ...] = ()
    sessions: int = 0
    crashes: int = 0
    switches: int = 0
    parity_checks: int = 0
    parity_mismatches: int = 0

    @property
    def local(self) -> tuple[Sample, ...]:
        """Return the inferences that ran on the device."""
        return tuple(sample for sample in self.samples if sample.local)


@dataclass
class Body:
    """One simulated device: how it differs from its class, and how warm it is."""

    device_class: DeviceClass
    chance: random.Random
    pace: float = 1.0
    memory_bytes: float = 0.0
    falls_back_silently: bool = False
    gpu_driver: str = ""
    app_version: str = APP_VERSIONS[0]
    busy_since: float | None = None
    busy_at: float = 0.0

    @classmethod
    def born(cls, device_class: DeviceClass, chance: random.Random) -> "Body":
        """Make a device of a class."""
        low, high = device_class.memory_megabytes
        drivers, shares = zip(*device_class.gpu_drivers, strict=True)
        return cls(
            device_class,
            chance,
            pace=chance.lognormvariate(0, 0.06),
            memory_bytes=chance.uniform(low, high) * 1e6,
            falls_back_silently=chance.random() < device_class.silent_fallback,
            gpu_driver=chance.choices(drivers, shares)[0],
            app_version=chance.choice(APP_VERSIONS),
        )

    def warm(self, now: float) -> bool:
        """Tell whether the device has worked long enough, without a rest, to slow down."""
        if self.busy_since is None or now - self.busy_at > COOL_SECONDS:
            return False
        return now - self.busy_since > WARM_SECONDS

    def actual(self, requested: str) -> str:
        """Return the backend that really works when another is requested."""
        if requested not in self.device_class.speeds or (requested != "cpu" and self.falls_back_silently):
            return "cpu"
        return requested

    def infer(self, requested: str, *, now: float) -> Sample:
        """Simulate one local inference."""
        if self.busy_since is None or now - self.busy_at > COOL_SECONDS:
            self.busy_since = now
        warm = self.warm(now)
        self.busy_at = now
        backend = self.actual(requested)
        speed = self.device_class.speeds[backend]
        pace = self.pace * (self.device_class.sustained if warm else 1.0) * self.chance.lognormvariate(0, 0.08)
        memory = self.memory_bytes * self.chance.uniform(0.97, 1.03)
        error = "litert_error" if self.chance.random() < FAILED_SHARE else ""
        prefill, decode = speed.prefill * pace, speed.decode * pace
        first_token, seconds = answer_seconds(prefill, decode)
        return Sample(requested, backend, seconds, first_token, prefill, decode, memory, error, warm)

    def ask_cloud(self, requested: str) -> Sample:
        """Simulate a request that the cloud answers instead."""
        self.busy_since = None
        seconds = CLOUD_MEDIAN_SECONDS * self.chance.lognormvariate(0, CLOUD_SPREAD)
        return Sample(requested, "cloud", min(CLOUD_LONGEST_SECONDS, seconds))
