"""A whole installation by `manage.py up`, in a folder of its own, ended by Ctrl-C."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = (
    "DATABASE_URL",
    "DATABASE_OWNER_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "CLOUD_AI_URL",
    "HAWKOPS_DATA",
    "WITNESS_DIR",
    "LOG_LEVEL",
)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on just now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def clean_environment() -> dict[str, str]:
    """The environment without the test bed's addresses: `up` brings its own servers."""
    return {name: value for name, value in os.environ.items() if name not in OURS}


@dataclass
class Installation:
    """A running `manage.py up`."""

    process: "subprocess.Popen[str]"
    data: Path
    console: str
    gateway: str
    said: list[str] = field(default_factory=list)
    reader: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self._collect, daemon=True)
        self.reader.start()

    def _collect(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))

    @property
    def login(self) -> str:
        """The one-time link it printed."""
        found = re.search(r"Sign in\s+(\S+)", "\n".join(self.said))
        assert found is not None
        return found.group(1)

    def wait_for(self, words: str, seconds: float) -> None:
        """Wait until it has printed something."""
        end = time.monotonic() + seconds
        while not any(words in line for line in self.said):
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"`up` never said {words!r}:\n" + "\n".join(self.said))
            time.sleep(0.1)

    def child(self, name: str) -> int:
        """The process id of one of its programs."""
        rows = json.loads((self.data / "processes.json").read_text())
        return next(int(pid) for child, pid, _ in rows if child == name)

    def log(self, name: str) -> str:
        """What one of its programs printed."""
        return (self.data / "log" / f"{name}.log").read_text(errors="replace")

    def end(self) -> int:
        """Press Ctrl-C and wait."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(40)


@contextmanager
def up(data: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Installation]:
    """Start an installation and end it, whatever happens. `env` adds to the environment."""
    console, gateway = free_ports(2)
    command = [sys.executable, str(ROOT / "manage.py"), "up", "--data", str(data)]
    process = subprocess.Popen(
        [*command, "--port", str(console), "--gateway-port", str(gateway), *options],
        env={**clean_environment(), **(env or {})},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    running = Installation(process, data, f"http://localhost:{console}", f"http://127.0.0.1:{gateway}")
    try:
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
        running.reader.join(5)


def processes_with(words: str) -> list[int]:
    """Processes whose command line or environment holds the words."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if words.encode() in text:
                found.append(int(entry.name))
    return found
