"""From bytes to a message, bounded before anything is built: nested messages, bytes and depth are counted first."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar, cast

import orjson
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from hawkops.core.bounded import Malformed, TooLarge

# A hostile body of 64 MiB could hold 32 million empty messages: 2 GB and ten seconds of parsing, all in one C call.
MESSAGES_MOST = 250_000
# And thirty million fields that are no messages, each a step of the interpreter that also answers for flags.
FIELDS_MOST = 1_500_000
# ten bytes of seven bits
VARINT_BITS = 70
JSON_BYTES_MOST = 8 * 1024 * 1024
JSON_DEPTH_MOST = 64

Request = TypeVar("Request", bound=Message)


def parse(body: bytes, *, as_json: bool) -> ExportMetricsServiceRequest:
    """Parse the bytes of a metrics payload. Raises Malformed or TooLarge."""
    return parse_as(ExportMetricsServiceRequest, body, as_json=as_json)


def parse_as(kind: type[Request], body: bytes, *, as_json: bool) -> Request:
    """Parse the bytes of an export request. Raises Malformed or TooLarge."""
    if as_json:
        return _parse_json(kind, body)
    count_messages(body, limit=MESSAGES_MOST, descriptor=cast(Descriptor, kind.DESCRIPTOR))
    try:
        return kind.FromString(body)
    except DecodeError:
        raise Malformed(f"The body is not an {kind.DESCRIPTOR.name} in protobuf.") from None


def _parse_json(kind: type[Request], body: bytes) -> Request:
    if len(body) > JSON_BYTES_MOST:
        raise TooLarge(f"A payload in JSON may have {JSON_BYTES_MOST} bytes; send smaller ones, or protobuf.")
    try:
        document = orjson.loads(body)
        if not isinstance(document, dict):
            raise Malformed("An OTLP payload in JSON is an object with resourceMetrics or resourceLogs.")
        _prepare(document)
        return json_format.ParseDict(document, kind(), ignore_unknown_fields=True, max_recursion_depth=JSON_DEPTH_MOST)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise Malformed(f"The body is not an {kind.DESCRIPTOR.name} in JSON: {str(error)[:200]}") from None


# Hexadecimal here, base64 in protobuf's JSON; nothing of ours reads them.
_TRACES = ("exemplars", "traceId", "spanId")


def _prepare(document: dict[str, Any]) -> None:
    """Bound the number of objects, and drop what refers to traces."""
    waiting: list[Any] = [document]
    seen = 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen > MESSAGES_MOST:
            raise TooLarge(f"The payload has more than {MESSAGES_MOST} objects; send smaller ones.")
        if isinstance(node, dict):
            for name in _TRACES:
                node.pop(name, None)
            waiting.extend(value for value in node.values() if isinstance(value, dict | list))
        else:
            waiting.extend(value for value in node if isinstance(value, dict | list))


_Nested = dict[int, "_Nested"]


def _nested(descriptor: Descriptor, known_tables: dict[str, _Nested]) -> _Nested:
    """Return, for each field of a message that holds messages, the same table of those."""
    table = known_tables.get(descriptor.full_name)
    if table is None:
        table = known_tables[descriptor.full_name] = {}
        for number, part in descriptor.fields_by_number.items():
            if part.message_type is not None:
                table[number] = _nested(part.message_type, known_tables)
    return table


@lru_cache(maxsize=8)
def _tables(descriptor: Any) -> _Nested:
    return _nested(descriptor, {})


def count_messages(body: bytes, *, limit: int, descriptor: Any = ExportMetricsServiceRequest.DESCRIPTOR) -> int:
    """Count the nested messages of a payload without parsing it.

    Raises TooLarge past `limit`, or past what may be counted at all, and Malformed for bad bytes.
    """
    if len(body) // 2 <= limit:
        return 0  # an empty message takes two bytes: there can't be more
    seen = steps = 0
    waiting: list[tuple[int, int, _Nested]] = [(0, len(body), _tables(descriptor))]
    try:
        while waiting:
            at, end, table = waiting.pop()
            while at < end:
                steps += 1
                if steps > FIELDS_MOST:
                    raise TooLarge(f"The payload holds more than {FIELDS_MOST} fields; send smaller ones.")
                tag, at = varint(body, at)
                wire = tag & 7
                if wire == 2:
                    length, at = varint(body, at)
                    inner = table.get(tag >> 3)
                    if inner is not None:
                        seen += 1
                        if seen > limit:
                            raise TooLarge(f"The payload holds more than {limit} messages; send smaller ones.")
                        waiting.append((at, at + length, inner))
                    at += length
                elif wire == 0:
                    _, at = varint(body, at)
                else:
                    at += {1: 8, 5: 4}[wire]
            if at != end:
                raise IndexError
    except (IndexError, KeyError):
        raise Malformed(f"The body is not an {descriptor.name} in protobuf.") from None
    return seen


def varint(body: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a position, and where it ends. Raises IndexError."""
    value = shift = 0
    while shift < VARINT_BITS:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise IndexError("the number has more than ten bytes")
