"""Bare loops to compare with: the same work on the same server without anything of ours around it.

`python -m uvicorn hawkops.bench.reference:evaluate` parses a JSON context, hashes a bucket for each flag that divides
devices, and encodes what the gateway answers (the answer to imitate stands in HAWKOPS_BENCH_ANSWER): no keys, rules,
leases, entity tags or census. `…:walk` parses an OTLP payload with the stock parser and reads every point, and keeps
nothing.
"""

import os
from typing import Any

import mmh3
import orjson
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

ANSWER = orjson.loads(os.environ.get("HAWKOPS_BENCH_ANSWER", '{"flags": []}'))
FLAGS = [(flag["key"], (flag["value"], flag["variant"]), (True, "on"), flag["reason"]) for flag in ANSWER["flags"]]
REST = {name: value for name, value in ANSWER.items() if name != "flags"}
REVISION = ANSWER.get("metadata", {}).get("revision", 0)


async def _body(receive: Any) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(send: Any, body: bytes, content_type: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def evaluate(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer every flag for the context in the body."""
    if scope["type"] != "http":
        return
    context = orjson.loads(await _body(receive))["context"]
    key = context["targetingKey"]
    flags = []
    for name, one, other, reason in FLAGS:
        value, variant = one
        if reason == "SPLIT" and (mmh3.hash(f"{name}:{key}", signed=False) * 100_000) >> 32 < 50_000:
            value, variant = other
        metadata = {"revision": REVISION, "lease_seconds": 900}
        flags.append({"key": name, "value": value, "variant": variant, "reason": reason, "metadata": metadata})
    await _answer(send, orjson.dumps({"flags": flags, **REST}), b"application/json")


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


async def walk(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Read every point of the payload in the body: what it is called, when it was, and its numbers."""
    if scope["type"] != "http":
        return
    payload = ExportMetricsServiceRequest.FromString(await _body(receive))
    found: list[tuple[Any, ...]] = []
    for resource in payload.resource_metrics:
        device = {pair.key: _value(pair.value) for pair in resource.resource.attributes}
        for scoped in resource.scope_metrics:
            for metric in scoped.metrics:
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind or "gauge").data_points:
                    names = {pair.key: _value(pair.value) for pair in point.attributes}
                    which = (device, metric.name, metric.unit, names, point.time_unix_nano)
                    if kind == "exponential_histogram":
                        counts = (point.zero_count, point.scale, point.positive.offset, [*point.positive.bucket_counts])
                        found.append((*which, point.count, point.sum, point.min, point.max, *counts))
                    else:
                        found.append((*which, getattr(point, point.WhichOneof("value"))))
    await _answer(send, b"", b"application/x-protobuf")
