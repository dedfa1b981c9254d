"""How soon a change is answered, and how soon the last of many streams is told: from the commit of a kill on."""

import http.client
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
from django.conf import settings

from hawkops.bench.measures import Target
from hawkops.core.errors import NotFound
from hawkops.history.actors import Actor
from rollout.models import Flag
from rollout.services.overrides import kill, reenable

BULK = "/ofrep/v1/evaluate/flags"
ACTOR = Actor.system("bench")
ENVIRONMENT = "demo"
PRESSES = 20
ANSWER_PROMISED_MS = 50
STREAMS = 10_000
STREAM_KIB_PROMISED = 12
TOLD_PROMISED = 1.5
LONGEST_SECONDS = 30.0


def changes_measure(target: Target, say: Callable[[str], None]) -> None:
    """Kill, and ask as a device does until it is answered otherwise; the clock begins when the kill is committed."""
    _lift()
    times = []
    with ThreadPoolExecutor(1) as asking:
        try:
            for _ in range(PRESSES):
                before = _asked(target)
                found = asking.submit(_changed, target, before)
                time.sleep(0.3)
                kill(environment=ENVIRONMENT, actor=ACTOR, reason="bench")
                committed = time.perf_counter()
                times.append(max(0.0, found.result() - committed))
                _lift()
                _changed(target, _killed(before))
        finally:
            _lift()
    ordered = sorted(times)
    p95 = ordered[round(0.95 * (len(ordered) - 1))]
    say(
        f"kill committed → changed answer: median {statistics.median(ordered) * 1000:.1f} ms, p95 {p95 * 1000:.1f} ms, "
        f"most {ordered[-1] * 1000:.1f} ms, {len(ordered)} presses, promised below {ANSWER_PROMISED_MS} ms"
    )


def streams_measure(target: Target, say: Callable[[str], None], *, many: int = STREAMS, presses: int = 5) -> None:
    """Memory and threads of a gateway of its own with so many idle streams, and when the last of them is told.

    Then the same from a loop that does nothing else.
    """
    _files_allowed(many + 500)
    _lift()
    try:
        with serving("hawkops.serve", "gateway", "--port") as (port, process):
            path = _stream_path(target, port)
            with _streams(port, path, many // 50):  # what the first ones cost is nobody's
                time.sleep(0.5)
            kib, threads = _memory_kib(process.pid), _threads(process.pid)
            with _streams(port, path, many) as listening:
                time.sleep(1.0)
                each = (_memory_kib(process.pid) - kib) / many
                say(
                    f"{many:,} idle event streams: {each:.1f} KiB each, promised {STREAM_KIB_PROMISED}; "
                    f"threads {threads} before, {_threads(process.pid)} with them"
                )
                ours = [_told(listening) for _ in range(presses)]
        with serving("hawkops.bench.raw") as (port, _), _streams(port, "/", many) as listening:
            theirs = [_told(listening) for _ in range(presses)]
    finally:
        _lift()
    ratio = statistics.median(ours) / statistics.median(theirs)
    say(f"kill committed → the last of them is told: {_milliseconds(ours)}")
    say(f"  raw asyncio: {_milliseconds(theirs)}; ratio of the medians {ratio:.2f}, promised {TOLD_PROMISED}")


def _milliseconds(seconds: list[float]) -> str:
    low, high = min(seconds) * 1000, max(seconds) * 1000
    return f"median {statistics.median(seconds) * 1000:.0f} ms, {low:.0f} to {high:.0f}, {len(seconds)} presses"


def _lift() -> None:
    keys = list(Flag.objects.filter(environment=ENVIRONMENT).exclude(override_variant="").values_list("key", flat=True))
    if keys:
        reenable(environment=ENVIRONMENT, keys=keys, actor=ACTOR, reason="bench")


class _Asking:
    """One device on a connection that it keeps."""

    def __init__(self, target: Target) -> None:
        split = urlsplit(target.gateway)
        self._line = http.client.HTTPConnection(str(split.hostname), split.port, timeout=10)
        self._headers = {**target.auth, "Content-Type": "application/json"}

    def ask(self) -> dict[str, str]:
        """Return the variant of every flag."""
        self._line.request("POST", BULK, b'{"context":{"targetingKey":"hawkops.probe/bench"}}', self._headers)
        body = self._line.getresponse().read()
        return {flag["key"]: flag["variant"] for flag in orjson.loads(body)["flags"]}


def _asked(target: Target) -> dict[str, str]:
    return _Asking(target).ask()


def _killed(before: dict[str, str]) -> dict[str, str]:
    """Return what was answered before and is not any more once the kill is lifted."""
    return {**before, "litert_enabled": "off", "ai_fallback_to_cloud": "on"}


def _changed(target: Target, before: dict[str, str]) -> float:
    """Ask until LiteRT or the fallback is answered otherwise; return when that answer was there."""
    device = _Asking(target)
    watched = {key: before[key] for key in ("litert_enabled", "ai_fallback_to_cloud")}
    end = time.perf_counter() + LONGEST_SECONDS
    while time.perf_counter() < end:
        now = device.ask()
        if any(now[key] != variant for key, variant in watched.items()):
            return time.perf_counter()
        time.sleep(0.0005)
    raise NotFound("The answer never changed: LiteRT is off and the fallback on already in demo, or nobody follows.")


def _files_allowed(files: int) -> None:
    """Raise this process's limit of open files, which its children inherit. Raises NotFound when it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= files:
        return
    if hard != resource.RLIM_INFINITY and hard < files:
        raise NotFound(f"{files:,} open files are needed and {hard:,} allowed; raise the hard limit (ulimit -Hn).")
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


@contextmanager
def serving(module: str, *arguments: str) -> "Iterator[tuple[int, subprocess.Popen[bytes]]]":
    """Serve a module in a process of its own; yields its port and the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments, str(port)], env={**os.environ, "DATABASE_URL": settings.DATABASE_URL}
    )
    try:
        for _ in range(150):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        time.sleep(0.5)
        yield port, process
    finally:
        process.terminate()
        process.wait(15)


