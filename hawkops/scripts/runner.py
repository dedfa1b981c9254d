"""Running one program: arguments as a list, a group of its own, limits, an allow-listed environment, output as it comes."""

from __future__ import annotations

import ctypes
import json
import os
import queue
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from hawkops.core import clock
from hawkops.scripts.models import State

NO_DATA_EXIT = 77
OUTPUT_LINES_MOST = 20_000
LINE_CHARACTERS_MOST = 4_000
FLUSH_SECONDS = 0.25
HEARTBEAT_SECONDS = 5.0
GRACE_SECONDS = 5.0
FILE_BYTES = 2_000_000_000
RESULT_BYTES = 2_000_000
ALLOWED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "ANDROID_SERIAL",
    "ANDROID_HOME",
    "JAVA_HOME",
    "KUBECONFIG",
    "VK_ICD_FILENAMES",
    "LD_LIBRARY_PATH",
    "LITERT_DISPATCH_DIR",
)
SECRET = re.compile(r"(hk_[a-z]+_[A-Za-z0-9_-]{8})[A-Za-z0-9_-]+|(?i:(authorization:\s*bearer\s+|password=|token=))\S+")
ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*(?:\x07|\x1b\\)")
NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")
PR_SET_PDEATHSIG = 1

Line = tuple[int, datetime, str, str]


@dataclass
class Outcome:
    """How a program ended."""

    state: State
    exit_code: int | None
    summary: str
    results: list[dict[str, Any]] = field(default_factory=list)


