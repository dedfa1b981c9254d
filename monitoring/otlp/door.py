"""POST /v1/metrics: bounded before it is parsed, answered after it is committed, refused in the protocol's own words."""

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable
from typing import Any, Protocol

import orjson
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from hawkops.core import clock
from hawkops.core.asgi import CORS, PREFLIGHT, Headers, answer, bearer, header, read_body
from hawkops.core.bounded import Malformed, TooLarge, UnsupportedEncoding, decompress
from monitoring.otlp.decoding import Decoded, DeviceReport, decode
from monitoring.otlp.parsing import parse
from monitoring.otlp.quick import QuickDecoder
from monitoring.otlp.writing import GroupWriter, Overloaded, Unavailable

log = logging.getLogger(__name__)

PROTOBUF, JSON = "application/x-protobuf", "application/json"
COMPRESSED_BYTES = 16 * 1024 * 1024
DECOMPRESSED_BYTES = 64 * 1024 * 1024
# What all requests together may hold while they are read: a crowd of slow large bodies can't fill the memory.
HELD_BYTES = 128 * 1024 * 1024
BODY_SECONDS = 30.0
# What is larger once decompressed is understood in a thread, so that no flag waits for it.
THREAD_BYTES = 64 * 1024


class Key(Protocol):
    """What the door needs to know of a device key."""

    @property
    def environment(self) -> str:
        """Where everything sent with it belongs."""
        ...


class MetricsDoor:
    """An ASGI application for everything under `/v1/`."""

    def __init__(
        self,
        *,
        dsn: str,
        authenticate: Callable[[str], Key | None],
        on_report: Callable[[DeviceReport], None],
    ) -> None:
        self._writer = GroupWriter(dsn)
        self._quick = QuickDecoder()
        self._authenticate = authenticate
        self._on_report = on_report
        self._large = asyncio.Semaphore(1)
        self._held_bytes = 0

    async def start(self) -> None:
        """Begin to commit."""
        self._writer.start()

    async def stop(self) -> None:
        """Commit what waits, then stop."""
        await self._writer.stop()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        content_type = header(scope, b"content-type").partition(";")[0].strip().lower()
        reply = _Reply(send, as_json=content_type == JSON)
        path = scope["path"]
        if "//" in path:
            path = re.sub(r"/{2,}", "/", path)
        if scope["method"] == "OPTIONS":
            await answer(send, 204, b"", PREFLIGHT)
        elif path != "/v1/metrics":
            await reply.error(404, f"{path[:80]} is not taken here: metrics go to /v1/metrics, logs are not taken yet.")
        elif scope["method"] != "POST":
            await reply.error(405, "Send metrics with POST.")
        else:
            await self._metrics(scope, receive, reply, content_type)

    async def _metrics(self, scope: dict[str, Any], receive: Any, reply: "_Reply", content_type: str) -> None:
        key = self._authenticate(bearer(scope))
        if key is None:
            await reply.error(
                401, "The device key is missing, unknown, revoked or expired. Send Authorization: Bearer hk_…"
            )
            return
        if content_type not in (PROTOBUF, JSON):
            await reply.error(415, f"Send Content-Type {PROTOBUF} or {JSON}.")
            return
        declared = header(scope, b"content-length")
        reserved = min(int(declared), COMPRESSED_BYTES) if declared.isdigit() else THREAD_BYTES
        if self._held_bytes + reserved > HELD_BYTES:
            await reply.error(503, "Too many large bodies arrive at once. Come back later.", retry_seconds=2)
            return
        self._held_bytes += reserved
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await read_body(scope, receive, limit_bytes=COMPRESSED_BYTES)
            digest = hashlib.sha256(key.environment.encode() + b"\0" + body).digest()
            encoding = header(scope, b"content-encoding")
            decoded = await self._understand(body, encoding, content_type, key.environment)
            counted = decoded.empty or await self._writer.write(digest, key.environment, decoded)
        except ConnectionResetError:
            return
        except (TooLarge, Malformed, UnsupportedEncoding) as error:
            await reply.error(error.status, error.message)
            return
        except TimeoutError:
            await reply.error(408, f"The body did not arrive within {BODY_SECONDS:.0f} s.")
            return
        except Overloaded:
            await reply.error(429, "Too many payloads wait. Come back later.", retry_seconds=2)
            return
        except Unavailable:
            await reply.error(503, "The database did not take the payload. Send it again.", retry_seconds=2)
            return
        finally:
            self._held_bytes -= reserved
        for report in decoded.reports:
            self._on_report(report)
        if not counted:
            log.debug("telemetry.duplicate")
        await reply.success(decoded)

    async def _understand(self, body: bytes, encoding: str, content_type: str, environment: str) -> Decoded:
        """Decode a body: at once when it is small, else in a thread, one at a time."""
        if len(body) <= THREAD_BYTES:
            try:
                data = decompress(body, encoding, limit_bytes=THREAD_BYTES)
            except TooLarge:
                pass  # larger than it looks: read it again in the thread, where 64 MiB are allowed
            else:
                return self._decode(data, content_type, environment)
        async with self._large:
            return await asyncio.to_thread(self._understand_large, body, encoding, content_type, environment)

    def _understand_large(self, body: bytes, encoding: str, content_type: str, environment: str) -> Decoded:
        return self._decode(decompress(body, encoding, limit_bytes=DECOMPRESSED_BYTES), content_type, environment)

    def _decode(self, data: bytes, content_type: str, environment: str) -> Decoded:
        if content_type == JSON:
            return decode(parse(data, as_json=True), environment=environment, now=clock.now())
        return self._quick.decode(data, environment=environment, now=clock.now())


class _Reply:
    """Answers in the encoding of the request."""

    def __init__(self, send: Any, *, as_json: bool) -> None:
        self._send = send
        self._as_json = as_json

    @property
    def _headers(self) -> Headers:
        return [*CORS, (b"content-type", (JSON if self._as_json else PROTOBUF).encode())]

    async def success(self, decoded: Decoded) -> None:
        """Answer 200: empty for full success, else how many points were rejected and why."""
        if not decoded.rejected:
            await answer(self._send, 200, b"{}" if self._as_json else b"", self._headers)
        elif self._as_json:
            partial = {"rejectedDataPoints": str(decoded.rejected), "errorMessage": decoded.message}
            await answer(self._send, 200, orjson.dumps({"partialSuccess": partial}), self._headers)
        else:
            response = ExportMetricsServiceResponse()
            response.partial_success.rejected_data_points = decoded.rejected
            response.partial_success.error_message = decoded.message
            await answer(self._send, 200, response.SerializeToString(), self._headers)

    async def error(self, status: int, message: str, *, retry_seconds: int | None = None) -> None:
        """Answer with a google.rpc.Status."""
        headers = self._headers
        if retry_seconds is not None:
            headers.append((b"retry-after", str(retry_seconds).encode()))
        body = orjson.dumps({"message": message}) if self._as_json else Status(message=message).SerializeToString()
        await answer(self._send, status, body, headers)