def _stream_path(target: Target, port: int) -> str:
    answer = httpx.post(f"http://127.0.0.1:{port}{BULK}", json={"context": {}}, headers=target.auth, timeout=10)
    return str(answer.raise_for_status().json()["eventStreams"][0]["endpoint"]["requestUri"])


Listening = tuple[select.epoll, dict[int, socket.socket]]


@contextmanager
def _streams(port: int, path: str, many: int) -> Iterator[Listening]:
    """Hold so many streams open, each past its first words."""
    poll = select.epoll()
    lines: dict[int, socket.socket] = {}
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    try:
        while len(lines) < many:
            some = {}
            for _ in range(min(200, many - len(lines))):
                line = socket.create_connection(("127.0.0.1", port), timeout=10)
                line.sendall(request)
                line.setblocking(False)
                poll.register(line, select.EPOLLIN)
                some[line.fileno()] = line
            lines |= some
            _heard(poll, lines, set(some), b"retry:")
        yield poll, lines
    finally:
        poll.close()
        for line in lines.values():
            line.close()


def _heard(poll: select.epoll, lines: dict[int, socket.socket], waiting: set[int], word: bytes) -> float:
    """Wait until each of them has heard a word; return when the last had."""
    end = time.perf_counter() + LONGEST_SECONDS
    while waiting:
        if time.perf_counter() > end:
            raise NotFound(f"{len(waiting):,} of {len(lines):,} streams were told nothing within {LONGEST_SECONDS} s.")
        for number, _ in poll.poll(1.0, 1024):
            data = lines[number].recv(4096)
            if not data:
                raise NotFound("A stream was ended by the other side.")
            if word in data:
                waiting.discard(number)
    return time.perf_counter()


def _told(listening: Listening) -> float:
    """Kill, and return the seconds from its commit until the last stream was told."""
    poll, lines = listening
    with ThreadPoolExecutor(1) as hearing:
        last = hearing.submit(_heard, poll, lines, set(lines), b"refetchEvaluation")
        time.sleep(0.1)
        kill(environment=ENVIRONMENT, actor=ACTOR, reason="bench")
        committed = time.perf_counter()
        seconds = last.result() - committed
        again = hearing.submit(_heard, poll, lines, set(lines), b"refetchEvaluation")
        _lift()
        again.result()
    time.sleep(0.2)
    return seconds


def _memory_kib(pid: int) -> int:
    return _status(pid, "VmRSS")


def _threads(pid: int) -> int:
    return _status(pid, "Threads")


def _status(pid: int, name: str) -> int:
    """Read a number of what Linux says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])
