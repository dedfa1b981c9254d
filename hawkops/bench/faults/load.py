"""The load: telemetry, changes, incidents, runs and devices at a modest rate, each written down when it is acknowledged."""

import asyncio
import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import psycopg
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from hawkops.bench.faults.installation import System
from hawkops.bench.faults.ledger import Ledger, Payload
from hawkops.fleet.http import Client
from hawkops.fleet.keeper import FlagKeeper
from hawkops.fleet.ofrep import FlagClient, FlagsUnavailable, Told
from hawkops.fleet.orders import Orders
from hawkops.fleet.otlp import pairs
from monitoring.domain.sketch import BUCKETS, bucket_middle

ENVIRONMENT = "demo"
LEASE_SECONDS = 30
POLL_SECONDS = 1.0
SENDERS, SEND_PAUSE_SECONDS = 3, 0.06
CHANGE_PAUSE_SECONDS, INCIDENT_PAUSE_SECONDS, RUN_PAUSE_SECONDS, LOOK_PAUSE_SECONDS = 0.5, 3.0, 4.0, 0.5
DEVICES = 4
# a device is told what it obeys; others may be changed as the load likes
KILLED, CHANGED = "litert_enabled", "litert_npu_backend"
OPEN = ("queued", "running")
METRIC = "litert.inferences"
SAID = "telemetry ~20/s, resends, changes 2/s, incidents, runs, a schedule, 4 devices"


@dataclass(frozen=True)
class Seen:
    """What a device does since a moment."""

    at: float
    device: int
    on: bool


