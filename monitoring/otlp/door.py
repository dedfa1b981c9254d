"""POST /v1/metrics and /v1/logs: bounded before parsing, answered after the commit, refused in the protocol's own words."""

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import orjson
import psycopg
from django.conf import settings
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from hawkops.core import clock
from hawkops.core.asgi import CORS, PREFLIGHT, Headers, PatientReader, answer, bearer_of, headers_of
from hawkops.core.bounded import Malformed, TooLarge, UnsupportedEncoding, decompress
from hawkops.core.lines import answering
from monitoring.otlp.decoding import Decoded, DeviceReport, decode
from monitoring.otlp.guards import Guards, Limits
from monitoring.otlp.logs import decode_logs
from monitoring.otlp.notes import PAYLOAD_BYTES, Notes
from monitoring.otlp.pace import Pace
from monitoring.otlp.parsing import parse, parse_as
from monitoring.otlp.quick import QuickDecoder
from monitoring.otlp.writing import Connection, GroupWriter, Overloaded, Unavailable

log = logging.getLogger(__name__)

PROTOBUF, JSON = "application/x-protobuf", "application/json"
COMPRESSED_BYTES = 16 * 1024 * 1024
DECOMPRESSED_BYTES = 64 * 1024 * 1024
# What all requests together may hold while they are read: a crowd of slow large bodies can't fill the memory.
HELD_BYTES = 128 * 1024 * 1024
# Fewer make groups small and dear, more let the loop wait for the database: measured between 32 and all.
TURN_MOST = 128
BODY_SECONDS = 30.0
SLOW_SECONDS = 5
TOTALS_SECONDS = 10.0
# what a body that holds no points counts for in its key's quota
POINT_BYTES = 100
# What is larger once decompressed is understood in a thread, so that no flag waits for it.
THREAD_BYTES = 64 * 1024


class Key(Protocol):
    """What the door needs to know of a device key."""

    @property
    def environment(self) -> str:
        """Where everything sent with it belongs."""
        ...


def limits_set() -> Limits:
    """Return the limits of the settings."""
    return Limits(
        data=settings.DATA,
        free_disk_percent=settings.TELEMETRY_FREE_DISK_PERCENT,
        database_gigabytes=settings.TELEMETRY_DATABASE_GB,
        key_points_per_second=settings.TELEMETRY_KEY_POINTS_PER_SECOND,
    )


