"""The Android device beside this host, if there is exactly one: asked through `adb`, every answer checked."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

SECONDS = 30.0
PUSH_BYTES_PER_SECOND = 2_000_000


class NoDevice(Exception):
    """There is no device to ask; the message says what is missing."""


class NoneAttached(NoDevice):
    """No device is attached at all, ready or not."""


class AdbFailed(Exception):
    """The device was asked and refused."""


@dataclass(frozen=True)
class Device:
    """One attached device."""

    serial: str

    def shell(self, *words: str, timeout_seconds: float = SECONDS) -> str:
        """Run a command on the device and return what it printed. Raises AdbFailed for any other status than 0."""
        return _adb("-s", self.serial, "shell", *words, timeout_seconds=timeout_seconds)

    def property(self, name: str) -> str:
        """Read a system property; empty when it is not set."""
        return self.shell("getprop", name).strip()

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device. Raises AdbFailed."""
        seconds = SECONDS + local.stat().st_size / PUSH_BYTES_PER_SECOND
        _adb("-s", self.serial, "push", str(local), remote, timeout_seconds=seconds)

    @cached_property
    def renderer(self) -> str:
        """What draws on its screen: the GLES line of SurfaceFlinger; empty when there is none. Raises AdbFailed."""
        found = re.search(r"GLES:\s*(.+)", self.shell("dumpsys", "SurfaceFlinger"))
        return found[1].strip() if found else ""


@dataclass(frozen=True)
class Phone:
    """A device and what it says of itself. Its serial number is nobody's business in a result."""

    device: Device
    model: str
    android: str
    soc: str
    emulated: bool

    @property
    def name(self) -> str:
        """Name it for people."""
        return f"{self.model}, Android {self.android}{' (an emulator)' if self.emulated else ''}"

    def described(self) -> dict[str, str | bool]:
        """Describe it in a result."""
        return {
            "target": "device",
            "host": self.name,
            "device_model": self.model,
            "android_version": self.android,
            "soc": self.soc,
            **({"emulated": True} if self.emulated else {}),
        }


def phone(attached: Device) -> Phone:
    """Ask a device what it is. Raises AdbFailed."""
    maker, model = attached.property("ro.product.manufacturer"), attached.property("ro.product.model")
    hardware = attached.property("ro.hardware")
    return Phone(
        attached,
        model if maker.lower() in model.lower() else f"{maker} {model}",
        attached.property("ro.build.version.release") or "?",
        attached.property("ro.soc.model") or hardware,
        emulated=hardware in ("ranchu", "goldfish", "cutf_cvm") or attached.property("ro.boot.qemu") == "1",
    )


def package() -> str:
    """The app's package on a device."""
    return os.environ.get("ANDROID_PACKAGE") or "com.hazardhawk"


def device(named: str = "") -> Device:
    """Find the device: the named one, ANDROID_SERIAL, else the only one that `adb devices` lists as ready.

    Raises NoDevice.
    """
    if shutil.which("adb") is None:
        raise NoneAttached("no Android device: adb is not installed on this host")
    try:
        listed = _adb("devices")
    except AdbFailed as error:
        raise NoDevice(f"no Android device: {error}") from error
    rows = [line.split("\t") for line in listed.splitlines() if "\t" in line]
    states = {row[0]: row[1].strip() for row in rows}
    ready = [serial for serial, state in states.items() if state == "device"]
    wanted, by = (named, "--device") if named else (os.environ.get("ANDROID_SERIAL"), "ANDROID_SERIAL")
    if wanted:
        if wanted not in ready:
            state = f"is {states[wanted]}" if wanted in states else "is not attached"
            raise NoDevice(f"no Android device: {wanted} ({by}) is not ready: it {state}")
        return Device(wanted)
    if len(ready) > 1:
        raise NoDevice(
            f"{len(ready)} Android devices are attached ({', '.join(ready)}); --device or ANDROID_SERIAL says which one"
        )
    if not ready:
        waiting = f"; {len(rows)} not ready ({', '.join(sorted(set(states.values())))})" if rows else ""
        raise (NoDevice if rows else NoneAttached)(f"no Android device is attached{waiting}")
    return Device(ready[0])


def _adb(*words: str, timeout_seconds: float = SECONDS) -> str:
    try:
        done = subprocess.run(
            ["adb", *words], capture_output=True, text=True, errors="replace", timeout=timeout_seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise AdbFailed(f"adb gave no answer within {timeout_seconds:.0f} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise AdbFailed(said[-1] if said else f"adb ended with status {done.returncode}")
    return done.stdout
