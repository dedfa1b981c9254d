"""The measures: each takes a running installation and prints its figures; every load ends by itself."""

import asyncio
import itertools
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from hawkops.bench import load
from hawkops.core.errors import NotFound

SECONDS = 5.0
CONNECTIONS = 32
# A fleet is many connections that each wait for their own answer; with few of them a group commit has nobody to wait for.
FLEET_CONNECTIONS = 512
INGEST_PROMISED = 0.8
TEMPLATES = 200
DEVICES = 2_000
NEW_DEVICES = 10**8
PAGES = (
    "",
    "monitoring/production",
    "monitoring/litert",
    "monitoring/litert/charts.json?window=48h",
    "emergency",
    "flags",
    "releases",
    "scripts",
    "history",
)


@dataclass(frozen=True)
class Target:
    """The installation under measure: where it listens, its folder, a device key and a session of an administrator."""

    console: str
    gateway: str
    data: Path
    key: str
    cookie: str

    @property
    def auth(self) -> dict[str, str]:
        """The header of a device."""
        return {"Authorization": f"Bearer {self.key}"}


def kill_measure(target: Target, say: Callable[[str], None], *, presses: int = 20) -> None:
    """Press kill and wait for the local device's own word that LiteRT has stopped; idle, then under full ingest."""
    idle = _presses(target, presses)
    say(f"kill press → device stopped, idle: {_spread(idle)}")
    with _ingest_running(target):
        loaded = _presses(target, presses)
    say(f"kill press → device stopped, under full ingest: {_spread(loaded)}")
    say(f"  ratio of the medians: {statistics.median(loaded) / statistics.median(idle):.1f}")


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return f"median {statistics.median(ordered) * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms, {len(ordered)} presses"


def _presses(target: Target, presses: int) -> list[float]:
    log = target.data / "log" / "device.log"
    if not log.exists():
        raise NotFound("There is no local device to stop. Start `manage.py up` without --no-device.")
    page = f"{target.console}/demo/emergency"
    times = []
    with httpx.Client(headers={"Cookie": target.cookie, "Referer": page}, timeout=15) as client:
        token = client.get(page).text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        form = {"csrfmiddlewaretoken": token}
        for number in range(presses):
            before = log.stat().st_size
            started = time.perf_counter()
            client.post(f"{page}/kill", data={**form, "reason": "Pre-deployment test", "words": f"bench {number}"})
            times.append(_until_said(log, before, "litert_enabled off") - started)
            before = log.stat().st_size
            again = {"flags": ["litert_enabled", "ai_fallback_to_cloud"], "confirm": "demo", "reason": "bench"}
            client.post(f"{page}/enable", data={**form, **again})
            _until_said(log, before, "litert_enabled on")
            time.sleep(0.5)
    return times


def _until_said(log: Path, after: int, words: str) -> float:
    """Return the moment at which the device's log says the words past a position."""
    end = time.perf_counter() + 30
    while time.perf_counter() < end:
        with log.open("rb") as file:
            file.seek(after)
            if words.encode() in file.read():
                return time.perf_counter()
        time.sleep(0.002)
    raise NotFound(f"The device never said “{words}”; see {log}.")


def telemetry_measure(target: Target, say: Callable[[str], None]) -> None:
    """OTLP payloads of 20 points a second, durable and de-duplicated, against a bare walk with the stock parser.

    From a fleet that reports again and again, and with every payload from a device never seen before.
    """
    url = f"{target.gateway}/v1/metrics"
    for title, devices in ((f"of {DEVICES:,} devices", DEVICES), ("each of another device", NEW_DEVICES)):
        with reference("walk") as (bare, _):
            ours, theirs = _pair(
                url,
                payloads(url, target.auth, devices=devices),
                bare,
                payloads(bare, {}, devices=devices),
                connections=FLEET_CONNECTIONS,
            )
        say(f"OTLP payloads {title}, {FLEET_CONNECTIONS} connections: {rate(ours)}")
        ratio = ours.per_second / theirs.per_second
        say(f"  bare walk: {rate(theirs)}; ratio {ratio:.2f}, promised {INGEST_PROMISED}")


def pages_measure(target: Target, say: Callable[[str], None], *, times: int = 20) -> None:
    """Time of each page, idle and while the gateway ingests at its limit."""
    idle = {page: _page_times(target, page, times) for page in PAGES}
    with _ingest_running(target):
        busy = {page: _page_times(target, page, times) for page in PAGES}
    for page in PAGES:
        a, b = statistics.median(idle[page]) * 1000, statistics.median(busy[page]) * 1000
        say(f"page /demo/{page}: median {a:.0f} ms idle, {b:.0f} ms under full ingest, ratio {b / a:.1f}")


def _page_times(target: Target, page: str, times: int) -> list[float]:
    found = []
    with httpx.Client(headers={"Cookie": target.cookie}, timeout=30) as client:
        for _ in range(times):
            started = time.perf_counter()
            client.get(f"{target.console}/demo/{page}").raise_for_status()
            found.append(time.perf_counter() - started)
    return found


def rate(figures: load.Figures) -> str:
    """Say answers a second, and what was not answered as it should be."""
    others = {status: count for status, count in figures.statuses.items() if status != 200}
    odd = f", other answers {others}" if others else ""
    return f"{figures.per_second:,.0f}/s, p99 {figures.percentile(99) * 1000:.1f} ms{odd}"