class TelemetryDoor:
    """An ASGI application for everything under `/v1/`."""

    def __init__(
        self,
        *,
        dsn: str,
        authenticate: Callable[[str], Key | None],
        on_report: Callable[[DeviceReport], None],
        limits: Limits | None = None,
    ) -> None:
        self._writer = GroupWriter(dsn)
        self._totals = self._writer.totals
        self._counting = Connection(dsn)
        self._guards = Guards(limits or limits_set(), dsn)
        self._flushing: asyncio.Task[None] | None = None
        self._quick = QuickDecoder(self._writer.room.admits)
        self._notes = Notes()
        self._authenticate = authenticate
        self._on_report = on_report
        self._reader = PatientReader(seconds=BODY_SECONDS)
        self._pace = Pace(TURN_MOST)
        self._large = asyncio.Semaphore(1)
        self._held_bytes = 0

    async def start(self) -> None:
        """Begin to commit."""
        self._reader.start()
        await self._writer.start()
        self._guards.start()
        self._flushing = asyncio.create_task(self._flush_totals(), name="door-totals")

    async def stop(self) -> None:
        """Commit what waits, then stop."""
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
        await self._guards.stop()
        await self._writer.stop()  # what it still commits is counted too
        await self._flush()
        await self._counting.close()
        await self._reader.stop()

    async def _flush_totals(self) -> None:
        while True:
            await asyncio.sleep(TOTALS_SECONDS)
            await self._flush()

    async def _flush(self) -> None:
        """Write the totals that no group writes; while the database is away they wait in memory."""
        try:
            if self._totals.waiting:
                line = await self._counting.connection()
                with answering(line):
                    await self._totals.flush(line)
        except (psycopg.Error, OSError) as error:
            log.warning("telemetry.totals_unwritten: %s", error)
            await self._counting.close()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = headers_of(scope)
        content_type = _media_type(headers.get(b"content-type", b""))
        # only browsers say where they come from, and only they want to be told that they may read the answer
        reply = _Reply(send, as_json=content_type == JSON, across=bool(headers.get(b"origin")))
        path = scope["path"]
        if "//" in path:
            path = re.sub(r"/{2,}", "/", path)
        if scope["method"] == "OPTIONS":
            await answer(send, 204, b"", PREFLIGHT)
        elif path not in SIGNALS:
            await reply.error(404, f"{path[:80]} is not taken here: metrics go to /v1/metrics, logs to /v1/logs.")
        elif scope["method"] != "POST":
            await reply.error(405, "Send telemetry with POST.")
        else:
            reply.signal = SIGNALS[path]
            await self._take(scope, headers, receive, reply, content_type)

    async def _take(
        self, scope: dict[str, Any], headers: dict[bytes, bytes], receive: Any, reply: "_Reply", content_type: str
    ) -> None:
        presented = bearer_of(headers)
        key = self._authenticate(presented)
        if key is None:
            await reply.error(
                401, "The device key is missing, unknown, revoked or expired. Send Authorization: Bearer hk_…"
            )
            return
        way = self._guards.refusal(presented)
        if way is not None:
            await self._refuse(reply, key, way.status, way.message, retry_seconds=way.retry_seconds)
            return
        if content_type not in (PROTOBUF, JSON):
            await self._refuse(reply, key, 415, f"Send Content-Type {PROTOBUF} or {JSON}.")
            return
        declared = headers.get(b"content-length", b"")
        reserved = min(int(declared), COMPRESSED_BYTES) if declared.isdigit() else THREAD_BYTES
        if self._held_bytes + reserved > HELD_BYTES:
            await self._refuse(
                reply, key, 503, "Too many large bodies arrive at once. Come back later.", retry_seconds=2
            )
            return
        self._held_bytes += reserved
        spent = 0.0
        try:
            await self._pace.turn()
            body = await self._reader.read(scope, receive, limit_bytes=COMPRESSED_BYTES)
            spent = len(body) / POINT_BYTES
            digest = hashlib.sha256(f"{key.environment}\0{reply.signal.prefix}".encode() + body).digest()
            encoding = headers.get(b"content-encoding", b"").decode("latin-1")
            sent = _Sent(reply.signal, encoding, content_type == JSON, key.environment)
            decoded = await self._understand(body, sent)
            spent = decoded.accepted + decoded.rejected
            counted = decoded.empty or await self._writer.write(digest, key.environment, decoded)
        except ConnectionResetError:
            return
        except (TooLarge, Malformed, UnsupportedEncoding) as error:
            await self._refuse(reply, key, error.status, error.message)
            return
        except TimeoutError:
            # 408 would not be sent again: OTLP retries 429, 502, 503 and 504 only
            await self._refuse(
                reply,
                key,
                503,
                f"The body did not arrive within {self._reader.seconds:.0f} s.",
                retry_seconds=SLOW_SECONDS,
            )
            return
        except Overloaded:
            await self._refuse(reply, key, 429, "Too many payloads wait. Come back later.", retry_seconds=2)
            return
        except Unavailable:
            await self._refuse(
                reply, key, 503, "The database did not take the payload. Send it again.", retry_seconds=2
            )
            return
        finally:
            self._held_bytes -= reserved
            self._guards.spend(presented, spent)
        for report in decoded.reports:
            self._on_report(report)
        if counted:
            self._totals.took(key.environment, reply.signal.name, decoded.accepted)
        else:
            log.debug("telemetry.duplicate")
        await reply.success(decoded)

    async def _refuse(
        self, reply: "_Reply", key: Key, status: int, message: str, *, retry_seconds: int | None = None
    ) -> None:
        """Refuse a payload as a whole, and count it for the page that says what was understood."""
        self._totals.refused(key.environment, reply.signal.name, status, message)
        await reply.error(status, message, retry_seconds=retry_seconds)

    async def _understand(self, body: bytes, sent: "_Sent") -> Decoded:
        """Decode a body: at once when it is small, else in a thread, one at a time."""
        if len(body) <= THREAD_BYTES:
            try:
                data = decompress(body, sent.encoding, limit_bytes=THREAD_BYTES)
            except TooLarge:
                pass  # larger than it looks: read it again in the thread, where 64 MiB are allowed
            else:
                return self._decode(data, sent)
        async with self._large:
            return await asyncio.to_thread(self._understand_large, body, sent)

    def _understand_large(self, body: bytes, sent: "_Sent") -> Decoded:
        return self._decode(decompress(body, sent.encoding, limit_bytes=DECOMPRESSED_BYTES), sent)

    def _decode(self, data: bytes, sent: "_Sent") -> Decoded:
        now = clock.now()
        kind = sent.signal.request
        payload: Message | None = None
        if sent.signal is LOGS:
            payload = parse_as(ExportLogsServiceRequest, data, as_json=sent.as_json)
            decoded = decode_logs(payload, environment=sent.environment, now=now)
        elif sent.as_json:
            payload = parse(data, as_json=True)
            decoded = decode(payload, environment=sent.environment, now=now, admits=self._writer.room.admits)
        else:
            decoded = self._quick.decode(data, environment=sent.environment, now=now)
        if len(data) <= PAYLOAD_BYTES:
            self._notes.take(decoded, sent.signal.name, lambda: payload or kind.FromString(data), now=now)
        return decoded


