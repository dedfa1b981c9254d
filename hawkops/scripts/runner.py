"""Running one program: arguments as a list, a group of its own, limits, an allow-listed environment, output as it comes."""

from __future__ import annotations

import codecs
import ctypes
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from hawkops.core import clock
from hawkops.scripts import kept, measurements
from hawkops.scripts.models import State

NO_DATA_EXIT = 77
OUTPUT_LINES_MOST = 20_000
OUTPUT_CHARACTERS_MOST = 8_000_000
LINE_CHARACTERS_MOST = 4_000
# What a cut output still ends with: failures say why at their end.
TAIL_CHARACTERS = 8_000
TAIL_LINES = 40
# How much of an endless line is held back, so that a secret split across two writes is whole when it is masked.
HELD_CHARACTERS = 1_024
BATCH_LINES = 2_000
FLUSH_SECONDS = 0.25
HEARTBEAT_SECONDS = 5.0
GRACE_SECONDS = 5.0
FILE_BYTES = 8_000_000_000  # a model, which redownload-models.sh writes
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
ANSI = re.compile(
    r"\x1b\[[0-9;:?<=>]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)|\x1b[()#][0-9A-Za-z]|\x1b[=>78A-Z]"
)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]")
NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")
PR_SET_PDEATHSIG = 1

Line = tuple[int, datetime, str, str]


class Stopped(Exception):
    """The worker is told to end, and ended its program."""


@dataclass
class Outcome:
    """How a program ended."""

    state: State
    exit_code: int | None
    summary: str
    results: list[dict[str, Any]] = field(default_factory=list)
    files: list[kept.Kept] = field(default_factory=list)