def _pair(
    ours: str,
    our_request: Callable[[], bytes],
    bare: str,
    bare_request: Callable[[], bytes],
    *,
    connections: int = CONNECTIONS,
    rounds: int = 2,
) -> tuple[load.Figures, load.Figures]:
    """Load both in turns, so that the machine's moods hit both, and add up the rounds."""
    sums = (load.Figures(), load.Figures())
    for _ in range(rounds):
        for total, url, request in zip(sums, (ours, bare), (our_request, bare_request), strict=True):
            total.add(asyncio.run(load.run(url, request, connections=connections, seconds=2 * SECONDS / rounds)))
    return sums


def payloads(url: str, headers: dict[str, str], *, devices: int = DEVICES) -> Callable[[], bytes]:
    """Return a source of payloads of 20 points, no two the same, from so many devices in turns."""
    marker = b"device-00000000"
    templates = [payload(0, seed=seed) for seed in range(TEMPLATES)]
    # each differs by the nanosecond in which its first point began
    began = struct.pack("<Q", payload_time(templates[0]))
    numbers = itertools.count()
    first = int(time.time() * 1e6) % 10**8
    head = {"Content-Type": "application/x-protobuf", **headers}
    cut = [template.replace(struct.pack("<Q", payload_time(template)), began).split(began, 1) for template in templates]
    base = payload_time(templates[0]) + first

    def build() -> bytes:
        number = next(numbers)
        body = struct.pack("<Q", base + number).join(cut[number % TEMPLATES])
        body = body.replace(marker, b"device-%08d" % ((number + (first if devices == NEW_DEVICES else 0)) % devices))
        return load.request_bytes("POST", url, headers=head, body=body)

    return build


def payload_time(body: bytes) -> int:
    """Return when the first point of a payload began, in nanoseconds."""
    request = ExportMetricsServiceRequest.FromString(body)
    first = request.resource_metrics[0].scope_metrics[0].metrics[0]
    return int(first.exponential_histogram.data_points[0].start_time_unix_nano)


def payload(number: int, *, seed: int = 0) -> bytes:
    """Return a payload of 20 points as an SDK groups them: two histograms and a counter of one simulated device."""
    chance = random.Random(seed)  # noqa: S311 - varied, not secret
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    for key, value in (("device.id", f"device-{number:08d}"), ("device.soc", "bench"), ("service.version", "1")):
        resource.resource.attributes.append(_attribute(key, value))
    simulated = resource.resource.attributes.add(key="hawkops.simulated")
    simulated.value.bool_value = True
    scope = resource.scope_metrics.add()
    now = time.time_ns()
    delta = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    prefill = scope.metrics.add(name="litert.prefill.throughput", unit="{token}/s").exponential_histogram
    decode = scope.metrics.add(name="litert.decode.throughput", unit="{token}/s").exponential_histogram
    counter = scope.metrics.add(name="litert.inferences", unit="{inference}").sum
    prefill.aggregation_temporality = decode.aggregation_temporality = counter.aggregation_temporality = delta
    counter.is_monotonic = True
    times = {"start_time_unix_nano": now - 10**10, "time_unix_nano": now}
    for index in range(10):
        backend = ("cpu", "gpu")[index % 2]
        names = [
            _attribute("litert.backend.requested", backend),
            _attribute("litert.backend.actual", backend),
            _attribute("gen_ai.request.model", f"model-{index // 2}"),
        ]
        histogram = (prefill, decode)[index % 2]
        counts = [chance.randrange(4) for _ in range(16)]
        offset = chance.randrange(240, 260)
        values = [2 ** ((offset + place + 0.5) / 32) for place, count in enumerate(counts) for _ in range(count)]
        point = histogram.data_points.add(
            **times, count=len(values), sum=sum(values), scale=5, min=min(values), max=max(values)
        )
        point.attributes.extend(names)
        point.positive.offset = offset
        point.positive.bucket_counts.extend(counts)
        counter.data_points.add(**times, as_double=len(values)).attributes.extend(names)
    return request.SerializeToString()


def _attribute(key: str, value: str) -> KeyValue:
    found = KeyValue(key=key)
    found.value.string_value = value
    return found


@contextmanager
def _ingest_running(target: Target) -> Iterator[None]:
    """Send payloads from another process as fast as the gateway takes them."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hawkops.bench.ingest", target.gateway],
        env={**os.environ, "HAWKOPS_BENCH_KEY": target.key},
    )
    try:
        time.sleep(1.5)
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def reference(name: str, **env: str) -> Iterator[tuple[str, int]]:
    """Serve one of the bare loops in a process of its own; yields its address and the process's number."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", f"hawkops.bench.reference:{name}", "--port", str(port)]
    # as hawkops.serve serves the gateway
    as_ours = ["--loop", "uvloop", "--http", "httptools", "--no-proxy-headers", "--no-server-header"]
    command += ["--log-level", "error", "--no-access-log", "--lifespan", "off", *as_ours]
    process = subprocess.Popen(command, env={**os.environ, **env})
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/", process.pid
    finally:
        process.terminate()
        process.wait(10)