@dataclass(frozen=True)
class Signal:
    """What arrives at one address."""

    name: str
    # tells the same bytes at two addresses apart
    prefix: str
    request: type[Message]
    response: type[Message]
    rejected: str
    rejected_json: str


METRICS = Signal(
    "metrics",
    "",
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
    "rejected_data_points",
    "rejectedDataPoints",
)
LOGS = Signal(
    "logs", "logs\0", ExportLogsServiceRequest, ExportLogsServiceResponse, "rejected_log_records", "rejectedLogRecords"
)
SIGNALS = {"/v1/metrics": METRICS, "/v1/logs": LOGS}


class _Sent(NamedTuple):
    signal: Signal
    encoding: str
    as_json: bool
    environment: str


@lru_cache(maxsize=256)
def _media_type(said: bytes) -> str:
    return said.decode("latin-1").partition(";")[0].strip().lower()


_TYPE_JSON, _TYPE_PROTOBUF = ((b"content-type", name.encode()) for name in (JSON, PROTOBUF))


class _Reply:
    """Answers in the encoding of the request."""

    def __init__(self, send: Any, *, as_json: bool, across: bool) -> None:
        self._send = send
        self._as_json = as_json
        self._across = across
        self.signal = METRICS

    @property
    def _headers(self) -> Headers:
        return [*(CORS if self._across else ()), _TYPE_JSON if self._as_json else _TYPE_PROTOBUF]

    async def success(self, decoded: Decoded) -> None:
        """Answer 200: empty for full success, else how many points were rejected and why."""
        if not decoded.rejected:
            await answer(self._send, 200, b"{}" if self._as_json else b"", self._headers)
        elif self._as_json:
            partial = {self.signal.rejected_json: str(decoded.rejected), "errorMessage": decoded.message}
            await answer(self._send, 200, orjson.dumps({"partialSuccess": partial}), self._headers)
        else:
            response: Any = self.signal.response()
            setattr(response.partial_success, self.signal.rejected, decoded.rejected)
            response.partial_success.error_message = decoded.message
            await answer(self._send, 200, response.SerializeToString(), self._headers)

    async def error(self, status: int, message: str, *, retry_seconds: int | None = None) -> None:
        """Answer with a google.rpc.Status."""
        headers = self._headers
        if retry_seconds is not None:
            headers.append((b"retry-after", str(retry_seconds).encode()))
        body = orjson.dumps({"message": message}) if self._as_json else Status(message=message).SerializeToString()
        await answer(self._send, status, body, headers)