def environment_for(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment a script gets: the allow-list and what is meant for it, nothing else."""
    kept = {name: os.environ[name] for name in ALLOWED if name in os.environ}
    return {**kept, "HAWKOPS_PYTHON": sys.executable, "PYTHONUNBUFFERED": "1", **extra}


def masked(text: str, secrets: frozenset[str] = frozenset()) -> str:
    """Replace secrets in a line: the known values, and whatever looks like one."""
    for secret in secrets:
        text = text.replace(secret, "•••")
    return SECRET.sub(lambda found: f"{found.group(1) or found.group(2)}•••", text)


def _prepare(memory_bytes: int, cpu_seconds: int) -> Callable[[], None]:
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def prepare() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return prepare


# The supervisor of one script: a process of its own that kills the group when its worker dies, even by SIGKILL.
GUARD = """
import ctypes, os, signal, subprocess, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]): sys.exit(1)
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
def end(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    try: child.wait(3)
    except subprocess.TimeoutExpired: pass
    os.killpg(0, signal.SIGKILL)
signal.signal(signal.SIGTERM, end)
code = child.wait()
sys.exit(code if code >= 0 else 128 - code)
"""


def run_program(
    command: list[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    timeout_seconds: float,
    memory_bytes: int,
    on_lines: Callable[[list[Line]], None],
    on_heartbeat: Callable[[], bool],
    secrets: frozenset[str] = frozenset(),
) -> Outcome:
    """Run a program to its end and return how it ended.

    `on_lines` gets numbered lines at most four times a second; `on_heartbeat` says every few seconds whether to go on.
    """
    with tempfile.TemporaryDirectory(prefix="hawkops-run-") as folder:
        result_path = Path(folder) / "result.jsonl"
        result_path.touch()
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", GUARD, str(os.getpid()), *command],
                env={**env, "HAWKOPS_RESULT": str(result_path), "TMPDIR": folder},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=_prepare(memory_bytes, int(timeout_seconds) * 4 + 60),  # noqa: PLW1509
            )
        except OSError as error:
            return Outcome(State.ERROR, None, f"The program could not be started: {error.strerror}.")
        output = _Output(process, secrets)
        why: State | None = None
        try:
            why = _follow(process, output, timeout_seconds, on_lines, on_heartbeat)
        finally:
            _group_end(process)
        on_lines(output.rest())
        results = _results(result_path)
    if why is State.TIMED_OUT:
        return Outcome(why, process.returncode, f"Ended after {timeout_seconds:g} s, its time limit.", results)
    if why is State.CANCELLED:
        return Outcome(why, process.returncode, "Cancelled while it ran.", results)
    return _judged(process.returncode, output.last_words, results)


def _judged(code: int, last_words: str, results: list[dict[str, Any]]) -> Outcome:
    if code == 0:
        return Outcome(State.PASSED, code, last_words or "Passed.", results)
    if code == NO_DATA_EXIT:
        return Outcome(State.NO_DATA, code, last_words or "Could not measure.", results)
    return Outcome(State.FAILED, code, last_words or f"Ended with status {code}.", results)


def _follow(
    process: subprocess.Popen[bytes],
    output: _Output,
    timeout_seconds: float,
    on_lines: Callable[[list[Line]], None],
    on_heartbeat: Callable[[], bool],
) -> State | None:
    started = beaten = time.monotonic()
    while process.poll() is None:
        time.sleep(FLUSH_SECONDS)
        on_lines(output.take())
        now = time.monotonic()
        if now - beaten >= HEARTBEAT_SECONDS:
            beaten = now
            if not on_heartbeat():
                return State.CANCELLED
        if now - started > timeout_seconds:
            return State.TIMED_OUT
    return None


def _group_end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: politely, then for good. The guard leads it, so nothing of it outlives the run."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Output:
    """Both streams, read by threads, cut into lines, bounded."""

    def __init__(self, process: subprocess.Popen[bytes], secrets: frozenset[str]) -> None:
        self._queue: queue.Queue[tuple[datetime, str, str]] = queue.Queue(5_000)
        self._secrets = secrets
        self._number = 0
        self._cut = False
        self._last: dict[bool, str] = {}
        assert process.stdout is not None and process.stderr is not None
        self._threads = [
            threading.Thread(target=self._read, args=(stream, name), daemon=True)
            for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr"))
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: IO[bytes], name: str) -> None:
        pending = b""
        while chunk := os.read(stream.fileno(), 65_536):
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                self._put(name, line)
            if len(pending) > LINE_CHARACTERS_MOST * 4:
                self._put(name, pending)
                pending = b""
        if pending:
            self._put(name, pending)

    def _put(self, name: str, raw: bytes) -> None:
        text = raw.decode("utf-8", errors="replace").rsplit("\r", 1)[-1] if raw.strip(b"\r") else ""
        text = ANSI.sub("", text).replace("\x00", "")[:LINE_CHARACTERS_MOST]
        try:
            self._queue.put((clock.now(), name, masked(text, self._secrets)), timeout=30)
        except queue.Full:
            self._cut = True

    @property
    def last_words(self) -> str:
        """The last sentence said, else the last number, else nothing."""
        return self._last.get(True) or self._last.get(False, "")

    def take(self) -> list[Line]:
        """Return what came since the last call, numbered; after the most lines, one line says so."""
        lines: list[Line] = []
        while len(lines) < 2_000:
            try:
                at, name, text = self._queue.get_nowait()
            except queue.Empty:
                break
            if said := text.strip():
                # both streams race: a bare number, which the runbook compares, never stands in front of a sentence
                self._last[NUMBER.fullmatch(said) is None] = said
            if self._number >= OUTPUT_LINES_MOST:
                if not self._cut:
                    self._cut = True
                    self._number += 1
                    lines.append((self._number, at, "stderr", f"Output is cut after {OUTPUT_LINES_MOST} lines."))
                continue
            self._number += 1
            lines.append((self._number, at, name, text))
        return lines

    def rest(self) -> list[Line]:
        """Return what is left after the program ended."""
        for thread in self._threads:
            thread.join(timeout=2)
        return self.take()


def _results(path: Path) -> list[dict[str, Any]]:
    """Read the measurements: one JSON object a line; a line that is none is left out."""
    if path.stat().st_size > RESULT_BYTES:
        return []
    found = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            result = json.loads(line)
        except ValueError:
            continue
        if isinstance(result, dict) and isinstance(result.get("name"), str):
            found.append(result)
    return found
