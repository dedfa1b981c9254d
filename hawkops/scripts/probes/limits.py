"""The runbook's limits on readings, and what a reading is worth against them. Pure.

A throughput is rounded down and a cost rounded up, so that rounding never makes a reading pass.
"""

import math
from dataclasses import dataclass

from hawkops.scripts.probes.measuring import Exit, Reading


@dataclass(frozen=True)
class Limit:
    """One of the runbook's six lines. `scale` turns base units into those of the runbook."""

    title: str
    goal: str
    bound: int
    at_least: bool
    scale: float
    unit: str
    strict: bool = False

    def shown(self, value: float) -> int:
        """Return a value as the integer that the runbook compares."""
        scaled = value * self.scale
        return math.floor(scaled) if self.at_least else math.ceil(scaled)

    def keeps(self, value: float) -> bool:
        """Tell whether a value keeps the limit."""
        number = self.shown(value)
        if self.at_least:
            return number >= self.bound
        return number < self.bound if self.strict else number <= self.bound


def _throughput(name: str, bound: int, where_available: str) -> Limit:
    return Limit(f"{name} Backend", f"{bound}+ tokens/sec{where_available}", bound, True, 1, "tokens/sec")


CPU = _throughput("CPU", 243, "")
GPU = _throughput("GPU", 1876, " (where available)")
NPU = _throughput("NPU", 5836, " (where available)")
MEMORY = Limit("Memory Usage", "<2GB peak", 2000, False, 1e-6, "MB")
SWITCHING = Limit("Backend Switching", "<500ms", 500, False, 1e3, "ms")
FALLBACK = Limit("Fallback Latency", "<2s", 2000, False, 1e3, "ms", strict=True)
THROUGHPUT = {"cpu": CPU, "gpu": GPU, "npu": NPU}


def judged(reading: Reading, limit: Limit) -> Exit:
    """Judge a reading against a limit."""
    if reading.value is None:
        return Exit.FAILED if reading.broken else Exit.UNMEASURED
    return Exit.PASSED if limit.keeps(reading.value) else Exit.FAILED
