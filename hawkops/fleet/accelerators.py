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
_DELEGATED = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate \((\w+)\)")
_NPU_REGISTERED = re.compile(r"NPU accelerator registered|name=NpuAccelerator")
_NPU_REFUSED = re.compile(r"NPU accelerator could not be loaded|Failed to load dispatch|simulated on the CPU", re.I)


@dataclass(frozen=True)
class Found:
    """What a log says about an accelerator: whether it is real hardware, and a sentence."""

    real: bool
    sentence: str


def is_software(name: str) -> bool:
    """Tell whether a GPU's name is that of a renderer in software: SwiftShader, llvmpipe, an emulator's."""
    return _SOFTWARE.search(name) is not None


def gpu_in_log(log: str) -> Found:
    """Judge whether a hardware GPU was used. A log without an adapter line means no."""
    match = _ADAPTER.search(log)
    if match is None:
        missing = "libvulkan.so.1 is missing" if "Couldn't load Vulkan" in log else "LiteRT selected no adapter"
        return Found(False, f"no GPU: {missing}")
    name, kind = match["name"].strip(), match["type"].strip()
    if is_software(kind) or is_software(name):
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


def gpu_on_phone(log: str, renderer: str) -> Found:
    """Judge whether a phone's GPU was used: a real one, to which LiteRT gave the whole of every graph.

    `renderer` is what the phone itself names (the GLES line of SurfaceFlinger). On phones LiteRT uses OpenCL, which has
    no adapter line; its WebGPU has one.
    """
    if not renderer:
        return Found(False, "no GPU: the device names none (dumpsys SurfaceFlinger has no GLES line)")
    if is_software(renderer):
        return Found(False, f"software adapter, not a GPU: {renderer}")
    if _ADAPTER.search(log):
        return gpu_in_log(log)
    taken = [(int(some), int(whole)) for some, whole, name in _DELEGATED.findall(log) if name.startswith("LITERT_")]
    if not taken:
        return Found(False, "no GPU: LiteRT's log gives it no part of the model, so it ran on the CPU")
    some, whole = min(taken, key=lambda pair: pair[0] / max(1, pair[1]))
    if some < whole:
        return Found(False, f"the GPU took {some} of {whole} nodes, the CPU the rest")
    return Found(True, renderer)


def npu_on_phone(log: str, library: str) -> Found:
    """Judge whether a phone's NPU was used: registered, and the vendor's dispatch took a part of the model.

    LiteRT makes its environment several times and registers the NPU in the first only, so a later refusal says nothing.
    """
    if not _NPU_REGISTERED.search(log):
        return Found(False, f"no NPU: LiteRT did not register {library}")
    if not any(name == "DispatchDelegate" for _, _, name in _DELEGATED.findall(log)):
        return Found(False, f"no NPU: {library} took no part of the model, so it ran on the CPU")
    return Found(True, library)
