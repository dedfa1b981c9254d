"""Memory over time: real inferences on this host while their process is watched from outside."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from hawkops.scripts.probes import limits
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured
from hawkops.scripts.probes.measuring import Subject, infer_without_end

EVERY_SECONDS = 1.0
NEWS_SECONDS = 30.0
WARM_UP_SECONDS = 5.0
# A leak is a growth that the samples prove (three standard errors) and that would matter within a day.
LEAK_ERRORS = 3.0
LEAK_BYTES_PER_HOUR = 10_000_000
LEAK_SECONDS = 60.0
NAME = "litert.memory.usage"
AVERAGE_BYTES_MOST = 1_800_000_000


@dataclass(frozen=True)
class Growth:
    """A straight line through samples: bytes per hour, and its standard error."""

    per_hour: float
    error: float


def growth(samples: list[tuple[float, float]]) -> Growth:
    """Fit a line through (seconds, bytes) by least squares. Needs three samples at two moments at least."""
    times, values = [t for t, _ in samples], [v for _, v in samples]
    mean_time, mean_value = fmean(times), fmean(values)
    spread = sum((t - mean_time) ** 2 for t in times)
    if len(samples) < 3 or not spread:
        raise ValueError("a line needs three samples at different moments")
    slope = sum((t - mean_time) * (v - mean_value) for t, v in samples) / spread
    rest = sum((v - mean_value - slope * (t - mean_time)) ** 2 for t, v in samples) / (len(samples) - 2)
    return Growth(slope * 3600, (rest / spread) ** 0.5 * 3600)


def resident_bytes(pid: int) -> int:
    """Read the resident memory of a process. Raises OSError when it is gone."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise OSError("the process has ended")
    return int(found[1]) * 1024


@contextmanager
def _inferring(what: Subject) -> "Iterator[subprocess.Popen[bytes]]":
    process = infer_without_end(what)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _watch(what: Subject, seconds: float) -> list[tuple[float, float]]:
    """Sample a process that infers all the time. Raises OSError when it ends by itself."""
    samples: list[tuple[float, float]] = []
    with _inferring(what) as process:
        if process.stdout is None or b"ready" not in process.stdout.readline():
            raise OSError("LiteRT could not be started")
        began = news_at = time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            samples.append((elapsed, float(resident_bytes(process.pid))))
            if time.monotonic() - news_at >= NEWS_SECONDS:
                news_at = time.monotonic()
                line = {"seconds": round(elapsed), "resident_bytes": samples[-1][1]}
                print(json.dumps(line), file=sys.stderr, flush=True)
            time.sleep(EVERY_SECONDS)
    return samples


def watched(what: Subject, seconds: float) -> Iterator[Finding]:
    """Watch the memory of inferences for a while: average below 1.8 GB, peak below 2 GB."""
    try:
        samples = _watch(what, seconds)
    except OSError as error:
        yield failed("Memory", f"{error} while it was watched")
        return
    values = [value for _, value in samples]
    average, peak = fmean(values), max(values)
    about = f"{what.name}, {len(samples)} samples over {seconds:.0f} s"
    limits_here = (
        ("Memory, average", average, AVERAGE_BYTES_MOST),
        ("Memory, peak", peak, limits.MEMORY.bound / limits.MEMORY.scale),
    )
    for title, value, most in limits_here:
        words = f"{value / 1e6:.0f} MB, below {most / 1e6:.0f} MB wanted; {about}"
        yield (passed if value < most else failed)(title, words, value=value, unit="By", name=NAME)


def leaks(what: Subject, seconds: float = LEAK_SECONDS) -> Iterator[Finding]:
    """Look for memory that grows with every inference, once the start is over."""
    title = "Memory growth of litert"
    try:
        samples = [(t, v) for t, v in _watch(what, WARM_UP_SECONDS + seconds) if t >= WARM_UP_SECONDS]
        line = growth(samples)
    except (OSError, ValueError) as error:
        yield unmeasured(title, str(error))
        return
    words = (
        f"{line.per_hour / 1e6:+.1f} ± {line.error / 1e6:.1f} MB per hour over {seconds:.0f} s of inferences, "
        f"{what.name}; a leak is a proven growth above {LEAK_BYTES_PER_HOUR / 1e6:.0f}"
    )
    yield grown(title, line, words)


def grown(title: str, line: Growth, words: str) -> Finding:
    """Judge growth: a leak where the samples prove it, none where they rule it out, and else it is not settled."""
    name = "litert.memory.growth"
    if line.per_hour - LEAK_ERRORS * line.error > LEAK_BYTES_PER_HOUR:
        return failed(title, words, value=line.per_hour, unit="By/h", name=name)
    if line.per_hour + LEAK_ERRORS * line.error > LEAK_BYTES_PER_HOUR:
        return unmeasured(title, f"not settled: {words}, which these samples neither prove nor rule out")
    return passed(title, words, value=line.per_hour, unit="By/h", name=name)
