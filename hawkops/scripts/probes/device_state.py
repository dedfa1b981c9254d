"""What stands around the model: storage and its permissions, GPU drivers and GPU memory, on the device or on this host."""

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from hawkops.fleet.accelerators import is_software
from hawkops.fleet.model.signature import artefact, data_folder
from hawkops.scripts.probes.android import AdbFailed, Device, NoDevice, NoneAttached, device, package
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured
from hawkops.scripts.probes.measuring import Reading, Unmeasurable, subject, throughput

FREE_SHARE_LEAST = 0.10
FREE_BYTES_LEAST = 2_000_000_000
FOLDER = re.compile(r"/[A-Za-z0-9._/-]{1,200}")


# ---- storage ----


def storage() -> Iterator[Finding]:
    """Can the app read its models and write its data, may nobody else write there, and is there room."""
    try:
        yield from _device_storage(device())
    except NoDevice as lack:
        yield unmeasured("Storage on the device", f"{lack}; this host is checked instead")
    except AdbFailed as error:
        yield failed("Storage on the device", str(error))
    model = artefact().path
    yield _readable("Model on this host", model)
    yield _own("Data folder on this host", data_folder())
    yield _room("Free space on this host", data_folder())


def _readable(title: str, path: Path) -> Finding:
    if not path.exists():
        return failed(title, f"{path} is missing")
    if not os.access(path, os.R_OK):
        return failed(title, f"{path} can't be read by this user")
    if path.stat().st_mode & stat.S_IWOTH:
        return failed(title, f"{path} can be changed by anybody (mode {stat.filemode(path.stat().st_mode)})")
    return passed(title, f"{path.name}, {stat.filemode(path.stat().st_mode)}")


def _own(title: str, path: Path) -> Finding:
    if not path.exists():
        return unmeasured(title, f"{path} is missing (HAWKOPS_DATA names it)")
    mode = path.stat().st_mode
    if not os.access(path, os.W_OK):
        return failed(title, f"{path} can't be written by this user")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return failed(title, f"{path} can be written by others ({stat.filemode(mode)}); chmod 700")
    return passed(title, f"{path}, {stat.filemode(mode)}")


def _room(title: str, path: Path) -> Finding:
    usage = shutil.disk_usage(path if path.exists() else Path("/"))
    return _room_finding(title, usage.free, usage.total)


def _room_finding(title: str, free: int, total: int) -> Finding:
    least = min(FREE_BYTES_LEAST, round(total * FREE_SHARE_LEAST))
    words = f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB, at least {least / 1e9:.1f} GB wanted"
    return (passed if free >= least else failed)(title, words, value=float(free), unit="By", name="device.storage.free")


def app_folder(words: Sequence[str]) -> Iterator[Finding]:
    """Ask the device how full the app's data folder is: `df -h FOLDER`, its table printed as the device writes it."""
    words = list(words) or ["-h", f"/data/data/{package()}"]
    options, paths = [one for one in words if one.startswith("-")], [one for one in words if not one.startswith("-")]
    if len(paths) != 1 or not FOLDER.fullmatch(paths[0]) or not set(options) <= {"-h", "-k"}:
        raise ValueError("write df -h and one folder of the device, /data/data/com.hazardhawk say")
    try:
        phone = device()
        print(phone.shell("df", *options, paths[0]).rstrip(), flush=True)
        yield _device_room(phone, paths[0])
    except NoDevice as lack:
        yield unmeasured("Free space on the device", f"{lack}; this host has no {paths[0]} of an app")
    except AdbFailed as error:
        yield failed("Free space on the device", str(error))


def _device_room(phone: Device, path: str) -> Finding:
    rows = phone.shell("df", "-k", path).strip().splitlines()
    columns = rows[-1].split() if rows else []
    if len(columns) < 4 or not columns[1].isdigit() or not columns[3].isdigit():
        return unmeasured("Free space on the device", f"df said nothing about {path}")
    return _room_finding("Free space on the device", int(columns[3]) * 1024, int(columns[1]) * 1024)


def _device_storage(phone: Device) -> Iterator[Finding]:
    yield _device_room(phone, f"/data/data/{package()}")
    try:
        listed = phone.shell("run-as", package(), "ls", "-ln", "files")
    except AdbFailed as error:
        yield unmeasured("Models on the device", f"{package()} can't be looked into (not a debuggable build?): {error}")
        return
    loose = [line for line in listed.splitlines() if re.match(r"^.{8}w", line)]
    if loose:
        yield failed("Models on the device", f"anybody may write {loose[0].split()[-1]}")
    else:
        yield passed("Models on the device", f"{len(listed.splitlines())} entries, none that others may write")


# ---- GPU ----


def gpu_drivers() -> Iterator[Finding]:
    """Name the GPU and its driver; on this host LiteRT itself must have selected a hardware adapter."""
    title = "GPU driver"
    try:
        renderer = device().renderer
        if not renderer:
            yield unmeasured(title, "the device names no GPU (dumpsys SurfaceFlinger has no GLES line)")
        elif is_software(renderer):
            yield unmeasured(title, f"software adapter, not a GPU: {renderer}")
        else:
            yield passed(title, renderer)
        return
    except NoneAttached as lack:
        no_device = str(lack)
    except NoDevice as lack:  # attached and not clear: this host's GPU says nothing of it
        yield unmeasured(title, str(lack))
        return
    except AdbFailed as error:
        yield failed(title, str(error))
        return
    reading = _gpu_reading()
    if reading.value is None:
        yield (failed if reading.broken else unmeasured)(title, f"{reading.sentence}; {no_device}")
    else:
        yield passed(title, f"{reading.sentence}, {reading.value:.0f} tokens/sec on this host")


def _gpu_reading() -> Reading:
    try:
        return throughput(subject(), "gpu", runs=1)
    except Unmeasurable as lack:
        return Reading("litert.prefill.throughput", "{token}/s", "gpu", None, str(lack), lack.broken)


def gpu_memory() -> Iterator[Finding]:
    """Say how much memory the GPU has in use: of the app on a device, of the card on this host."""
    title = "GPU memory"
    try:
        said = device().shell("dumpsys", "gpu", "--gpumem")
        total = re.search(r"Global total:\s*(\d+)", said)
        if total is None:
            yield unmeasured(title, "the device does not count its GPU memory (dumpsys gpu --gpumem)")
        else:
            yield passed(title, f"{int(total[1]) / 1e6:.0f} MB in use on the device", value=float(total[1]), unit="By")
        return
    except NoneAttached as lack:
        no_device = str(lack)
    except NoDevice as lack:  # attached and not clear: this host's GPU says nothing of it
        yield unmeasured(title, str(lack))
        return
    except AdbFailed as error:
        yield failed(title, str(error))
        return
    if shutil.which("nvidia-smi") is None:
        yield unmeasured(title, f"no GPU whose memory can be read on this host; {no_device}")
        return
    query = ["nvidia-smi", "--query-gpu=name,memory.used,memory.total", "--format=csv,noheader,nounits"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode or not done.stdout.strip():
        yield unmeasured(title, f"nvidia-smi: {(done.stderr or done.stdout).strip()[:200]}")
        return
    for line in done.stdout.strip().splitlines():
        name, used, total_mib = (part.strip() for part in line.split(","))
        yield passed(
            title, f"{name}: {used} of {total_mib} MiB in use on this host", value=float(used) * 2**20, unit="By"
        )
