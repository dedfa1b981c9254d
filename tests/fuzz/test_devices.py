"""The devices' door under nonsense, as a real process: no 5xx, a refusal changes nothing, and its memory stays bounded."""

import gzip
import io
import json
import os
import socket
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from django.db import connection
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from hawkops.history.models import Head
from rollout.ofrep.door import BULK
from tests.fuzz.trying import MORE, digest
from tests.monitoring.payloads import DEVICE, Payload, pairs
from tests.rollout.conftest import Gateway, gateway

__all__ = ["gateway"]

pytestmark = pytest.mark.fresh_database
# what the door counts of refusals on purpose
COUNTED = {"monitoring_doortotal"}
PROTOBUF, JSON = "application/x-protobuf", "application/json"
TRIES = 150 * max(MORE, 1)
# what may be left of bodies that were each held whole for a moment, one at a time
MEGABYTES_MOST = 100


def metrics() -> bytes:
    """A payload as the reference device sends it."""
    found = Payload().sum("litert.inferences", 3).gauge("process.cpu.utilization", 0.4)
    found.exponential("litert.prefill.throughput", [240.0, 250.0, 260.0])
    return found.exponential("gen_ai.client.operation.duration", [0.5, 1.5]).body


def logs() -> ExportLogsServiceRequest:
    """A line of the runbook's patterns."""
    found = ExportLogsServiceRequest()
    resource = found.resource_logs.add()
    resource.resource.attributes.extend(pairs(DEVICE))
    record = resource.scope_logs.add().log_records.add()
    record.time_unix_nano = time.time_ns()
    record.body.string_value = "MEMORY WARNING: 1900 MB used"
    return found


def nested(levels: int) -> bytes:
    """A protobuf whose value holds itself, so many levels deep."""
    value = AnyValue(string_value="x").SerializeToString()
    for _ in range(levels):
        inside = b"\x0a" + _length(value) + value  # ArrayValue.values
        value = b"\x2a" + _length(inside) + inside  # AnyValue.array_value
    pair = b"\x0a\x01a\x12" + _length(value) + value
    attributes = b"\x0a" + _length(pair) + pair
    resource = b"\x0a" + _length(attributes) + attributes
    return b"\x0a" + _length(resource) + resource


def _length(data: bytes) -> bytes:
    number, found = len(data), b""
    while number > 0x7F:
        found, number = found + bytes([number & 0x7F | 0x80]), number >> 7
    return found + bytes([number])


