"""Child processes: each in a group of its own, dying with its parent, ended by its id and nothing else."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def child_setup(*, user: tuple[int, int] | None = None) -> Callable[[], None]:
    """Return what a child runs before its program: become `user` (uid, gid) and die when the parent dies."""
    parent = os.getpid()

    def prepare() -> None:
        if user is not None:
            os.setgroups([])
            os.setgid(user[1])
            os.setuid(user[0])
        if _libc is not None:
            # after setuid: changing the user clears the setting
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

    return prepare


def spawn(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    output: int | IO[bytes],
    cwd: Path | str | None = None,
    user: tuple[int, int] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own; standard error goes where its output goes."""
    return subprocess.Popen(
        [str(part) for part in command],
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=child_setup(user=user),  # noqa: PLW1509 - a single-threaded supervisor
    )


def group_end(process: "subprocess.Popen[bytes]", *, first: signal.Signals, wait_seconds: float) -> None:
    """End a child and its whole group: `first` politely, SIGKILL when it does not go."""
    if process.poll() is None:
        process.send_signal(first)
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait_seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def started_at(pid: int) -> str | None:
    """Return what tells one process from a later one with the same id (its start time in ticks); None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    after_name = stat.rpartition(")")[2].split()
    return None if after_name[0] == "Z" else after_name[19]


def orphan_end(pid: int, start: str, *, first: signal.Signals, wait_seconds: float = 10) -> bool:
    """End a process left by an earlier start, if it is still that process. Says whether there was one."""
    if started_at(pid) != start:
        return False
    for by in (first, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, by)
        if _wait(lambda: started_at(pid) != start, wait_seconds):
            break
    # Dead is not gone: until whoever adopted it takes note, a PostgreSQL that starts believes that it still runs.
    _wait(lambda: not Path(f"/proc/{pid}").exists(), wait_seconds)
    return True


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
