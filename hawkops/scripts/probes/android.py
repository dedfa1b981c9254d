"""The Android device beside this host, if there is exactly one: asked through `adb`, every answer checked."""

import os
import shutil
import subprocess
from dataclasses import dataclass

SECONDS = 30.0


class NoDevice(Exception):
    """There is no device to ask; the message says what is missing."""


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


def package() -> str:
    """The app's package on a device."""
    return os.environ.get("ANDROID_PACKAGE") or "com.hazardhawk"


def device() -> Device:
    """Find the device: ANDROID_SERIAL, else the only one that `adb devices` lists as ready. Raises NoDevice."""
    if shutil.which("adb") is None:
        raise NoDevice("no Android device: adb is not installed on this host")
    try:
        listed = _adb("devices")
    except AdbFailed as error:
        raise NoDevice(f"no Android device: {error}") from error
    rows = [line.split("\t") for line in listed.splitlines() if "\t" in line]
    ready = [serial for serial, state in (row[:2] for row in rows) if state.strip() == "device"]
    wanted = os.environ.get("ANDROID_SERIAL")
    if wanted:
        if wanted not in ready:
            raise NoDevice(f"no Android device: {wanted} (ANDROID_SERIAL) is not ready")
        return Device(wanted)
    if len(ready) > 1:
        raise NoDevice(f"{len(ready)} Android devices are attached; ANDROID_SERIAL says which one")
    if not ready:
        waiting = f"; {len(rows)} not ready ({', '.join(sorted({row[1].strip() for row in rows}))})" if rows else ""
        raise NoDevice(f"no Android device is attached{waiting}")
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