def bomb(megabytes: int) -> bytes:
    """So many megabytes of nothing in a thousandth of it."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9) as file:
        for _ in range(megabytes):
            file.write(b"\x00" * 1_000_000)
    return out.getvalue()


def spoilt(body: bytes, dice: Random) -> bytes:
    """The same body, broken somewhere."""
    data = bytearray(body)
    for _ in range(dice.choice((1, 1, 2, 8))):
        place = dice.randrange(len(data) or 1)
        match dice.randrange(6):
            case 0 if data:
                data[place] ^= 1 << dice.randrange(8)
            case 1:
                data = data[:place]
            case 2:
                data[place:place] = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 40)))
            case 3:
                data[place : place + dice.randrange(1, 60)] = b""
            case 4:
                data[place:place] = data[: dice.randrange(len(data) + 1)]
            case _:
                data[place : place + 8] = b"\xff" * 8
    return bytes(data)


def dressed(body: bytes, dice: Random) -> tuple[bytes, dict[str, str]]:
    """The body with an encoding that is true, or not."""
    match dice.randrange(8):
        case 0:
            return gzip.compress(body), {"Content-Encoding": "gzip"}
        case 1:
            return spoilt(gzip.compress(body), dice), {"Content-Encoding": "gzip"}
        case 2:
            return body, {"Content-Encoding": dice.choice(("gzip", "deflate", "br", "zstd", "\u00e9".encode().hex()))}
        case 3:
            return zlib.compress(body)[: dice.randrange(20, 200)], {"Content-Encoding": "deflate"}
        case _:
            return body, {}


@pytest.fixture
def megabytes(gateway: Gateway) -> Callable[[], float]:
    """How much memory the gateway holds now."""

    def now() -> float:
        lines = Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

    return now


def state() -> dict[str, str | None]:
    """Everything that stands in the database, in short."""
    return {name: digest(name) for name in connection.introspection.table_names() if name not in COUNTED}


def settled() -> dict[str, str | None]:
    """The same, once what is written by and by is written."""
    before = state()
    for _ in range(20):
        time.sleep(0.6)
        if (after := state()) == before:
            return after
        before = after
    pytest.fail("the database does not come to rest")


def test_telemetry__spoilt__never_breaks_and_a_refusal_changes_nothing(
    gateway: Gateway, megabytes: Callable[[], float]
) -> None:
    dice = Random(os.urandom(8).hex() if MORE else "telemetry")
    as_json = MessageToJson(ExportMetricsServiceRequest.FromString(metrics())).encode()
    kinds = [
        ("/v1/metrics", PROTOBUF, metrics()),
        ("/v1/metrics", JSON, as_json),
        ("/v1/logs", PROTOBUF, logs().SerializeToString()),
        ("/v1/logs", JSON, MessageToJson(logs()).encode()),
        ("/v1/metrics", PROTOBUF, nested(20)),
    ]
    seq, refused = Head.objects.get().seq, []
    with httpx.Client(base_url=gateway.url, headers=gateway.auth, timeout=30) as client:
        for path, kind, body in kinds[:4]:
            assert client.post(path, content=body, headers={"Content-Type": kind}).status_code == 200, path
        before = megabytes()
        for _ in range(TRIES):
            path, kind, body = dice.choice(kinds)
            content, headers = dressed(spoilt(body, dice), dice)
            kind = dice.choice((kind, kind, kind, PROTOBUF, JSON, "text/plain", f"{kind}; charset=utf-16"))
            sent = (path, content, {"Content-Type": kind, **headers})
            answer = client.post(path, content=content, headers=sent[2])
            assert answer.status_code < 500, (answer.status_code, sent)
            if answer.status_code >= 400:
                refused.append(sent)
        assert len(refused) > TRIES / 4
        refused += [
            ("/v1/metrics", nested(3_000), {"Content-Type": PROTOBUF}),
            ("/v1/metrics", b'{"a":' * 50_000, {"Content-Type": JSON}),
            ("/v1/logs", b"[" * 1_000_000, {"Content-Type": JSON}),
            *(
                (path, bomb(200), {"Content-Type": kind, "Content-Encoding": "gzip"})
                for path in ("/v1/metrics", "/v1/logs")
                for kind in (PROTOBUF, JSON)
            ),
        ]
        standing = settled()
        for path, content, headers in refused:
            answer = client.post(path, content=content, headers=headers)
            assert 400 <= answer.status_code < 500, (path, len(content), headers, answer.status_code)
        time.sleep(1)
        assert state() == standing
        assert client.post("/v1/metrics", content=metrics(), headers={"Content-Type": PROTOBUF}).status_code == 200
    assert Head.objects.get().seq == seq
    assert megabytes() < before + MEGABYTES_MOST, "what was refused is let go"


def test_flags__spoilt_contexts__never_break_and_change_nothing(
    gateway: Gateway, megabytes: Callable[[], float]
) -> None:
    dice = Random(os.urandom(8).hex() if MORE else "flags")
    usual = {"targetingKey": "device-1", "device.soc": "snapdragon", "app.version": "2.4.0", "android.os.api_level": 34}
    body = json.dumps({"context": usual}).encode()
    odd: list[Any] = [None, True, 10**400, -1, 1e308, "x" * 5_000, "\u0000", "\ud83e", [[]] * 20, {"a": {"b": {}}}, ""]
    seq, before = Head.objects.get().seq, megabytes()
    standing = settled()
    with httpx.Client(base_url=gateway.url, headers=gateway.auth, timeout=30) as client:
        for number in range(TRIES):
            if number % 3:
                content = spoilt(body, dice)
            else:
                context = {**usual, dice.choice((*usual, "hawkops.revision", "hawkops.simulated")): dice.choice(odd)}
                content = json.dumps({"context": dice.choice((context, [context], dice.choice(odd)))}).encode()
            kind = dice.choice((JSON, JSON, JSON, "text/plain", f"{JSON}; charset=utf-16"))
            path = dice.choice(
                (BULK, f"{BULK}/litert_enabled", f"{BULK}/%00", f"{BULK}/" + "x" * 3_000, f"{BULK}/a%2Fb", f"{BULK}//x")
            )
            headers = {"Content-Type": kind, "If-None-Match": dice.choice(('"x"', "*", 'W/"' * 500, "'"))}
            answer = client.post(path, content=content, headers=headers)
            assert answer.status_code < 500, (answer.status_code, path, content[:200])
            if answer.status_code >= 400:
                assert {"errorCode", "errorDetails"} <= set(answer.json()), (path, content[:200])
        assert client.post(BULK, json={"context": usual}).status_code == 200
    # devices that were answered are in the census, their key was used, and nothing else has moved
    assert {name for name, held in settled().items() if held != standing[name]} <= {
        "rollout_censusdevice",
        "accounts_devicekey",
    }
    assert Head.objects.get().seq == seq
    assert megabytes() < before + 60


def test_gateway__what_is_no_http__is_refused_and_the_next_is_served(gateway: Gateway) -> None:
    dice = Random("http")
    place = (urlsplit(gateway.url).hostname, urlsplit(gateway.url).port)
    head = b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nAuthorization: " + gateway.auth["Authorization"].encode()
    lines = (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        head + b"\r\nContent-Length: -1\r\n\r\n",
        head + b"\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello",
        head + b"\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
        head + b"\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        head + b"\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"POST /v1/" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        *(spoilt(head + b"\r\nContent-Length: 2\r\n\r\n{}", dice) for _ in range(20 * max(MORE, 1))),
    )
    for line in lines:
        with socket.create_connection(place, timeout=5) as open_:
            open_.sendall(line)
            open_.shutdown(socket.SHUT_WR)
            try:
                answer = open_.recv(65_536)
            except ConnectionResetError:
                answer = b""
        assert b" 5" not in answer[:13], (line[:200], answer[:200])
    assert httpx.get(f"{gateway.url}/healthz").status_code == 200
