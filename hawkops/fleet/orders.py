"""What a device has been ordered to do: the runbook's flags as typed values, and the values safe without orders.

Pure: a bulk OFREP answer goes in, frozen orders come out. A flag that is absent, failed or of the wrong type is safe.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Orders:
    """The runbook's flags; the defaults are the safe values."""

    litert_enabled: bool = False
    litert_gpu_backend: bool = False
    litert_npu_backend: bool = False
    litert_adaptive_switching: bool = False
    ai_fallback_to_cloud: bool = True
    litert_max_concurrent_inferences: int = 2
    litert_switching_threshold: float = 0.3
    litert_switch_cooldown_ms: int = 60_000
    litert_aggressive_gc: bool = False
    litert_clear_unused_models: bool = False
    # commands: each new number is carried out once (see `maintenance`)
    litert_model_redownload: int = 0
    litert_model_cache_clear: int = 0

    @property
    def backend_requested(self) -> str:
        """Name the backend that the flags ask for; what really runs may differ."""
        if self.litert_npu_backend:
            return "npu"
        return "gpu" if self.litert_gpu_backend else "cpu"


SAFE = Orders()
_LIMITS: dict[str, tuple[float, float]] = {
    "litert_max_concurrent_inferences": (1, 8),
    "litert_switching_threshold": (0.01, 1.0),
    "litert_switch_cooldown_ms": (0, 86_400_000),
    "litert_model_redownload": (0, 2**53 - 1),
    "litert_model_cache_clear": (0, 2**53 - 1),
}


def _typed(name: str, value: object) -> Any:
    safe = getattr(SAFE, name)
    if isinstance(safe, bool):
        return value if isinstance(value, bool) else safe
    if isinstance(value, bool) or not isinstance(value, int | float):
        return safe
    low, high = _LIMITS[name]
    return type(safe)(min(high, max(low, value)))


def orders_from(flags: Iterable[Mapping[str, Any]]) -> Orders:
    """Read the orders out of the `flags` of a bulk answer. Unknown flags are ignored; limits are kept."""
    names = asdict(SAFE)
    told = {flag["key"]: flag.get("value") for flag in flags if flag.get("key") in names and "errorCode" not in flag}
    return Orders(**{name: _typed(name, told[name]) if name in told else safe for name, safe in names.items()})


def variants_from(flags: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Read which variant of each flag was served."""
    return {flag["key"]: str(flag["variant"]) for flag in flags if "key" in flag and "variant" in flag}


def changes(old: Orders, new: Orders) -> list[str]:
    """Say in words what differs: `litert_enabled off`, `litert_switching_threshold 0.1`."""
    before, after = asdict(old), asdict(new)
    words = {True: "on", False: "off"}
    return [
        f"{name} {words[value] if isinstance(value, bool) else value}"
        for name, value in after.items()
        if value != before[name]
    ]
