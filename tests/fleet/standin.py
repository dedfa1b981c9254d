"""A gateway small enough to read: bulk OFREP with ETag, an event stream, and a door for metrics. For the fleet's tests."""

import asyncio
import gzip
import hashlib
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

KEY = "hk_demo_standin"
Message = MutableMapping[str, Any]


@dataclass
class StandIn:
    """The gateway's state; tests change it from outside, devices see it over HTTP."""

    flags: dict[str, Any] = field(default_factory=dict)
    revision: int = 1
    lease_seconds: int = 900
    offers_stream: bool = True
    answers: bool = True
    evaluations: list[tuple[float, str, int]] = field(default_factory=list)
    contexts: list[dict[str, Any]] = field(default_factory=list)
    payloads: list[ExportMetricsServiceRequest] = field(default_factory=list)
    streams: set[asyncio.Queue[bytes]] = field(default_factory=set)
    loop: asyncio.AbstractEventLoop | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def change(self, **flags: Any) -> float:
        """Change flags, tell every stream, and return when."""
        self.flags.update(flags)
        self.revision += 1
        data = json.dumps({"type": "refetchEvaluation", "etag": '"x"', "lastModified": 1})
        self._push(f"id: {self.revision}\ndata: {data}\n\n".encode())
        return time.monotonic()

    def cut_streams(self) -> None:
        """End every stream, as a proxy does."""
        self._push(b"")

    def _push(self, chunk: bytes) -> None:
        loop = self.loop
        if loop is not None:
            for queue in list(self.streams):
                loop.call_soon_threadsafe(queue.put_nowait, chunk)

    def statuses(self, device: str | None = None) -> list[int]:
        return [status for _, who, status in list(self.evaluations) if device in (None, who)]

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            return
        self.loop = asyncio.get_running_loop()
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}

        async def answer(status: int, content: bytes = b"", extra: dict[str, str] | None = None) -> None:
            pairs = {"content-type": "application/json", "content-length": str(len(content)), **(extra or {})}
            raw = [(name.encode(), value.encode()) for name, value in pairs.items()]
            await send({"type": "http.response.start", "status": status, "headers": raw})
            await send({"type": "http.response.body", "body": content})

        if scope["path"] == "/ofrep/v1/stream":
            await self._stream(send)
        elif headers.get("authorization") != f"Bearer {KEY}":
            await answer(401, b'{"errorDetails": "no such key"}')
        elif not self.answers:
            await answer(503, b"{}", {"Retry-After": "1"})
        elif scope["path"] == "/v1/metrics":
            payload = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
            self.payloads.append(ExportMetricsServiceRequest.FromString(payload))
            await answer(200, b"", {"content-type": "application/x-protobuf"})
        else:
            await self._evaluate(json.loads(body)["context"], headers, answer)

    async def _evaluate(self, context: dict[str, Any], headers: dict[str, str], answer: Any) -> None:
        flags = [
            {"key": key, "value": value, "variant": "on" if value else "off", "reason": "STATIC"}
            for key, value in self.flags.items()
        ]
        streams = (
            [{"type": "sse", "endpoint": {"requestUri": "/ofrep/v1/stream?token=t"}}] if self.offers_stream else []
        )
        content = json.dumps({"flags": flags, "eventStreams": streams}).encode()
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        extra = {"HawkOps-Revision": str(self.revision), "HawkOps-Lease-Seconds": str(self.lease_seconds), "ETag": etag}
        same = headers.get("if-none-match") == etag
        self.contexts.append(context)
        self.evaluations.append((time.monotonic(), context["targetingKey"], 304 if same else 200))
        await (answer(304, b"", extra) if same else answer(200, content, extra))

    async def _stream(self, send: Callable[[Message], Awaitable[None]]) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.streams.add(queue)
        try:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
            while chunk := await queue.get():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.streams.discard(queue)

    def points(self, name: str) -> Iterator[tuple[dict[str, Any], Any]]:
        """Yield (attributes, data point) of a metric in all payloads."""
        for payload in list(self.payloads):
            for resource in payload.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        if metric.name == name:
                            data = getattr(metric, metric.WhichOneof("data") or "gauge")
                            for point in data.data_points:
                                yield {pair.key: pair.value.string_value for pair in point.attributes}, point


@contextmanager
def serving(application: Any) -> Iterator[int]:
    """Serve an ASGI application in a thread and give its port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(5)
        listener.close()


@contextmanager
def gateway(**state: Any) -> Iterator[StandIn]:
    """Run a stand-in gateway."""
    standin = StandIn(**state)
    with serving(standin) as port:
        standin.port = port
        try:
            yield standin
        finally:
            standin.cut_streams()


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait until something holds and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")