class Sink:
    """The other side of a webhook: it keeps every id and title."""

    def __init__(self, told: Callable[[str, str], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                told(self.headers.get("webhook-id", ""), body.decode())
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def end(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


class _Client(FlagClient):
    """Says when it was answered."""

    def __init__(self, *args: Any, answered: Callable[[], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._answered = answered

    async def fetch(self, hints: Any = None) -> Told:
        """Ask, and note that an answer came."""
        told = await super().fetch(hints)
        self._answered()
        return told


class Load:
    """Threads that do what people, devices and pipelines do; `ledger` is the round's."""

    def __init__(self, system: System, *, token: str, key: str) -> None:
        self.system, self.token, self.key = system, token, key
        self.ledger = Ledger("none")
        self.seen: list[Seen] = []
        self._on = [False] * DEVICES
        self.gateways = [system.gateway]
        self.consoles = [system.console]
        self.sink = Sink(self._notified)
        self._owed: deque[tuple[Payload, bytes]] = deque()
        self._kept: deque[tuple[Payload, bytes]] = deque(maxlen=400)
        self._going = threading.Event()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._number = 0
        self._chance = random.Random(8)  # noqa: S311 - varied, not secret

    # by the round

    def start(self) -> None:
        """Begin; nothing is sent before `round`."""
        works: list[Callable[[], None]] = [self._change, self._incident, self._request_run, self._look]
        for number in range(SENDERS):
            self._thread(self._sending, f"sender-{number}")
        for work in works:
            self._thread(lambda work=work: self._again(work), work.__name__)  # type: ignore[misc]
        self._thread(lambda: asyncio.run(self._devices()), "devices")

    def round(self, ledger: Ledger) -> None:
        """Send from now on, into this ledger."""
        self.ledger, self.seen = ledger, []
        self._kept.clear()
        self._going.set()

    def settle(self, seconds: float) -> bool:
        """Send nothing new, and what is owed until it is acknowledged; say whether all of it was."""
        self._going.clear()
        return self.system.wait(seconds, lambda: not self._owed and self._settled())

    def end(self) -> None:
        """End every thread."""
        self._ended.set()
        for thread in self._threads:
            thread.join(10)
        self.sink.end()

    def on_now(self) -> list[bool]:
        """Say of each device whether LiteRT is on."""
        return list(self._on)

    def api(self, method: str, path: str, body: Any = None, *, key: str = "", timeout: float = 8.0) -> httpx.Response:
        """Ask the console's API. Raises httpx.TransportError, httpx.HTTPStatusError."""
        headers = {
            "Authorization": f"Bearer {self.token}",
            **({"Idempotency-Key": key.replace(" ", "-")} if key else {}),
        }
        console = self._chance.choice(self.consoles)
        answer = httpx.request(
            method, f"{console}/api/v1/{ENVIRONMENT}/{path}", json=body, headers=headers, timeout=timeout
        )
        return answer.raise_for_status()

    # telemetry

    def _sending(self) -> None:
        client = httpx.Client(timeout=8)
        while not self._ended.is_set():
            self._going_or_owed()
            try:
                payload, body = self._next_payload()
            except LookupError:
                time.sleep(0.05)
                continue
            client = self._send(client, payload, body)
            time.sleep(SEND_PAUSE_SECONDS)

    def _going_or_owed(self) -> None:
        while not (self._going.is_set() or self._owed or self._ended.is_set()):
            time.sleep(0.05)

    def _next_payload(self) -> tuple[Payload, bytes]:
        chance = self._chance.random()
        if self._owed and (chance < 0.5 or not self._going.is_set()):
            return self._owed.popleft()
        if self._kept and 0.5 <= chance < 0.7 and self._going.is_set():
            self.ledger.resent += 1
            return self._kept[self._chance.randrange(len(self._kept))]
        if not self._going.is_set():
            raise LookupError
        payload = self.ledger.payload()
        return payload, body_of(payload)

    def _send(self, client: httpx.Client, payload: Payload, body: bytes) -> httpx.Client:
        ledger = self.ledger
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/x-protobuf"}
        try:
            answer = client.post(f"{self._chance.choice(self.gateways)}/v1/metrics", content=body, headers=headers)
        except httpx.HTTPError as error:
            ledger.refused[type(error).__name__] += 1
            self._owed.append((payload, body))
            client.close()
            time.sleep(0.2)
            return httpx.Client(timeout=8)
        if answer.status_code == 200:
            ledger.acknowledged.add(payload)
            ledger.pulse("telemetry")
            self._kept.append((payload, body))
        else:
            ledger.refused[str(answer.status_code)] += 1
            self._owed.append((payload, body))
            time.sleep(0.3)
        return client

    # people and pipelines

    def _again(self, work: Callable[[], None]) -> None:
        while not self._ended.is_set():
            if not self._going.wait(0.2) and work.__name__ != "_look":
                continue
            try:
                work()
            except (httpx.HTTPError, psycopg.Error, KeyError, ValueError):
                time.sleep(0.3)

    def _acknowledged(self, method: str, path: str, body: dict[str, Any], key: str) -> dict[str, Any] | None:
        """Ask until it is answered, each time with the same key; None when the round ends before that."""
        while not self._ended.is_set():
            try:
                return dict(self.api(method, path, body, key=key).json())
            except httpx.HTTPStatusError as error:
                self.ledger.refused[f"{path.partition('/')[0]} {error.response.status_code}"] += 1
            except httpx.TransportError as error:
                self.ledger.refused[f"{path.partition('/')[0]} {type(error).__name__}"] += 1
            if not self._going.is_set():
                return None
            time.sleep(0.5)
        return None

    def _change(self) -> None:
        ledger, number = self.ledger, self._count()
        reason = f"{ledger.label} change {number}"
        body = {"percent": number % 89 + 1, "reason": reason}
        if self._acknowledged("PUT", f"flags/{CHANGED}/percentage", body, reason) is not None:
            ledger.changes.add(reason)
            ledger.pulse("changes")
        time.sleep(CHANGE_PAUSE_SECONDS)

    def _incident(self) -> None:
        ledger, number = self.ledger, self._count()
        title = f"{ledger.label} incident {number}."
        body = {"title": title, "severity": "warning", "reason": title}
        if self._acknowledged("POST", "incidents", body, title) is not None:
            ledger.incidents.add(title)
        time.sleep(INCIDENT_PAUSE_SECONDS)

    def _request_run(self) -> None:
        ledger, number = self.ledger, self._count()
        body = {"script": ("wait.sh", "df")[number % 2]}
        answer = self._acknowledged("POST", "runs", body, f"{ledger.label} run {number}")
        if answer is not None:
            ledger.runs.add(int(answer["run"]))
        time.sleep(RUN_PAUSE_SECONDS)

    def _count(self) -> int:
        self._number += 1
        return self._number

    def _notified(self, key: str, text: str) -> None:
        with suppress(ValueError, AttributeError):
            self.ledger.notified(key, json.dumps(json.loads(text)["data"]))
            self.ledger.pulse("notifications")

    # what only the database shows

    def _look(self) -> None:
        """Note whether alerts were evaluated, a due schedule was requested, and a run ended; make the schedule due."""
        with self.system.superuser() as line:
            evaluated: Any = None
            ended: set[object] = set()
            ledger = self.ledger
            while not self._ended.is_set():
                if self.ledger is not ledger:
                    ledger, ended = self.ledger, set()
                looked = line.execute("SELECT max(looked_at) FROM monitoring_evaluation").fetchone()
                if evaluated is not None and looked != evaluated:
                    ledger.pulse("alerts")
                evaluated = looked
                again = line.execute(
                    "UPDATE scripts_schedule SET next_at = '2020-01-01' WHERE ended_at IS NULL AND next_at > '2021-01-01' "
                    "RETURNING 1"
                )
                if again.rowcount:
                    ledger.pulse("sweepers")
                rows = line.execute(
                    "SELECT id FROM scripts_run WHERE id = ANY(%s) AND state <> ALL(%s)",
                    [list(ledger.runs), list(OPEN)],
                ).fetchall()
                fresh = {row[0] for row in rows} - ended
                if fresh:
                    ended |= fresh
                    ledger.pulse("runs")
                time.sleep(LOOK_PAUSE_SECONDS)

    def _settled(self) -> bool:
        """Whether no run is open, and no message waits."""
        try:
            with self.system.superuser() as line:
                row = line.execute(
                    "SELECT (SELECT count(*) FROM scripts_run WHERE state = ANY(%s) AND id = ANY(%s)),"
                    " (SELECT count(*) FROM incidents_delivery WHERE state = 'pending')",
                    [list(OPEN), list(self.ledger.runs)],
                ).fetchone()
        except psycopg.Error:
            return False
        untold = self.ledger.notification_counts().lost
        return row == (0, 0) and not untold

    # devices

    async def _devices(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(DEVICES):
                group.create_task(self._device(number))

    async def _device(self, number: int) -> None:
        async def obey(orders: Orders) -> str:
            if orders.litert_enabled != self._on[number]:
                self._on[number] = orders.litert_enabled
                self.seen.append(Seen(time.monotonic(), number, orders.litert_enabled))
            return "obeyed"

        client = _Client(
            self.system.gateway,
            self.key,
            {"targetingKey": f"faults-{number}"},
            http=Client(),
            answered=lambda: self.ledger.pulse("devices"),
        )
        keeper = FlagKeeper(client, obey, say=lambda _: None, streaming=number % 2 == 0, poll_seconds=POLL_SECONDS)
        running = asyncio.create_task(keeper.run())
        while not self._ended.is_set():
            await asyncio.sleep(POLL_SECONDS)
            if number % 2 == 0:
                # one that only listens has nothing to say while nothing changes
                with suppress(FlagsUnavailable):
                    keeper.wake()
        running.cancel()

    def _thread(self, work: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


def body_of(payload: Payload) -> bytes:
    """Return one payload's bytes: one counter whose growth is a value of its own."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    device: dict[str, str | bool] = {
        "device.id": f"faults-{payload.device_class}-{payload.place % 50}",
        "device.soc": payload.device_class,
        "service.version": "1",
        "hawkops.simulated": True,
    }
    resource.resource.attributes.extend(pairs(device))
    counter = resource.scope_metrics.add().metrics.add(name=METRIC, unit="{inference}").sum
    counter.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    counter.is_monotonic = True
    now = time.time_ns()
    counter.data_points.add(
        start_time_unix_nano=now - 10**9, time_unix_nano=now, as_double=bucket_middle(BUCKETS[payload.place + 1])
    )
    return request.SerializeToString()
