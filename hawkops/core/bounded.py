"""Reading what strangers send: bounded before it is parsed, parsed before it is believed."""

import zlib
from typing import Any

import orjson

from hawkops.core.errors import HawkOpsError

CHUNK_BYTES = 65_536


class TooLarge(HawkOpsError):
    """More bytes than the door accepts, before or after decompression."""

    status = 413


class Malformed(HawkOpsError):
    """Not what its content type or encoding says it is."""


class UnsupportedEncoding(HawkOpsError):
    """A content encoding this door does not speak."""

    status = 415


def decompress(body: bytes, encoding: str, *, limit_bytes: int) -> bytes:
    """Undo `Content-Encoding` gzip, deflate or identity, counting decompressed bytes as they appear.

    Raises TooLarge past `limit_bytes`, Malformed for broken data, UnsupportedEncoding for anything else.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        if len(body) > limit_bytes:
            raise TooLarge(f"The body has {len(body)} bytes; this door takes {limit_bytes}.")
        return body
    if name not in ("gzip", "x-gzip", "deflate"):
        raise UnsupportedEncoding(f"Content-Encoding {name[:40]!r} is not understood. Use gzip, deflate or identity.")
    # 47: gzip or zlib by header
    inflate = zlib.decompressobj(47)
    parts: list[bytes] = []
    total = 0
    pending = body
    try:
        while pending and not inflate.eof:
            part = inflate.decompress(pending, CHUNK_BYTES)
            total += len(part)
            if total > limit_bytes:
                raise TooLarge(f"The body has more than {limit_bytes} bytes once decompressed.")
            parts.append(part)
            pending = inflate.unconsumed_tail
            if not part and not pending:
                break
        parts.append(inflate.flush(CHUNK_BYTES))
    except zlib.error as error:
        raise Malformed(f"The body is not valid {name} data.") from error
    if not inflate.eof:
        raise Malformed(f"The {name} data ends too early.")
    data = b"".join(parts)
    if len(data) > limit_bytes:
        raise TooLarge(f"The body has more than {limit_bytes} bytes once decompressed.")
    return data


def json_loads(data: bytes, *, max_depth: int = 32) -> Any:
    """Parse strict JSON: UTF-8, no NaN or Infinity, nesting bounded by `max_depth`. Raises Malformed.

    Strings with half a character are refused too: no encoder would write them again.
    """
    # what opens no more than the bound can't be deeper
    if data.count(b"[") + data.count(b"{") > max_depth:
        _depth_checked(data, max_depth)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"The body is not valid JSON: {error}.") from error


def fit(value: Any) -> Any:
    """Return a parsed value that the database can hold. Raises Malformed for texts that PostgreSQL refuses."""
    if isinstance(value, str):
        if "\x00" in value or (not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value)):
            raise Malformed("A text holds a NUL or half a character.")
    elif isinstance(value, list):
        for one in value:
            fit(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            fit(name)
            fit(one)
    return value


def _depth_checked(data: bytes, max_depth: int) -> None:
    depth = deepest = 0
    in_string = escaped = False
    for byte in data:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x5B, 0x7B):
            depth += 1
            deepest = max(deepest, depth)
            if deepest > max_depth:
                raise Malformed(f"The JSON is nested deeper than {max_depth} levels.")
        elif byte in (0x5D, 0x7D):
            depth -= 1
