"""Which backend LiteRT really used, read from its log: LiteRT falls back to the CPU, or to software, in silence. Pure.

A GPU counts only when a hardware adapter was selected. An NPU counts only when a vendor's dispatch library exists and
was loaded; `Backend.NPU` with a wrong folder runs on the CPU and reports a speed all the same.
"""

import re
from dataclasses import dataclass
from pathlib import Path

BACKENDS = ("cpu", "gpu", "npu")

_ADAPTER = re.compile(r"Selected adapter: (?P<name>.*?), arch=.*?adapterType=(?P<type>[^\n]+)")
_SOFTWARE = re.compile(r"cpu|software|llvmpipe|swiftshader", re.IGNORECASE)
_NPU_REFUSED = re.compile(r"NPU accelerator could not be loaded|Failed to load dispatch|simulated on the CPU", re.I)


@dataclass(frozen=True)
class Found:
    """What a log says about an accelerator: whether it is real hardware, and a sentence."""

    real: bool
    sentence: str


def gpu_in_log(log: str) -> Found:
    """Judge whether a hardware GPU was used. A log without an adapter line means no."""
    match = _ADAPTER.search(log)
    if match is None:
        missing = "libvulkan.so.1 is missing" if "Couldn't load Vulkan" in log else "LiteRT selected no adapter"
        return Found(False, f"no GPU: {missing}")
    name, kind = match["name"].strip(), match["type"].strip()
    if _SOFTWARE.search(kind) or _SOFTWARE.search(name):
        return Found(False, f"software adapter, not a GPU: {name} ({kind})")
    return Found(True, f"{name} ({kind})")


def npu_dispatch_library(folder: str | None) -> Path | None:
    """Find a vendor's dispatch library (`libLiteRtDispatch_*.so`) in a folder; None when there is none."""
    if not folder or not Path(folder).is_dir():
        return None
    return next(iter(sorted(Path(folder).glob("libLiteRtDispatch_*.so"))), None)


def npu_in_log(log: str, library: Path | None) -> Found:
    """Judge whether an NPU was used."""
    if library is None:
        return Found(False, "no NPU: no libLiteRtDispatch_*.so (LITERT_DISPATCH_DIR names its folder)")
    if _NPU_REFUSED.search(log):
        return Found(False, f"no NPU: LiteRT did not load {library.name}")
    return Found(True, library.name)
