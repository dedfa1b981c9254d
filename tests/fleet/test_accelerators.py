"""Telling a real accelerator from LiteRT's silent stand-ins, by the lines that LiteRT really wrote."""

from pathlib import Path

import pytest

from hawkops.fleet.accelerators import gpu_in_log, npu_dispatch_library, npu_in_log

PREFIX = "INFO: [environment.cc:532] Selected adapter: "
LAVAPIPE = (
    PREFIX + "llvmpipe (LLVM 15.0.6, 256 bits), arch=software, vendor=mesa, backend=Vulkan, adapterType=CPU / Software"
)
SWIFTSHADER = PREFIX + "SwiftShader Device (Subzero), arch=swiftshader, vendor=google, adapterType=CPU / Software\n"
PHONE = PREFIX + "Adreno (TM) 750, arch=adreno-7xx, vendor=qualcomm, backend=Vulkan, adapterType=Integrated GPU\nmore"
NO_VULKAN = "Warning: Couldn't load Vulkan: libvulkan.so.1: cannot open shared object file\nNo adapters found"


@pytest.mark.parametrize("log", [LAVAPIPE, SWIFTSHADER])
def test_gpu__software_adapter__is_no_gpu(log: str) -> None:
    found = gpu_in_log(log)
    assert not found.real
    assert "software adapter, not a GPU" in found.sentence


def test_gpu__hardware_adapter__is_named() -> None:
    found = gpu_in_log(PHONE)
    assert found.real
    assert found.sentence == "Adreno (TM) 750 (Integrated GPU)"


@pytest.mark.parametrize(("log", "reason"), [(NO_VULKAN, "libvulkan.so.1 is missing"), ("", "selected no adapter")])
def test_gpu__no_adapter__is_no_gpu(log: str, reason: str) -> None:
    found = gpu_in_log(log)
    assert not found.real
    assert reason in found.sentence


def test_npu__wrong_folder__is_no_npu(tmp_path: Path) -> None:
    assert npu_dispatch_library(None) is None
    assert npu_dispatch_library(str(tmp_path)) is None
    assert npu_dispatch_library(str(tmp_path / "absent")) is None
    assert not npu_in_log("", None).real


def test_npu__library_that_was_not_loaded__is_no_npu(tmp_path: Path) -> None:
    library = tmp_path / "libLiteRtDispatch_Qualcomm.so"
    library.touch()
    assert npu_dispatch_library(str(tmp_path)) == library
    assert npu_in_log("", library).real
    assert not npu_in_log("WARNING: NPU accelerator could not be loaded and registered", library).real
