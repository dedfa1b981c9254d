"""A check that is run again and again, as `watch` does: for people at a terminal, and for runs, which must end."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from types import FrameType

from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured
from hawkops.scripts.probes.measuring import Exit

RUN_SECONDS = 300.0


class Ended(Exception):
    """Somebody ended the watch."""


def watch(command: str, *, every_seconds: float, duration_seconds: float | None) -> Finding:
    """Run a command every so many seconds and say how its last round ended: that is what a recovery is judged by.

    Without a duration a run ends after five minutes, and a person at a terminal ends it.
    """
    if duration_seconds is None and "HAWKOPS_RESULT" in os.environ:
        duration_seconds = RUN_SECONDS
    # a round's own measurements are no measurements of the watch
    env = {name: value for name, value in os.environ.items() if name != "HAWKOPS_RESULT"}
    codes: list[int] = []
    before = {number: signal.signal(number, _end) for number in (signal.SIGINT, signal.SIGTERM)}
    began = time.monotonic()
    try:
        while True:
            started = time.monotonic()
            print(f"— every {every_seconds:g} s: {command} — {datetime.now(UTC):%H:%M:%S} UTC", flush=True)
            codes.append(subprocess.run(["sh", "-c", command], env=env, check=False).returncode)
            rest = every_seconds - (time.monotonic() - started)
            if duration_seconds is not None and time.monotonic() - began + max(0.0, rest) > duration_seconds:
                break
            time.sleep(max(0.0, rest))
    except Ended:
        print("ended", file=sys.stderr)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return _judged(command, codes)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise Ended


def _judged(command: str, codes: list[int]) -> Finding:
    if not codes:
        return unmeasured("Watch", f"{command} was ended before its first round was over")
    good = sum(code == Exit.PASSED for code in codes)
    words = f"{good} of {len(codes)} rounds of {command} passed; the last one "
    if codes[-1] == Exit.PASSED:
        return passed("Watch", f"{words}passed", value=good / len(codes))
    if codes[-1] == Exit.UNMEASURED:
        return unmeasured("Watch", f"{words}could not measure")
    return failed("Watch", f"{words}failed (exit {codes[-1]})")
