#!/usr/bin/env python3
"""Stands in for adb, with phones that are folders: records what it is asked, refuses what adb refuses, in its words.

`$ADB_FOLDER/devices` holds its list (serial, tab, state). A shell's commands really run, below `$ADB_FOLDER/phone`, with
the phone's own `getprop` and `dumpsys` from `$ADB_FOLDER/tools`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(os.environ.get("ADB_FOLDER", "/absent"))
STATES = {
    "unauthorized": "adb: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\n"
    "Try 'adb kill-server' if that seems wrong.\nOtherwise check for a confirmation dialog on your device.",
    "offline": "adb: device offline",
    "no permissions": "adb: insufficient permissions for device",
}


def refuse(words: str) -> None:
    """End as adb ends."""
    print(words, file=sys.stderr)
    sys.exit(1)


def there(path: str) -> str:
    """Where a path of the phone stands here."""
    return path.replace("/data/", f"{FOLDER}/phone/data/")


def chosen(serial: str, devices: dict[str, str]) -> None:
    """Refuse what adb refuses before it asks a device anything."""
    if not serial and not devices:
        refuse("adb: no devices/emulators found")
    if not serial and len(devices) > 1:
        refuse("adb: more than one device/emulator")
    serial = serial or next(iter(devices))
    if serial not in devices:
        refuse(f"adb: device '{serial}' not found")
    if devices[serial] != "device":
        refuse(STATES[devices[serial]])


def main() -> None:
    """Answer one call."""
    words = sys.argv[1:]
    with (FOLDER / "asked").open("a") as file:
        file.write(" ".join(words).replace("\n", "; ") + "\n")
    listed = (FOLDER / "devices").read_text()
    if words == ["devices"]:
        print(f"List of devices attached\n{listed}")
        return
    serial = ""
    if words[:1] == ["-s"]:
        serial, words = words[1], words[2:]
    chosen(serial, dict(row.split("\t") for row in listed.splitlines() if "\t" in row))
    match words:
        case ["shell", *command]:
            path = f"{FOLDER}/tools:/usr/bin:/bin"
            ended = subprocess.run(
                ["sh", "-c", there(" ".join(command))], env={**os.environ, "PATH": path}, check=False
            )
            sys.exit(ended.returncode)
        case ["push", local, remote]:
            target = Path(there(remote))
            if not Path(local).is_file():
                refuse(f"adb: error: cannot stat '{local}': No such file or directory")
            if not target.parent.is_dir():
                refuse(f"adb: error: failed to copy '{local}' to '{remote}': remote couldn't create file: No such file")
            shutil.copyfile(local, target)
            if (FOLDER / "corrupts").exists():
                target.write_bytes(target.read_bytes()[:-1] + b"!")
            target.chmod(0o644)
            print(f"{local}: 1 file pushed, 0 skipped. 30.1 MB/s ({target.stat().st_size} bytes in 0.1s)")
        case _:
            refuse(f"adb: unknown command {' '.join(words)}")


if __name__ == "__main__":
    main()