def environment_for(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment a script gets: the allow-list and what is meant for it, nothing else."""
    kept = {name: os.environ[name] for name in ALLOWED if name in os.environ}
    return {**kept, "HAWKOPS_PYTHON": sys.executable, "PYTHONUNBUFFERED": "1", **extra}


def masked(text: str, secrets: frozenset[str] = frozenset()) -> str:
    """Replace secrets in a line: the known values, and whatever looks like one."""
    for secret in sorted(secrets, key=len, reverse=True):
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
        # the kernel's word first, so that the reason can be told; five seconds later the end
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return prepare


# The supervisor of one script: a process of its own that ends everything below it when its worker dies, even by SIGKILL.
# Whoever leaves the group (setsid) and loses its parent comes to it, and so can't outlive the run either. A script that
# can't be started it says on a pipe of its own, for every status is one that a script may end with.
GUARD = """
import ctypes, os, signal, subprocess, sys, time
libc = ctypes.CDLL(None)
libc.prctl(1, signal.SIGTERM)
libc.prctl(36, 1)
if os.getppid() != int(sys.argv[1]): sys.exit(1)
word = int(sys.argv[2])
class Told(BaseException): pass
def tell(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Told
def below(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in file.read().split(): found += [int(child), *below(int(child))]
    except OSError: pass
    return found
def sweep():
    for _ in range(200):
        left = below(os.getpid())
        for pid in left:
            try: os.kill(pid, signal.SIGKILL)
            except ProcessLookupError: pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]: pass
        except ChildProcessError: return
        time.sleep(0.02)
signal.signal(signal.SIGTERM, tell)
try:
    try: child = subprocess.Popen(sys.argv[3:], stdin=subprocess.DEVNULL)
    except OSError as error:
        os.write(word, error.strerror.encode())
        sys.exit(127)
    os.close(word)
    code = child.wait()
except Told:
    os.killpg(0, signal.SIGTERM)
    try: child.wait(3)
    except subprocess.TimeoutExpired: pass
    code = -signal.SIGTERM
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sweep()
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
    is_stopping: Callable[[], bool] = lambda: False,
    secrets: frozenset[str] = frozenset(),
    cpu_seconds: int = 0,
) -> Outcome:
    """Run a program to its end and return how it ended.

    Memory, processor time and file size are limits of each process; `cpu_seconds` 0 means four processors' worth of the
    time limit. `on_lines` gets numbered lines about four times a second; `on_heartbeat` says every few seconds whether
    to go on. Raises Stopped, with nothing of the program left, once `is_stopping` says so.
    """
    secrets = frozenset(part for secret in secrets for part in secret.splitlines() if part.strip())
    cpu_seconds = cpu_seconds or int(timeout_seconds) * 4 + 60
    with tempfile.TemporaryDirectory(prefix="hawkops-run-") as folder:
        result_path = Path(folder) / "result.jsonl"
        result_path.touch()
        files_path = Path(folder) / "files"
        files_path.mkdir()
        try:
            process, refusal = _start(
                command,
                env={**env, "HAWKOPS_RESULT": str(result_path), "HAWKOPS_FILES": str(files_path), "TMPDIR": folder},
                cwd=cwd,
                prepare=_prepare(memory_bytes, cpu_seconds),
            )
        except OSError as error:
            return Outcome(State.ERROR, None, f"Could not be started: {error.strerror}.")
        output = _Output(process, secrets)
        why: State | None = None
        try:
            why = _follow(process, output, timeout_seconds, on_lines, on_heartbeat, is_stopping)
        finally:
            _group_end(process)
            with refusal:
                refused = refusal.read(1_000).decode(errors="replace")
        for lines in output.rest():
            on_lines(lines)
        found, left_out = measurements.read(result_path)
        files, not_kept = kept.read(files_path, masked=lambda text: masked(text, secrets))
        for said in filter(None, (left_out, not_kept)):
            on_lines([output.remark(said)])
        results = [_masked_values(result, secrets) for result in found]
    if refused:
        return Outcome(State.ERROR, None, f"{command[0]} could not be started: {refused}.")
    if why is State.TIMED_OUT:
        return Outcome(why, process.returncode, f"Ended after {timeout_seconds:g} s, its time limit.", results, files)
    if why is State.CANCELLED:
        return Outcome(why, process.returncode, "Cancelled while it ran.", results, files)
    words = _limit_met(process.returncode, cpu_seconds) or output.last_words
    return replace(_judged(process.returncode, words, results), files=files)


def _start(
    command: list[str], *, env: Mapping[str, str], cwd: Path, prepare: Callable[[], None]
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Start a program below its guard; return the guard, and where it says why it could not start the program."""
    word, says = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", GUARD, str(os.getpid()), str(says), *command],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(says,),
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509
        )
    except BaseException:
        os.close(word)
        raise
    finally:
        os.close(says)
    return process, os.fdopen(word, "rb")


def _limit_met(code: int, cpu_seconds: int) -> str:
    """Say which limit the kernel ended it for, by the status of a shell whose child was; empty when for none."""
    if code == 128 + signal.SIGXCPU:
        return f"Used up its {cpu_seconds} s of processor time."
    if code == 128 + signal.SIGXFSZ:
        return f"Wrote a file of more than {FILE_BYTES / 1e6:g} MB, its limit."
    return ""


def _masked_values(value: Any, secrets: frozenset[str]) -> Any:
    """Mask every text in what a result file holds."""
    if isinstance(value, str):
        return masked(value, secrets)
    if isinstance(value, list):
        return [_masked_values(item, secrets) for item in value]
    if isinstance(value, dict):
        return {masked(str(name), secrets): _masked_values(item, secrets) for name, item in value.items()}
    return value


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
    is_stopping: Callable[[], bool],
) -> State | None:
    started = beaten = time.monotonic()
    while process.poll() is None:
        time.sleep(FLUSH_SECONDS)
        on_lines(output.take())
        if is_stopping():
            raise Stopped
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
    """Both streams, read by threads that never wait for the database; cut into lines, masked, bounded."""

    def __init__(self, process: subprocess.Popen[bytes], secrets: frozenset[str]) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[datetime, str, str]] = deque()
        self._secrets = secrets
        self._held = max([HELD_CHARACTERS, *(len(secret) for secret in secrets)])
        self._number = 0
        self._lines = self._characters = 0
        self._tails: dict[str, str] = {}
        self._last: dict[bool, str] = {}
        assert process.stdout is not None and process.stderr is not None
        self._threads = [
            threading.Thread(target=self._read, args=(stream, name), daemon=True)
            for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr"))
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: IO[bytes], name: str) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pending = ""
        while chunk := os.read(stream.fileno(), 65_536):
            pending += decoder.decode(chunk)
            if self._full:
                self._tails[name] = self._tails.get(name, "")[-TAIL_CHARACTERS:] + pending[-TAIL_CHARACTERS:]
                pending = ""
                continue
            *lines, pending = pending.split("\n")
            for line in lines:
                self._put(name, self._clean(line))
            if len(pending) > LINE_CHARACTERS_MOST + 2 * self._held:
                pending = self._clean(pending) + "\r" * pending.endswith("\r")
                if len(pending) > LINE_CHARACTERS_MOST + self._held:
                    self._put(name, pending[: -self._held])
                    pending = pending[-self._held :]
        pending += decoder.decode(b"", final=True)
        if pending and self._full:
            self._tails[name] = (self._tails.get(name, "") + pending)[-2 * TAIL_CHARACTERS :]
        elif pending:
            self._put(name, self._clean(pending))

    @property
    def _full(self) -> bool:
        return self._lines >= OUTPUT_LINES_MOST or self._characters >= OUTPUT_CHARACTERS_MOST

    def _clean(self, text: str) -> str:
        """Return what a terminal would show in the end: what stands after the last carriage return, masked."""
        text = text.rstrip("\r").rpartition("\r")[2]
        return masked(CONTROL.sub("", ANSI.sub("", text)), self._secrets)

    def _put(self, name: str, line: str) -> None:
        """Keep one line; a very long one as several, after it was masked as a whole."""
        line = line.replace("\x1b", "")
        at = clock.now()
        for start in range(0, max(len(line), 1), LINE_CHARACTERS_MOST):
            piece = line[start : start + LINE_CHARACTERS_MOST]
            with self._lock:
                if self._full:
                    self._tails[name] = self._tails.get(name, "")[-TAIL_CHARACTERS:] + f"{piece}\n"
                    continue
                self._lines += 1
                self._characters += len(piece)
                self._waiting.append((at, name, piece))

    @property
    def last_words(self) -> str:
        """The last sentence said, else the last number, else nothing."""
        return self._last.get(True) or self._last.get(False, "")

    def take(self) -> list[Line]:
        """Return what came since the last call, numbered."""
        lines: list[Line] = []
        while self._waiting and len(lines) < BATCH_LINES:
            lines.append(self._numbered(*self._waiting.popleft()))
        return lines

    def _numbered(self, at: datetime, name: str, text: str) -> Line:
        if said := text.strip():
            # both streams race: a bare number, which the runbook compares, never stands in front of a sentence
            self._last[NUMBER.fullmatch(said) is None] = said
        self._number += 1
        return self._number, at, name, text

    def rest(self) -> Iterator[list[Line]]:
        """Give what is left after the program ended; where it was cut, a line that says so and the end of what it said."""
        for thread in self._threads:
            thread.join(timeout=2)
        while lines := self.take():
            yield lines
        if self._tails:
            yield [self.remark(f"Output is cut after {self._lines} lines; the last lines follow.")]
            yield [self._numbered(*line) for name in sorted(self._tails, reverse=True) for line in self._tail(name)]

    def remark(self, text: str) -> Line:
        """Number a line that the runner adds; it is never the program's last word."""
        self._number += 1
        return self._number, clock.now(), "stderr", masked(text, self._secrets)

    def _tail(self, name: str) -> Iterator[tuple[datetime, str, str]]:
        tail = self._tails[name]
        lines = tail.rstrip("\n").split("\n")
        # a shortened tail begins somewhere in the middle of a line, perhaps of a secret
        first = 1 if len(tail) >= TAIL_CHARACTERS else 0
        for line in lines[max(first, len(lines) - TAIL_LINES) :]:
            yield clock.now(), name, self._clean(line).replace("\x1b", "")[:LINE_CHARACTERS_MOST]
